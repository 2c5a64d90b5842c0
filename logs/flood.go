package logs

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A program that writes faster than we do finds its pipe full and waits. Splice
// keeps a pipe locked until its bytes are in the file, so the program would wait for
// the whole write, where cat's read lets it go on before that. In a flood the bytes
// therefore go by way of a second pipe, the basin: splice from pipe to pipe moves
// only references to pages, and the program fills its pipe again while the basin is
// emptied into the file. The basins of several programs are emptied in parallel, as
// by several cats.
//
// Each of the two moves is one system call that happens or doesn't. So whoever holds
// duplicates of both pipes when we are killed has every byte once, those of the
// basin before those of the pipe, and Adopt goes on there. A basin is one stream's,
// is made when its flood has lasted a moment, holds what one move takes, is empty
// again after each round unless the file refuses, and goes some time after the flood.

const (
	// floodTurns with much to move are a flood.
	floodTurns = 4
	// basinAge is how long a basin stays without a flood.
	basinAge = 10 * time.Second
	// basinRetry is how many full turns go by after a basin couldn't be had.
	basinRetry = 1000
	// maxCarriers bounds the threads that write at the same time.
	maxCarriers = 4
)

// inflow is the side of a stream that its programs write to.
type inflow struct {
	size  int       // what the pipe holds
	taken int64     // from it, since the stream was opened
	full  int       // turns of late that found much in it, less those that found little
	basin int       // the second pipe; -1: there was no flood lately
	left  bool      // the basin has bytes that come before those in the pipe
	used  time.Time // the basin, last
}

func newInflow(fd int) inflow { return inflow{size: pipeSize(fd), basin: -1} }

// load is the turn of a flooding stream.
type load struct {
	s     *Stream
	basin int
	file  int
	off   int64 // where the next byte goes there
	most  int   // what may go there before the limit has to be looked at

	moved int   // into the file
	left  int   // still in the basin
	err   error // why
	st    state // of the pipe
}

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

// floods begins the turn of a stream whose bytes go by way of its basin, for flood;
// false: it has to be given an ordinary one.
func (p *Pump) floods(s *Stream) bool {
	in := &s.inflow
	if in.full < floodTurns || in.left || s.outs[0].sink.kind != kindFile || !s.direct() || !p.makeBasin(s) {
		return false
	}
	in.used = p.now()
	s.unsettle(in.used)
	p.seek(s, in.used)
	for range turnSteps {
		if p.gate(s, &s.outs[0]); !s.direct() {
			return false
		}
		if l, st := p.plan(s); l.most > 0 || st != pipeMore {
			p.loads = append(p.loads, l)
			return true
		}
	}
	return false
}

// makeBasin sees to it that a stream has one.
func (p *Pump) makeBasin(s *Stream) bool {
	in := &s.inflow
	if in.basin >= 0 {
		return true
	}
	fd, err := newPipe(-1, -1)
	if err == nil && pipeSize(fd) < pipeChunk { // the user has very many pipes: this one gains nothing
		unix.Close(fd)
		err = unix.EPERM
	}
	if err != nil {
		in.full = -basinRetry
		return false
	}
	in.basin = fd
	p.queue.basins = append(p.queue.basins, s)
	return true
}

// plan is what a stream may move in its turn.
func (p *Pump) plan(s *Stream) (load, state) {
	want, st := p.room(s) // may rotate
	k := s.outs[0].sink
	if want == pipeChunk {
		want = turnSteps * pipeChunk
		if l := k.limit(s.inflow.used); l > 0 {
			want = min(want, int(int64(l)-l.margin()-k.off))
		}
	}
	return load{s: s, basin: s.inflow.basin, file: k.fd, off: k.off, most: want, st: st}, st
}

// flood gives the streams of p.loads their turn, several at the same time.
func (p *Pump) flood() {
	var next atomic.Int32
	carry := func() {
		for i := next.Add(1) - 1; int(i) < len(p.loads); i = next.Add(1) - 1 {
			p.loads[i].carry()
		}
	}
	var others sync.WaitGroup
	for range min(len(p.loads), runtime.GOMAXPROCS(0), maxCarriers) - 1 {
		others.Go(carry) // ends with the loads; waited for below
	}
	carry()
	others.Wait()
	for i := range p.loads {
		p.land(&p.loads[i])
	}
}

// carry moves pieces from the pipe into the basin and from there into the file. It
// changes nothing but the load, for several are carried at the same time.
func (l *load) carry() {
	for l.most > 0 {
		n, err := unix.Splice(l.s.fd, nil, l.basin, nil, min(l.most, pipeChunk), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || n == 0: // EAGAIN; should it be something else, arming tells
			l.st = pipeEmpty
			return
		}
		l.most -= int(n)
		l.left = int(n)
		if l.empty(); l.left > 0 || l.most > 0 && !l.inPlace() {
			return
		}
	}
}

// empty moves what is in the basin into the file.
func (l *load) empty() {
	for l.left > 0 && l.err == nil {
		n, err := unix.Splice(l.basin, nil, l.file, &l.off, l.left, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		switch {
		case n > 0:
			l.left -= int(n)
			l.moved += int(n)
		case err == nil:
			l.err = unix.EAGAIN // somebody else took it
		case err != unix.EINTR:
			l.err = err
		}
	}
}

// inPlace says that nobody has changed the file meanwhile.
func (l *load) inPlace() bool {
	var st unix.Stat_t
	return unix.Fstat(l.file, &st) == nil && st.Size == l.off && st.Nlink > 0
}

// land is the end of a turn. What the file refused goes the ordinary way.
func (p *Pump) land(l *load) {
	s := l.s
	in, k := &s.inflow, s.outs[0].sink
	if l.moved > 0 {
		k.off = l.off
	}
	in.taken += int64(l.moved)
	if l.left > 0 {
		in.left = true
		if !fileRefuses(l.err) {
			k.share() // this file system can't splice
		}
		n, st := p.turn(s)
		l.moved, l.st = l.moved+n, st
		return
	}
	in.moved(l.moved)
	p.settle(s, l.moved > 0)
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
			s.closeBasin()
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

func (s *Stream) closeBasin() {
	if s.inflow.basin >= 0 {
		unix.Close(s.inflow.basin)
		s.inflow.basin = -1
	}
}

// earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
