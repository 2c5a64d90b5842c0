package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Source is a log as the reader sees it; the CLI gets it from the daemon.
type Source struct {
	App   string       `json:"app"`
	ID    int          `json:"id"`
	Err   bool         `json:"err"` // stderr
	Path  string       `json:"path"`
	Index []IndexEntry `json:"index,omitempty"`
}

// Line is one line of a source, without its newline; a line longer than 64 KiB comes in pieces.
type Line struct {
	Source *Source
	Time   time.Time // from the index, or the file's times; approximate
	Text   []byte
}

// Tail is the last n lines of every source, merged by time, oldest first. Only the
// ends of files are read, rotated ones too when the newest has too few lines. A
// file that several sources share is shown once, under the first of them; one
// that doesn't exist (yet) or isn't a regular file has no lines.
func Tail(sources []Source, n int) ([]Line, *Follower, error) {
	f := &Follower{now: time.Now, buf: make([]byte, maxLine+1)}
	seen := map[fileID]bool{}
	for i := range sources {
		t := &reading{source: &sources[i], path: realPath(sources[i].Path)}
		f.readings = append(f.readings, t)
		if t.skip = !readable(sources[i].Path); t.skip {
			continue
		}
		if err := t.open(seen); err != nil {
			f.Close()
			return nil, nil, err
		}
	}
	lines, err := f.show(n)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return lines, f, nil
}

// show reads and merges the last lines. Each folder is read once, after all the
// newest files have been opened, so that none is missed that is rotated meanwhile.
func (f *Follower) show(n int) ([]Line, error) {
	folders := map[string][]string{}
	var all []Line
	for _, t := range f.readings {
		if t.skip {
			continue
		}
		dir := filepath.Dir(t.path)
		if _, ok := folders[dir]; !ok {
			folders[dir] = listFolder(dir)
		}
		lines, err := t.show(folders[dir], n)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	return merge(all), nil
}

// merge orders by time what is ordered within each source.
func merge(lines []Line) []Line {
	slices.SortStableFunc(lines, func(a, b Line) int { return a.Time.Compare(b.Time) })
	return lines
}

// readable: not nowhere, and not a name that means another file in each process.
func readable(path string) bool {
	return path != "" && path != "/dev/stdout" && path != "/dev/stderr" &&
		!strings.HasPrefix(path, "/dev/fd/") && !isDescriptor(path)
}

// realPath follows a link to a log, because rotated files are beside the real one.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// openLog opens a regular file for reading; nil for what isn't one or isn't there.
func openLog(path string) (*os.File, *unix.Stat_t, error) {
	fd, err := openAt(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &os.PathError{Op: "cannot read log", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, nil, err
	}
	return os.NewFile(uintptr(fd), path), &st, nil
}

// tailFiles reads the last n lines of a log from its files, newest first.
type tailFiles struct {
	source *Source
	lines  []Line // newest first
	want   int
}

// add reads what is still missing from the end of one file, between from and to.
func (t *tailFiles) add(f *os.File, st *unix.Stat_t, from, to int64) error {
	spans, err := lastSpans(f, from, to, t.want-len(t.lines))
	if err != nil {
		return err
	}
	c := clock{t.source.Index, st.Ino, time.Unix(st.Mtim.Unix())}
	for _, s := range slices.Backward(spans) {
		at := c.at(s.end)
		if n := len(t.lines); n > 0 && at.After(t.lines[n-1].Time) {
			at = t.lines[n-1].Time // never later than the line after it
		}
		t.lines = append(t.lines, Line{t.source, at, s.text})
	}
	return nil
}

// addRotated goes back through the rotated files, oldest first in names.
func (t *tailFiles) addRotated(dir string, names []string) error {
	for _, name := range slices.Backward(names) {
		if len(t.lines) >= t.want {
			break
		}
		f, st, err := openLog(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if f == nil {
			continue // removed meanwhile, being too old
		}
		err = t.add(f, st, 0, st.Size)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// ordered is the lines oldest first.
func (t *tailFiles) ordered() []Line {
	slices.Reverse(t.lines)
	return t.lines
}
