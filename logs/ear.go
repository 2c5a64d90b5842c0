package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"
)

// Ear hears the lines that programs write to a stream, whatever becomes of them: they may
// go nowhere, or into a file that many share. Bytes that go into their file inside the
// kernel are looked at before, where they are, so that no kill can lose or double one.
type Ear struct {
	mu    sync.Mutex // guards what follows
	hear  func(line []byte) (enough bool)
	part  []byte // the beginning of a line
	since int    // counts what has come, for the timer
	over  bool
}

// Listen has f hear the lines that are written from now on, without their ends, until it
// has heard enough or the ear is closed. f must not block: it is called by a pump. What
// has no end is told as a line after a second; what is longer than 64 KB in pieces.
// An ear that is there already is closed.
func (s *Stream) Listen(f func(line []byte) (enough bool)) *Ear {
	e := &Ear{hear: f}
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	_ = s.do(ctx, func() error { // an error: its disk hangs, and this is done when it has answered; or it is closed
		s.pump.empty(s)
		if old := s.inflow.ear; old != nil {
			old.Close()
		}
		s.inflow.ear = e
		return nil
	})
	return e
}

// Close ends the hearing. It never waits for the pump.
func (e *Ear) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over, e.part = true, nil
}

// listened is the stream's ear; nil: there is none any more.
func (s *Stream) listened() *Ear {
	e := s.inflow.ear
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		s.inflow.ear = nil
		return nil
	}
	return e
}

// tell gives it what has been written next.
func (e *Ear) tell(data []byte) {
	if e == nil || len(data) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since++
	for !e.over {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		e.say(append(e.part, data[:end]...))
		e.part, data = e.part[:0], data[end+1:]
	}
	if e.over {
		e.part = nil
		return
	}
	e.part = append(e.part, data...)
	for len(e.part) > maxLine && !e.over {
		e.say(e.part[:maxLine])
		e.part = e.part[:copy(e.part, e.part[maxLine:])]
	}
	if count := e.since; len(e.part) > 0 {
		time.AfterFunc(holdAge, func() { e.unfinished(count) }) // ends by itself
	}
}

// unfinished is for the beginning of a line whose end hasn't come in time.
func (e *Ear) unfinished(count int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.since == count && !e.over && len(e.part) > 0 {
		e.say(e.part)
	}
}

func (e *Ear) say(line []byte) {
	e.over = e.over || e.hear(bytes.TrimSuffix(line, []byte{'\r'}))
}

// Find says whether a line that was written after the mark, and is in a file, is what is
// looked for. It is told lines without what their format has added.
func (s *Stream) Find(m Mark, is func(line []byte) bool) (found bool, err error) {
	if m == (Mark{}) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if b := s.backing(); b != nil {
		if err := s.push(ctx); err != nil {
			return false, err
		}
		return b.Find(m, is)
	}
	files, format, err := s.written(ctx)
	if err != nil {
		return false, err
	}
	first, begin, known := files.find(m)
	if !known {
		first, begin = 0, 0 // rotated away: all that is kept is newer
	}
	for i := len(files) - 1; i >= first && !found; i-- {
		from := int64(0)
		if i == first {
			from = begin
		}
		file, st, err := openLog(files[i].path)
		if file == nil {
			return false, err
		}
		err = backward(file, min(from, st.Size), st.Size, nil, func(line span) bool {
			found = is(bytes.TrimSuffix(format.bare(line.text), []byte{'\r'}))
			return !found
		})
		file.Close()
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// bare is a line as the program wrote it: without the time before it, or out of its JSON.
// What can't be told apart stays as it is.
func (f Format) bare(line []byte) []byte {
	switch {
	case f.JSON:
		var w struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(line, &w) == nil {
			return []byte(w.Message)
		}
	case f.Layout != "":
		r := newStampReader(f.Layout)
		if _, _, ok := r.read(line); ok {
			return line[r.size+len(": "):]
		}
		if _, after, is := bytes.Cut(line, []byte(": ")); is { // its stamp can't be read back
			return after
		}
	}
	return line
}
