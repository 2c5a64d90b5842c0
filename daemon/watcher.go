package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/daemon/watch"
	"gopm/ecosystem"
)

// watcher restarts the apps whose files change, or reloads those that are clustered. What
// is stopped stays so, and isn't watched meanwhile. While no app is to be watched there is
// no goroutine.
type watcher struct {
	worker
	d    *Daemon
	wake chan struct{} // one place: the table or a file has changed

	mu      sync.Mutex // guards what follows
	files   *watch.Watcher
	changed map[string]watch.Burst // by app: what nothing was done about yet
	history map[string]edits
}

// edits are what has become of an app by its files.
type edits struct {
	text  string // "server.js and 2 more"
	at    time.Time
	first string
	again int // times in a row that the same file has changed right after a restart for it
}

func newWatcher(d *Daemon) *watcher {
	return &watcher{d: d, wake: make(chan struct{}, 1), changed: map[string]watch.Burst{}, history: map[string]edits{}}
}

func isWatching(spec ecosystem.App) bool { return len(spec.Watch.Paths) > 0 }

// look begins or ends the work, after the table has changed.
func (w *watcher) look() {
	w.keep(slices.ContainsFunc(w.d.table.Load().apps, func(a *app) bool { return isWatching(a.spec) }), w.run)
	w.poke()
}

func (w *watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// watcherNap is how soon it is looked again whether an app can be restarted that could
// not.
const watcherNap = 200 * time.Millisecond

func (w *watcher) run(stop <-chan struct{}) {
	files := watch.New(watch.Options{Changed: w.note, Log: w.say})
	w.serve(files)
	defer w.finish(files)
	changes := w.d.hub.subscribe()
	defer w.d.hub.unsubscribe(changes)
	nap := time.NewTimer(watcherNap)
	defer nap.Stop()
	for {
		files.Set(w.wanted())
		nap.Stop()
		if w.act() {
			nap.Reset(watcherNap)
		}
		select {
		case <-stop:
			return
		case <-changes.wake:
			changes.take()
		case <-w.wake:
		case <-nap.C:
		}
	}
}

// serve lets others ask how the files are watched; nil: not at all.
func (w *watcher) serve(files *watch.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files = files
}

func (w *watcher) finish(files *watch.Watcher) {
	w.serve(nil)
	if err := files.Close(); err != nil {
		w.say("", "%v", err)
	}
}

// say tells what there is to tell about an app's files.
func (w *watcher) say(app, format string, args ...any) {
	w.d.tell(appEvent(app, api.EventWatch, format, args...))
}

// wanted is what is to be watched: the files of apps of which something runs.
func (w *watcher) wanted() map[string]watch.Tree {
	want := map[string]watch.Tree{}
	for _, a := range w.d.table.Load().apps {
		if !isWatching(a.spec) || len(renewable(a)) == 0 {
			continue
		}
		s := a.spec.Watch
		t := watch.Tree{
			Paths: s.Paths, Dir: a.spec.Command.Cwd, Ignore: s.Ignore, Gitignore: s.Gitignore,
			Delay: s.Delay, Poll: s.Poll, Follow: s.Follow, Own: append(a.logPaths(), w.d.cfg.Home.Dir),
		}
		for _, in := range a.instances {
			if file := *in.pidFile.Load(); file != "" {
				t.Own = append(t.Own, file)
			}
		}
		want[a.spec.Name] = t
	}
	return want
}

// renewable are the instances of an app that a change restarts: those that run, or have
// failed. A job that has failed is run when it is due.
func renewable(a *app) (all []*instance) {
	for _, in := range a.instances {
		s := in.proc.Snapshot()
		failed := (s.Want || s.Status == supervise.StatusErrored) && !a.spec.Times.IsJob()
		if (s.IsUp() || failed) && in.waits.Load() == nil {
			all = append(all, in)
		}
	}
	return all
}

// note takes what has changed of an app's files; the goroutine of the files calls it.
func (w *watcher) note(name string, b watch.Burst) {
	w.mu.Lock()
	if before, waits := w.changed[name]; waits {
		before.Count += b.Count // a file may be counted twice
		b = before
	}
	w.changed[name] = b
	w.mu.Unlock()
	w.poke()
}

// act does what is due; waiting says that some apps have to wait.
func (w *watcher) act() (waiting bool) {
	w.mu.Lock()
	var names []string
	for name := range w.changed {
		names = append(names, name)
	}
	w.mu.Unlock()
	for _, name := range names {
		a := w.d.table.Load().app(name)
		if a == nil || !isWatching(a.spec) || len(renewable(a)) == 0 {
			w.take(name)
			continue
		}
		if w.d.ending.reason() == "" && !w.isBusy(a) && w.renew(a) {
			continue
		}
		waiting = true
	}
	return waiting
}

func (w *watcher) take(name string) (b watch.Burst) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b = w.changed[name]
	delete(w.changed, name)
	return b
}

