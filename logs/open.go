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
	why      error
}

// openTarget opens what a stream writes to and creates it, and its folder, if missing.
func openTarget(t Target) (opened, error) {
	path := t.Path
	if path == "" {
		path = os.DevNull
	}
	if !filepath.IsAbs(path) {
		return opened{}, fmt.Errorf("cannot open log %s: the path is not absolute", path)
	}
	path, err := resolve(filepath.Clean(path))
	if err != nil {
		return opened{}, err
	}
	o, err := openFile(path, t)
	if errors.Is(err, fs.ErrNotExist) { // its folder is missing
		if err := makeFolder(filepath.Dir(path)); err != nil {
			return opened{}, err
		}
		o, err = openFile(path, t)
	}
	if err != nil {
		return opened{}, fmt.Errorf("cannot open log %s: %w", path, err)
	}
	return o, nil
}

// resolve follows the log's own symbolic link. In a folder that others can write
// to it is refused: whoever may write there could point us at any file.
func resolve(path string) (string, error) {
	for range 8 {
		if isDescriptor(path) {
			return path, nil
		}
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil // no link, or nothing there yet
		}
		if !trusted(filepath.Dir(path)) {
			return "", fmt.Errorf("cannot open log %s: it is a link to %s in a folder that others can write to; name that file as the log", path, to)
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = filepath.Clean(to)
	}
	return "", fmt.Errorf("cannot open log %s: too many links", path)
}

// isDescriptor: such a link (/dev/stdout leads to one) isn't a name but an open file.
func isDescriptor(path string) bool { return strings.HasPrefix(path, "/proc/") }

// trusted: nobody but root and us can put something into that folder.
func trusted(dir string) bool {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return false
	}
	return (st.Uid == 0 || int(st.Uid) == os.Geteuid()) && st.Mode&0o022 == 0
}

// makeFolder creates a missing folder 0700, whatever the umask.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody else was quicker
	}
	if err == nil {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("cannot create log folder %s: %w", dir, err)
	}
	return nil
}

// openFile opens or creates path. O_NONBLOCK, so that a FIFO never stops the
// pump; O_RDWR, because a FIFO without a reader can't be opened otherwise, and to
// see whether a file ends within a line.
func openFile(path string, t Target) (opened, error) {
	flags := unix.O_RDWR | unix.O_NONBLOCK | unix.O_NOCTTY
	if !isDescriptor(path) {
		flags |= unix.O_NOFOLLOW
	}
	o := opened{readable: true}
	var err error
	o.fd, err = createLog(path, flags, owner{t.UID, t.GID, 0o600})
	if errors.Is(err, fs.ErrExist) {
		o, err = openExisting(path, flags)
	}
	if err != nil {
		return opened{}, err
	}
	return o.examine(path)
}

func openExisting(path string, flags int) (o opened, err error) {
	o.readable = true
	o.fd, err = openAt(path, flags)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) { // write-only, or append-only by attribute
		o.readable, o.append = false, true
		o.fd, err = openAt(path, flags&^unix.O_RDWR|unix.O_WRONLY|unix.O_APPEND)
	}
	if errors.Is(err, unix.ENXIO) && isDescriptor(path) { // a socket can't be opened by name
		o.readable = false
		o.fd, err = dupDescriptor(path)
	}
	return o, err
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

// createLog makes a new file and nothing else: never through a link, never over
// something that is there.
func createLog(path string, flags int, o owner) (int, error) {
	fd, err := retryInt(func() (int, error) {
		return unix.Open(path, flags|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, o.mode)
	})
	if err != nil {
		return -1, err
	}
	err = unix.Fchmod(fd, o.mode) // the umask may have taken too much
	if err == nil && (o.uid >= 0 || o.gid >= 0) {
		err = unix.Fchown(fd, o.uid, o.gid)
	}
	if err != nil {
		unix.Close(fd)
		unix.Unlink(path)
		return -1, fmt.Errorf("cannot set owner and mode: %w", err)
	}
	return fd, nil
}

func openAt(path string, flags int) (int, error) {
	return retryInt(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) })
}

// dupDescriptor is for /dev/stdout and /dev/stderr when they are sockets.
func dupDescriptor(path string) (int, error) {
	var n int
	if _, err := fmt.Sscanf(path, "/proc/self/fd/%d", &n); err != nil {
		return -1, unix.ENXIO
	}
	return unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 3)
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
			unix.FcntlInt(uintptr(o.fd), unix.F_SETFL, unix.O_APPEND)
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
