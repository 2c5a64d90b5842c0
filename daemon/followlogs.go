package daemon

import (
	"net/http"
	"slices"
	"time"

	"gopm/daemon/api"
	"gopm/logs"
)

// followPause is the least time between two events for one follower of logs.
const followPause = 20 * time.Millisecond

// logFollower is one reader of logs: what it was told of.
type logFollower struct {
	*Daemon
	r     *http.Request
	send  func(any) error
	next  int                     // the position of the next source
	known map[*instance]*[2]place // of stdout and stderr
	at    map[*logs.Stream]int
	files map[place]*users
}

// place is a file that a stream writes; some are several streams'.
type place struct {
	path string
	err  bool
}

// users is who shows a file, and how many streams write it.
type users struct{ at, count int }

// followLogs sends the targets' log files, then which of them have grown, and the
// files of instances that come to belong to the targets later.
func (d *Daemon) followLogs(r *http.Request, send func(any) error) error {
	f := &logFollower{Daemon: d, r: r, send: send, known: map[*instance]*[2]place{}, at: map[*logs.Stream]int{}, files: map[place]*users{}}
	if r.URL.Query().Get("follow") == "" {
		picked, err := d.targeted(r)
		if err != nil {
			return err
		}
		return send(f.add(picked))
	}
	seq, err := d.feed.join()
	if err != nil {
		return err
	}
	defer d.feed.leave()
	changes := d.hub.subscribe() // before looking, so that nothing is missed in between
	defer d.hub.unsubscribe(changes)
	picked, err := d.targeted(r)
	if err != nil {
		return err
	}
	if err := send(f.add(picked)); err != nil {
		return err
	}
	return f.follow(seq, changes)
}

// follow sends what changes until the reader, the daemon or all that is followed ends.
func (f *logFollower) follow(seq uint64, changes *follower) error {
	closing := f.ending.closing
	for {
		grown, now, more := f.feed.since(seq)
		seq = now
		if err := f.tell(api.LogEvent{Grown: f.positions(grown)}); err != nil {
			return err
		}
		select {
		case <-f.r.Context().Done():
			return nil
		case <-more:
			continue
		case <-closing:
			if f.ending.reason() == handedOver {
				return f.ending.refusal()
			}
			closing = nil // what the apps say while they are stopped is shown, too
		case <-changes.wake:
			changes.take()
		}
		if err := f.tell(api.LogEvent{Grown: f.left()}); err != nil {
			return err
		}
		e := f.look()
		if closing == nil && f.isDown() {
			return f.send(api.LogEvent{Grown: f.all()})
		}
		if err := f.tell(e); err != nil || e.Gone {
			return err
		}
	}
}

// tell sends an event that says something, and waits a little: what happens
// meanwhile is told in one.
func (f *logFollower) tell(e api.LogEvent) error {
	if len(e.Sources) == 0 && len(e.Grown) == 0 && !e.Gone {
		return nil
	}
	if err := f.send(e); err != nil {
		return err
	}
	select {
	case <-f.r.Context().Done():
	case <-time.After(followPause):
	}
	return nil
}

// left finds files that are written no more, because their instance is gone or
// writes others now, and says where they are: something may still have come.
func (f *logFollower) left() (at []int) {
	f.succeed()
	for in, places := range f.known {
		gone := in.app.Load() == nil
		for i, s := range []*logs.Stream{in.out, in.err} {
			if !gone && in.shownIn(s) == places[i].path {
				continue
			}
			_ = s.Flush(f.r.Context()) // an error: it is closed, and so in its file
			at = append(at, f.at[s])
			delete(f.at, s)
			if u := f.files[places[i]]; u.count > 1 {
				u.count--
			} else {
				delete(f.files, places[i])
			}
		}
		if gone {
			delete(f.known, in)
		}
	}
	return at
}

// succeed goes on with the processes that have taken the places of others by a reload:
// they write where those wrote.
func (f *logFollower) succeed() {
	for old := range f.known {
		if old.app.Load() != nil {
			continue
		}
		for _, in := range f.table.Load().all() {
			if in.out == old.out && in != old {
				f.known[in] = f.known[old]
				delete(f.known, old)
			}
		}
	}
}

// look finds files that have come, and says whether nothing is left to follow.
func (f *logFollower) look() (e api.LogEvent) {
	if picked, err := f.targeted(f.r); err == nil {
		e = f.add(picked)
	}
	e.Gone = len(f.known) == 0 && len(f.r.URL.Query()["target"]) > 0
	return e
}

// add tells of the log files that aren't known yet. Into one that is, something may
// have come from a stream that wasn't.
func (f *logFollower) add(picked []*instance) (e api.LogEvent) {
	for _, in := range picked {
		if f.known[in] == nil {
			f.known[in] = &[2]place{}
		}
		for i, s := range []*logs.Stream{in.out, in.err} {
			if _, known := f.at[s]; known {
				continue
			}
			_ = s.Flush(f.r.Context())
			src := logSource(in, s)
			p := place{src.Path, src.Err}
			if u := f.files[p]; u != nil {
				u.count++
				src.Same = u.at + 1
				e.Grown = append(e.Grown, u.at)
			} else {
				f.files[p] = &users{f.next, 1}
			}
			f.known[in][i], f.at[s] = p, f.next
			f.next++
			e.Sources = append(e.Sources, src)
		}
	}
	return e
}

// positions says where in the list of sources the streams are that it has.
func (f *logFollower) positions(streams []*logs.Stream) (at []int) {
	for _, s := range streams {
		if i, known := f.at[s]; known {
			at = append(at, i)
		}
	}
	return at
}

// all is every position, once everything written is in the files.
func (f *logFollower) all() (at []int) {
	for s, i := range f.at {
		_ = s.Flush(f.r.Context())
		at = append(at, i)
	}
	slices.Sort(at)
	return at
}

func (f *logFollower) isDown() bool {
	for in := range f.known {
		if !isStopped(in.proc.Snapshot()) {
			return false
		}
	}
	return true
}

// shownIn is the file that shows a stream: its own or, of an app that keeps one of its
// streams in log_file alone, that one; both streams share it, and it is shown once.
func (in *instance) shownIn(s *logs.Stream) string {
	out, err := in.out.Stats(), in.err.Stats()
	switch {
	case out.Also != "" && (out.Path == "" || err.Path == ""):
		return out.Also
	case s == in.err:
		return err.Path
	}
	return out.Path
}

func logSource(in *instance, s *logs.Stream) api.LogSource {
	src := api.LogSource{App: in.name, ID: in.id, Err: s == in.err, Path: in.shownIn(s)}
	if a := in.app.Load(); a != nil {
		src.Layout = a.spec.Logs.DateFormat
	}
	for _, e := range s.Index() {
		src.Index = append(src.Index, api.LogIndex{Inode: e.Inode, Offset: e.Offset, Time: e.Time})
	}
	return src
}
