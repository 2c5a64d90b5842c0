package api

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFindHome(t *testing.T) {
	t.Parallel()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		env  map[string]string
		uid  int
		want string
	}{
		{map[string]string{"GOPM_HOME": "/x/y/", "HOME": "/home/a"}, 7, "/x/y"},
		{map[string]string{"GOPM_HOME": "rel"}, 7, filepath.Join(wd, "rel")},
		{map[string]string{"HOME": "/home/a"}, 7, "/home/a/.gopm"},
		{map[string]string{"HOME": "relative"}, 7, "/tmp/gopm-7"},
		{nil, 7, "/tmp/gopm-7"},
		{nil, 0, "/run/gopm"},
	}
	for _, tt := range tests {
		h, err := FindHome(func(name string) string { return tt.env[name] }, tt.uid)
		if err != nil || h.Dir != tt.want {
			t.Errorf("FindHome(%v, %d) = %q, %v; want %q", tt.env, tt.uid, h.Dir, err, tt.want)
		}
	}
}

func TestPrepareMakesThePlace(t *testing.T) {
	old := syscall.Umask(0o277) // of the whole process: this test is not parallel
	defer syscall.Umask(old)
	h := Home{filepath.Join(t.TempDir(), "home")}
	for range 2 {
		if err := h.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{h.Dir, h.Logs()} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want 0700", dir, info.Mode(), err)
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	open := filepath.Join(t.TempDir(), "open")
	for _, err := range []error{os.WriteFile(file, nil, 0o600), os.Mkdir(open, 0o700), os.Chmod(open, 0o770)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir, words := range map[string]string{
		file:                        "is a file, not a folder",
		filepath.Join(file, "home"): "not a directory",
		open:                        "can be written by others (mode 770): chmod 700",
	} {
		err := Home{dir}.Prepare()
		if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "GOPM_HOME") {
			t.Errorf("Prepare of %s: %v; want %q and the remedy", dir, err, words)
		}
	}
	if info, err := os.Stat(open); err != nil || info.Mode().Perm() != 0o770 {
		t.Errorf("the refused folder was changed to %v, %v", info.Mode(), err)
	}
}

// What somebody else has laid ready where everybody can write is not used, whatever its
// mode; what is ours or root's is.
func TestPrepareRefusesWhatOthersLaid(t *testing.T) {
	t.Parallel()
	const other = 54321
	base := t.TempDir()
	make := func(name string, mode fs.FileMode, uid int) string {
		dir := filepath.Join(base, name)
		for _, err := range []error{os.MkdirAll(dir, 0o755), os.Chmod(dir, mode), os.Chown(dir, uid, -1)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	link := func(to, name string, uid int) string {
		from := filepath.Join(base, name)
		for _, err := range []error{os.Symlink(to, from), os.Lchown(from, uid, -1)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return from
	}
	private := make("private", 0o755, 0)
	make("sticky", fs.ModeSticky|0o777, 0)
	make("bare", 0o777, 0)
	make("theirs", 0o755, other)
	cases := map[string]bool{
		filepath.Join(base, "sticky/gopm-0"):                  true,
		filepath.Join(base, "bare/gopm-0"):                    true, // a volume of Kubernetes is like that
		filepath.Join(make("sticky/evil", 0o755, other), "h"): false,
		filepath.Join(make("bare/evil", 0o755, other), "h"):   false,
		filepath.Join(make("sticky/root", 0o755, 0), "h"):     true,
		link(private+"/a", "sticky/link", other):              false,
		link(private+"/b", "bare/link", other):                false,
		link(private+"/c", "theirs/link", other):              false, // also where only its owner can write
		link(private, "sticky/own", 0) + "/d":                 true,
		link(base+"/sticky/evil", "private/far", 0) + "/e":    false, // and where a link leads
		link("loop", "private/loop", 0):                       false,
	}
	for dir, want := range cases {
		err := Home{dir}.Prepare()
		if (err == nil) != want {
			t.Errorf("the home %s: %v", dir, err)
		}
		if err != nil && !strings.Contains(err.Error(), "GOPM_HOME") {
			t.Errorf("no remedy: %v", err)
		}
		if _, e := os.Stat(filepath.Join(dir, "logs")); err != nil && e == nil {
			t.Errorf("the refused %s was used", dir)
		}
	}
}

func TestSocketWithALongName(t *testing.T) {
	t.Parallel()
	h := Home{filepath.Join(t.TempDir(), strings.Repeat("long", 30))}
	if err := h.Prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Dial(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Dial without a socket: %v", err)
	}
	l, err := h.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(h.Socket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want 0600", info.Mode(), err)
	}
	accepted := make(chan net.Conn, 1)
	go func() { // ends with the one connection, which is waited for below
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	}()
	conn, err := h.Dial()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	(<-accepted).Close()
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{
		{"/home/a/x", "/home/a", "~/x"}, {"/home/ab/x", "/home/a", "/home/ab/x"}, {"/x", "/", "/x"}, {"/x", "", "/x"},
	} {
		if got := Contract(tt[0], tt[1]); got != tt[2] {
			t.Errorf("Contract(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}
