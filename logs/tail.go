package logs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Source is a log as the reader sees it; the CLI gets it from the daemon.
type Source struct {
	App    string       `json:"app"`
	ID     int          `json:"id"`
	Err    bool         `json:"err"` // stderr
	Path   string       `json:"path"`
	Layout string       `json:"layout,omitempty"` // Format.Layout: lines that begin with their time are believed
	Index  []IndexEntry `json:"index,omitempty"`
}

// Line is one line of a source, without its newline; a line longer than 64 KiB
// comes in pieces. The text is valid during the call that shows it.
type Line struct {
	Source *Source
	Time   time.Time // its own, else from the index, else estimated
	Text   []byte
}

// Query says which lines are wanted.
type Query struct {
	Last  int            // of each source, the last so many of those that fit the rest; negative: all of them
	Since time.Time      // zero: from the beginning
	Until time.Time      // zero: to the end
	Match *regexp.Regexp // nil: every line
}

// fits says that a time is within the bounds.
func (q *Query) fits(t time.Time) bool { return !t.Before(q.Since) && !q.after(t) }

func (q *Query) after(t time.Time) bool { return !q.Until.IsZero() && t.After(q.Until) }

// Search shows what the sources have of a query, merged by time, oldest first, and
// returns the Follower that goes on from there. Of files, rotated and compressed
// ones too, only what can be wanted is read; with a negative Last lines are shown as
// they are read, however many, else they are collected. A file that several sources
// share is shown once, under the first of them; one that doesn't exist (yet) or
// isn't a regular file has no lines. A file that can't be read is told to trouble,
// once, and doesn't hurt the others. The error is show's, or that of ctx.
func Search(ctx context.Context, sources []Source, q Query, trouble func(error), show func(Line) error) (*Follower, error) {
	f := &Follower{ctx: ctx, now: time.Now, buf: make([]byte, maxLine+1), trouble: once(trouble), match: newMatcher(q.Match)}
	seen := map[fileID]*reading{}
	for i := range sources {
		t := &reading{source: &sources[i], path: realPath(sources[i].Path)}
		f.readings = append(f.readings, t)
		if t.skip = !readable(sources[i].Path); t.skip {
			continue
		}
		if err := t.open(seen); err != nil {
			f.trouble(err)
		}
	}
	if err := f.search(q, show); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// once tells each error once, and not more of them than anyone would read.
func once(trouble func(error)) func(error) {
	told := map[string]bool{}
	return func(err error) {
		if text := err.Error(); !told[text] && len(told) < 1000 {
			told[text] = true
			trouble(err)
		}
	}
}

// search finds the files of each source. Each folder is read once, after all the
// newest files have been opened, so that none is missed that is rotated meanwhile.
func (f *Follower) search(q Query, show func(Line) error) error {
	folders := map[string][]string{}
	var all []*trail
	for _, t := range f.readings {
		if t.skip || t.same != nil {
			continue
		}
		dir := filepath.Dir(t.path)
		if _, ok := folders[dir]; !ok {
			folders[dir] = listFolder(dir)
		}
		all = append(all, t.trail(folders[dir]))
	}
	s := &search{Query: q, ctx: f.ctx, match: f.match, trouble: f.trouble}
	err := s.answer(all, show)
	if f.ctx.Err() != nil {
		return f.ctx.Err()
	}
	return err
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
	fd, err := retryInt(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOTDIR) {
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
