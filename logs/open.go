package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kind is what bytes can be done to a target.
type kind uint8

const (
	kindFile    kind = iota // regular: spliced, rotated
	kindNull                // /dev/null: spliced away
	kindSpecial             // tty, FIFO, socket: written, may be full
	kindAbsent              // can't be opened: refuses; see absent
	kindNone                // there is no such file
)

// fileID tells whether two names are one file.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} }

// opened is a target that was opened.
type opened struct {
	fd       int
	kind     kind
	id       fileID
	path     string // where the file really is; "" when it can't be rotated
	size     int64
	written  time.Time // last; when it is new, that is now
	readable bool
	append   bool // can only be appended to
	shared   bool // a duplicate of somebody else's description: no flags of it are ours to set
	why      error
}

// openTarget opens what a stream writes to and creates it, and its folder, if missing.
// It follows the log's own symbolic link. In a folder that others can write to it is
// refused: whoever may write there could point us at any file.
func openTarget(t Target) (opened, error) {
	path := t.Path
	if path == "" {
		path = os.DevNull
	}
	if !filepath.IsAbs(path) {
		return opened{}, fmt.Errorf("cannot open log %s: the path is not absolute", path)
	}
	path = filepath.Clean(path)
	for range 8 {
		o, next, err := openNamed(path, t)
		if err != nil {
			return opened{}, fmt.Errorf("cannot open log %s: %w", path, err)
		}
		if next == "" {
			return o, nil
		}
		path = next
	}
	return opened{}, fmt.Errorf("cannot open log %s: too many links", path)
}

// openNamed opens a file, or says where its link leads.
func openNamed(path string, t Target) (o opened, next string, err error) {
	if isDescriptor(path) {
		o, err = openDescriptor(path)
		return o, "", err
	}
	f, err := openFolder(filepath.Dir(path), true)
	if err != nil {
		return o, "", err
	}
	defer f.close()
	name := filepath.Base(path)
	if to, err := f.readlink(name); err == nil {
		if !trustedFolder(f.fd) {
			return o, "", fmt.Errorf("it is a link to %s in a folder that others can write to; name that file as the log", to)
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		return o, filepath.Clean(to), nil
	}
	o, err = f.openLog(name, t)
	if err == nil {
		o, err = o.examine(path)
	}
	return o, "", err
}

// isDescriptor: such a link (/dev/stdout leads to one) isn't a name but an open file.
func isDescriptor(path string) bool { return strings.HasPrefix(path, "/proc/") }

// logFlags: O_NONBLOCK, so that a FIFO never stops the pump; O_RDWR, because a FIFO
// without a reader can't be opened otherwise, and to see whether a file ends within a line.
const logFlags = unix.O_RDWR | unix.O_NONBLOCK | unix.O_NOCTTY

// openLog opens or creates a file.
func (f folder) openLog(name string, t Target) (o opened, err error) {
	o.readable = true
	o.fd, err = f.create(name, logFlags, owner{t.UID, t.GID, 0o600})
	if !errors.Is(err, fs.ErrExist) {
		return o, err
	}
	o, err = openExisting(func(flags int) (int, error) { return f.open(name, flags) })
	if err != nil {
		return o, err
	}
	if err := f.check(o.fd, t.UID); err != nil {
		unix.Close(o.fd)
		return o, err
	}
	return o, nil
}

// openDescriptor is for what path, below /proc, names; of this process that is a number.
func openDescriptor(path string) (opened, error) {
	var n int
	if _, err := fmt.Sscanf(path, "/proc/self/fd/%d", &n); err == nil {
		return openOwn(n, path)
	}
	o, err := openExisting(func(flags int) (int, error) { return openAt(path, flags) })
	if err != nil {
		return o, err
	}
	return o.examine(path)
}

func openExisting(open func(flags int) (int, error)) (o opened, err error) {
	o.readable = true
	o.fd, err = open(logFlags)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) { // write-only, or append-only by attribute
		o.readable, o.append = false, true
		o.fd, err = open(logFlags&^unix.O_RDWR | unix.O_WRONLY | unix.O_APPEND)
	}
	return o, err
}

// openOwn is for /dev/stdout and /dev/stderr. A FIFO or terminal is opened anew, which
// makes O_NONBLOCK ours to set, and only for writing, so that we see its last reader go.
// What can't be (a socket, or the FIFO of another user, as in a container with a user of
// its own) is shared, and so is a file: who started us may be writing more, at the same
// offset.
func openOwn(n int, path string) (o opened, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(n, &st); err != nil {
		return o, err
	}
	if mode := st.Mode & unix.S_IFMT; mode == unix.S_IFIFO || mode == unix.S_IFCHR {
		if o.fd, err = openAt(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY); err == nil {
			return o.examine(path)
		}
	}
	o.shared = true
	if o.fd, err = unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		return o, err
	}
	return o.examine(path)
}

func openAt(path string, flags int) (int, error) {
	return retryInt(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) })
}

// owner is whose a new file is, and its mode.
type owner struct {
	uid, gid int // -1 = ours
	mode     uint32
}

// ownerOf is for a file that takes another one's place.
func ownerOf(st *unix.Stat_t) owner {
	o := owner{int(st.Uid), int(st.Gid), st.Mode & 0o777}
	if int(st.Uid) == os.Geteuid() { // a foreign group can't always be given again
		o.uid, o.gid = -1, -1
	}
	return o
}

// whereIs is the path of a log whose name may be a link of root's or ours.
func whereIs(path string) string {
	for range 8 {
		f, err := openFolder(filepath.Dir(path), false)
		if err != nil {
			return path
		}
		to, err := f.readlink(filepath.Base(path))
		trusts := trustedFolder(f.fd)
		f.close()
		if err != nil || !trusts {
			return path
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = filepath.Clean(to)
	}
	return path
}

// examine finds out what was opened.
func (o opened) examine(path string) (opened, error) {
	var st unix.Stat_t
	if err := unix.Fstat(o.fd, &st); err != nil {
		unix.Close(o.fd)
		return opened{}, err
	}
	o.id, o.size, o.written = idOf(&st), st.Size, time.Unix(st.Mtim.Unix())
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		o.path = path
		if isDescriptor(path) { // somebody else's file that is open as our stdout
			o.path, o.append = "", true
			if !o.shared {
				unix.FcntlInt(uintptr(o.fd), unix.F_SETFL, unix.O_APPEND)
			}
		}
	case unix.S_IFCHR:
		o.kind = kindSpecial
		if st.Rdev == unix.Mkdev(1, 3) {
			o.kind = kindNull
		}
	case unix.S_IFIFO, unix.S_IFSOCK:
		o.kind = kindSpecial
	default:
		unix.Close(o.fd)
		return opened{}, errors.New("it is neither a file nor a terminal or FIFO")
	}
	return o, nil
}
