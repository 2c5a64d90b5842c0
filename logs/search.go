package logs

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"io"
	"slices"
	"time"
)

// search is a query being answered.
type search struct {
	Query
	ctx     context.Context
	match   matcher
	trouble func(error)
}

func (s *search) answer(all []*trail, show func(Line) error) error {
	if s.Last < 0 {
		return s.stream(all, show)
	}
	return s.last(all, show)
}

// tell tells of an error, unless it is that the search was given up.
func (s *search) tell(err error) {
	if s.ctx.Err() == nil {
		s.trouble(err)
	}
}

// last collects the last lines of every source and merges them.
func (s *search) last(all []*trail, show func(Line) error) error {
	var lines []Line
	for _, t := range all {
		lines = append(lines, s.lastOf(t)...)
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.Time.Compare(b.Time) })
	for _, l := range lines {
		if err := show(l); err != nil {
			return err
		}
	}
	return nil
}

// lastOf is the last lines of one log, oldest first. Its files are read from the
// newest back, only as far as needed.
func (s *search) lastOf(t *trail) []Line {
	var lines []Line // newest first
	for i := t.count() - 1; i >= 0 && len(lines) < s.Last && s.ctx.Err() == nil && !t.older(i, s.Since); i-- {
		p, err := t.open(s.ctx, i)
		if err == nil && p != nil {
			switch {
			case s.after(p.clock.oldest): // nothing in it is old enough
			case p.packed:
				lines, err = s.lastPacked(t, p, lines)
			default:
				lines, err = s.lastPlain(t, p, lines)
			}
			t.close(p)
		}
		if err != nil {
			s.tell(err)
		}
	}
	slices.Reverse(lines)
	return lines
}

// lastPlain reads a file backwards.
func (s *search) lastPlain(t *trail, p *part, lines []Line) ([]Line, error) {
	from, to := int64(0), p.to
	var err error
	if !s.Since.IsZero() {
		if from, _, err = p.seek(s.Since); err != nil {
			return lines, p.broken(err)
		}
	}
	if !s.Until.IsZero() {
		if _, to, err = p.seek(s.Until.Add(1)); err != nil {
			return lines, p.broken(err)
		}
	}
	err = backward(p.in, from, to, s.match.needle, func(x span) bool {
		if !s.match.match(x.text) {
			return true
		}
		if at := p.clock.of(x); s.fits(at) {
			lines = s.add(lines, Line{t.source, at, bytes.Clone(x.text)})
		}
		return len(lines) < s.Last
	})
	if err != nil {
		err = p.broken(err)
	}
	return lines, err
}

// add appends a line that precedes the others, and so isn't later than they are.
func (s *search) add(lines []Line, l Line) []Line {
	if n := len(lines); n > 0 && l.Time.After(lines[n-1].Time) {
		l.Time = lines[n-1].Time
	}
	return append(lines, l)
}

// lastPacked reads a compressed file through, once, and keeps as many lines as are
// still missing.
func (s *search) lastPacked(t *trail, p *part, lines []Line) ([]Line, error) {
	want := s.Last - len(lines)
	var ring []Line
	next := 0
	err := s.forward(p, 0, func(x span, at time.Time) bool {
		l := Line{t.source, at, bytes.Clone(x.text)}
		if len(ring) < want {
			ring = append(ring, l)
		} else {
			ring[next] = l
			next = (next + 1) % want
		}
		return true
	})
	for i := range ring {
		lines = s.add(lines, ring[(next+len(ring)-1-i)%len(ring)])
	}
	return lines, err
}

// forward gives the wanted lines of a part from a place on.
func (s *search) forward(p *part, from int64, take func(span, time.Time) bool) error {
	in, err := p.reader(from)
	if err != nil {
		return err
	}
	r := &lineReader{in: in, needle: s.match.needle, off: from}
	for {
		x, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return p.broken(err)
		}
		if !s.match.match(x.text) {
			continue
		}
		at := p.clock.of(x)
		if s.after(at) || s.fits(at) && !take(x, at) {
			return nil
		}
	}
}

// stream shows all lines that fit, in the order of their times, as they are read: a
// merge of the logs, each of which is in order.
func (s *search) stream(all []*trail, show func(Line) error) error {
	var h cursors
	for i, t := range all {
		c := &cursor{search: s, trail: t, order: i, next: t.count()}
		for c.next > 0 && !t.older(c.next-1, s.Since) {
			c.next--
		}
		defer c.close()
		if c.advance() {
			h = append(h, c)
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		if err := show(h[0].line); err != nil {
			return err
		}
		if h[0].advance() {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
	return nil
}

// cursor is how far a log has been streamed.
type cursor struct {
	*search
	trail *trail
	order int // among the logs, for lines of the same time
	next  int // the part to be opened next
	part  *part
	lines lineReader
	line  Line
}

// advance goes on to the next line that fits; false: there is none.
func (c *cursor) advance() bool {
	for {
		if c.part == nil && !c.open() {
			return false
		}
		x, err := c.lines.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.tell(c.part.broken(err))
			}
			c.close()
			continue
		}
		if !c.match.match(x.text) {
			continue
		}
		at := c.part.clock.of(x)
		if at.Before(c.line.Time) {
			at = c.line.Time // lines of one log stay in their order
		}
		switch {
		case c.after(at):
			c.close()
			c.next = c.trail.count()
			return false
		case c.fits(at):
			c.line = Line{c.trail.source, at, x.text}
			return true
		}
	}
}

// open opens the next part that can be read, at the first line that can fit.
func (c *cursor) open() bool {
	for c.next < c.trail.count() && c.ctx.Err() == nil {
		p, err := c.trail.open(c.ctx, c.next)
		c.next++
		if err != nil {
			c.tell(err)
		}
		if p == nil {
			continue
		}
		var from int64
		if !p.packed && !c.Since.IsZero() && c.line.Time.IsZero() {
			from, _, err = p.seek(c.Since)
		}
		c.part = p
		var in io.Reader
		if err == nil {
			in, err = p.reader(from)
		}
		if err != nil {
			c.tell(err)
			c.close()
			continue
		}
		c.lines = lineReader{in: in, needle: c.match.needle, buf: c.lines.buf, off: from}
		return true
	}
	return false
}

func (c *cursor) close() {
	if c.part != nil {
		c.trail.close(c.part)
		c.part = nil
	}
}

// cursors is a heap by time.
type cursors []*cursor

func (h cursors) Len() int { return len(h) }
func (h cursors) Less(i, j int) bool {
	return cmp.Or(h[i].line.Time.Compare(h[j].line.Time), h[i].order-h[j].order) < 0
}
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)   { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	return c
}
