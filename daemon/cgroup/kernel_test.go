package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// TestKernel: groups of the kernel's own, of each version that there is here: what is put
// into one is seen in it, ends with it, and nothing is left.
func TestKernel(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may make cgroups outside of its own")
	}
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, tree := range locate(string(groups), string(mounts)) {
		if mayWrite(tree.dir) != nil {
			continue // a container's
		}
		tried++
		prefix := fmt.Sprintf("gopm-test%d-%d-", os.Getpid(), tried) // each sweeps all trees
		t.Run(fmt.Sprintf("version %d %v", tree.version, tree.controllers), func(t *testing.T) {
			t.Parallel()
			inKernel(t, tree, prefix)
		})
	}
	if tried == 0 {
		t.Skip("no cgroups that can be written")
	}
}

func inKernel(t *testing.T, tree hierarchy, prefix string) {
	h := Open(prefix)
	dir := tree.dir + "/" + h.prefix + "a"
	if err := (place{tree.version, tree.dir}).make(dir, Limits{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	h.used[h.prefix+"a"] = true
	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	pid := sleeper.Process.Pid
	if h.Has("a", pid) {
		t.Error("it is said to be in the group before it is")
	}
	write(t, dir+"/cgroup.procs", strconv.Itoa(pid))
	if !h.Has("a", pid) {
		t.Error("it isn't seen in the group")
	}
	h.Sweep() // neither a group that is used
	delete(h.used, h.prefix+"a")
	h.Sweep() // nor one with processes
	h.Leave("a", false)
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the group has gone with a process in it: %v", err)
	}
	killAll(dir)
	if err := sleeper.Wait(); err == nil || sleeper.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("what was in the group: %v", err)
	}
	h.Leave("a", true)
	if _, err := os.Stat(dir); err == nil {
		t.Error("the group is left")
	}
}
