package parent

import (
	"errors"

	"golang.org/x/sys/unix"
)

// reap collects everything that has ended. It stops at the daemon, whose children
// are ours from that moment on.
func (k *keeper) reap() (daemon unix.WaitStatus, ended bool) {
	for {
		pid, status, err := waitAny()
		if err != nil || pid == 0 {
			return 0, false
		}
		if pid == k.daemon {
			return status, true
		}
	}
}

// reapAll collects everything that has ended, and says whether no child is left:
// then there is no descendant either, for the kernel gives us every orphan.
func (k *keeper) reapAll() (childless bool) {
	for {
		pid, _, err := waitAny()
		if errors.Is(err, unix.ECHILD) {
			return true
		}
		if err != nil || pid == 0 {
			return false
		}
	}
}

// waitAny reaps one ended child; pid 0 says that none has ended.
func waitAny() (pid int, status unix.WaitStatus, err error) {
	for {
		pid, err = unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return pid, status, err
		}
	}
}
