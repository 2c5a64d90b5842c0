package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Spawn implements Kernel.
func (k *OSKernel) Spawn(c Command, l Launch, exited func()) (Child, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("there is no command to run")
	}
	pid, e := k.spawner.spawn(c, l, k.running())
	if e != nil {
		return nil, explain(c, e)
	}
	pidfd, e := unix.PidfdOpen(pid, 0) // it is ours and unreaped: the pid can't be another's
	if e != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("cannot watch the new process: %v (gopm needs Linux 5.4 or later)", e)
	}
	return k.own(c, pid, pidfd, countOfGroups(l.Groups), exited)
}

// own makes a Child of a process just spawned.
func (k *OSKernel) own(c Command, pid, pidfd int, group groupCount, exited func()) (Child, error) {
	st, _ := k.proc.stat(pid) // it is ours and unreaped, so it is there, if only as a zombie
	ch := &child{k: k, pid: pid, pidfd: pidfd, start: st.start, marker: c.Marker, reaper: k.reaper(), ooms: k.oom.recent(), group: group}
	k.setMain(pid, true)
	var e error
	if ch.watch, e = k.watch(pidfd, exited); e != nil {
		_ = ch.Signal(unix.SIGKILL, true)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		ch.Release()
		return nil, e
	}
	return ch, nil
}

// receiveIgnored lets us receive and drop the signals that we ignore. An ignored
// signal stays ignored in a program that we exec, a received one is reset, and a
// program that was started by nohup's child should still end on SIGHUP.
func receiveIgnored() {
	const sigIgn = 1
	var ignored []os.Signal
	for sig := syscall.Signal(1); sig < 32; sig++ {
		var action [4]uint64 // struct sigaction of 64-bit Linux; the handler comes first
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
		if e == 0 && action[0] == sigIgn {
			ignored = append(ignored, sig)
		}
	}
	if len(ignored) > 0 {
		signal.Notify(make(chan os.Signal, 1), ignored...) // nobody reads it: dropped
	}
}

// signalMask is the calling thread's.
func signalMask() (mask uint64) {
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, 0, uintptr(unsafe.Pointer(&mask)), 8, 0, 0)
	return mask
}

// setSignalMask sets the calling thread's; all threads of a Go program have the
// one it was started with, and its children too.
func setSignalMask(mask uint64) {
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&mask)), 0, 8, 0, 0)
}

// SignalName is "SIGKILL" for 9, and "signal 40" for one without a name.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}
