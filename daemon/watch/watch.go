// Package watch tells when files change. It watches trees of folders, follows new
// folders, leaves out what is ignored, and calls back once for a burst of changes, with
// the files that it was. Where the kernel can't tell (its limits are reached), or
// by choice, it looks from time to time instead.
//
// One inotify instance serves all trees. The goroutine of a Watcher owns everything and is
// waited for by Close. While something is watched there are two more, which that one waits
// for: fsnotify's, which reads, and one that takes its errors.
package watch

import (
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Tree is what somebody wants watched.
type Tree struct {
	Paths     []string // folders and files, absolute
	Dir       string   // what Ignore and the names that are told are relative to
	Ignore    []string // patterns as in .gitignore, besides Defaults
	Own       []string // files that the watched program's manager writes
	Gitignore bool     // what .gitignore files say, too
	Delay     time.Duration
	Poll      time.Duration // look so often instead of being told; 0 = be told
	Follow    bool          // symbolic links to folders
}

// Burst is some changes with no more than Delay between them.
type Burst struct {
	Files []string // the first few, relative to Dir if they are below it
	Count int      // of the files that have changed
}

// State is how a tree is watched.
type State struct {
	Folders int
	Polls   time.Duration // it is looked at so often; 0: changes are told by the kernel
	Trouble string        // what can't be watched, and what to do; "" = nothing
	Missing []string      // paths that are not there at the moment
}

// Options are what a Watcher needs.
type Options struct {
	Changed func(name string, b Burst)             // must not block
	Log     func(name, format string, args ...any) // about a tree
}

// Watcher watches trees. Set says which.
type Watcher struct {
	o     Options
	open  func() (*source, error)
	limit func() string // the kernel's limits, as text that changes with them
	stop  chan struct{}
	done  chan struct{}
	wake  chan struct{}

	mu     sync.Mutex // guards what follows
	want   map[string]Tree
	states map[string]State

	loop // the goroutine's own
}

// loop is what the goroutine owns.
type loop struct {
	from    *source // nil: nothing is told by the kernel
	trees   map[string]*tree
	dirs    map[string][]*dir // by the path that is watched
	checked time.Time
	heard   time.Time // the last remark
	busy    time.Time // when the remarks began that have no pause between them
}

const (
	// DefaultDelay is how long it must be silent after a change if a Tree doesn't say it.
	DefaultDelay = 200 * time.Millisecond

	checkEvery = 2 * time.Second        // whether paths are what they were
	pause      = 200 * time.Millisecond // between remarks: the kernel's queue was empty
)

// New begins to watch nothing yet.
func New(o Options) *Watcher {
	w := &Watcher{o: o, open: openSource, limit: limits}
	w.begin()
	return w
}

func (w *Watcher) begin() {
	w.stop, w.done, w.wake = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	w.states = map[string]State{}
	w.loop = loop{trees: map[string]*tree{}, dirs: map[string][]*dir{}}
	go w.run() // ended by Close, which waits for it
}

// Set says what is watched from now on. It doesn't wait for that.
func (w *Watcher) Set(want map[string]Tree) {
	w.mu.Lock()
	w.want = want
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// State is how a tree is watched at the moment; false: not yet, or not any more.
func (w *Watcher) State(name string) (State, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.states[name]
	return s, ok
}

// patience is how long Close waits: on a file system that hangs, a look never comes back.
const patience = 5 * time.Second

// Close ends the watching. Nothing is told after it.
func (w *Watcher) Close() error {
	close(w.stop)
	select {
	case <-w.done:
		return nil
	case <-time.After(patience):
		return errors.New("a watched file system does not answer; its watching ends when it does")
	}
}

func (w *Watcher) run() {
	defer close(w.done)
	defer w.hangUp()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var events <-chan fsnotify.Event
		var failures <-chan error
		if w.from != nil {
			events, failures = w.from.events, w.from.errors
		}
		select {
		case <-w.stop:
			return
		case <-w.wake:
			w.settle(time.Now())
		case e := <-events:
			w.listen(time.Now())
			w.hear(e)
		case err := <-failures:
			w.listen(time.Now())
			w.fail(err)
		case <-timer.C:
			w.tick(time.Now())
		}
		timer.Reset(max(0, time.Until(w.next())))
	}
}

// settle begins and ends the watching of what has been set.
func (w *Watcher) settle(now time.Time) {
	w.mu.Lock()
	want := w.want
	w.mu.Unlock()
	for name, t := range w.trees {
		if _, ok := want[name]; !ok {
			t.drop()
			delete(w.trees, name)
		}
	}
	for name, spec := range want {
		before := w.trees[name]
		if before != nil && reflect.DeepEqual(spec, before.asked) {
			continue
		}
		t := newTree(w, name, spec)
		w.trees[name] = t
		if before != nil {
			t.burst = before.burst
		}
		t.begin(now)
		if before != nil {
			before.drop() // not earlier: what happens meanwhile is told
		}
	}
	w.publish()
	w.hangUpIfIdle()
}

// add has the kernel tell what happens in a folder.
func (w *Watcher) add(d *dir) error {
	if w.from == nil {
		from, err := w.open()
		if err != nil {
			return err
		}
		w.from = from
	}
	if err := w.from.add(d.real); err != nil { // also if it is watched: it may be another folder by now
		return err
	}
	w.dirs[d.real] = append(w.dirs[d.real], d)
	return nil
}

func (w *Watcher) remove(d *dir) {
	all := w.dirs[d.real]
	for i, o := range all {
		if o == d {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	if len(all) > 0 {
		w.dirs[d.real] = all
		return
	}
	delete(w.dirs, d.real)
	_ = w.from.remove(d.real) // an error: it is gone, and the kernel has seen that
}

func (w *Watcher) hangUpIfIdle() {
	if w.from != nil && len(w.dirs) == 0 {
		w.hangUp()
	}
}

func (w *Watcher) hangUp() {
	if w.from != nil {
		_ = w.from.close()
		w.from = nil
	}
}

// listen notes when it was silent last.
func (w *Watcher) listen(now time.Time) {
	if now.Sub(w.heard) > pause {
		w.busy = now
	}
	w.heard = now
}

// hear takes a remark to the trees that it is about.
func (w *Watcher) hear(e fsnotify.Event) {
	if e.Name == "" {
		return
	}
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		for _, d := range append([]*dir(nil), w.dirs[e.Name]...) { // it goes by itself, which shortens the list
			d.tree.ended(d, e.Has(fsnotify.Rename))
		}
	}
	folder, name := parentOf(e.Name), e.Name[lastSlash(e.Name)+1:]
	for _, d := range append([]*dir(nil), w.dirs[folder]...) {
		d.tree.hear(d, name, e.Op)
	}
}

// fail looks at everything again when the kernel could not keep what it had to tell.
func (w *Watcher) fail(err error) {
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		w.o.Log("", "the kernel's remarks about files can't be read: %v; all that is watched is looked at", err)
	}
	const slack = time.Second // of the kernel's clock for files, and of remarks that were on their way
	for _, t := range w.trees {
		if t.poller == nil {
			t.restart(time.Now(), w.busy.Add(-slack))
		}
	}
	w.publish()
}

// tick does what is due.
func (w *Watcher) tick(now time.Time) {
	if now.Sub(w.checked) >= checkEvery {
		w.checked = now
		for _, t := range w.trees {
			t.check(now)
		}
	}
	for _, t := range w.trees {
		t.look(now)
		t.report(now)
	}
	w.publish()
	w.hangUpIfIdle()
}

// next is when tick has something to do.
func (w *Watcher) next() time.Time {
	if len(w.trees) == 0 {
		return time.Now().Add(time.Hour)
	}
	at := w.checked.Add(checkEvery)
	for _, t := range w.trees {
		if due := t.due(); !due.IsZero() && due.Before(at) {
			at = due
		}
	}
	return at
}

func (w *Watcher) publish() {
	states := make(map[string]State, len(w.trees))
	for name, t := range w.trees {
		states[name] = t.state()
	}
	w.mu.Lock()
	w.states = states
	w.mu.Unlock()
}
