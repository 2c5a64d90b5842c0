package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const strangerID = 65534

func fileIs(t *testing.T, path, content string, mode os.FileMode, uid uint32) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	have, _ := os.ReadFile(path)
	if string(have) != content || info.Mode() != mode || info.Sys().(*syscall.Stat_t).Uid != uid {
		t.Errorf("%s: %q, mode %v, uid %d; want %q, %v, %d", path, have, info.Mode(), info.Sys().(*syscall.Stat_t).Uid, content, mode, uid)
	}
	return info
}

func own(path, content string) installation {
	return installation{path: path, content: []byte(content), mode: 0o640, uid: os.Geteuid(), gid: -1}
}

func TestInstall(t *testing.T) {
	path, self := filepath.Join(t.TempDir(), "conf"), uint32(os.Geteuid())
	for _, content := range []string{"one", "", "a\x00b\xff"} {
		if err := own(path, content).run(); err != nil {
			t.Fatal(err)
		}
		fileIs(t, path, content, 0o640, self)
	}
	before := fileIs(t, path, "a\x00b\xff", 0o640, self)
	if err := own(path, "a\x00b\xff").run(); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, fileIs(t, path, "a\x00b\xff", 0o640, self)) {
		t.Error("a file that was right was written again")
	}
	stricter := own(path, "a\x00b\xff")
	stricter.mode = 0o600
	if err := stricter.run(); err != nil {
		t.Fatal(err)
	}
	fileIs(t, path, "a\x00b\xff", 0o600, self)
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	for where, want := range map[string]string{
		filepath.Join(filepath.Dir(path), "none", "conf"): "its folder does not exist",
		filepath.Dir(path):          "is a directory",
		filepath.Join(path, "conf"): "not a directory",
	} {
		if err := own(where, "x").run(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), where) {
			t.Errorf("%s: %v, want %q", where, err, want)
		}
	}
}

// TestInstallFollowsNoLinks: neither one in the file's place nor one in that of what is
// written before.
func TestInstallFollowsNoLinks(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "conf")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{path, filepath.Join(dir, ".conf.gopm")} {
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
		if err := own(path, "new "+link).run(); err != nil {
			t.Fatal(err)
		}
		fileIs(t, path, "new "+link, 0o640, uint32(os.Geteuid()))
		fileIs(t, victim, "mine", 0o644, uint32(os.Geteuid()))
	}
}

// TestInstallForOthers: root writes what another owns with the rights of that one, and its
// own files only where no other can lay links.
func TestInstallForOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		if err := (installation{path: filepath.Join(t.TempDir(), "conf"), uid: 0, gid: -1, mode: 0o600}).run(); err == nil || !strings.Contains(err.Error(), "only a gopm of root") {
			t.Errorf("%v", err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "install")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	roots, theirs := filepath.Join(dir, "roots"), filepath.Join(dir, "theirs")
	for _, d := range []string{roots, theirs} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chown(theirs, strangerID, strangerID), os.Symlink(roots, filepath.Join(theirs, "link")), os.Symlink(theirs, filepath.Join(roots, "way"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	their := func(path string) installation {
		return installation{path: path, content: []byte("x"), mode: 0o600, uid: strangerID, gid: strangerID}
	}
	if err := their(filepath.Join(theirs, "conf")).run(); err != nil {
		t.Error(err)
	}
	fileIs(t, filepath.Join(theirs, "conf"), "x", 0o600, strangerID)
	for _, path := range []string{filepath.Join(roots, "conf"), filepath.Join(theirs, "link", "conf")} {
		if err := their(path).run(); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range []string{filepath.Join(theirs, "roots"), filepath.Join(theirs, "link", "conf"), filepath.Join(roots, "way", "conf")} {
		if err := own(path, "x").run(); err == nil || !strings.Contains(err.Error(), "others than root can write to") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := own(filepath.Join(roots, "mine"), "x").run(); err != nil {
		t.Error(err)
	}
	fileIs(t, filepath.Join(roots, "mine"), "x", 0o640, 0)
	if left, _ := os.ReadDir(roots); len(left) != 2 {
		t.Errorf("in root's folder: %v", left)
	}
	if now, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); now != dumpable {
		t.Errorf("the process was dumpable (%d), and is %d", dumpable, now)
	}
}
