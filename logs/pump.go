// Package logs moves what programs write from their pipes into rotated files,
// without the bytes entering gopm's memory where that can be avoided, and reads
// such files: tail, follow, merge by time.
//
// Lines that have to be whole (with a time, as JSON, in several files or from
// several programs) are read, framed and written instead.
//
// Goroutines, ended and waited for by Close, though not for ever when a disk hangs:
// one per Pump (its own epoll), one more for each group of files with log_buffered,
// one while rotated files are compressed and old ones removed. One more, for the daemon's
// own log, is lumberjack's, which never ends it.
package logs

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

var errClosed = errors.New("the log stream is closed")

// Pump serves the pipes of all streams of a daemon.
type Pump struct {
	log   func(format string, args ...any)
	now   func() time.Time
	poll  *poller
	cmds  chan func()
	ended chan struct{}
	sizes chan os.Signal // SIGXFSZ, see NewPump
	fam   *family

	// The goroutine owns these.
	streams map[int32]*Stream // by pipe
	sinks   map[fileID]*sink
	queue   queue
	pace    pace
	peeker  peeker
	scratch
	end ending
}

// ending is how a pump is to end.
type ending uint8

const (
	goOn  ending = iota
	drain        // what is in the pipes goes to the files, and the pipes are closed
	yield        // what is in memory goes to second pipes, and all pipes stay; see handover.go
)

// Options are what a pump wants from its daemon.
type Options struct {
	Log func(format string, args ...any) // the daemon's log (rate limited here)

	// Second is told, before the first byte passes through a stream's second pipe, and
	// with nil when that is over, so that somebody holds it who outlives the daemon:
	// its bytes come before those of the stream's pipe (AdoptAll). It may be called from
	// any goroutine, but never twice at a time; it must not block. The pipe is valid
	// during the call only. nil: nobody wants to know.
	Second func(key string, pipe *os.File)
}

// scratch is everyone's memory.
type scratch struct {
	buf []byte // for what is read
	out lines  // as they are to be written
}

// queue is the streams that aren't armed in the poller, and those that wait for Grown.
type queue struct {
	ready   []*Stream // have bytes
	drained []*Stream // had bytes; to be armed after the pause
	owing   []*Stream // have grown since Grown was last called
	holding []*Stream // have the beginning of a line, for age
	basins  []*Stream // have a basin, for ebb
}

// NewPump starts the pump's goroutine.
func NewPump(o Options) (*Pump, error) { return newPump(o, time.Now) }

func newPump(o Options, now func() time.Time) (*Pump, error) {
	return newMember(&family{
		packer: packer{log: o.Log}, seconds: seconds{tell: o.Second},
		owners: map[fileID]*Pump{}, past: map[string]*history{}, guests: map[*Pump]int{},
	}, o.Log, now)
}

// newMember starts one of the pumps of a family.
func newMember(fam *family, log func(format string, args ...any), now func() time.Time) (*Pump, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	peeker, err := newPeeker()
	if err != nil {
		poll.close()
		return nil, err
	}
	p := &Pump{
		fam: fam, log: log, now: now, poll: poll, peeker: peeker,
		cmds: make(chan func(), 64), ended: make(chan struct{}),
		sizes:   make(chan os.Signal, 1),
		streams: map[int32]*Stream{}, sinks: map[fileID]*sink{},
		scratch: scratch{buf: make([]byte, 2*pipeChunk)},
	}
	// A write beyond RLIMIT_FSIZE is an error to be counted (EFBIG). The signal that
	// comes with it would end the process; nobody needs to read the channel.
	signal.Notify(p.sizes, unix.SIGXFSZ)
	go p.run() // ended by Close, which waits for it
	return p, nil
}

// Close drains every stream once more and ends the goroutine. After HandOver it
// only closes our descriptors of the pipes.
func (p *Pump) Close() error {
	p.do(context.Background(), func() { p.end = drain })
	<-p.ended
	err := p.fam.close()
	p.closePipes()
	return err
}

// Open makes a stream with its pipe and opens (creates 0600, O_NOFOLLOW for the
// last component in a folder others can write to) its target.
func (p *Pump) Open(t Target) (*Stream, error) {
	all, _, err := p.OpenAll([]Target{t})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// adopt gives a new stream its files. Its pipe is watched from start on.
func (p *Pump) adopt(s *Stream, t Target, o []opened) error {
	err := p.aim(s, t, o)
	if err == nil {
		p.holds(s)
		err = p.watch(s)
	}
	if err != nil {
		for i := range s.outs {
			p.release(s, &s.outs[i])
			s.outs[i].sink = nil
		}
	}
	return err
}

func (p *Pump) watch(s *Stream) error {
	err := p.poll.add(s.fd)
	if err == nil {
		p.streams[int32(s.fd)] = s
	}
	return err
}

// start lets a stream move. Not before all that come with it have their files: lines
// of a file with several writers must be whole, and who is alone doesn't know.
func (p *Pump) start(s *Stream) {
	if s.inflow.basin >= 0 { // it is adopted; to be armed when that is empty
		p.flow(s)
		return
	}
	p.queue.drained = append(p.queue.drained, s)
}

// flow begins with what is in a stream's second pipe.
func (p *Pump) flow(s *Stream) {
	s.inflow.left, s.inflow.used = true, p.now()
	p.queue.basins = append(p.queue.basins, s)
	p.queue.ready = append(p.queue.ready, s)
}

// do runs f in the pump's goroutine and waits for it.
func (p *Pump) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case p.cmds <- func() { f(); close(done) }:
	case <-p.ended:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	p.poll.ring()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
	}
	select {
	case <-done:
		return nil
	default:
		return errClosed
	}
}

