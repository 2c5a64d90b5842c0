package logs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLinkInAForeignFolder: who may write there must not point us at other files.
func TestLinkInAForeignFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	put(t, precious, "keep\n")
	open := filepath.Join(dir, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(open, "a.log")
	if err := os.Symlink(precious, link); err != nil {
		t.Fatal(err)
	}
	p, _ := startPump(t)
	_, err := p.Open(Target{Path: link, UID: -1, GID: -1})
	if err == nil || !strings.Contains(err.Error(), "others can write") {
		t.Errorf("opened: %v", err)
	}
	if got := content(t, precious); got != "keep\n" {
		t.Errorf("the file has %q", got)
	}
	// The same link where only we can write is followed, and rotation happens beside the real file.
	if err := os.Chmod(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, w := openStream(t, p, Target{Path: link, Rotation: Rotation{MaxSize: 10}})
	write(t, w, "1234567\n")
	flush(t, s)
	if got := content(t, link); got != "1234567\n" {
		t.Errorf("log has %q", got)
	}
	if all := files(t, precious); len(all) != 2 {
		t.Errorf("files %q", all)
	}
	if to, err := os.Readlink(link); err != nil || to != precious {
		t.Errorf("the link is %q, %v", to, err)
	}
}

// TestLinkPlantedAtRotation: put in the log's place, it is neither followed nor renamed.
func TestLinkPlantedAtRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	precious, path := filepath.Join(dir, "precious"), filepath.Join(dir, "a.log")
	put(t, precious, "keep\n")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 10}})
	write(t, w, "1234567\n")
	flush(t, s)
	os.Remove(path)
	if err := os.Symlink(precious, path); err != nil {
		t.Fatal(err)
	}
	write(t, w, "7654321\n")
	flush(t, s)
	if got := content(t, precious); got != "keep\n" {
		t.Errorf("the file has %q", got)
	}
	if st := s.Stats(); st.Dropped != 8 || st.Error == "" {
		t.Errorf("stats %+v", st)
	}
}

func TestRotationKeepsMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 10}})
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	write(t, w, "1234567\n1234567\n")
	flush(t, s)
	for _, f := range files(t, path) {
		if fi, err := os.Stat(f); err != nil || fi.Mode() != 0o640 {
			t.Errorf("%s: %v %v", f, fi.Mode(), err)
		}
	}
}

// TestRotationThatFails: the log grows on, and nothing is lost.
func TestRotationThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("a", 250)) // there is no room for a stamp in the name
	p, log := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 200}})
	for i := range 100 {
		write(t, w, string(numbered(i)))
	}
	flush(t, s)
	if n := checkNumbered(t, path, 0, 100*lineLength); n != 100 {
		t.Errorf("%d lines", n)
	}
	if log.count("cannot rotate") != 1 {
		t.Errorf("the daemon's log has %q", log.lines)
	}
}

func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, err := p.Open(Target{Path: path, Rotation: Rotation{MaxSize: 10}, UID: 12345, GID: 54321})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.ChildFile()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	write(t, w, "1234567\n1234567\n")
	flush(t, s)
	var st unix.Stat_t
	for _, f := range append(files(t, path), fmt.Sprintf("/proc/self/fd/%d", w.Fd())) {
		if err := unix.Stat(f, &st); err != nil || st.Uid != 12345 || st.Gid != 54321 || st.Mode&0o777 != 0o600 {
			t.Errorf("%s: uid %d gid %d mode %o, %v", f, st.Uid, st.Gid, st.Mode, err)
		}
	}
}

func TestRefusedTargets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir+"/file", "")
	p, _ := startPump(t)
	for path, want := range map[string]string{
		"relative.log":      "not absolute",
		dir:                 "is a directory",
		dir + "/file/log":   "not a directory",
		dir + "/file/a/b":   "not a directory",
		"/proc/self/nofile": "no such file",
	} {
		if _, err := p.Open(Target{Path: path, UID: -1, GID: -1}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

func TestNewRotated(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "gopm.log")
	for range 2 { // a second life appends
		w, err := NewRotated(path, 1000, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 23 {
			if _, err := w.Write(numbered(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "x"); err == nil {
			t.Error("a closed log took a line")
		}
	}
	eventually(t, func() error {
		if all := files(t, path); len(all) != 3 {
			return fmt.Errorf("files %q", all)
		}
		return nil
	})
	for _, f := range files(t, path) {
		if fi, err := os.Stat(f); err != nil || fi.Size() > 1000 || fi.Mode() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v, %v", f, fi.Size(), fi.Mode(), err)
		}
	}
	w, err := NewRotated(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "made again\n"); err != nil {
		t.Error(err)
	}
	if got := content(t, path); got != "made again\n" {
		t.Errorf("log has %q", got)
	}
}
