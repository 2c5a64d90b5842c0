package logs

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"
)

// restCap bounds what waits in memory for a FIFO or terminal to take it.
const restCap = 512 << 10

// copyStep reads a piece and writes it as it is: for terminals and FIFOs, for file
// systems that can't splice, and for files that refuse.
func (p *Pump) copyStep(s *Stream) (int, state) {
	o := &s.outs[0]
	held := copy(p.buf, s.frame.held)
	n, err := retryInt(func() (int, error) { return unix.Read(s.source(), p.buf[held:min(len(p.buf), held+pipeChunk)]) })
	if err != nil || n <= 0 {
		return 0, s.dry()
	}
	s.listened().tell(p.buf[held : held+n])
	s.frame.held, s.frame.behind = nil, false
	data := p.skipDropped(s, o, p.buf[:held+n])
	if o.refused != nil {
		p.refuse(s, o, data, o.refused)
	} else {
		p.deliver(s, o, data)
	}
	switch {
	case p.mustWait(o.sink):
		return n, sinkFull
	case n < pipeChunk:
		return n, s.dry()
	}
	return n, pipeMore
}

// skipDropped takes away the remainder of a line whose beginning was dropped.
func (p *Pump) skipDropped(s *Stream, o *outlet, data []byte) []byte {
	if !o.skip {
		return data
	}
	n := bytes.IndexByte(data, '\n') + 1
	if n == 0 {
		n = len(data)
	} else {
		o.skip = false
	}
	s.lose(o, n, p.now())
	return data[n:]
}

// deliver writes data, rotating where needed, or deals with the refusal.
func (p *Pump) deliver(s *Stream, o *outlet, data []byte) {
	k := o.sink
	if len(k.rest)+len(data) == 0 {
		return // nothing is learned about the file
	}
	if err := k.putRest(); err != nil {
		p.refuse(s, o, data, err)
		return
	}
	for len(data) > 0 {
		n, rotate := len(data), false
		if l := k.limit(p.now()); !l.free(k.off, int64(n)) {
			n, rotate = l.plan(k.off, k.midline(), data)
		}
		if rotate {
			p.rotate(k)
			k = o.sink // another one, if the file had been moved away
			continue
		}
		n, err := k.put(data[:n])
		data = data[n:]
		if err != nil {
			p.refuse(s, o, data, err)
			return
		}
	}
	p.heals(k)
}

// refuse drops what a sink didn't take, after having waited a while for a full
// one. Dropping begins and ends at the end of a line: what is missing of a line
// that was interrupted is kept, to be written before anything else.
func (p *Pump) refuse(s *Stream, o *outlet, data []byte, err error) {
	k := o.sink
	data = slices.Concat(k.rest, data)
	k.rest = nil
	if err == unix.EAGAIN {
		if k.trouble.full.IsZero() { // until now it was read
			p.heals(k)
			k.trouble.full = p.now()
		}
		if p.waitsFor(k) && len(data) <= restCap {
			k.rest = data
			return
		}
		err = k.whyFull()
	}
	end := bytes.IndexByte(data, '\n') + 1
	if k.midline() {
		k.rest = []byte{'\n'} // the line's end isn't known: it ends here
		if end > 0 {
			k.rest, data = data[:end:end], data[end:]
		}
	}
	if len(data) > 0 {
		o.skip = data[len(data)-1] != '\n'
		s.lose(o, len(data), p.now())
	}
	p.refuses(k, err)
	p.holds(s)
}

// waitsFor says whether a full sink may still keep its programs waiting.
func (p *Pump) waitsFor(k *sink) bool {
	return !k.queue && k.trouble.err == nil && (k.trouble.full.IsZero() || k.patient() || p.now().Sub(k.trouble.full) < fullGrace)
}
