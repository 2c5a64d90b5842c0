package logs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A buffered stream is two: the front, in the ordinary pump, takes what programs
// write and puts it into a second pipe; from there the back, in a pump of its own,
// writes the files. The second pipe is the bounded memory: when a disk hangs, the
// back waits for it, the pipe fills, and the front drops whole lines and counts
// them. The back reads and writes: splice keeps a pipe locked until the disk has
// answered, and who writes to the pipe would hang as well, beyond the reach of any
// signal. When the daemon is killed the next one has the second pipe, see second.go.

// queueSize is what is kept for a disk that hangs, per stream; less if the user
// may not have so large a pipe.
const queueSize = 1 << 20

// errBehind: a queue is full.
var errBehind = errors.New("its disk does not take it in time")

// backing is the back of a buffered stream, nil for others.
func (s *Stream) backing() *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.back
}

func (s *Stream) setBack(b *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.back = b
}

// writer is the part of a stream that writes its files.
func (s *Stream) writer() *Stream {
	if b := s.backing(); b != nil {
		return b
	}
	return s
}

// public is the stream that the daemon knows.
func (s *Stream) public() *Stream {
	if s.front != nil {
		return s.front
	}
	return s
}

// push moves what programs have written to where its writer takes it.
func (s *Stream) push(ctx context.Context) error {
	return s.do(ctx, func() error { s.pump.empty(s); return nil })
}

// flushThrough is Flush for a buffered stream. When its queue was full, the end of a
// line may still have to follow.
func (s *Stream) flushThrough(ctx context.Context, b *Stream) error {
	for {
		owes := false
		err := s.do(ctx, func() error {
			s.pump.empty(s)
			owes = s.owes()
			return nil
		})
		if err == nil {
			err = b.Flush(ctx)
		}
		if err != nil || !owes {
			return err
		}
	}
}

// owes says that the end of a line didn't fit into the stream's queue.
func (s *Stream) owes() bool {
	k := s.outs[0].sink
	return k != nil && k.queue && len(k.rest) > 0
}

// newQueue is the memory between front and back, as a sink of the front. A second
// pipe that the stream has already is used for that.
func (p *Pump) newQueue(s *Stream, t Target) (k *sink, err error) {
	fd := s.inflow.basin
	if fd < 0 {
		if fd, err = newPipe(-1, -1); err != nil {
			return nil, err
		}
		if err = p.entrust(s, fd); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	s.inflow.basin, s.inflow.left = -1, false
	if pipeSize(fd) < queueSize {
		unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, queueSize)
	}
	k = newSink(opened{fd: fd, kind: kindSpecial, readable: true}, t)
	k.queue, k.streams = true, 1
	return k, nil
}

// openQueued makes a buffered stream.
func (p *Pump) openQueued(o opening) (err error) {
	s := o.stream
	e := p.do(context.Background(), func() {
		if err = p.enqueue(s, o.target); err != nil {
			return
		}
		if k := s.outs[0].sink; o.killed && midlinePipe(k.fd) { // what followed may have been in the killed daemon's memory
			k.rest = []byte{'\n'}
		}
		if err = p.watch(s); err != nil {
			p.release(s, &s.outs[0])
			return
		}
		p.start(s)
	})
	if e != nil {
		return e
	}
	if err == nil {
		if err = s.route(o.target, o.open, o.count); err == nil && o.killed {
			err = s.backAfterKill()
		}
		if err != nil {
			p.do(context.Background(), func() { p.abandonQueue(s) })
		}
	}
	return err
}

// abandonQueue is abandon for a front. Who holds its queue keeps it if there is
// something in it: it was adopted.
func (p *Pump) abandonQueue(s *Stream) {
	if waiting(s.outs[0].sink.fd) == 0 {
		p.fam.seconds.forget(s.key)
	}
	p.abandon(s)
}

// enqueue makes a stream the front of a buffered one.
func (p *Pump) enqueue(s *Stream, t Target) error {
	k, err := p.newQueue(s, t)
	if err != nil {
		return err
	}
	for i := range s.outs {
		p.release(s, &s.outs[i])
		s.outs[i].sink = nil
	}
	s.outs[0] = outlet{sink: k, count: s.outs[0].count}
	s.target, s.frame.format = k.target, nil
	s.publish()
	return nil
}

