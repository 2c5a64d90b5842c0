package logs

import (
	"bytes"
	"slices"
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
	s.unsettle(p.now())
	defer s.publish()
	for range turnSteps {
		var n int
		n, st = p.step(s)
		moved += n
		if st != pipeMore {
			break
		}
	}
	if moved > 0 {
		s.taken += int64(moved)
		if k := s.sink; k.kind == kindFile {
			k.index.grown(k.id.ino, k.off, p.now())
			p.grew(s)
		}
	}
	return moved, st
}

// empty moves what is in the pipe now, and what was held back for the end of a
// line; false: the FIFO or terminal takes no more.
func (p *Pump) empty(s *Stream) bool {
	for left := waiting(s.fd); left > 0; {
		n, st := p.turn(s)
		left -= n
		if st == sinkFull {
			return false
		}
		if n == 0 {
			break
		}
	}
	if len(s.carry) > 0 {
		line := append(s.carry, '\n')
		s.carry = nil
		p.deliver(s, line)
	}
	k := s.sink
	if k.putRest() != nil && k.kind == kindSpecial && k.trouble.err == nil {
		return false
	}
	return true
}

// step moves one piece, at most 64 KB.
func (p *Pump) step(s *Stream) (int, state) {
	err := s.sink.look()
	if err != nil {
		if err = p.reopen(s.sink); err == nil {
			err = s.sink.look()
		}
	}
	k := s.sink
	if err != nil {
		return p.copyStep(s, err)
	}
	if k.spliced() && k.trouble.err == nil && len(k.rest) == 0 && !s.skip {
		return p.spliceStep(s)
	}
	return p.copyStep(s, nil)
}

// spliceStep moves a piece inside the kernel: consuming and writing are one
// system call, so no kill can lose or double a byte.
func (p *Pump) spliceStep(s *Stream) (int, state) {
	k := s.sink
	want := pipeChunk
	if l := k.limit(p.now()); !l.free(k.off, pipeChunk) {
		next, err := p.peeker.peek(s.fd, p.buf)
		if err != nil && err != unix.EAGAIN {
			k.share() // a sandbox without tee
			return p.copyStep(s, nil)
		}
		if len(next) == 0 {
			return 0, pipeEmpty
		}
		n, rotate := l.plan(k.off, k.midline(), next)
		if rotate {
			p.rotate(k) // if it fails, the limit is off for a second
			return 0, pipeMore
		}
		want = n
	}
	var off *int64
	if k.kind == kindFile {
		off = &k.off
	}
	n, err := unix.Splice(s.fd, nil, k.fd, off, want, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	switch {
	case err == unix.EINTR:
		return 0, pipeMore
	case err == unix.EAGAIN, err == nil && n == 0:
		return 0, pipeEmpty
	case err != nil:
		if !fileRefuses(err) {
			k.share() // this file system or sandbox can't splice
		}
		return p.copyStep(s, nil)
	case int(n) < want:
		return int(n), pipeEmpty // most likely; if not, arming tells at once
	}
	return int(n), pipeMore
}

// fileRefuses: a plain write would fail in the same way.
func fileRefuses(err error) bool {
	switch err {
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG, unix.EIO, unix.EROFS, unix.ESTALE:
		return true
	}
	return false
}

// copyStep reads a piece and writes it: for files with several writers, for
// terminals and FIFOs, and for files that refuse. refused is why it is known
// beforehand that nothing can be written.
func (p *Pump) copyStep(s *Stream, refused error) (int, state) {
	k := s.sink
	if !k.trouble.full.IsZero() {
		switch {
		case writable(k.fd):
			k.trouble.full = time.Time{} // somebody reads
			if len(k.rest) > 0 {
				p.deliver(s, nil)
				return 0, pipeMore
			}
		case p.waitsFor(k):
			return 0, sinkFull
		default:
			refused = errFull
			p.refuse(s, nil, refused)
		}
	}
	held := copy(p.buf, s.carry)
	n, err := retryInt(func() (int, error) { return unix.Read(s.fd, p.buf[held:held+pipeChunk]) })
	if err != nil || n <= 0 {
		return 0, pipeEmpty
	}
	s.carry = nil
	data := p.skipDropped(s, p.buf[:held+n])
	if k.streams > 1 && refused == nil {
		var tail []byte
		if data, tail = wholeLines(data); len(tail) >= pipeChunk {
			data = append(append(data, tail...), '\n') // a line without end: split
		} else if len(tail) > 0 {
			s.carry = bytes.Clone(tail)
		}
	}
	if refused != nil {
		p.refuse(s, data, refused)
	} else {
		p.deliver(s, data)
	}
	switch {
	case !k.trouble.full.IsZero() && p.waitsFor(k):
		return n, sinkFull
	case n < pipeChunk:
		return n, pipeEmpty
	}
	return n, pipeMore
}

// skipDropped takes away the remainder of a line whose beginning was dropped.
func (p *Pump) skipDropped(s *Stream, data []byte) []byte {
	if !s.skip {
		return data
	}
	n := bytes.IndexByte(data, '\n') + 1
	if n == 0 {
		n = len(data)
	} else {
		s.skip = false
	}
	s.lose(n, p.now())
	return data[n:]
}

// deliver writes data, rotating where needed, or deals with the refusal.
func (p *Pump) deliver(s *Stream, data []byte) {
	k := s.sink
	if len(k.rest)+len(data) == 0 {
		return // nothing is learned about the file
	}
	if err := k.putRest(); err != nil {
		p.refuse(s, data, err)
		return
	}
	for len(data) > 0 {
		n, rotate := len(data), false
		if l := k.limit(p.now()); !l.free(k.off, int64(n)) {
			n, rotate = l.plan(k.off, k.midline(), data)
		}
		if rotate {
			p.rotate(k)
			k = s.sink // another one, if the file had been moved away
			continue
		}
		n, err := k.put(data[:n])
		data = data[n:]
		if err != nil {
			p.refuse(s, data, err)
			return
		}
	}
	p.heals(k)
}

// refuse drops what a sink didn't take, after having waited a while for a full
// one. Dropping begins and ends at the end of a line: what is missing of a line
// that was interrupted is kept, to be written before anything else.
func (p *Pump) refuse(s *Stream, data []byte, err error) {
	k := s.sink
	data = slices.Concat(k.rest, data)
	k.rest = nil
	if err == unix.EAGAIN {
		if k.trouble.full.IsZero() { // until now it was read
			p.heals(k)
			k.trouble.full = p.now()
		}
		if p.waitsFor(k) && len(data) <= 2*pipeChunk {
			k.rest = data
			return
		}
		err = errFull
	}
	end := bytes.IndexByte(data, '\n') + 1
	if k.midline() {
		k.rest = []byte{'\n'} // the line's end isn't known: it ends here
		if end > 0 {
			k.rest, data = data[:end:end], data[end:]
		}
	}
	if len(data) > 0 {
		s.skip = data[len(data)-1] != '\n'
		s.lose(len(data), p.now())
	}
	p.refuses(k, err)
}

// waitsFor says whether a full sink may still keep its programs waiting.
func (p *Pump) waitsFor(k *sink) bool {
	return k.trouble.err == nil && (k.trouble.full.IsZero() || p.now().Sub(k.trouble.full) < fullGrace)
}
