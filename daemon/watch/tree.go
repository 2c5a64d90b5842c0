package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tree is a Tree that is being watched.
type tree struct {
	w     *Watcher
	name  string
	asked Tree // what was set
	spec  Tree // with what it doesn't say
	roots []*root
	dirs  map[string]*dir     // by their real path; none while it is polled
	own   *rules              // the user's
	base  *rules              // the defaults
	mine  map[string][]string // names of spec.Own, by folder
	burst burst
	*poller
	stale   time.Time // when it is to be looked at anew; zero: not
	trouble string    // what can't be watched
	large   bool      // that it is was said
}

func newTree(w *Watcher, name string, spec Tree) *tree {
	t := &tree{w: w, name: name, asked: spec, spec: spec, dirs: map[string]*dir{}, mine: map[string][]string{}}
	if t.spec.Delay <= 0 {
		t.spec.Delay = DefaultDelay
	}
	t.base, t.own = parseRules("", Defaults, nil), parseRules(spec.Dir, spec.Ignore, nil)
	for _, path := range spec.Own {
		t.mine[parentOf(path)] = append(t.mine[parentOf(path)], path[lastSlash(path)+1:])
	}
	for _, path := range spec.Paths {
		t.roots = append(t.roots, &root{path: filepath.Clean(path)})
	}
	return t
}

// begin watches everything anew.
func (t *tree) begin(now time.Time) {
	for _, r := range t.roots {
		if r.identity = identify(r.path); r.missing {
			r.gone = now.Add(-goneFor) // nobody waits for it
			t.tellMissing(r)
		}
	}
	t.restart(now, time.Time{})
}

// restart looks at everything anew; what has changed since a time is told.
func (t *tree) restart(now, since time.Time) {
	before := t.dirs
	defer t.release(before) // not earlier: what happens meanwhile is told
	t.dirs, t.poller, t.trouble, t.stale = map[string]*dir{}, nil, "", time.Time{}
	if t.spec.Poll > 0 {
		t.beginPolling(now, nil)
		return
	}
	for _, r := range t.roots {
		if err := t.attach(r, count{since: since}); isLimit(err) {
			t.beginPolling(now, err)
			return
		}
	}
	t.warnOfSize()
}

// drop ends the watching.
func (t *tree) drop() {
	t.release(t.dirs)
	t.dirs, t.poller = map[string]*dir{}, nil
}

func (t *tree) release(dirs map[string]*dir) {
	for _, d := range dirs {
		t.w.remove(d)
	}
}

// attach watches a root.
func (t *tree) attach(r *root, c count) error {
	id := r.identity
	if id.missing {
		return nil
	}
	if !id.isFile {
		return t.follow(&dir{real: id.real, path: r.path, full: true, rules: t.outerRules(r.path)}, c)
	}
	if c.all || !c.since.IsZero() && changedSince(id.real, c.since) {
		t.changed(r.path)
	}
	if err := t.attachName(parentOf(r.path), r.path); err != nil {
		return err
	}
	return t.attachName("", id.real, r.path)
}

// outerRules are those that hold in a root before its own.
func (t *tree) outerRules(path string) *rules {
	if !t.spec.Gitignore {
		return t.base
	}
	return aboveRules(path, t.base)
}

// attachName watches a folder for a name in it.
func (t *tree) attachName(folder, path string, means ...string) error {
	name := path[lastSlash(path)+1:]
	if folder == "" {
		folder = parentOf(path)
	}
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return nil // it is missing; check sees when it is back
	}
	d := t.dirs[real]
	if d == nil {
		d = &dir{tree: t, real: real, path: folder}
		if err := t.watch(d); err != nil {
			return err
		}
	}
	if d.only == nil {
		d.only = map[string]string{}
	}
	if d.only[name] = path; len(means) > 0 {
		d.only[name] = means[0]
	}
	return nil
}

// suffer notes what can't be watched, and says the first of it.
func (t *tree) suffer(path string, err error) {
	var cause syscall.Errno
	text := fmt.Sprintf("%s can't be watched: %v", path, err)
	if errors.As(err, &cause) {
		text = fmt.Sprintf("%s can't be watched: %v", path, cause)
	}
	if t.trouble == "" {
		t.w.o.Log(t.name, "%s", text)
	}
	t.trouble = text
}

// ignores says whether something in a folder is not watched.
func (t *tree) ignores(d *dir, path string, isFolder bool) bool {
	if t.isOwn(d, path[lastSlash(path)+1:]) {
		return true
	}
	if v := t.own.verdict(path, isFolder); v != silent {
		return v == ignored
	}
	return d.rules.verdict(path, isFolder) == ignored
}

// isOwn says whether a file is one of Own, or a log's that was rotated away.
func (t *tree) isOwn(d *dir, name string) bool {
	for _, folder := range []string{d.path, d.real} {
		for _, own := range t.mine[folder] {
			ext := filepath.Ext(own)
			if name == own || strings.HasPrefix(name, strings.TrimSuffix(own, ext)+"-2") && strings.Contains(name, ext) {
				return true
			}
		}
	}
	return false
}

// changed notes a file.
func (t *tree) changed(path string) {
	t.burst.add(time.Now(), t.nameOf(path))
}

// nameOf is a path as people know it.
func (t *tree) nameOf(path string) string {
	if rel, below := strings.CutPrefix(path, strings.TrimSuffix(t.spec.Dir, "/")+"/"); below {
		return rel
	}
	return path
}

// manyFolders is from where on it is said that there are many.
const manyFolders = 10000

func (t *tree) warnOfSize() {
	if len(t.dirs) <= manyFolders || t.large {
		return
	}
	t.large = true
	t.w.o.Log(t.name, "watches %d folders, which takes memory of the kernel and of gopm: leave out what need not be watched with ignore_watch", len(t.dirs))
}

func (t *tree) state() State {
	s := State{Folders: len(t.dirs), Trouble: t.trouble}
	if t.poller != nil {
		s.Folders, s.Polls = t.poller.folders, t.poller.every
		if t.poller.reason != "" {
			s.Trouble = t.poller.reason
		}
	}
	for _, r := range t.roots {
		if r.missing {
			s.Missing = append(s.Missing, r.path)
		}
	}
	return s
}

func lastSlash(path string) int { return strings.LastIndexByte(path, '/') }
