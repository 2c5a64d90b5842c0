package keeper

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

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
	files = append(files, uintptr(pair[1]))
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
