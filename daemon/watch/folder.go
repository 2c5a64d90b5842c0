package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dir is a folder that is watched. In full it is watched for everything in it, else for
// some names.
type dir struct {
	tree *tree
	real string // without symbolic links
	path string // as the user has named what it is below
	dev  uint64
	ino  uint64
	up   *dir
	kids map[string]*dir
	full bool
	only map[string]string // names, and the paths that they stand for
	odd  map[string]bool   // names of what is neither file nor folder, or was there for a moment: their ends count for nothing
	*rules
}

// look sees which folder it is; false: there is none, or what the kernel makes up, where
// there may be no end of folders.
func (d *dir) look() bool {
	info, err := os.Lstat(d.real)
	if err != nil {
		return false
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		d.dev, d.ino = st.Dev, st.Ino
	}
	if d.up == nil || d.up.dev == d.dev {
		return true
	}
	var st unix.Statfs_t
	if err := unix.Statfs(d.real, &st); err != nil {
		return false
	}
	switch st.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.DEVPTS_SUPER_MAGIC:
		return false
	}
	return true
}

// count says which files that a look finds have changed.
type count struct {
	all   bool
	since time.Time // these and later; zero: none
}

// watch has the kernel tell of a folder. An error is one of its limits; what else goes
// wrong is noted.
func (t *tree) watch(d *dir) error {
	d.tree = t
	if !d.look() {
		return nil
	}
	err := t.w.add(d)
	switch {
	case err == nil:
		t.dirs[d.real] = d
	case isLimit(err):
		return err
	case !errors.Is(err, fs.ErrNotExist):
		t.suffer(d.path, err)
	}
	return nil
}

// follow watches a folder, and what is below it. The watch comes first: what is made
// while it is being read is told.
func (t *tree) follow(d *dir, c count) error {
	if old := t.dirs[d.real]; old != nil {
		if old.full {
			return nil // by another path, or it was quicker
		}
		old.path, old.full, old.up, old.rules = d.path, true, d.up, d.rules
		d = old
	} else {
		if err := t.watch(d); err != nil {
			return err
		}
		if t.dirs[d.real] == nil {
			return nil
		}
	}
	if d.up != nil {
		d.up.adopt(d)
	}
	if c.reports(d.real) {
		t.changed(d.path)
	}
	return t.walk(d, func(kid *dir) error { return t.follow(kid, c) }, func(path string, e fs.DirEntry) {
		if e.Type()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice) != 0 {
			d.noteOdd(e.Name())
		} else if c.all || !c.since.IsZero() && changedSince(d.real+"/"+e.Name(), c.since) {
			t.changed(path)
		}
	})
}

// reports says whether a folder's list of files has changed: something in it is gone, or
// was moved there.
func (c count) reports(folder string) bool {
	return !c.all && !c.since.IsZero() && changedSince(folder, c.since)
}

func changedSince(path string, since time.Time) bool {
	info, err := os.Lstat(path)
	return err == nil && !changeTime(info).Before(since)
}

func changeTime(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}

func (d *dir) adopt(kid *dir) {
	if d.kids == nil {
		d.kids = map[string]*dir{}
	}
	d.kids[kid.path[lastSlash(kid.path)+1:]] = kid
}

func (d *dir) noteOdd(name string) {
	if d.odd == nil {
		d.odd = map[string]bool{}
	}
	d.odd[name] = true
}

// walk reads a folder and gives away what in it is not ignored: folders, and the rest.
func (t *tree) walk(d *dir, folder func(*dir) error, rest func(path string, e fs.DirEntry)) error {
	if t.spec.Gitignore {
		d.rules = fileRules(d.path, d.rules)
	}
	f, err := os.Open(d.real)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			t.suffer(d.path, err)
		}
		return nil
	}
	defer f.Close()
	for {
		const some = 1000
		entries, err := f.ReadDir(some)
		for _, e := range entries {
			kid, isFolder := t.meet(d, e)
			path := d.path + "/" + e.Name()
			switch {
			case t.ignores(d, path, isFolder):
			case kid != nil:
				if err := folder(kid); err != nil {
					return err
				}
			case !isFolder:
				rest(path, e)
			}
		}
		if err != nil { // the end, or it has been removed meanwhile
			return nil
		}
	}
}

// meet is what an entry of a folder is: a folder that is to be looked at, one that is
// not, or something else.
func (t *tree) meet(d *dir, e fs.DirEntry) (kid *dir, isFolder bool) {
	real, path := d.real+"/"+e.Name(), d.path+"/"+e.Name()
	if e.Type()&fs.ModeSymlink != 0 {
		if !t.spec.Follow {
			return nil, false
		}
		target, err := filepath.EvalSymlinks(real)
		if err != nil {
			return nil, false // it leads nowhere
		}
		if info, err := os.Stat(target); err != nil || !info.IsDir() {
			return nil, false
		}
		return &dir{tree: t, real: target, path: path, up: d, full: true, rules: d.rules}, true
	}
	if !e.IsDir() {
		return nil, false
	}
	return &dir{tree: t, real: real, path: path, up: d, full: true, rules: d.rules}, true
}

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
