package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gopm/daemon/api"
	"gopm/logs"
)

// errGone: what was followed has been deleted.
var errGone = errors.New("deleted")

// logView shows logs: what was there first, then what comes.
type logView struct {
	*cli
	options  logOptions
	query    logs.Query
	what     string
	line     *linePrinter
	show     func(logs.Line) error // prints a line
	begun    bool
	troubled bool
	places   []logPlace // by the position the daemon gave each source
	readers  []*logs.Follower
}

// logPlace says which follower reads a source; a nil one is not shown.
type logPlace struct {
	path   string
	err    bool
	reader *logs.Follower
	index  int
	same   int // 1 + the place that shows its file, or 0
}

func newLogView(c *cli, o logOptions, q logs.Query, what string) *logView {
	line := newLinePrinter(c, o)
	return &logView{cli: c, options: o, query: q, what: what, line: line, show: line.print}
}

// event prints what an event of the stream brings; first: it is the first of a daemon.
func (v *logView) event(ctx context.Context, e api.LogEvent, first bool) error {
	var before []logPlace
	if first && v.begun { // the daemon was replaced, and its successor counts anew
		before, v.places = v.places, nil
	}
	if len(e.Sources) > 0 || !v.begun {
		if err := v.open(ctx, e.Sources, before); err != nil {
			return err
		}
	}
	for _, p := range before { // nobody has said which of them have grown meanwhile
		if err := v.read(p); err != nil {
			return err
		}
	}
	for _, i := range e.Grown {
		if i < len(v.places) && v.places[i].same > 0 {
			i = v.places[i].same - 1
		}
		if i >= len(v.places) {
			continue
		}
		if err := v.read(v.places[i]); err != nil {
			return err
		}
	}
	if err := v.line.out.Flush(); err != nil {
		return err
	}
	if e.Gone {
		v.warn("gopm: %s: deleted, nothing more to follow", v.what)
		return errGone
	}
	return nil
}

// read shows what has been written to a source since the last time.
func (v *logView) read(p logPlace) error {
	if p.reader == nil {
		return nil
	}
	return p.reader.Read(p.index, v.show)
}

// open begins to show some sources: what the query asks of them. A file that was
// shown before is not begun again.
func (v *logView) open(ctx context.Context, found []api.LogSource, before []logPlace) error {
	var fresh []logs.Source
	var streamed []string
	at := len(v.places)
	for _, s := range found {
		place := logPlace{path: s.Path, err: s.Err, index: -1, same: s.Same}
		i := slices.IndexFunc(before, func(b logPlace) bool { return b.path == s.Path && b.err == s.Err && b.reader != nil })
		switch {
		case s.Same > 0:
		case i >= 0:
			place = before[i]
		case s.Err && v.options.onlyOut, !s.Err && v.options.onlyErr:
		case s.Path == "/dev/stdout", s.Path == "/dev/stderr":
			streamed = append(streamed, s.App)
		default:
			place.index = len(fresh)
			fresh = append(fresh, source(s))
		}
		v.places = append(v.places, place)
	}
	v.line.known(fresh)
	v.header()
	v.noteStreams(streamed)
	if len(fresh) == 0 {
		return nil
	}
	reader, err := logs.Search(ctx, fresh, v.query, v.trouble, v.show)
	if err != nil {
		return err
	}
	v.readers = append(v.readers, reader)
	for i := range v.places[at:] {
		if p := &v.places[at+i]; p.index >= 0 && p.reader == nil {
			p.reader = reader
		}
	}
	return nil
}

// noteStreams says of apps of a gopm in the foreground where their lines are.
func (v *logView) noteStreams(apps []string) {
	slices.Sort(apps)
	if apps = slices.Compact(apps); len(apps) > 0 {
		v.line.out.Flush()
		v.warn("gopm: %s: what is in no log file goes to stdout and stderr of gopm runtime, which has started this; in a container docker logs has it", abbreviate(apps, 10))
	}
}

// header says what is shown, as pm2 does.
func (v *logView) header() {
	first := !v.begun
	v.begun = true
	if !first || v.options.raw || v.options.json || v.options.keyed {
		return
	}
	if v.query.Last < 0 {
		fmt.Fprintf(v.line.out, "[TAILING] Tailing all lines since %s for [%s] processes\n", v.query.Since.Format("2006-01-02 15:04:05"), v.what)
		return
	}
	fmt.Fprintf(v.line.out, "[TAILING] Tailing last %d lines for [%s] processes (change the value with --lines option)\n", v.query.Last, v.what)
}

// trouble notes a log that can't be read; the others are shown.
func (v *logView) trouble(err error) {
	v.troubled = true
	v.warn("gopm: %v", err)
}

func source(s api.LogSource) logs.Source {
	src := logs.Source{App: s.App, ID: s.ID, Err: s.Err, Path: s.Path, Layout: s.Layout}
	for _, e := range s.Index {
		src.Index = append(src.Index, logs.IndexEntry{Inode: e.Inode, Offset: e.Offset, Time: e.Time})
	}
	return src
}

func (v *logView) close() {
	v.line.out.Flush()
	for _, r := range v.readers {
		r.Close()
	}
}
