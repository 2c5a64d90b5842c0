package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gopm/ecosystem"
)

// deployed makes a folder as gopm deploy does, with some releases, the last one current.
func deployed(t *testing.T, names ...string) (base string) {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(base, "releases", name, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(filepath.Join(base, "current"))
		if err := os.Symlink("releases/"+name, filepath.Join(base, "current")); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func appIn(dir string) (a ecosystem.App) {
	a.Command.Cwd = dir
	return a
}

func TestReleases(t *testing.T) {
	t.Parallel()
	base := deployed(t, "1", "2")
	for _, below := range []string{"", "sub"} {
		r, err := releasesOf(appIn(filepath.Join(base, "current", below)))
		if err != nil || r.link != base+"/current" || r.below != below {
			t.Fatalf("%+v, %v", r, err)
		}
		cmd := exec.Command("sleep", "1000")
		cmd.Dir = filepath.Join(base, "current", below)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait() // it was killed
		})
		if dir, err := r.of(cmd.Process.Pid); err != nil || dir != base+"/releases/2" {
			t.Errorf("below %q the process is of %q, %v", below, dir, err)
		}
		other := releases{r.link, "elsewhere"}
		if _, err := other.of(cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), "another folder") {
			t.Errorf("a process in another folder: %v", err)
		}
	}
	if _, err := releasesOf(appIn(base)); err == nil || !strings.Contains(err.Error(), "replaced in place") {
		t.Errorf("a folder without a link: %v", err)
	}
	must := func(dir, want string) {
		t.Helper()
		r := releases{link: base + "/current"}
		err := r.lead(dir, "me")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("to %s: %v, want %q", dir, err, want)
		}
	}
	must(base+"/releases/1", "")
	if link, _ := os.Readlink(base + "/current"); link != "releases/1" {
		t.Errorf("current is %q", link)
	}
	must("/tmp", "no release of")
	must(base+"/releases/../..", "no release of")
	must(base+"/releases/7", "not there any more")
	if err := os.Mkdir(base+"/lock", 0o755); err != nil {
		t.Fatal(err)
	}
	must(base+"/releases/2", "a deployment is under way")
	if link, _ := os.Readlink(base + "/current"); link != "releases/1" {
		t.Errorf("with the lock held current became %q", link)
	}
}

func TestReleaseBook(t *testing.T) {
	t.Parallel()
	b := &releaseBook{path: filepath.Join(t.TempDir(), "releases.json")}
	there := func(app string) bool { return app != "gone" }
	var all sync.WaitGroup
	for _, app := range []string{"a", "b", "c", "d", "gone"} {
		all.Go(func() {
			if err := b.note(app, "first", "/1/"+app, there); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, step := range []struct{ app, rollout, dir, want string }{
		{"a", "first", "/2/a", "/1/a"}, // what it had first
		{"b", "second", "/2/b", "/2/b"},
	} {
		if err := b.note(step.app, step.rollout, step.dir, there); err != nil {
			t.Fatal(err)
		}
		if got := b.of(step.app, step.rollout); got != step.want {
			t.Errorf("%+v: %q", step, got)
		}
	}
	if got := b.of("b", "first") + b.of("gone", "first"); got != "" {
		t.Errorf("%q is still known", got)
	}
	if got := b.of("d", "first"); got != "/1/d" {
		t.Errorf("of d: %q", got)
	}
	info, err := os.Stat(b.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
