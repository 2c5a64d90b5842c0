package watch

import (
	"fmt"
	"io/fs"
	"os"
	"time"
)

// poller looks at a tree from time to time.
type poller struct {
	files   map[string]stamp // by path
	folders int
	every   time.Duration
	at      time.Time // of the next look
	reason  string    // why it is done though it was not wished for; "" = it was
	limits  string    // the kernel's, when it began
}

// stamp tells two states of a file apart.
type stamp struct {
	modified int64
	size     int64
	ino      uint64
}

const (
	pollUnasked = time.Second
	pollShare   = 20 // a look may take this part of a processor's time
)

// beginPolling looks at a tree from now on instead of being told, by choice or for an
// error of the kernel's.
func (t *tree) beginPolling(now time.Time, err error) {
	t.drop()
	t.poller = &poller{limits: t.w.limit()}
	t.look(now)
	if err != nil {
		t.poller.reason = fmt.Sprintf("the kernel can't tell of changes: %s; until then gopm looks at the files every %v", remedy(err), t.poller.every.Round(time.Millisecond))
		t.w.o.Log(t.name, "%s", t.poller.reason)
	}
}

// look does what is due besides telling: it begins anew or polls. When the kernel's
// limits have been changed it is asked again.
func (t *tree) look(now time.Time) {
	if !t.stale.IsZero() && !now.Before(t.stale) {
		t.restart(now, time.Time{})
	}
	p := t.poller
	if p == nil || now.Before(p.at) {
		return
	}
	if p.reason != "" && p.limits != t.w.limit() {
		if t.restart(now, time.Time{}); t.poller == nil {
			t.w.o.Log(t.name, "the kernel tells of changes again: its limits were changed")
			t.compare(p.files, t.scan())
		} else {
			t.compare(p.files, t.poller.files)
		}
		return
	}
	began := time.Now()
	files := t.scan()
	if p.files != nil {
		t.compare(p.files, files)
	}
	p.files = files
	p.at = time.Now()
	if p.every = t.spec.Poll; p.every == 0 {
		p.every = pollUnasked
	}
	p.every = max(p.every, pollShare*p.at.Sub(began))
	p.at = p.at.Add(p.every)
}

// scan is the state of all files.
func (t *tree) scan() map[string]stamp {
	files := map[string]stamp{}
	seen := map[string]bool{} // real paths of folders: links may go in circles
	var enter func(d *dir) error
	enter = func(d *dir) error {
		if seen[d.real] {
			return nil
		}
		seen[d.real] = true
		if !d.look() {
			return nil
		}
		return t.walk(d, enter, func(path string, e fs.DirEntry) {
			if e.Type()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice) != 0 {
				return
			}
			if info, err := e.Info(); err == nil {
				files[path] = stampOf(info)
			}
		})
	}
	for _, r := range t.roots {
		switch {
		case r.missing:
		case r.isFile:
			if info, err := os.Stat(r.real); err == nil {
				files[r.path] = stampOf(info)
			}
		default:
			_ = enter(&dir{tree: t, real: r.real, path: r.path, full: true, rules: t.outerRules(r.path)})
		}
	}
	if t.poller != nil {
		t.poller.folders = len(seen)
	}
	return files
}

func stampOf(info fs.FileInfo) stamp {
	return stamp{info.ModTime().UnixNano(), info.Size(), inode(info)}
}

// compare notes what is new, different or gone.
func (t *tree) compare(before, now map[string]stamp) {
	for path, s := range now {
		if old, known := before[path]; !known || old != s {
			t.changed(path)
		}
	}
	for path := range before {
		if _, left := now[path]; !left {
			t.changed(path)
		}
	}
}
