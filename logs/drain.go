package logs

import (
	"time"

	"golang.org/x/sys/unix"
)

// turnSteps bounds what one stream may move before the others have their turn.
const turnSteps = 8

// state is how a step or a turn ended.
type state uint8

const (
	pipeEmpty state = iota // nothing more to read, as far as we know
	pipeMore               // it may have more
	sinkFull               // it has more, but the FIFO or terminal takes nothing now
)

// turn moves what a stream's pipe has, within bounds.
func (p *Pump) turn(s *Stream) (moved int, st state) {
	now := p.now()
	s.unsettle(now)
	p.seek(s, now)
	for range turnSteps {
		var n int
		n, st = p.step(s)
		moved += n
		if st != pipeMore {
			break
		}
	}
	s.inflow.taken += int64(moved)
	s.inflow.moved(moved)
	p.settle(s, moved > 0)
	return moved, st
}

// settle says what a turn has come to.
func (p *Pump) settle(s *Stream, moved bool) {
	if moved {
		for i := range s.outs {
			if k := s.outs[i].sink; k != nil && k.kind == kindFile {
				k.index.grown(k.id.ino, k.off, p.now())
				p.grew(s)
			}
		}
	}
	s.publish()
}

// empty moves what is in the pipe now, and what was held back for the end of a
// line; false: the FIFO or terminal takes no more.
func (p *Pump) empty(s *Stream) bool {
	for left := s.waiting(); left > 0 || s.frame.behind; {
		n, st := p.turn(s)
		left -= n
		if st == sinkFull {
			return false
		}
		if n == 0 && !s.frame.behind {
			break
		}
	}
	if len(s.frame.held) > 0 {
		s.unsettle(p.now())
		p.endLine(s, false)
		p.settle(s, true)
	}
	for i := range s.outs {
		k := s.outs[i].sink
		if k != nil && k.putRest() == unix.EAGAIN && k.kind == kindSpecial && k.trouble.err == nil {
			return false
		}
	}
	return true
}

// step moves one piece, at most 64 KB.
func (p *Pump) step(s *Stream) (int, state) {
	if s.framed() {
		return p.frameStep(s)
	}
	o := &s.outs[0]
	if p.gate(s, o) {
		return 0, sinkFull
	}
	if s.direct() {
		return p.spliceStep(s)
	}
	return p.copyStep(s)
}

// direct says that a stream's bytes go into its file as they come, and the file takes them.
func (s *Stream) direct() bool {
	o := &s.outs[0]
	k := o.sink
	return !s.framed() && s.front == nil && k.spliced() && o.refused == nil && k.trouble.err == nil &&
		len(k.rest) == 0 && !o.skip && len(s.frame.held) == 0
}

// gate looks whether an outlet takes something now. If not, its refused says why,
// and what comes is dropped; or, with wait, the programs wait for a reader.
func (p *Pump) gate(s *Stream, o *outlet) (wait bool) {
	o.refused = nil
	if o.sink == nil {
		return false
	}
	err := o.sink.look()
	if err != nil {
		if err = p.reopen(o.sink); err == nil {
			err = o.sink.look()
		}
	}
	k := o.sink
	switch {
	case err != nil:
		o.refused = err
	case k.trouble.full.IsZero():
	case writable(k.fd): // somebody reads
		k.trouble.full = time.Time{}
		p.deliver(s, o, nil)
		return p.mustWait(k)
	case p.waitsFor(k):
		return true
	default:
		o.refused = k.whyFull()
		p.refuse(s, o, nil, o.refused)
	}
	return false
}

// mustWait says that a sink is full, and its programs are kept waiting.
func (p *Pump) mustWait(k *sink) bool {
	return !k.trouble.full.IsZero() && p.waitsFor(k)
}

// room says how much of what comes next may go into the stream's file; 0: nothing
// now, for a reason that the state tells.
func (p *Pump) room(s *Stream) (want int, st state) {
	k := s.outs[0].sink
	l := k.limit(p.now())
	if l.free(k.off, pipeChunk) {
		return pipeChunk, pipeMore
	}
	next, err := p.peeker.peek(s.source(), p.buf)
	if err != nil && err != unix.EAGAIN {
		k.share() // a sandbox without tee
		return 0, pipeMore
	}
	if len(next) == 0 {
		return 0, s.dry()
	}
	n, rotate := l.plan(k.off, k.midline(), next)
	if rotate {
		p.rotate(k) // if it fails, the limit is off for a second
		return 0, pipeMore
	}
	return n, pipeMore
}

// spliceStep moves a piece inside the kernel: consuming and writing are one
// system call, so no kill can lose or double a byte.
func (p *Pump) spliceStep(s *Stream) (int, state) {
	want, st := p.room(s)
	if want == 0 {
		return 0, st
	}
	k, ear := s.outs[0].sink, s.listened()
	var next []byte
	if ear != nil {
		var err error
		if next, err = p.peeker.peek(s.source(), p.buf); err != nil && err != unix.EAGAIN {
			return p.copyStep(s)
		}
		if want = min(want, len(next)); want == 0 {
			return 0, s.dry()
		}
	} else if p.floods(s) {
		return p.floodStep(s, want)
	}
	var off *int64
	if k.kind == kindFile {
		off = &k.off
	}
	n, err := splice(s.source(), k.fd, off, want)
	switch {
	case err == unix.EAGAIN, err == nil && n == 0:
		return 0, s.dry()
	case err != nil:
		if !fileRefuses(err) {
			k.share() // this file system or sandbox can't splice
		}
		return p.copyStep(s)
	case ear != nil:
		ear.tell(next[:n])
	case n < want && !s.inflow.left:
		return n, pipeEmpty // most likely; if not, arming tells at once
	}
	return n, pipeMore
}

// fileRefuses: a plain write would fail in the same way.
func fileRefuses(err error) bool {
	switch err {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EIO, unix.EROFS, unix.ESTALE:
		return true
	}
	return false
}
