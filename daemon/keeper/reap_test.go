package keeper

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A child that has made us its debugger and stops hasn't ended: neither its code nor its
// death is to be told.
func TestATracedChildThatStopsHasNotEnded(t *testing.T) {
	runtime.LockOSThread() // the debugger is a thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true} // as PTRACE_TRACEME: it stops when it begins
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, "it has stopped", func() bool { return peekAt(t, pid) != 0 })
	if status := collect(pid); status != -1 {
		t.Errorf("it is said to have ended with %#x", status)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var status int64
	eventually(t, "its end is collected", func() bool { status = collect(pid); return status != -1 })
	if unix.WaitStatus(status).Signal() != unix.SIGKILL {
		t.Errorf("it has ended with %#x", status)
	}
}

// peekAt is pid if there is something to be told of it, which stays so.
func peekAt(t *testing.T, pid int) int {
	t.Helper()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	return int(info.Signo)
}
