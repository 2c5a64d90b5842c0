package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"gopm/daemon/api"
)

// homeClaim is the exclusive right to a home.
type homeClaim struct {
	lock     *os.File
	listener *net.UnixListener
	home     api.Home
	socket   fs.FileInfo // ours; another's must not be removed at the end
	given    bool        // to the next daemon
}

// claimHome takes the lock, makes sure that nobody answers at the socket, and
// listens there. A file that is not a socket is left alone. A socket that the daemon
// before has left goes on as it is.
func claimHome(h api.Home, left *net.UnixListener) (*homeClaim, error) {
	lock, err := os.OpenFile(h.Lock(), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the home: %v", err)
	}
	if err := lock.Chmod(0o600); err != nil { // whatever the umask
		lock.Close()
		return nil, fmt.Errorf("cannot protect the lock: %v", err)
	}
	if err := takeLock(lock, left != nil); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another gopm daemon%s runs with the home %s, but does not answer at its socket; kill -TERM it to end it with its apps", h.Holder().Text(), h.Dir)
	}
	if err := h.WriteHolder(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("cannot write the lock: %v", err)
	}
	l := left
	if info, err := os.Lstat(h.Socket()); l == nil || err != nil || info.Mode().Type() != fs.ModeSocket {
		if l, err = listen(h); err != nil {
			lock.Close()
			return nil, err
		}
	}
	socket, err := os.Lstat(h.Socket())
	if err != nil {
		l.Close()
		lock.Close()
		return nil, fmt.Errorf("cannot look at the new socket: %v", err)
	}
	return &homeClaim{lock: lock, listener: l, home: h, socket: socket}, nil
}

// takeLock waits a moment, for a command may just be looking whether it is held; and
// longer for the lock of a daemon that has just died: a child that it was starting may
// hold it until its exec.
func takeLock(lock *os.File, died bool) error {
	const pause = time.Millisecond
	patience := 200 * time.Millisecond
	if died {
		patience = 5 * time.Second
	}
	for began := time.Now(); ; time.Sleep(pause) {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || time.Since(began) > patience {
			return err
		}
	}
}

func listen(h api.Home) (*net.UnixListener, error) {
	conn, err := h.Dial()
	var stranger *api.StrangerError
	if err == nil {
		conn.Close()
	}
	if err == nil || errors.As(err, &stranger) {
		return nil, fmt.Errorf("something else already answers at %s; is another gopm running there? gopm ping", h.Socket())
	}
	info, err := os.Lstat(h.Socket())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("cannot look at the socket: %v", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s exists and is not a socket; it is left alone: move it away, or set GOPM_HOME", h.Socket())
	default:
		if err := os.Remove(h.Socket()); err != nil {
			return nil, fmt.Errorf("cannot remove the stale socket: %v", err)
		}
	}
	l, err := h.Listen()
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %v", h.Socket(), err)
	}
	return l, nil
}

// holds says whether the home is still the one whose lock we have: its path may have
// become another daemon's.
func (c *homeClaim) holds() error {
	own, err := c.lock.Stat()
	if err != nil {
		return err
	}
	if now, err := os.Lstat(c.home.Lock()); err != nil || !os.SameFile(own, now) {
		return fmt.Errorf("the home %s was removed or replaced", c.home.Dir)
	}
	return nil
}

// handOver leaves the socket to the next daemon.
func (c *homeClaim) handOver() { c.given = true }

func (c *homeClaim) release() {
	c.listener.Close()
	if c.given {
		c.lock.Close()
		return
	}
	if now, err := os.Lstat(c.home.Socket()); err == nil && os.SameFile(now, c.socket) {
		_ = os.Remove(c.home.Socket())
	}
	c.lock.Close()
}
