package daemon

import (
	"os"
	"path/filepath"
	"strings"
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

// A gopm of root writes pid files into the folders of its apps' users, who can lay links.
func TestPidFileBehindALink(t *testing.T) {
	t.Parallel()
	const app = 54321
	base := t.TempDir()
	own, roots := filepath.Join(base, "app"), filepath.Join(base, "root")
	precious := filepath.Join(roots, "web.pid")
	for _, err := range []error{
		os.Mkdir(own, 0o755), os.Chown(own, app, app), os.Mkdir(roots, 0o755), os.WriteFile(precious, []byte("keep"), 0o600),
		os.Symlink(roots, own+"/run"), os.Lchown(own+"/run", app, app), os.Symlink(precious, own+"/web.pid"), os.Symlink(roots+"/new", own+"/missing"), os.Lchown(own+"/missing", app, app),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{own + "/run/web.pid", own + "/run/other.pid", own + "/missing/web.pid"} {
		if err := keepPidFile(path, 42); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	_ = keepPidFile(own+"/run/web.pid", 0) // it isn't ours to remove
	if err := keepPidFile(own+"/web.pid", 42); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(own + "/web.pid"); err != nil || string(text) != "42\n" {
		t.Errorf("in place of the link: %q, %v", text, err)
	}
	left, err := os.ReadDir(roots)
	if text, e := os.ReadFile(precious); err != nil || e != nil || string(text) != "keep" || len(left) != 1 {
		t.Errorf("root's folder has %v, the file %q; %v, %v", left, text, err, e)
	}
}
