package watch

import (
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// root is a path that is to be watched. Whether it still is what it was is looked at
// from time to time: a folder above it may be moved, or a link on the way changed.
type root struct {
	path string
	identity
	gone time.Time // since when it is missing; zero: it is not
}

// identity tells a folder from another one of the same name. Of a file it is its
// folder's: what happens to the file itself is told.
type identity struct {
	missing bool
	isFile  bool
	real    string
	dev     uint64
	ino     uint64
}

func identify(path string) identity {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return identity{missing: true}
	}
	info, err := os.Stat(real)
	if err != nil {
		return identity{missing: true}
	}
	id := identity{real: real, isFile: !info.IsDir()}
	if id.isFile {
		if info, err = os.Stat(parentOf(real)); err != nil {
			return identity{missing: true}
		}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.dev, id.ino = st.Dev, st.Ino
	}
	return id
}

// check sees which roots have come, gone, or become others.
func (t *tree) check(now time.Time) {
	different := false
	for _, r := range t.roots {
		before := r.identity
		r.identity = identify(r.path)
		switch {
		case !r.missing:
			r.gone = time.Time{}
		case r.gone.IsZero():
			r.gone = now
			t.tellMissing(r)
		}
		if r.identity == before {
			continue
		}
		different = true
		if !r.missing {
			t.changed(r.path)
		}
	}
	if different {
		t.restart(now, time.Time{})
	}
}

func (t *tree) tellMissing(r *root) {
	t.w.o.Log(t.name, "%s is to be watched and is not there: it is watched again as soon as it is", r.path)
}

// goneFor is how long changes wait for a path that is missing, if there are others: a
// checkout that removes everything first is not over before it is back.
const goneFor = 30 * time.Second

// isWhole says whether the roots are there, or are not to be waited for any more.
func (t *tree) isWhole(now time.Time) bool {
	missing := 0
	for _, r := range t.roots {
		if !r.missing {
			continue
		}
		missing++
		if now.Sub(r.gone) < goneFor {
			return false
		}
	}
	return missing < len(t.roots)
}