// run is the pump: it sleeps in the poller until a pipe has bytes, gives each of
// those a turn, pauses, and arms them again.
func (p *Pump) run() {
	defer close(p.ended)
	fullest := 0
	var waited time.Duration
	for p.end == goOn {
		slept, more := p.wait(earlier(p.age(), p.ebb()))
		waited += slept
		p.commands()
		eighths, stuck := p.round()
		fullest = max(fullest, eighths)
		p.notify()
		if more { // others are ready: they come first, then all have one pause
			continue
		}
		switch {
		case len(p.queue.ready) == 0 && len(p.queue.drained) > 0:
			p.nap(p.pace.next(fullest, waited))
		case stuck && len(p.queue.ready) > 0: // full FIFOs; their programs wait
			p.nap(maxPause)
		}
		p.rearm()
		if fullest >= 4 && p.pace.tired(p.now()) {
			runtime.Gosched()
		}
		p.pace.flood = fullest >= 4 // a pipe was half full
		fullest, waited = 0, 0
	}
	by := time.Now().Add(fullGrace)
	for _, s := range p.streams {
		if p.end == yield {
			p.yield(s, by)
		} else {
			p.drop(s)
		}
	}
	signal.Stop(p.sizes)
	p.peeker.close()
	p.poll.close()
}

// wait queues the streams that have bytes and returns how long it slept, and
// whether there may be more of them. It doesn't sleep while there is work, nor
// beyond due, if that isn't zero.
func (p *Pump) wait(due time.Time) (slept time.Duration, more bool) {
	block := len(p.queue.ready) == 0 && len(p.queue.drained) == 0
	var began time.Time
	if block {
		began = p.now()
	}
	var events []unix.EpollEvent
	if block && p.pace.flood {
		events = p.poll.soon()
	}
	if len(events) == 0 {
		events = p.poll.wait(block, earlier(due, p.fam.subs.grown.deadline(p.queue.owing)))
	}
	more = len(events) == len(p.poll.events)
	for _, ev := range events {
		if p.poll.rung(ev.Fd) {
			continue
		}
		if s := p.streams[ev.Fd]; s != nil {
			p.queue.ready = append(p.queue.ready, s)
		}
	}
	if !block {
		return 0, more
	}
	return p.now().Sub(began), more
}

// commands runs what was asked for meanwhile.
func (p *Pump) commands() {
	for {
		select {
		case f := <-p.cmds:
			f()
		default:
			return
		}
	}
}

// round gives every ready stream one turn. It returns how full the fullest pipe
// was, in eighths of its size, and whether no turn moved anything.
func (p *Pump) round() (eighths int, stuck bool) {
	ready := p.queue.ready
	more := ready[:0]
	stuck = true
	for _, s := range ready {
		if s.fd < 0 {
			continue
		}
		n, state := p.turn(s)
		eighths = max(eighths, 8*n/s.inflow.size)
		if n > 0 {
			stuck = false
		}
		if state == pipeEmpty {
			p.queue.drained = append(p.queue.drained, s)
		} else {
			more = append(more, s)
		}
	}
	clear(ready[len(more):])
	p.queue.ready = more
	return eighths, stuck
}

// nap waits, but not for those who want something.
func (p *Pump) nap(d time.Duration) {
	switch {
	case d <= 0:
	case d < time.Millisecond: // the runtime's timers are not that fine in an idle process
		ts := unix.NsecToTimespec(int64(d))
		unix.Nanosleep(&ts, nil)
	default:
		t := time.NewTimer(d)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				return
			case f := <-p.cmds:
				f()
			}
		}
	}
}

// rearm lets the poller watch the drained pipes again.
func (p *Pump) rearm() {
	for i, s := range p.queue.drained {
		p.queue.drained[i] = nil
		if s.fd < 0 {
			continue
		}
		if err := p.poll.arm(s.fd); err != nil {
			p.log("%s: %v", s.target.Path, err)
		}
	}
	p.queue.drained = p.queue.drained[:0]
}

// drop empties a stream's pipe and closes it.
func (p *Pump) drop(s *Stream) {
	for by := p.now().Add(fullGrace); !p.empty(s) && s.awaitReader(by); {
	}
	s.lose(&s.outs[0], len(s.frame.held), p.now()) // a full FIFO's, else there is none
	s.frame.hold(nil, time.Time{})
	p.abandon(s)
	p.closeBasin(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	unix.Close(s.fd) // takes it out of the epoll, being the last descriptor of this description
	s.fd = -1
}

// abandon lets go of a stream's files and forgets it.
func (p *Pump) abandon(s *Stream) {
	for i := range s.outs {
		p.release(s, &s.outs[i])
	}
	s.publish()
	delete(p.streams, int32(s.fd))
}
