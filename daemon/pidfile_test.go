package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPidFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "run", "web.pid")
	for _, pid := range []int{42, 43} {
		if err := keepPidFile(path, pid); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "43\n" {
		t.Fatalf("the file holds %q, %v; want the last pid", text, err)
	}
	for range 2 { // twice: an absent file is as good as removed
		if err := keepPidFile(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestPidPath(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"":           pidPath("", 1, 3),
		"/r/web.pid": pidPath("/r/web.pid", 0, 1),
		"/r/w-1.pid": pidPath("/r/w.pid", 1, 2),
		"/r.d/w-0":   pidPath("/r.d/w", 0, 2),
	} {
		if got != want {
			t.Errorf("pidPath = %q, want %q", got, want)
		}
	}
}
