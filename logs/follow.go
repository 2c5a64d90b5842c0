package logs

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// partialAge is how old an unfinished line gets before it is shown as it is.
const partialAge = time.Second

// Follower goes on where Tail stopped, across rotations, without losing a line.
// It is for one goroutine, and has none of its own.
type Follower struct {
	now      func() time.Time
	readings []*reading
	buf      []byte
}

// reading is how far one source has been read.
type reading struct {
	source  *Source
	path    string
	skip    bool // another source shows this file
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

// Read calls line for everything complete that has been written to the source
// with that index (in sources) since the last call; a partial last line is kept
// until it is complete (or 1 s old, or 64 KiB long). The text is only valid
// during the call.
func (f *Follower) Read(source int, line func(Line) error) error {
	t := f.readings[source]
	for !t.skip {
		if t.file == nil {
			ok, err := t.next()
			if err != nil || !ok {
				return err
			}
		}
		if err := f.drain(t, false, line); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(t.path, &st); err != nil || idOf(&st) == t.id {
			return nil // the same file; or none, then it is looked for next time
		}
		// Nothing is written to a file after another has its name: the rest is final.
		if err := f.drain(t, true, line); err != nil {
			return err
		}
		ok, err := t.next()
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
func (t *reading) open(seen map[fileID]bool) error {
	file, st, err := openLog(t.path)
	if err != nil || file == nil {
		return err
	}
	t.file, t.id, t.off = file, idOf(st), st.Size
	if seen[t.id] {
		t.skip = true
		t.close()
		return nil
	}
	seen[t.id] = true
	return nil
}

// show reads the last n lines before that place. listing is the folder, read after open.
func (t *reading) show(listing []string, n int) ([]Line, error) {
	dir := filepath.Dir(t.path)
	tail := &tailFiles{source: t.source, want: n}
	rotated := rotatedNames(listing, t.path)
	if t.file != nil {
		var st unix.Stat_t
		if unix.Stat(t.path, &st) != nil || idOf(&st) != t.id { // rotated meanwhile
			if i := t.find(dir, rotated); i >= 0 {
				rotated = rotated[:i]
			}
		}
		if err := unix.Fstat(int(t.file.Fd()), &st); err != nil {
			return nil, err
		}
		if err := tail.add(t.file, &st, 0, min(t.off, st.Size)); err != nil {
			return nil, err
		}
	}
	if len(rotated) > 0 {
		t.after = rotated[len(rotated)-1]
	}
	if err := tail.addRotated(dir, rotated); err != nil {
		return nil, err
	}
	return tail.ordered(), nil
}

// find tells which of the rotated files the present one is; -1 = none.
func (t *reading) find(dir string, rotated []string) int {
	return slices.IndexFunc(rotated, func(name string) bool {
		var st unix.Stat_t
		return unix.Stat(filepath.Join(dir, name), &st) == nil && idOf(&st) == t.id
	})
}

// next opens the file that comes after the present one: the rotated file that
// follows it by name, or else the newest. false: there is none yet.
func (t *reading) next() (bool, error) {
	dir := filepath.Dir(t.path)
	for range 100 { // a rotation between looking and opening: look again
		later, own := t.later(dir)
		if len(later) > 0 {
			file, st, err := openLog(filepath.Join(dir, later[0]))
			if err != nil {
				return false, err
			}
			t.after = later[0]
			if file != nil {
				t.take(file, st)
				return true, nil
			}
			continue
		}
		file, st, err := openLog(t.path)
		if err != nil || file == nil {
			return false, err
		}
		if again, _ := t.later(dir); len(again) == 0 {
			if own != "" {
				t.after = own
			}
			t.take(file, st)
			return true, nil
		}
		file.Close()
	}
	return false, nil
}

// later lists the rotated files that were written after the present one, and
// the name the present one has now. Of those that weren't there when it was
// opened, it is itself the first, unless it was removed already or moved away.
//
// A folder that is read while files are renamed in it may show a newer name and
// not an older one. All older ones are there by the end of that reading, so the
// first file of a second one is really the next.
func (t *reading) later(dir string) (names []string, own string) {
	names = t.laterNames(dir)
	if len(names) > 0 {
		names = t.laterNames(dir)
	}
	if t.file == nil {
		return names, ""
	}
	if i := t.find(dir, names); i >= 0 {
		return names[i+1:], names[i]
	}
	return names, ""
}

func (t *reading) laterNames(dir string) []string {
	names := rotatedNames(listFolder(dir), t.path)
	i, found := slices.BinarySearch(names, t.after)
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
func (f *Follower) drain(t *reading, final bool, line func(Line) error) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.file.Fd()), &st); err != nil {
		return err
	}
	if st.Size < t.off {
		t.off, t.partial = 0, partial{} // truncated: what is there now is new
	}
	now := f.now()
	for t.off < st.Size {
		n, err := t.file.ReadAt(f.buf[:min(int64(len(f.buf)), st.Size-t.off)], t.off)
		if n == 0 {
			return err
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
			if err := line(Line{t.source, clock{t.source.Index, st.Ino, now}.at(t.off), text}); err != nil {
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
