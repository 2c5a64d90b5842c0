package logs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pipeChunk is the most that is moved by one system call: what a pipe holds by default.
const pipeChunk = 64 << 10

// newPipe makes a pipe as one descriptor, open for reading and writing: whoever
// dies, the pipe always has a reader and a writer, so it never sends SIGPIPE and
// never ends. Ours doesn't block; a child gets a description of its own (reopen).
func newPipe(uid, gid int) (fd int, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return -1, fmt.Errorf("cannot create a log pipe: %w", err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	fd, err = reopen(ends[0], unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("cannot open a log pipe for reading and writing: %w", err)
	}
	if uid >= 0 || gid >= 0 { // else a program of that user can't open /dev/stdout
		if err := unix.Fchown(fd, uid, gid); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("cannot give a log pipe to uid %d gid %d: %w", uid, gid, err)
		}
	}
	return fd, nil
}

// reopen makes a new open file description of what fd refers to.
func reopen(fd, flags int) (int, error) {
	return retryInt(func() (int, error) {
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_CLOEXEC, 0)
	})
}

// childFile is a blocking description of the pipe, for a child.
func childFile(fd int) (*os.File, error) {
	n, err := reopen(fd, unix.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("cannot open a log pipe for a process: %w", err)
	}
	return os.NewFile(uintptr(n), "log pipe"), nil
}

// waiting is the number of bytes in the pipe.
func waiting(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// pipeSize is how much the pipe holds; less than 64 KB when the user has very many pipes.
func pipeSize(fd int) int {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil || n <= 0 {
		return pipeChunk
	}
	return n
}

// splice moves at most n bytes out of a pipe, to a place in a file or to the end of
// a pipe, and doesn't wait for them.
func splice(from, to int, off *int64, n int) (int, error) {
	return retryInt(func() (int, error) {
		n, err := unix.Splice(from, nil, to, off, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	})
}

// peeker shows what is in a pipe without taking it: tee into a pipe of its own, and read that.
type peeker struct{ r, w int }

func newPeeker() (peeker, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return peeker{-1, -1}, fmt.Errorf("cannot create a pipe: %w", err)
	}
	return peeker{ends[0], ends[1]}, nil
}

// peek fills buf with the first bytes of the pipe fd.
func (p peeker) peek(fd int, buf []byte) ([]byte, error) {
	n, err := retryInt(func() (int, error) {
		n, err := unix.Tee(fd, p.w, min(len(buf), pipeChunk), unix.SPLICE_F_NONBLOCK)
		return int(n), err
	})
	if err != nil {
		return nil, err
	}
	got := 0
	for got < n {
		m, err := retryInt(func() (int, error) { return unix.Read(p.r, buf[got:n]) })
		if err != nil || m == 0 {
			return nil, fmt.Errorf("cannot read a pipe: %v", err)
		}
		got += m
	}
	return buf[:n], nil
}

func (p peeker) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// retryInt repeats a system call that a signal interrupted.
func retryInt(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
