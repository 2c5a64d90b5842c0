package watch

import (
	"io/fs"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
)

// hear takes what has happened to a name in a folder.
func (t *tree) hear(d *dir, name string, op fsnotify.Op) {
	if path, named := d.only[name]; named && t.counts(d, name, op) {
		t.changed(path)
		return
	}
	if !d.full {
		return
	}
	path := d.path + "/" + name
	kid := d.kids[name]
	if op.Has(fsnotify.Remove) || op.Has(fsnotify.Rename) {
		if kid != nil {
			t.lost(kid, op.Has(fsnotify.Rename))
			return
		}
		if d.odd[name] {
			delete(d.odd, name)
			return
		}
	}
	if name == ignoreFile && t.spec.Gitignore {
		t.stale = time.Now().Add(t.spec.Delay) // other things count from then on
		return
	}
	if op.Has(fsnotify.Create) {
		t.appeared(d, name, kid)
		return
	}
	if kid == nil && !d.odd[name] && t.counts(d, name, op) && !t.ignores(d, path, false) {
		t.changed(path)
	}
}

// appeared looks at something that is new in a folder. What is gone again was for a
// moment: that is no change.
func (t *tree) appeared(d *dir, name string, kid *dir) {
	info, err := os.Lstat(d.real + "/" + name)
	if err != nil {
		d.noteOdd(name)
		return
	}
	delete(d.odd, name)
	if kid != nil {
		if info.IsDir() && inode(info) == kid.ino {
			return // it was found before it was told
		}
		t.lost(kid, false)
	}
	path := d.path + "/" + name
	next, isFolder := t.meet(d, fs.FileInfoToDirEntry(info))
	switch {
	case t.ignores(d, path, isFolder):
	case next != nil:
		if err := t.follow(next, count{all: true}); err != nil {
			t.changed(path)
			t.beginPolling(time.Now(), err)
		}
		t.warnOfSize()
	case info.Mode()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice) != 0:
		d.noteOdd(name)
	default:
		t.changed(path)
	}
}

// counts says whether a remark is of a change. Of one about a file's attributes only the
// time counts: somebody has touched it.
func (t *tree) counts(d *dir, name string, op fsnotify.Op) bool {
	if op&^fsnotify.Chmod != 0 {
		return true
	}
	const almost = 20 * time.Millisecond // the clock of files is that coarse
	info, err := os.Lstat(d.real + "/" + name)
	return err == nil && info.Mode().IsRegular() && changeTime(info).Sub(info.ModTime()).Abs() < almost
}

// ended forgets a folder that has told its own end, unless that was its predecessor's.
func (t *tree) ended(d *dir, moved bool) {
	if info, err := os.Lstat(d.real); err != nil || inode(info) != d.ino {
		t.lost(d, moved)
	}
}

// lost forgets a folder that is gone. One that was moved away takes its files with it.
func (t *tree) lost(d *dir, moved bool) {
	if t.dirs[d.real] != d {
		return
	}
	if moved && d.up != nil {
		t.changed(d.path)
	}
	if d.up != nil {
		delete(d.up.kids, d.path[lastSlash(d.path)+1:])
	}
	t.forget(d)
}

func (t *tree) forget(d *dir) {
	for _, kid := range d.kids {
		t.forget(kid)
	}
	delete(t.dirs, d.real)
	t.w.remove(d)
}
