package logs

import (
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const (
	// holdAge is how long the beginning of a line waits for its end: a prompt is shown
	// a moment later than the rest, but nothing that a program wrote stays unseen.
	holdAge = time.Second
	// keepScratch is what is kept of memory that one stream's lines needed.
	keepScratch = 256 << 10
)

// framer cuts what a stream writes into lines, for files where lines have to be
// whole: with a format, a second file, or several writers.
type framer struct {
	format  *formatter // nil: as they are
	console *formatter // the console's
	twice   bool       // there is a console
	held    []byte     // read and not yet written: the beginning of a line, or more when a FIFO or terminal is full
	since   time.Time  // when its first byte was read
	cut     bool       // the last line was ended by us: a newline that comes alone is its end
	behind  bool       // held has more than the beginning of a line
	listed  bool       // in the queue of those that hold something
}

// lines are the same ones, as they are to be written.
type lines struct {
	file, console []byte // the latter only if there is one
}

func (l lines) empty() lines { return lines{l.file[:0], l.console[:0]} }

// next appends the first line of data to dst as it is to be written; used 0: its
// end isn't there yet. A line over 64 KiB comes in pieces, never cut within a character.
func (f *framer) next(dst lines, data []byte, began time.Time) (out lines, used int) {
	text, used := cutLine(data, false)
	if used == 0 {
		return dst, 0
	}
	whole := used > len(text)
	if f.cut && whole && len(text) == 0 {
		f.cut = false
		return dst, used
	}
	return f.formatted(dst, text, began, !whole), used
}

// end appends what is there of a line, as a line of its own.
func (f *framer) end(dst lines, text []byte, began time.Time) lines {
	return f.formatted(dst, text, began, true)
}

func (f *framer) formatted(dst lines, text []byte, began time.Time, cut bool) lines {
	f.cut = cut
	dst.file = f.format.line(dst.file, text, began, cut)
	if f.twice {
		dst.console = f.console.line(dst.console, text, began, cut)
	}
	return dst
}

// hold keeps what is left. began is when its first byte was read.
func (f *framer) hold(rest []byte, began time.Time) {
	if len(rest) == 0 && cap(f.held) > 4<<10 {
		f.held = nil // a thousand streams hold nothing most of the time
	}
	f.held = append(f.held[:0], rest...)
	f.since = began
}

// wholeRunes is the length of text without a character that isn't complete at its end.
func wholeRunes(text []byte) int {
	for n := len(text) - 1; n >= 0 && n >= len(text)-utf8.UTFMax+1; n-- {
		if utf8.RuneStart(text[n]) {
			if !utf8.FullRune(text[n:]) {
				return n
			}
			break
		}
	}
	return len(text)
}

// frameStep reads a piece and writes its lines.
func (p *Pump) frameStep(s *Stream) (int, state) {
	for i := range s.outs {
		if p.gate(s, &s.outs[i]) {
			return 0, sinkFull
		}
	}
	f := &s.frame
	if len(f.held) > maxLine { // more than the beginning of a line
		if p.frame(s, f.held, len(f.held)) {
			return 0, sinkFull
		}
		return 0, pipeMore
	}
	held := copy(p.buf, f.held)
	n, _ := retryInt(func() (int, error) { return unix.Read(s.source(), p.buf[held:held+pipeChunk]) })
	if n = max(n, 0); n == 0 && !f.behind {
		return 0, s.dry()
	}
	s.listened().tell(p.buf[held : held+n])
	switch blocked := p.frame(s, p.buf[:held+n], held); {
	case blocked:
		return n, sinkFull
	case n < pipeChunk && !f.behind:
		return n, s.dry()
	}
	return n, pipeMore
}

// frame writes the lines in data, of which the first old bytes were held back
// before, and holds back the rest. blocked: there is more, but a FIFO or terminal
// is full.
func (p *Pump) frame(s *Stream, data []byte, old int) (blocked bool) {
	f, now, began := &s.frame, p.now(), s.frame.since
	out, done, made := p.out.empty(), 0, 0
	for !blocked {
		if done >= old {
			began = now
		}
		more, used := f.next(out, data[done:], began)
		out = more
		done += used
		if used == 0 || max(len(out.file), len(out.console)) >= pipeChunk {
			made += len(out.file)
			blocked = p.send(s, out)
			out = out.empty()
		}
		if used == 0 {
			break
		}
	}
	s.inflow.taken += int64(made - done)
	f.behind = blocked && done < len(data)
	f.hold(data[done:], began)
	p.keepOut(out)
	p.holds(s)
	return blocked
}

// endLine writes what is held back of a line, as a line of its own; with whole,
// except for the bytes of a character that isn't complete.
func (p *Pump) endLine(s *Stream, whole bool) {
	f := &s.frame
	n := len(f.held)
	if whole {
		if k := wholeRunes(f.held); k > 0 {
			n = k
		}
	}
	if n == 0 {
		return
	}
	out := f.end(p.out.empty(), f.held[:n], f.since)
	s.inflow.taken += int64(len(out.file) - n)
	f.hold(append([]byte(nil), f.held[n:]...), p.now())
	p.send(s, out)
	p.keepOut(out)
}

// keepOut keeps the memory for the next lines, unless it is unusually much.
func (p *Pump) keepOut(out lines) {
	p.out = out.empty()
	if cap(out.file) > keepScratch || cap(out.console) > keepScratch {
		p.out = lines{}
	}
}

// send writes lines to a stream's files, or drops them where they are refused.
func (p *Pump) send(s *Stream, out lines) (blocked bool) {
	if len(out.file) == 0 {
		return false
	}
	for i := range s.outs {
		o, data := &s.outs[i], out.file
		if o.sink == nil {
			continue
		}
		if i == 2 {
			data = out.console
		}
		if o.refused != nil {
			p.refuse(s, o, data, o.refused)
		} else {
			p.deliver(s, o, data)
		}
		blocked = blocked || p.mustWait(o.sink)
	}
	return blocked
}

// holds queues a stream that holds something back, or lacks a file, for age.
func (p *Pump) holds(s *Stream) {
	if f := &s.frame; (len(f.held) > 0 || s.owes() || s.lacks()) && !f.listed {
		f.listed = true
		p.queue.holding = append(p.queue.holding, s)
	}
}

// age writes beginnings of lines whose ends haven't come, and ends that didn't fit
// into a queue, and opens what could not be opened. It returns when the next is due; zero: nothing is held.
func (p *Pump) age() (next time.Time) {
	if len(p.queue.holding) == 0 {
		return time.Time{}
	}
	now := p.now()
	holding := p.queue.holding
	keep := holding[:0]
	for _, s := range holding {
		due := p.ageOne(s, now)
		if s.fd < 0 || due.IsZero() {
			s.frame.listed = false
			continue
		}
		keep = append(keep, s)
		next = earlier(next, due)
	}
	clear(holding[len(keep):])
	p.queue.holding = keep
	return next
}

// lacks says that a file of the stream could not be opened.
func (s *Stream) lacks() bool {
	for i := range s.outs {
		if k := s.outs[i].sink; k != nil && k.kind == kindAbsent {
			return true
		}
	}
	return false
}

// ageOne returns when the stream is due again; zero: it holds nothing.
func (p *Pump) ageOne(s *Stream, now time.Time) (due time.Time) {
	f := &s.frame
	switch {
	case s.fd < 0:
		return time.Time{}
	case s.owes():
		s.unsettle(now)
		p.deliver(s, &s.outs[0], nil)
		p.settle(s, true)
	case len(f.held) > 0 && !f.behind && now.Sub(f.since) >= holdAge:
		s.unsettle(now)
		p.endLine(s, true)
		p.settle(s, true)
	case s.lacks():
		s.unsettle(now)
		for i := range s.outs {
			p.gate(s, &s.outs[i])
		}
		p.settle(s, false)
	}
	switch {
	case s.owes(), s.lacks(), f.behind:
		return now.Add(holdAge)
	case len(f.held) > 0:
		return f.since.Add(holdAge)
	}
	return time.Time{}
}
