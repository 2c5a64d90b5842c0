package parent

import (
	"errors"

	"golang.org/x/sys/unix"
)

// send carries out one order. A process that is gone already is no error.
func send(o order) error {
	var err error
	if o.whole {
		err = unix.Kill(-o.pid, o.sig)
	} else {
		err = sendOne(o)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// sendOne signals one process through a pidfd: once its start time has been seen
// to be the expected one while the pidfd is held, it can't be anybody else.
func sendOne(o order) error {
	fd, err := unix.PidfdOpen(o.pid, 0)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.3: a window of microseconds is left
		if p, ok := look(o.pid); !ok || p.start != o.start {
			return nil
		}
		return unix.Kill(o.pid, o.sig)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if p, ok := look(o.pid); !ok || p.start != o.start {
		return nil
	}
	return unix.PidfdSendSignal(fd, o.sig, nil, 0)
}
