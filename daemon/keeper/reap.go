package keeper

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// zombies are children that have ended.
type zombies struct {
	held  bool // there is one that is not to be reaped yet
	stale bool // which they are may have changed
}

// reap takes in the daemon's end, and while one serves every stranger's. While none
// does, nothing is reaped: what the daemon had just started and not told us of must
// keep its exit code for the next one.
func (k *keeper) reap() {
	if d := k.daemon; d != nil && d.ours {
		if pid, status := wait(d.pid); pid == d.pid {
			k.bury(status)
			return
		}
	}
	k.zombies.held = false
	if k.daemon == nil || !k.daemon.ready {
		return
	}
	for {
		pid := peek()
		switch {
		case pid == 0 || k.dying():
			return
		case k.store.holds(pid) || pid == k.daemon.pid:
			k.zombies.held = true
			k.reapAround()
			return
		}
		wait(pid)
	}
}

// dying says whether the daemon is ending. Its children fall to us when its last
// thread ends, and if that isn't its first one, a moment before it can be waited for;
// so what was just seen to be our child may be what it had started and not told us of.
func (k *keeper) dying() bool {
	p, ok := look(k.daemon.pid)
	return !ok || p.zombie
}

// reapAround reaps strangers one by one: the kernel shows only the first of those
// that have ended, and that one is held.
func (k *keeper) reapAround() {
	ours := children()
	if k.dying() {
		return
	}
	for _, pid := range ours {
		if pid != k.daemon.pid && !k.store.holds(pid) {
			wait(pid)
		}
	}
}

// collect reaps a process that the daemon asks for; -1: it isn't ours, or has not ended.
func collect(pid int) int64 {
	if got, status := wait(pid); got == pid {
		return int64(status)
	}
	return -1
}

// wait reaps one process if it has ended. One that has made us its debugger (any child
// can) is told of when it stops, too: it hasn't ended then.
func wait(pid int) (int, unix.WaitStatus) {
	var status unix.WaitStatus
	for {
		got, err := unix.Wait4(pid, &status, unix.WNOHANG|unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case got > 0 && !status.Exited() && !status.Signaled():
			return 0, 0
		default:
			return got, status
		}
	}
}

// peek is a child that has ended and is not reaped by this; 0: none.
func peek() int {
	var info [128]byte // siginfo_t; si_pid comes after three ints, aligned as the union after it
	for {
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0, uintptr(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, 0, 0)
		switch errno {
		case unix.EINTR:
		case 0:
			return int(int32(binary.NativeEndian.Uint32(info[3*4+unsafe.Sizeof(uintptr(0))-4:])))
		default:
			return 0
		}
	}
}

// children lists ours. A kernel without CONFIG_PROC_CHILDREN keeps no such list:
// there everybody is asked for the parent.
func children() (pids []int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if errors.Is(err, os.ErrNotExist) { // or a thread that has just ended, which has no children
			return childrenByParent()
		}
		for _, field := range bytes.Fields(text) {
			if pid, err := strconv.Atoi(string(field)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func childrenByParent() (pids []int) {
	for _, p := range processes() {
		if p.ppid == os.Getpid() {
			pids = append(pids, p.pid)
		}
	}
	return pids
}
