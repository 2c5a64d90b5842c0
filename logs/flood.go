package logs

import (
	"time"

	"golang.org/x/sys/unix"
)

// A program that writes faster than we do finds its pipe full and waits. Splice
// keeps a pipe locked until its bytes are in the file, so the program would wait for
// the whole write, where cat's read lets it go on before that. In a flood the bytes
// therefore go by way of a second pipe, the basin: splice from pipe to pipe moves
// only references to pages, and the program fills its pipe again while the basin is
// emptied into the file.
//
// Each of the two moves is one system call that happens or doesn't. So whoever holds
// duplicates of both pipes when we are killed has every byte once, those of the
// basin before those of the pipe, and AdoptAll goes on there (see second.go). A basin
// is one stream's, is made when its flood has lasted a moment, holds what one move
// takes, is empty again after each step unless the file refuses, and goes some time
// after the flood.

const (
	// floodTurns with much to move are a flood.
	floodTurns = 4
	// basinAge is how long a basin stays without a flood.
	basinAge = 10 * time.Second
	// basinRetry is how many full turns go by after a basin couldn't be had.
	basinRetry = 1000
)

// inflow is the side of a stream that its programs write to.
type inflow struct {
	size  int       // what the pipe holds
	taken int64     // from it, since the stream was opened
	full  int       // turns of late that found much in it, less those that found little
	basin int       // the second pipe; -1: there was no flood lately
	left  bool      // the basin has bytes that come before those in the pipe
	used  time.Time // the basin, last
	ear   *Ear      // nil: nobody listens
}

func newInflow(fd int) inflow { return inflow{size: pipeSize(fd), basin: -1} }

// source is where a stream's next bytes are.
func (s *Stream) source() int {
	if s.inflow.left {
		return s.inflow.basin
	}
	return s.fd
}

// dry says what comes after a source that has nothing more.
func (s *Stream) dry() state {
	if s.inflow.left {
		s.inflow.left = false
		return pipeMore
	}
	return pipeEmpty
}

// waiting is the number of bytes that are still to be moved.
func (s *Stream) waiting() int {
	n := waiting(s.fd)
	if s.inflow.left {
		n += waiting(s.inflow.basin)
	}
	return n
}

// moved counts for floods what a turn has found.
func (in *inflow) moved(n int) {
	switch {
	case n >= in.size/2:
		in.full = min(in.full+1, 2*floodTurns)
	case n > 0 && in.full > 0: // a flood has gaps
		in.full--
	}
}

// floods says that a stream's next bytes go by way of its basin.
func (p *Pump) floods(s *Stream) bool {
	in := &s.inflow
	return in.full >= floodTurns && !in.left && s.outs[0].sink.kind == kindFile && p.makeBasin(s)
}

// floodStep moves a piece by way of the basin. What doesn't get into the file is the
// matter of the next step.
func (p *Pump) floodStep(s *Stream, want int) (moved int, st state) {
	in, k := &s.inflow, s.outs[0].sink
	n, err := splice(s.fd, in.basin, nil, want)
	switch {
	case err == unix.EAGAIN, err == nil && n == 0:
		return 0, pipeEmpty
	case err != nil: // a sandbox
		in.full = -basinRetry
		return 0, pipeMore
	}
	in.used = p.now()
	in.left = true
	for moved < n {
		m, err := splice(in.basin, k.fd, &k.off, n-moved)
		if err != nil || m == 0 {
			return moved, pipeMore
		}
		moved += m
	}
	in.left = false
	return moved, pipeMore // most likely, meanwhile
}

// makeBasin sees to it that a stream has one.
func (p *Pump) makeBasin(s *Stream) bool {
	in := &s.inflow
	if in.basin >= 0 {
		return true
	}
	fd, err := newPipe(-1, -1)
	if err == nil {
		if pipeSize(fd) < pipeChunk { // the user has very many pipes: this one gains nothing
			err = unix.EPERM
		} else {
			err = p.entrust(s, fd)
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		in.full = -basinRetry
		return false
	}
	in.basin = fd
	p.queue.basins = append(p.queue.basins, s)
	return true
}

// ebb closes the basins of floods that are over. It returns when it is to be called
// again; zero: there is none.
func (p *Pump) ebb() (due time.Time) {
	if len(p.queue.basins) == 0 {
		return time.Time{}
	}
	now := p.now()
	basins := p.queue.basins
	keep := basins[:0]
	for _, s := range basins {
		in := &s.inflow
		over := in.used.Add(basinAge)
		switch {
		case in.left: // for a FIFO by now, which is full
			over = now.Add(basinAge)
		case !now.Before(over):
			p.closeBasin(s)
		}
		if in.basin >= 0 {
			keep = append(keep, s)
			due = earlier(due, over)
		}
	}
	clear(basins[len(keep):])
	p.queue.basins = keep
	return due
}

// closeBasin says that a stream's second pipe is over, if it has one.
func (p *Pump) closeBasin(s *Stream) {
	if s.inflow.basin < 0 {
		return
	}
	p.fam.seconds.forget(s.key)
	unix.Close(s.inflow.basin)
	s.inflow.basin, s.inflow.left = -1, false
}

// earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