// isBusy says that an app is being restarted or reloaded. One restart more comes after
// that, however many changes there are.
func (w *watcher) isBusy(a *app) bool {
	const enough = 5 * time.Second // for one that lives, and isn't ready
	return w.d.rolls.find(a.spec.Name) != nil || slices.ContainsFunc(renewable(a), func(in *instance) bool {
		s := in.proc.Snapshot()
		switch s.Status {
		case supervise.StatusStopping:
			return true
		case supervise.StatusLaunching:
			return s.Pid == 0 || time.Since(s.Started) < min(a.spec.Restart.MinUptime, enough)
		}
		return false
	})
}

// renew restarts or reloads an app for its changes; false: not now.
func (w *watcher) renew(a *app) bool {
	select {
	case w.d.changing <- struct{}{}: // not begin, which waits: who has the turn may be waiting for us
	default:
		return false
	}
	defer func() { <-w.d.changing }()
	if w.d.table.Load().app(a.spec.Name) != a {
		return false // it is another version since; that one is looked at next
	}
	w.d.thrift.spend()
	text := w.record(a, w.take(a.spec.Name))
	cause, who := "watch: "+text, renewable(a)
	if reloadable(a) && isUp(a) {
		next, _, err := w.d.updated(a, api.Targets{})
		if err != nil {
			w.say(a.spec.Name, "changed: %s, but it cannot be reloaded: %v", text, err)
			return true
		}
		w.say(a.spec.Name, "changed: %s; it is reloaded", text)
		r := w.d.newRoll(doReload, next, who)
		r.cause, r.reason = cause, byWatch
		w.d.rolls.begin(r)
		return true
	}
	w.say(a.spec.Name, "changed: %s; it is restarted", text)
	for _, in := range who {
		s := in.proc.Snapshot()
		in.because(byWatch, s.Incarnation)
		if s.IsUp() {
			in.proc.Replace(s.Incarnation, cause) // a user may have stopped it meanwhile
		} else {
			in.restart(cause)
		}
	}
	return true
}

// record keeps what has changed for people, and says so when an app seems to restart
// itself.
func (w *watcher) record(a *app, b watch.Burst) (text string) {
	const suspicious, soon = 5, 30 * time.Second
	t := w.d.table.Load()
	w.mu.Lock()
	maps.DeleteFunc(w.history, func(name string, _ edits) bool { return t.app(name) == nil })
	h := w.history[a.spec.Name]
	if b.Files[0] != h.first || time.Since(h.at) > soon {
		h.again = 0
	}
	h = edits{text: burstText(b), at: time.Now(), first: b.Files[0], again: h.again + 1}
	w.history[a.spec.Name] = h
	w.mu.Unlock()
	if h.again == suspicious {
		w.say(a.spec.Name, "%s has changed after each of the last restarts; if the app writes it itself, add it to ignore_watch", h.first)
	}
	return h.text
}

// burstText names what has changed.
func burstText(b watch.Burst) string {
	const named = 2
	text := strings.Join(b.Files[:min(named, len(b.Files))], ", ")
	if more := b.Count - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// watching is how an app's files are watched; nil: not at all.
func (d *Daemon) watching(spec ecosystem.App) *api.Watching {
	if isWatching(spec) {
		for _, u := range d.upkeep {
			if w, ok := u.(*watcher); ok {
				return w.info(spec.Name)
			}
		}
	}
	return nil
}

func (w *watcher) info(app string) *api.Watching {
	w.mu.Lock()
	files, h := w.files, w.history[app]
	w.mu.Unlock()
	info := &api.Watching{Last: h.text, LastAt: h.at}
	if files != nil {
		s, ok := files.State(app)
		info.Now, info.Folders, info.PollMS, info.Trouble, info.Missing = ok, s.Folders, s.Polls.Milliseconds(), s.Trouble, s.Missing
	}
	return info
}
