package logs

import (
	"context"
	"fmt"
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
// follows: into a new second pipe, and behind them what the old one has. It returns
// how many didn't fit.
func (p *Pump) precede(s *Stream, head []byte) (lost int, err error) {
	from := -1 // the pipe that comes next
	switch {
	case s.front != nil:
		from = s.fd
	case s.inflow.left:
		from = s.inflow.basin
	}
	if from >= 0 {
		head = append(head, readPipe(from)...)
	}
	fd, err := newPipe(-1, -1)
	if err != nil {
		return len(head), err
	}
	if len(head) > pipeSize(fd) {
		unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, len(head))
	}
	n, err := retryInt(func() (int, error) { return unix.Write(fd, head) })
	lost = len(head) - max(n, 0)
	if e := p.entrust(s, fd); e != nil {
		err = e
	}
	if s.inflow.basin >= 0 {
		unix.Close(s.inflow.basin)
	}
	s.inflow.basin, s.inflow.left = fd, true
	if lost > 0 && err == nil {
		err = fmt.Errorf("the user may not have so large a pipe")
	}
	return lost, err
}

// readPipe takes what is in a pipe.
func readPipe(fd int) []byte {
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