// dequeue gives what is still in its queue, and all that follows, to the files of t:
// the queue is a basin from now on.
func (p *Pump) dequeue(s *Stream, t Target, all []opened) error {
	k, in := s.outs[0].sink, &s.inflow
	k.putRest()
	in.basin, k.fd = k.fd, -1
	if err := p.aim(s, t, all); err != nil {
		in.basin, k.fd = -1, in.basin
		return err
	}
	p.flow(s)
	return nil
}

// reroute changes the files of a stream that is, or is to be, buffered: it is put
// before a queue, and that gets a new back, or none.
func (s *Stream) reroute(t Target) error {
	if o, err := openTargets(t); err != nil {
		return err // before anything is changed
	} else {
		closeTargets(o)
	}
	if b := s.backing(); b == nil {
		if err := s.do(context.Background(), func() error {
			s.pump.empty(s)
			return s.pump.enqueue(s, t)
		}); err != nil {
			return err
		}
	} else {
		if err := s.push(context.Background()); err != nil {
			return err
		}
		if err := s.endBack(b); err != nil {
			return err
		}
	}
	if err := s.route(t, openTargets, Stats{}); err != nil {
		return err
	}
	return s.startBack()
}

// backAfterKill ends the line that the back of a killed daemon was writing: what
// followed was in its memory.
func (s *Stream) backAfterKill() (err error) {
	b := s.backing()
	if b == nil {
		return nil
	}
	_, err = b.pump.doWithin(manageWait, func() { b.outs[0].sink.endLine() })
	return err
}

// startBack lets the back of a stream move, if there is one.
func (s *Stream) startBack() error {
	b := s.backing()
	if b == nil {
		return nil
	}
	_, err := b.pump.doWithin(manageWait, func() { b.pump.start(b) })
	return err
}

// route gives the stream's queue a back, which counts on from count, or, where its
// files are written unbuffered by others, takes the queue away.
func (s *Stream) route(t Target, open opener, count Stats) error {
	o, err := open(t)
	if err != nil {
		return err
	}
	home, err := s.pump.fam.home(s.pump, t.Buffered, o)
	if err != nil {
		closeTargets(o)
		return fmt.Errorf("cannot open log %s: %w", t.Path, err)
	}
	if home == s.pump {
		return s.do(context.Background(), func() error { return s.pump.dequeue(s, t, o) })
	}
	if err := s.addBack(home, t, o, count); err != nil {
		s.pump.fam.leave(home)
		return err
	}
	return s.do(context.Background(), func() error {
		s.target, s.outs[0].sink.target = t, t
		s.publish()
		return nil
	})
}

// addBack has the pump home write what is in the stream's queue.
func (s *Stream) addBack(home *Pump, t Target, o []opened, count Stats) error {
	b := &Stream{pump: home, fd: -1, front: s}
	err := s.do(context.Background(), func() (err error) {
		b.fd, err = reopen(s.outs[0].sink.fd, unix.O_RDWR|unix.O_NONBLOCK)
		return err
	})
	if err != nil {
		closeTargets(o)
		return err
	}
	b.inflow = newInflow(b.fd)
	b.inflow.taken, b.outs[0].rotations = count.Bytes, count.Rotations
	begun, e := home.doWithin(manageWait, func() { err = home.adopt(b, t, o) })
	switch {
	case e == nil && err == nil:
		s.setBack(b)
		return nil
	case !begun:
		closeTargets(o)
		unix.Close(b.fd)
		return fmt.Errorf("cannot open log %s: %w", t.Path, e)
	case e == nil:
		unix.Close(b.fd)
		return err
	}
	return fmt.Errorf("cannot open log %s: %w", t.Path, e)
}

// endBack has the rest of the queue written, for as long as the disk answers.
func (s *Stream) endBack(b *Stream) error {
	_, err := b.pump.doWithin(closeWait, func() { b.pump.drop(b) })
	if err != nil && !errors.Is(err, errClosed) {
		return fmt.Errorf("cannot close log %s: %w", s.Stats().Path, err)
	}
	s.setBack(nil)
	s.pump.fam.leave(b.pump)
	return nil
}

// doWithin is do for at most so long. What hasn't begun by then isn't begun later.
func (p *Pump) doWithin(d time.Duration, f func()) (begun bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	claim := make(chan struct{}, 1) // whoever fills it decides
	err = p.do(ctx, func() {
		select {
		case claim <- struct{}{}:
			f()
		default: // given up
		}
	})
	if err == nil {
		return true, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errHangs
	}
	select {
	case claim <- struct{}{}:
		return false, err
	default:
		return true, err
	}
}
