package keeper

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What follows HOME in a keeper's arguments.
const (
	keeperWord = "keeper"
	modeGuest  = "guest"
	modeResume = "resume"
)

const linkFD = 4 // of a daemon, and of a guest

// begin makes the keeper what Mode says, up to the daemon that it is to keep.
func (k *keeper) begin() error {
	if len(k.opts.Daemon) == 0 {
		return fmt.Errorf("cannot start the daemon: no command")
	}
	mode := k.opts.Mode
	switch {
	case len(mode) == 2 && mode[0] == modeResume:
		fd, err := strconv.Atoi(mode[1])
		if err != nil || fd < 3 {
			return fmt.Errorf("cannot resume: %q is not a descriptor", mode[1])
		}
		return k.resume(fd)
	case len(mode) == 1 && mode[0] == modeGuest:
		return k.beginGuest()
	case len(mode) == 0:
		return k.beginFresh()
	}
	return fmt.Errorf("cannot begin as %q", mode)
}

func (k *keeper) beginFresh() error {
	closeStrays(k.opts.Handshake)
	k.adopt()
	if err := k.claim(); err != nil {
		return err
	}
	if err := k.start(k.binary); err != nil {
		return fmt.Errorf("cannot start the daemon: %w", err)
	}
	k.closeHandshake()
	return nil
}

// beginGuest takes over a daemon whose keeper has died.
func (k *keeper) beginGuest() error {
	if err := packetSocket(linkFD); err != nil {
		return err
	}
	cred, err := unix.GetsockoptUcred(linkFD, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("cannot ask who the daemon is: %w", err)
	}
	k.adopt()
	if err := k.claim(); err != nil {
		return err
	}
	watch, err := openPidfd(int(cred.Pid))
	if errors.Is(err, unix.ESRCH) {
		watch = -1
	} else if err != nil {
		return fmt.Errorf("cannot watch the daemon (pid %d): %w", cred.Pid, err)
	}
	if k.daemon, err = guestDaemon(int(cred.Pid), linkFD, watch); err != nil {
		return err
	}
	k.daemon.conn.send(k.welcome(0))
	return nil
}

func openPidfd(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.10
		return unix.PidfdOpen(pid, 0)
	}
	return fd, err
}

// adopt makes orphans below us our children.
func (k *keeper) adopt() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		k.logf("cannot adopt the orphans of apps: %v", err)
	}
}

// claim takes the lock that makes this the only keeper of its home. One that is just
// ending may hold it for a moment.
func (k *keeper) claim() error {
	lock, err := os.OpenFile(k.opts.Lock, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot lock the home for its keeper: %v", err)
	}
	if err := flock(lock, k.lockWait); err != nil {
		defer lock.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("cannot lock the home for its keeper: %s: %v", k.opts.Lock, err)
		}
		text := make([]byte, 16)
		n, _ := lock.ReadAt(text, 0)
		return fmt.Errorf("another keeper (pid %s) has this home; kill -USR1 it to have its daemon started again", strings.TrimSpace(string(text[:n])))
	}
	err = errors.Join(lock.Chmod(0o600), lock.Truncate(0)) // whatever the umask
	if err == nil {
		_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil { // a full disk: the lock counts, the pid is for people
		k.logf("cannot write %s: %v", k.opts.Lock, err)
	}
	k.lock = lock
	return nil
}

// flock tries for as long as patience lasts: locks can't be waited for in a limited time.
func flock(lock *os.File, patience time.Duration) error {
	for limit := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(limit) {
			return err
		}
	}
}

// closeStrays closes what the user's shell left open in its children: a pipe that a
// script waits on must not stay open for as long as gopm and its apps live. Our own
// descriptors are all close-on-exec; what isn't, and is not kept, was inherited.
func closeStrays(keep *os.File) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc nothing works; others will say so
	}
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < 3 || keep != nil && fd == int(keep.Fd()) {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}
