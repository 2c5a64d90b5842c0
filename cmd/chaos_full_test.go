package cmd_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"gopm/daemon/api"
)

// onSmallDisk puts a test's home on a disk of so many MB.
func (g *gopm) onSmallDisk(megabytes int) {
	g.Helper()
	must(g.T, os.Mkdir(g.home, 0o700))
	err := syscall.Mount("gopm-test", g.home, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", megabytes))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		g.Skip("only root can mount")
	}
	must(g.T, err)
	g.Cleanup(func() { // runs before close, which needs the disk no more
		g.run("kill")
		if g.Failed() {
			g.Logf("gopm.log:\n%s", g.tail(g.log(), 60))
		}
		if err := syscall.Unmount(g.home, syscall.MNT_DETACH); err != nil {
			g.Errorf("unmount: %v", err)
		}
	})
}

// fill takes all space of the home that is left, and returns the file to remove.
func (g *gopm) fill() string {
	g.Helper()
	path := g.home + "/ballast"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(g.T, err)
	defer f.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		g.Fatal(err)
	}
	return path
}

// On a full disk apps run, commands work, the state is the last good one and what
// can't be written is counted; when there is space again all is well by itself.
func TestFullDisk(t *testing.T) {
	g := newGopm(t)
	g.onSmallDisk(1)
	g.cast(role{"a", "-every 5ms -pad 50 -err", ""}, role{"b", "-every 5ms -pad 50", ""}, role{"c", "-every 5ms", ""})
	pids := g.pids()
	eventually(t, soon, func() error { return g.stateIs(g.list()) })
	ballast := g.fill()
	dropped := func(name string) bool { return g.instances()[name].Dropped > 0 }
	eventually(t, soon, func() error {
		g.fill() // what was let go meanwhile
		if !dropped("a") || !dropped("b") {
			return fmt.Errorf("nothing is dropped: %+v", g.instances())
		}
		return nil
	})
	contains(t, "info", g.run("info", "a"), "dropped")
	contains(t, "ls", g.run("ls"), "no space left")
	g.run("stop", "b")
	g.run("restart", "c")
	g.killDaemon() // and with the state in the keeper's memory alone
	if e := g.app("b"); e.Env.Status != "stopped" {
		t.Errorf("after the daemon's death: %v", e)
	}
	if e := g.app("a"); e.Pid != pids["a:0"] || e.Env.Restarts != 0 {
		t.Errorf("after the daemon's death: %v, before %v", e, pids)
	}
	if !dropped("a") {
		t.Error("after the daemon's death nothing was ever dropped")
	}
	if _, err := api.ReadState(g.home + "/state.json"); err != nil {
		t.Errorf("the state on the full disk: %v", err)
	}
	g.run("start", "b")
	must(t, os.Remove(ballast))
	eventually(t, soon, func() error { return g.stateIs(g.list()) })
	for _, name := range []string{"a", "b", "c"} {
		g.heals(name)
	}
	lacks(t, "ls", g.run("ls"), "no space left")
	g.run("kill")
}

// heals waits until an app's newest lines are in its file again. There is a gap in
// it; what is there are whole lines in order.
func (g *gopm) heals(name string) {
	g.Helper()
	run := len(g.starts(name)) - 1
	now, _ := g.wrote(name, run)
	eventually(g.T, soon, func() error {
		last, err := g.growing(name)
		if err == nil && last < now {
			err = fmt.Errorf("%s: the last line is %d, it has written %d", name, last, now)
		}
		return err
	})
}

// growing reads an app's stdout, whose numbers only grow within a run, and returns
// the last. The line that was torn by the full disk when the daemon was killed ends
// where it was torn: nobody knows its rest.
func (g *gopm) growing(name string) (last int, err error) {
	f, err := os.Open(g.home + "/logs/" + name + "-out.log")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	run, last, torn := 0, -1, false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		r, n, ok := parseLine(lines.Bytes(), name)
		next := fmt.Sprintf("%s %d %09d %s", name, run, last+1, strings.Repeat("x", 50))
		switch {
		case ok && (r > run || r == run && n > last):
			run, last = r, n
		case !torn && strings.HasPrefix(next, lines.Text()):
			torn = true
		default:
			return 0, fmt.Errorf("%s: %q after run %d, line %d", name, lines.Text(), run, last)
		}
	}
	return last, lines.Err()
}
