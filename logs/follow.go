package logs

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// partialAge is how old an unfinished line gets before it is shown as it is.
const partialAge = time.Second

// Follower goes on where Search stopped, across rotations, without losing a line.
// It is for one goroutine, and has none of its own.
type Follower struct {
	ctx      context.Context // the search's
	now      func() time.Time
	readings []*reading
	buf      []byte
	match    matcher
	trouble  func(error)
}

// reading is how far one source has been read.
type reading struct {
	source  *Source
	path    string
	skip    bool     // there is nothing to read
	same    *reading // shows this file, too
	file    *os.File
	id      fileID
	off     int64
	after   string // the newest rotated file when this one was opened
	partial partial
}

// partial is an unfinished line at the end of a file.
type partial struct {
	off   int64 // where it begins
	since time.Time
}

// Read shows everything complete that has been written to the source with that
// index (in sources) since the last call, as far as it matches; a partial last line
// is kept until it is complete (or 1 s old, or 64 KiB long). A file that can't be
// read is told to trouble and tried again at the next call; the error is show's.
func (f *Follower) Read(source int, show func(Line) error) error {
	t := f.readings[source]
	if t.same != nil {
		t = t.same
	}
	for !t.skip {
		if t.file == nil {
			ok, err := f.next(t, show)
			if err != nil || !ok {
				return err
			}
		}
		if err := f.drain(t, false, show); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(t.path, &st); err != nil || idOf(&st) == t.id {
			return nil // the same file; or none, then it is looked for next time
		}
		// Nothing is written to a file after another has its name: the rest is final.
		if err := f.drain(t, true, show); err != nil {
			return err
		}
		ok, err := f.next(t, show)
		if err != nil || !ok {
			return err
		}
	}
	return nil
}

// Close frees the files.
func (f *Follower) Close() error {
	for _, t := range f.readings {
		t.close()
	}
	return nil
}

func (t *reading) close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

// open opens the newest file and remembers its end: from there it is followed.
func (t *reading) open(seen map[fileID]*reading) error {
	file, st, err := openLog(t.path)
	if err != nil || file == nil {
		return err
	}
	t.file, t.id, t.off = file, idOf(st), st.Size
	if t.same = seen[t.id]; t.same != nil {
		t.close()
		return nil
	}
	seen[t.id] = t
	return nil
}

// trail is the files of the log up to that place. listing is the folder, read after open.
func (t *reading) trail(listing []string) *trail {
	rotated := rotatedNames(listing, t.path)
	if t.file != nil {
		var st unix.Stat_t
		if unix.Stat(t.path, &st) != nil || idOf(&st) != t.id { // rotated meanwhile
			if i := t.find(rotated); i >= 0 {
				rotated = rotated[:i]
			}
		}
	}
	if n := len(rotated); n > 0 {
		t.after = plainName(rotated[n-1], t.path)
	}
	return &trail{source: t.source, path: t.path, names: rotated, live: t.file, to: t.off}
}

// find tells which of the rotated files the present one is; -1 = none.
func (t *reading) find(rotated []string) int {
	var own unix.Stat_t
	if len(rotated) == 0 || unix.Fstat(int(t.file.Fd()), &own) != nil {
		return -1
	}
	for i := len(rotated) - 1; i >= 0; i-- {
		p, st, err := openRotated(t.path, rotated[i])
		if p == nil || err != nil {
			continue
		}
		same := idOf(st) == t.id
		if p.packed { // another file, but with the old one's time (to the µs) and size
			same = st.Mtim.Nano()/1e3 == own.Mtim.Nano()/1e3 && unpackedSize(p.file, st.Size) == own.Size&(1<<32-1)
		}
		p.file.Close()
		if same {
			return i
		}
	}
	return -1
}

