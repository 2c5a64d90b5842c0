package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeProc writes files, links where the text begins with "->", and folders where
// the name ends with "/".
func fakeProc(t *testing.T, entries map[string]string) procDir {
	t.Helper()
	root := t.TempDir()
	for name, text := range entries {
		path := root + "/" + name
		err := os.MkdirAll(filepath.Dir(path), 0o755) // what ends with "/" is its own folder
		if target, is := strings.CutPrefix(text, "->"); is {
			err = errors.Join(err, os.Symlink(target, path))
		} else if !strings.HasSuffix(name, "/") {
			err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return procDir(root)
}

func TestOwners(t *testing.T) {
	t.Parallel()
	p := fakeProc(t, map[string]string{
		"10/fd/0": "->/dev/null", "10/fd/7": "->socket:[71]", "10/fd/8": "->pipe:[72]", "10/fd/9": "->socket:[x]",
		"11/fd/3": "->socket:[4294967295]", "11/fd/4": "->socket:[4294967296]",
		// The first thread has ended, the second has the descriptors.
		"12/stat": "12 (a) b) Z 1 12", "12/fd/": "", "12/task/12/fd/": "", "12/task/13/fd/5": "->socket:[75]",
	})
	c := p.owners([]int{10, 11, 12, 99})
	want := map[uint32]holder{71: {10, 7}, 4294967295: {11, 3}, 75: {12, 5}}
	if fmt.Sprint(c.sockets) != fmt.Sprint(want) || !c.alive || c.hidden != nil {
		t.Errorf("census %+v, want sockets %v", c, want)
	}
}

func TestOwnersOfTheDead(t *testing.T) {
	t.Parallel()
	p := fakeProc(t, map[string]string{"12/stat": "12 (a) Z 1 12", "12/fd/": "", "13/stat": "13 (b) S 1 13", "13/fd/": ""})
	if c := p.owners([]int{12, 99}); c.alive || c.hidden != nil {
		t.Errorf("a zombie and nobody: %+v", c)
	}
	if c := p.owners([]int{13}); !c.alive {
		t.Error("a process without any descriptor isn't dead")
	}
}

func TestTreeWithAndWithoutLists(t *testing.T) {
	t.Parallel()
	entries := map[string]string{
		"10/stat": "10 (a) S 1 10", "11/stat": "11 (b (c) S 10 10", "12/stat": "12 (d) S 11 10", "13/stat": "13 (e) S 10 10", "20/stat": "20 (f) S 1 20",
		"10/task/10/children": "11 ", "10/task/14/children": "13", "11/task/11/children": "12 ", "12/task/12/children": "", "13/task/13/children": "",
	}
	check := func(p procDir) {
		t.Helper()
		got := p.tree(10, 10)
		slices.Sort(got)
		if !slices.Equal(got, []int{10, 11, 12, 13}) {
			t.Errorf("tree %v", got)
		}
	}
	check(fakeProc(t, entries))
	delete(entries, "11/task/11/children")
	entries["11/task/11/comm"] = "b"
	check(fakeProc(t, entries))
	if got := fakeProc(t, entries).tree(99); !slices.Equal(got, []int{99}) {
		t.Errorf("tree of a process that has ended: %v", got)
	}
}

func TestOwnersOfARealTree(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	child := exec.Command("sleep", "60")
	child.ExtraFiles = []*os.File{file}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	pids := proc.tree(os.Getpid())
	if !slices.Contains(pids, child.Process.Pid) {
		t.Errorf("child %d isn't in the tree %v", child.Process.Pid, pids)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	c := proc.owners([]int{child.Process.Pid})
	if h := c.sockets[uint32(stat.Ino)]; h != (holder{child.Process.Pid, 3}) || !c.alive || c.hidden != nil {
		t.Errorf("holder %+v in census %+v", h, c)
	}
}

// strangerRole looks at a process of another user.
func strangerRole() int {
	c := proc.owners([]int{1})
	_, err := takeFD(1, 0)
	fmt.Printf("alive %v, hidden %v, refused %v", c.alive, c.hidden != nil, err == unix.EPERM)
	return 0
}

func TestDescriptorsOfAnotherUser(t *testing.T) {
	t.Parallel()
	stranger := exec.Command("/proc/self/exe")
	stranger.Env = append(os.Environ(), roleKey+"=stranger")
	if os.Getuid() == 0 {
		stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := stranger.CombinedOutput()
	if want := "alive true, hidden true, refused true"; err != nil || string(out) != want {
		t.Errorf("%q (%v), want %q", out, err, want)
	}
}
