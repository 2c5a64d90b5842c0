package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Spawn implements Kernel.
func (k *OSKernel) Spawn(c Command, out, err *os.File, exited func()) (Child, error) {
	if len(c.Argv) == 0 {
		return nil, errors.New("there is no command to run")
	}
	k.turns <- struct{}{}
	defer func() { <-k.turns }()
	pidfd := -1
	pid, e := k.fork(c, k.attributes(c, out, err, &pidfd))
	runtime.KeepAlive(out)
	runtime.KeepAlive(err)
	if e != nil {
		return nil, explain(c, e)
	}
	if pidfd < 0 {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
		return nil, errors.New("this kernel gives no pidfd for a new process: gopm needs Linux 5.4 or later")
	}
	return k.adopt(c, pid, pidfd, exited)
}

// adopt makes a Child of a process just spawned.
func (k *OSKernel) adopt(c Command, pid, pidfd int, exited func()) (Child, error) {
	st, _ := k.proc.stat(pid) // it is ours and unreaped, so it is there, if only as a zombie
	ch := &child{k: k, pid: pid, pidfd: pidfd, start: st.start, marker: c.Marker, ooms: k.oom.read()}
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

func (k *OSKernel) attributes(c Command, out, err *os.File, pidfd *int) *syscall.ProcAttr {
	null := k.null.Fd()
	files := []uintptr{null, null, null}
	if out != nil {
		files[1] = out.Fd()
	}
	if err != nil {
		files[2] = err.Fd()
	}
	env := c.Env
	if env == nil {
		env = []string{} // nil would mean ours
	}
	sys := &syscall.SysProcAttr{Setpgid: true, PidFD: pidfd}
	if u := c.User; u != nil && !isSelf(u) {
		sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	return &syscall.ProcAttr{Dir: c.Dir, Env: env, Files: files, Sys: sys}
}

// isSelf says that there is nothing to change: an ordinary user may name itself
// as the user of an app, but may not call setgroups.
func isSelf(u *Credential) bool {
	return os.Geteuid() != 0 && int(u.UID) == os.Geteuid() && int(u.GID) == os.Getegid()
}

// fork starts the program. The child gets the calling thread's umask and signal
// mask, so where those must differ from ours a thread is prepared and thrown away.
func (k *OSKernel) fork(c Command, attr *syscall.ProcAttr) (pid int, err error) {
	receiveIgnored()
	if c.Umask == nil && signalMask() == 0 {
		return syscall.ForkExec(c.Argv[0], c.Argv, attr)
	}
	done := make(chan struct{})
	go func() { // ends with the fork, and its thread with it: it stays locked; fork waits for it
		defer close(done)
		runtime.LockOSThread()
		setSignalMask(0)
		argv := c.Argv
		if c.Umask != nil {
			argv = k.withUmask(argv, *c.Umask)
		}
		pid, err = syscall.ForkExec(argv[0], argv, attr)
	}()
	<-done
	return pid, err
}

// withUmask sets the umask of the calling thread alone. Where a container
// refuses that (unshare is not in Docker's default profile) a shell does it: the
// daemon's own umask must not change, not even for a moment.
func (k *OSKernel) withUmask(argv []string, mask int) []string {
	if k.fs() == nil {
		unix.Umask(mask)
		return argv
	}
	return append([]string{"/bin/sh", "-c", fmt.Sprintf(`umask %04o; exec "$0" "$@"`, mask)}, argv...)
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

// signalMask is the calling thread's; all threads of a Go program have the one it
// was started with.
func signalMask() (mask uint64) {
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, 0, uintptr(unsafe.Pointer(&mask)), 8, 0, 0)
	return mask
}

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
