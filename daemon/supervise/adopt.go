package supervise

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Adopt implements Kernel. The process was spawned by an earlier daemon, so it is
// a child of the keeper, which keeps it as a zombie until we ask for its exit; or
// of init, if its keeper has died: then nobody can learn how it ended, and a zombie
// that init hasn't come to yet is as good as gone. Taken for there it would hide its
// successor from a machine that is older than both (keeper and daemon have died).
func (k *OSKernel) Adopt(c Command, run Run, exited func()) (Child, error) {
	if run.Pid < 2 { // a damaged note: to signal the group of init would be to signal everybody
		return nil, ErrGone
	}
	pidfd, err := unix.PidfdOpen(run.Pid, 0)
	if err != nil {
		if onlyLack(err) == nil {
			return nil, ErrGone
		}
		return nil, fmt.Errorf("cannot watch process %d: %v", run.Pid, err)
	}
	st, err := k.proc.stat(run.Pid)
	if err != nil || st.start != run.StartTime { // else it is whom the pidfd means
		unix.Close(pidfd)
		if lack := onlyLack(err); lack != nil {
			return nil, fmt.Errorf("cannot look at process %d: %v", run.Pid, lack)
		}
		return nil, ErrGone
	}
	if !st.alive() && st.ppid != k.keeper() {
		unix.Close(pidfd)
		return nil, ErrGone
	}
	ch := &child{
		k: k, pid: run.Pid, pidfd: pidfd, start: run.StartTime, marker: c.Marker,
		adopted: true, reaper: st.ppid, ooms: k.oom.recent(), group: countOfProcess(run.Pid),
	}
	k.setMain(run.Pid, true)
	if ch.watch, err = k.watch(pidfd, exited); err != nil {
		ch.Release()
		return nil, err
	}
	return ch, nil
}

// Inherit implements Kernel. Nobody is left to wait for; what is left of the group
// is known by its number only if it is known when that became free.
func (k *OSKernel) Inherit(c Command, r Remains) Child {
	return &child{
		k: k, pid: r.Pid, pidfd: -1, start: r.StartTime, marker: c.Marker,
		adopted: true, reaped: max(r.Reaped, 1),
	}
}

// peek is how our child has ended, without reaping it.
func peek(pid int) (ws unix.WaitStatus, ok bool) {
	// struct siginfo of 64-bit Linux: signo, errno, code, padding, then pid, uid, status.
	var info [128 / 4]int32
	const code, who, status = 2, 4, 6
	const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED
	var err error
	for {
		err = unix.Waitid(unix.P_PID, pid, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil || int(info[who]) != pid {
		return 0, false
	}
	switch info[code] {
	case exited:
		return unix.WaitStatus(info[status] << 8), true
	case dumped:
		return unix.WaitStatus(info[status] | 0x80), true
	}
	return unix.WaitStatus(info[status]), true
}

// reap collects our ended child; false: somebody else has.
func reap(pid int) bool {
	for {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
		if err != unix.EINTR {
			return got == pid
		}
	}
}
