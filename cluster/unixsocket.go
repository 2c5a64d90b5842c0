package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// do runs a function as the program would: with its umask, and the rights of its user
// in the file system. The thread that is changed for that ends with it.
func (o Owner) do(f func() error) (err error) {
	aside(func() {
		if o.Umask >= 0 && unix.Unshare(unix.CLONE_FS) == nil {
			unix.Umask(o.Umask)
		}
		if o.Set { // the thread's alone: Go's Setfsuid would change it for all
			_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(o.GID), 0, 0)
			_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(o.UID), 0, 0)
		}
		err = f()
	})
	return err
}

// listenUnix makes a unix socket that listens. A socket file that nobody answers at is
// in the way of nobody: it is removed.
func listenUnix(path string, backlog int) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	err = unix.Bind(fd, unixAddress(path))
	if err == unix.EADDRINUSE && !isAbstract(path) {
		if err = removeStale(path); err == nil {
			err = unix.Bind(fd, unixAddress(path))
		}
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, explainUnix(err)
	}
	return fd, nil
}

// unixAddress begins with "@" for one of the abstract kind.
func unixAddress(path string) *unix.SockaddrUnix { return &unix.SockaddrUnix{Name: path} }

func isAbstract(path string) bool { return strings.HasPrefix(path, "@") }

func explainUnix(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("its folder doesn't exist")
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the app's user may not write to its folder", err)
	case err == unix.EADDRINUSE:
		return errors.New("another process has it")
	}
	return err
}

// removeStale removes a socket file at which nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file that is not a socket; it is left alone")
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, unixAddress(path)); err != unix.ECONNREFUSED {
		return errors.New("another process answers there")
	}
	return os.Remove(path)
}

// removeSocket removes the path of a given socket that doesn't listen any more, unless
// another has taken its place.
func removeSocket(g Given) error {
	if g.Network != "unix" || isAbstract(g.Address) {
		return nil
	}
	return removeStale(g.Address)
}