// next opens the file that comes after the present one: the rotated file that
// follows it by name, or else the newest. Compressed ones on the way are read
// through. false: there is none yet.
func (f *Follower) next(t *reading, show func(Line) error) (bool, error) {
	for range 100 { // a rotation between looking and opening: look again
		later, own := t.later()
		if len(later) > 0 {
			t.after = plainName(later[0], t.path)
			p, st, err := openRotated(t.path, later[0])
			switch {
			case err != nil:
				f.trouble(err)
			case p != nil && p.packed:
				if err := f.through(t, p, st, show); err != nil {
					return false, err
				}
			case p != nil:
				t.take(p.file, st)
				return true, nil
			}
			continue
		}
		file, st, err := openLog(t.path)
		if err != nil {
			f.trouble(err)
		}
		if file == nil {
			return false, nil
		}
		if again, _ := t.later(); len(again) == 0 {
			if own != "" {
				t.after = plainName(own, t.path)
			}
			t.take(file, st)
			return true, nil
		}
		file.Close()
	}
	return false, nil
}

// through shows all of a compressed file, which then is the one read last.
func (f *Follower) through(t *reading, p *part, st *unix.Stat_t, show func(Line) error) error {
	defer p.file.Close()
	t.close()
	end := time.Unix(st.Mtim.Unix())
	p.clock = newClock(t.source, 0, 0, end, end)
	var shown error
	s := &search{ctx: f.ctx, match: f.match}
	err := s.forward(p, 0, func(x span, at time.Time) bool {
		shown = show(Line{t.source, at, x.text})
		return shown == nil
	})
	if err != nil {
		f.trouble(err)
	}
	return shown
}

// later lists the rotated files that were written after the present one, and
// the name the present one has now. Of those that weren't there when it was
// opened, it is itself the first, unless it was removed already or moved away.
//
// A folder that is read while files are renamed in it may show a newer name and
// not an older one. All older ones are there by the end of that reading, so the
// first file of a second one is really the next.
func (t *reading) later() (names []string, own string) {
	names = t.laterNames()
	if len(names) > 0 {
		names = t.laterNames()
	}
	if t.file == nil {
		return names, ""
	}
	if i := t.find(names); i >= 0 {
		return names[i+1:], names[i]
	}
	return names, ""
}

func (t *reading) laterNames() []string {
	names := rotatedNames(listFolder(filepath.Dir(t.path)), t.path)
	i, found := slices.BinarySearchFunc(names, t.after, func(name, after string) int {
		return strings.Compare(plainName(name, t.path), after)
	})
	if found {
		i++
	}
	return names[i:]
}

func (t *reading) take(file *os.File, st *unix.Stat_t) {
	t.close()
	t.file, t.id, t.off = file, idOf(st), 0
	t.partial = partial{}
}

// drain passes on the lines from where we are to the end of the file. final: nobody writes to it any more.
func (f *Follower) drain(t *reading, final bool, show func(Line) error) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.file.Fd()), &st); err != nil {
		f.trouble(err)
		return nil
	}
	if st.Size < t.off {
		t.off, t.partial = 0, partial{} // truncated: what is there now is new
	}
	now := f.now()
	c := newClock(t.source, st.Ino, st.Size, now, now)
	for t.off < st.Size {
		n, err := t.file.ReadAt(f.buf[:min(int64(len(f.buf)), st.Size-t.off)], t.off)
		if n == 0 {
			if err != nil && err != io.EOF { // that is: truncated meanwhile
				f.trouble(err)
			}
			return nil
		}
		data := f.buf[:n]
		end := t.off+int64(n) == st.Size
		for len(data) > 0 {
			last := end && (final || t.stale(now))
			text, used := cutLine(data, last)
			if used == 0 {
				break
			}
			t.off += int64(used)
			data = data[used:]
			if !f.match.match(text) {
				continue
			}
			if err := show(Line{t.source, c.of(span{text, t.off}), text}); err != nil {
				return err
			}
		}
		if end && len(data) > 0 {
			if t.partial.off != t.off || t.partial.since.IsZero() {
				t.partial = partial{t.off, now}
			}
			return nil
		}
	}
	return nil
}

// stale says that the line which begins where we are has been unfinished for long.
func (t *reading) stale(now time.Time) bool {
	p := t.partial
	return p.off == t.off && !p.since.IsZero() && now.Sub(p.since) >= partialAge
}
