package cluster

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Feature is something of the kernel that clusters use, and why it isn't to be had.
type Feature struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // "" = it works
	Old   bool   `json:"old,omitempty"`   // the kernel doesn't know it; else somebody forbids it
}

// What Features tries.
const (
	FeatureNotify   = "notify"        // seccomp's user notification, with all that is wanted of it
	FeatureTake     = "take"          // pidfd_getfd
	FeatureRead     = "read"          // process_vm_readv
	FeaturePidfd    = "pidfd"         // pidfd_open
	FeatureSteer    = "steer"         // a program that chooses among the sockets of a port
	FeatureDiag     = "sock_diag"     // the list of connections
	FeatureClose    = "close_range"   // of many descriptors at once
	FeatureChildren = "proc_children" // /proc/PID/task/TID/children
)

// Features tries each of them. Child is a process that was started by this one and waits:
// what is asked for there is asked for at every bind of a program. The filter that one of
// them needs ends with its thread; but a thread that sets no_new_privs, or whatever an
// unknown kernel does, belongs into a process that is for nothing else.
func Features(child int) []Feature {
	try := func(name string, err error) Feature {
		f := Feature{Name: name}
		if err != nil {
			f.Error, f.Old = err.Error(), err == unix.ENOSYS || err == unix.EINVAL || err == unix.ENOPROTOOPT || os.IsNotExist(err)
		}
		return f
	}
	notify := Feature{Name: FeatureNotify}
	aside(func() {
		fd, _, err := confine(false)
		if notify = try(FeatureNotify, err); err != nil {
			return
		}
		defer unix.Close(fd)
		notify.Error = lackingOf(uintptr(fd))
		notify.Old = notify.Error != ""
	})
	return []Feature{
		notify, try(FeaturePidfd, tryPidfd(child)), try(FeatureTake, tryTake(child)), try(FeatureRead, tryRead(child)), try(FeatureSteer, trySteer()),
		try(FeatureDiag, tryDiag()), try(FeatureClose, unix.CloseRange(1<<20, 1<<20, 0)), try(FeatureChildren, tryChildren()),
	}
}

func tryPidfd(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func tryTake(pid int) error {
	fd, err := takeFD(pid, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// tryRead reads where nothing is: who may read is told so.
func tryRead(pid int) error {
	var b [1]byte
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: 1}}, []unix.RemoteIovec{{Base: 1, Len: 1}}, 0)
	if err == unix.EFAULT {
		return nil
	}
	return err
}

func trySteer() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(fd, 1); err != nil {
		return err
	}
	return attach(fd, randomProgram([]int{1}))
}

func tryDiag() error {
	_, err := connections([]uint16{1})
	return err
}

func tryChildren() error {
	own := strconv.Itoa(os.Getpid())
	_, err := os.Stat("/proc/self/task/" + own + "/children")
	return err
}
