package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// notification is struct seccomp_notif: a call that waits for our answer.
type notification struct {
	id     uint64
	tid    uint32 // of the thread that calls
	flags  uint32
	number int32 // struct seccomp_data from here
	arch   uint32
	ip     uint64
	args   [6]uint64
}

// The calls on a notification descriptor: _IOWR('!', 0…3, size).
const (
	ioctlReceive = 0xc0502100
	ioctlSend    = 0xc0182101
	ioctlIsValid = 0x40082102
	ioctlAddFD   = 0x40182103
)

// notifier is the descriptor over which a filter notifies. It is in Go's poller: who
// waits for a call takes no thread.
type notifier struct {
	file   *os.File
	raw    syscall.RawConn
	closed atomic.Bool
}

// newNotifier takes the descriptor: it is closed if there is an error.
func newNotifier(fd int) (*notifier, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot watch its system calls: %w", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp notify")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("cannot watch its system calls: %w", err)
	}
	return &notifier{file: file, raw: raw}, nil
}

// receive waits for a call. os.ErrClosed: there are none any more, for all processes
// under the filter are gone, or close was called.
func (l *notifier) receive(n *notification) error {
	var result error
	err := l.raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(p, 0) // for the call after it knows no O_NONBLOCK
		switch {
		case p[0].Revents&unix.POLLIN != 0:
			*n = notification{} // the kernel wants zeroes
			result = ioctl(fd, ioctlReceive, unsafe.Pointer(n))
			return result != unix.ENOENT && result != unix.EINTR // the caller has died meanwhile
		case p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0:
			result = os.ErrClosed
			return true
		}
		return false
	})
	if err != nil && l.closed.Load() { // the poller has an error of its own for that
		return os.ErrClosed
	}
	return errors.Join(err, result)
}

// proceed has the kernel run the call as the program made it.
func (l *notifier) proceed(id uint64) error { return l.send(response{id: id, flags: 1}) }

// finish ends the call without running it: with success, or the error.
func (l *notifier) finish(id uint64, errno syscall.Errno) error {
	return l.send(response{id: id, errno: -int32(errno)})
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32 // 1: SECCOMP_USER_NOTIF_FLAG_CONTINUE
}

// send gives an answer; that the caller has died is none of its errors.
func (l *notifier) send(r response) error {
	err := l.control(ioctlSend, unsafe.Pointer(&r))
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// addFD is struct seccomp_notif_addfd.
type addFD struct {
	id                               uint64
	flags, from, to, descriptorFlags uint32
}

const addSet = 1 // SECCOMP_ADDFD_FLAG_SETFD: to is their number

// install puts our descriptor in the place of one of the caller's. It waits until the
// caller, which may be starved of its processor, has taken it.
func (l *notifier) install(id uint64, ours, theirs int, cloexec bool) error {
	req := addFD{id: id, flags: addSet, from: uint32(ours), to: uint32(theirs)}
	if cloexec {
		req.descriptorFlags = unix.O_CLOEXEC
	}
	return l.control(ioctlAddFD, unsafe.Pointer(&req))
}

// valid says that the call still waits, and so that what was read of its caller by
// number was the caller's.
func (l *notifier) valid(id uint64) bool { return l.control(ioctlIsValid, unsafe.Pointer(&id)) == nil }

func (l *notifier) control(request uintptr, arg unsafe.Pointer) (err error) {
	if e := l.raw.Control(func(fd uintptr) { err = ioctl(fd, request, arg) }); e != nil {
		return e
	}
	return err
}

// pending says whether there is a call that nobody has received yet.
func (l *notifier) pending() (is bool) {
	l.with(func(fd int) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(p, 0)
		is = p[0].Revents&unix.POLLIN != 0
	})
	return is
}

// with calls f with the descriptor, unless it is closed.
func (l *notifier) with(f func(fd int)) { _ = l.raw.Control(func(fd uintptr) { f(int(fd)) }) }

func (l *notifier) close() {
	l.closed.Store(true)
	l.file.Close()
}

func ioctl(fd, request uintptr, arg unsafe.Pointer) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}

// ---- what is looked up of a caller

// readMemory copies from a process, or thread, that runs as our user, or whose master we are.
func readMemory(tid int, address uint64, length int) ([]byte, error) {
	b := make([]byte, length)
	n, err := unix.ProcessVMReadv(tid, []unix.Iovec{{Base: &b[0], Len: uint64(length)}},
		[]unix.RemoteIovec{{Base: uintptr(address), Len: length}}, 0)
	if err == unix.EPERM || err == unix.ENOSYS { // a container may forbid the call alone
		n, err = readMemoryFile(tid, address, b)
	}
	if err == nil && n != length {
		err = unix.EFAULT
	}
	return b, err
}

func readMemoryFile(tid int, address uint64, b []byte) (int, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(b, int64(address))
	if err != nil && !denied(err) {
		err = unix.EFAULT
	}
	return n, err
}

// denied says that we aren't allowed to, or the kernel can't.
func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOSYS)
}

// processOf is the process that a thread belongs to.
func processOf(tid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(statusField(status, "Tgid:")))
}

// takeFD duplicates a descriptor of another process.
func takeFD(pid, fd int) (int, error) {
	p, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(p)
	return unix.PidfdGetfd(p, fd, 0) // ours is close-on-exec
}

// descriptorFlags are those of a descriptor of another process: O_NONBLOCK is one.
func descriptorFlags(pid, fd int) int {
	info, _ := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd))
	flags, err := strconv.ParseUint(string(statusField(info, "flags:")), 8, 32)
	if err != nil {
		return unix.O_CLOEXEC // what nearly all have
	}
	return int(flags)
}

// statusField is the value of a line of a file below /proc; nil: there is no such line.
func statusField(text []byte, name string) []byte {
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

// mayBindLow says whether a thread may bind to privileged ports. A capability in a
// user namespace that it has made for itself doesn't count.
func mayBindLow(tid int) bool {
	if ours, err := os.Readlink("/proc/self/ns/user"); err == nil {
		if its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", tid)); err != nil || its != ours {
			return false
		}
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	capabilities, err := strconv.ParseUint(string(statusField(status, "CapEff:")), 16, 64)
	return err == nil && capabilities&(1<<unix.CAP_NET_BIND_SERVICE) != 0
}
