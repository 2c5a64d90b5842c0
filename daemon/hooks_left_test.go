package daemon

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// A hook that is broken off may be run again at once: nothing of it lives then, not only not
// its first process.
func TestAGroupIsDeadWhenItWasEnded(t *testing.T) {
	t.Parallel()
	c := exec.Command("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & echo $!; done; wait")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pids := []int{c.Process.Pid}
	for lines := bufio.NewScanner(out); len(pids) < 9 && lines.Scan(); {
		var pid int
		if _, err := fmt.Sscan(lines.Text(), &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	endGroup(c.Process.Pid)
	for _, pid := range pids {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !bytes.Contains(stat, []byte(") Z ")) && !bytes.Contains(stat, []byte(") X ")) {
			t.Errorf("still there: %s", stat)
		}
	}
	if err := c.Wait(); err == nil {
		t.Error("it has ended by itself")
	}
}
