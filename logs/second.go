package logs

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A stream's second pipe has bytes that come before those in the first: a basin (see
// flood.go), the queue of a buffered stream (see buffered.go), or what was in the
// memory of a daemon that has handed over (see handover.go). They are always as a
// program wrote them. There is at most one, and whoever outlives this daemon is told
// of it before a byte gets there.

// seconds tells of second pipes.
type seconds struct {
	mu   sync.Mutex // one call at a time: two pumps may hand over
	tell func(key string, pipe *os.File)
}

// entrust tells of a second pipe.
func (s *seconds) entrust(key string, fd int) error {
	if s.tell == nil {
		return nil
	}
	f, err := childFile(fd)
	if err != nil {
		return err
	}
	defer f.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(key, f)
	return nil
}

// forget tells that a stream has none any more.
func (s *seconds) forget(key string) {
	if s.tell == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(key, nil)
}

// entrust tells of what is to be a stream's second pipe.
func (p *Pump) entrust(s *Stream, fd int) error { return p.fam.seconds.entrust(s.public().key, fd) }

// second is a stream's second pipe; -1: none.
func (s *Stream) second() int {
	if k := s.outs[0].sink; k != nil && k.queue {
		return k.fd
	}
	return s.inflow.basin
}

// Entrust tells Options.Second again of every second pipe there is: who held them
// is gone. It doesn't wait for a disk that hangs; then they are told when it answers.
func (p *Pump) Entrust() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.do(ctx, func() {
		for _, s := range p.streams {
			if fd := s.second(); fd >= 0 {
				if err := p.entrust(s, fd); err != nil {
					p.log("%s: %v", s.target.Path, err)
				}
			}
		}
	})
}

// precede puts bytes that were taken out of a stream's pipe back, before all that
// follows: into its second pipe, or, if that has something, into a new one that gets
// this as well. It returns how many didn't fit.
func (p *Pump) precede(s *Stream, head []byte) (lost int, err error) {
	in := &s.inflow
	fd := in.basin
	if s.front != nil { // the back's own pipe is the second one
		fd = s.fd
	}
	if fd < 0 || waiting(fd) > 0 {
		old := fd
		if fd, err = newPipe(-1, -1); err != nil {
			return len(head), err
		}
		if err = p.entrust(s, fd); err != nil {
			unix.Close(fd)
			return len(head), err
		}
		head = append(head, readPipe(old)...)
		if in.basin >= 0 {
			unix.Close(in.basin)
		}
		in.basin, in.left = fd, true
	}
	if len(head) > pipeSize(fd) {
		unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, len(head))
	}
	n, err := retryInt(func() (int, error) { return unix.Write(fd, head) })
	lost = len(head) - max(n, 0)
	if lost > 0 && err == nil {
		err = errors.New("the user may not have so large a pipe")
	}
	return lost, err
}

// midlinePipe says whether what is in a pipe ends within a line, without taking it.
func midlinePipe(fd int) bool {
	n := waiting(fd)
	if n == 0 {
		return false
	}
	copied, err := newPipe(-1, -1)
	if err != nil {
		return false
	}
	defer unix.Close(copied)
	unix.FcntlInt(uintptr(copied), unix.F_SETPIPE_SZ, pipeSize(fd))
	retryInt(func() (int, error) {
		n, err := unix.Tee(fd, copied, n, unix.SPLICE_F_NONBLOCK)
		return int(n), err
	})
	all := readPipe(copied)
	return len(all) == n && all[n-1] != '\n'
}

// readPipe takes what is in a pipe.
func readPipe(fd int) []byte {
	if fd < 0 {
		return nil
	}
	b := make([]byte, waiting(fd))
	n := 0
	for n < len(b) {
		m, err := retryInt(func() (int, error) { return unix.Read(fd, b[n:]) })
		if err != nil || m <= 0 {
			break
		}
		n += m
	}
	return b[:n]
}
