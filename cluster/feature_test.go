package cluster

import (
	"os/exec"
	"testing"
)

// All that is tried here works on a kernel that the other tests of this package need.
func TestFeatures(t *testing.T) {
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = child.Wait() }()
	seen := map[string]bool{}
	for _, f := range Features(child.Process.Pid) {
		if seen[f.Name] = true; f.Error != "" {
			t.Errorf("%s: %s (old kernel: %v)", f.Name, f.Error, f.Old)
		}
	}
	if len(seen) != 8 {
		t.Errorf("tried: %v", seen)
	}
	for _, f := range Features(1 << 30) { // nobody
		if wrong := f.Name == FeaturePidfd || f.Name == FeatureTake || f.Name == FeatureRead; wrong != (f.Error != "") {
			t.Errorf("%s of a process that isn't there: %q", f.Name, f.Error)
		}
	}
}
