package parent

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// closeStrays closes what the user's shell left open in its children: a pipe that a
// script waits on must not stay open for as long as gopm and its apps live. Our own
// descriptors are all close-on-exec; what isn't, and is not in keep, was inherited.
func closeStrays(keep []*os.File) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc nothing works; others will say so
	}
	wanted := map[int]bool{0: true, 1: true, 2: true}
	for _, f := range keep {
		wanted[int(f.Fd())] = true
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || wanted[fd] {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

// start runs the daemon and returns the keeper's end of the link. Both ends are
// close-on-exec; only the daemon's copy, made by the fork, is not.
func (k *keeper) start(argv, environ []string, extra []*os.File) (*os.File, error) {
	if len(argv) == 0 {
		return nil, fmt.Errorf("cannot start the daemon: no command")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make the link to the daemon: %w", err)
	}
	files := []uintptr{0, 1, 2}
	for _, f := range extra {
		files = append(files, f.Fd())
	}
	files = withRoom(append(files, uintptr(pair[1])))
	k.daemon, err = syscall.ForkExec(k.binary, argv, &syscall.ProcAttr{Env: environ, Files: files})
	unix.Close(pair[1])
	for _, f := range extra {
		f.Close()
	}
	if err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("cannot start the daemon (%s): %w", k.binary, err)
	}
	return os.NewFile(uintptr(pair[0]), "daemon link"), nil
}

// TableRoom is the number of a descriptor that the daemon gets only so that its
// table has room. The kernel makes room for more by doubling, and where there are
// threads each time waits for a grace period of about 10 ms; in the daemon's first
// thread, before the exec, it costs nothing.
const TableRoom = 1023

// withRoom adds stdin as that descriptor, if the limit allows it.
func withRoom(files []uintptr) []uintptr {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur <= TableRoom {
		return files
	}
	for len(files) < TableRoom {
		files = append(files, ^uintptr(0)) // none
	}
	return append(files, 0)
}
