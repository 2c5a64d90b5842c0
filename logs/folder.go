package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Logs may lie in a folder that belongs to an app's user while gopm is root's. Who can
// write there can lay links, and exchange what a path leads to between two looks at it. So
// a folder is opened once, with a look at every link on the way, and whatever is done to a
// file in it is done below its descriptor: that stays the folder which was found.

// folder is an open one.
type folder struct {
	fd  int
	dir string // for people
}

// OpenFolder opens a folder in which root can do something though others can write to it
// or lay links on the way to it: such a link is followed only to a folder of who laid it.
// What is missing is made, 0700, whatever the umask. The caller closes it.
func OpenFolder(dir string) (*os.File, error) {
	f, err := openFolder(dir, true)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(f.fd), dir), nil
}

func openFolder(dir string, make bool) (folder, error) {
	fd, err := retryInt(func() (int, error) {
		return unix.Openat2(unix.AT_FDCWD, dir, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	})
	if err == nil {
		return folder{fd, dir}, nil
	}
	w := way{make: make}
	fd, err = w.from("/", dir) // with links, or something missing; or the kernel (5.6) or its filter doesn't have that call
	return folder{fd, dir}, err
}

func (f folder) close() { unix.Close(f.fd) }

// way is one walk through folders.
type way struct {
	make  bool // what is missing
	links int
}

const (
	maxLinks    = 40 // on a way; as the kernel's own
	folderFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	lookFlags   = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// from walks from a folder that is trusted.
func (w *way) from(root, path string) (int, error) {
	at, err := unix.Open(root, folderFlags, 0)
	if err != nil {
		return -1, err
	}
	return w.walk(at, path)
}

// walk goes on from the open folder at, which it closes.
func (w *way) walk(at int, path string) (int, error) {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." {
			continue
		}
		next, err := w.step(at, part)
		unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

// step opens what has that name in a folder.
func (w *way) step(at int, part string) (int, error) {
	is, err := unix.Openat(at, part, lookFlags, 0)
	if errors.Is(err, fs.ErrNotExist) && w.make {
		return makeFolder(at, part)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(is)
	var st unix.Stat_t
	if err := unix.Fstat(is, &st); err != nil {
		return -1, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return enter(is)
	case unix.S_IFLNK:
		return w.follow(at, is, &st, part)
	}
	return -1, unix.ENOTDIR
}

// enter makes a descriptor that is only a name one of the folder. A folder that we may
// pass and not read stays a name.
func enter(is int) (int, error) {
	fd, err := unix.Openat(is, ".", folderFlags, 0)
	if errors.Is(err, fs.ErrPermission) {
		return unix.FcntlInt(uintptr(is), unix.F_DUPFD_CLOEXEC, 3)
	}
	return fd, err
}

// follow goes where a link leads, if it is not laid by somebody who could not write there
// himself.
func (w *way) follow(at, link int, st *unix.Stat_t, part string) (int, error) {
	if w.links++; w.links > maxLinks {
		return -1, unix.ELOOP
	}
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link, "", text)
	if err != nil {
		return -1, err
	}
	target, to := string(text[:n]), -1
	behind := way{links: w.links} // makes nothing
	if filepath.IsAbs(target) {
		to, err = behind.from("/", target)
	} else if to, err = unix.FcntlInt(uintptr(at), unix.F_DUPFD_CLOEXEC, 3); err == nil {
		to, err = behind.walk(to, target)
	}
	w.links = behind.links
	if err != nil {
		return -1, err
	}
	var there unix.Stat_t
	if err := unix.Fstat(to, &there); err != nil || !(isOurs(st) && st.Nlink == 1) && !trustedFolder(at) && there.Uid != st.Uid {
		unix.Close(to)
		return -1, errors.Join(err, fmt.Errorf("%s on the way there is a link of uid %d to %s, which isn't his, in a folder that others can write to; name that folder itself", part, st.Uid, target))
	}
	return to, nil
}

// makeFolder makes one that is missing, 0700, whatever the umask.
func makeFolder(at int, name string) (int, error) {
	const mode = 0o700
	made := unix.Mkdirat(at, name, mode)
	if made != nil && !errors.Is(made, fs.ErrExist) { // else somebody was quicker
		return -1, fmt.Errorf("cannot create the folder %s: %w", name, made)
	}
	fd, err := unix.Openat(at, name, folderFlags, 0)
	if err == nil && made == nil {
		if err = unix.Fchmod(fd, mode); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("cannot open the new folder %s: %w", name, err)
	}
	return fd, nil
}

func isOurs(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == os.Geteuid() }

// trustedFolder: nobody but root and us can put something into it.
func trustedFolder(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && isOurs(&st) && st.Mode&0o022 == 0
}

// check refuses a file that is not to be written though it has the log's name: one that
// somebody else has laid there, or that is another file, too.
func (f folder) check(fd int, uid int) error {
	var st, dir unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstat(f.fd, &dir)); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	switch {
	case trustedFolder(f.fd), kind == unix.S_IFCHR: // only root makes devices
		return nil
	case kind == unix.S_IFREG && st.Nlink > 1:
		return fmt.Errorf("it is a second name of another file (there are %d), in a folder that others can write to; remove it", st.Nlink)
	case !isOurs(&st) && st.Uid != dir.Uid && int(st.Uid) != uid:
		return fmt.Errorf("it belongs to uid %d, in a folder that others can write to; remove it, or name another", st.Uid)
	}
	return nil
}

// create makes a new file and nothing else: never through a link, never over something
// that is there.
func (f folder) create(name string, flags int, o owner) (int, error) {
	fd, err := retryInt(func() (int, error) {
		return unix.Openat(f.fd, name, flags|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, o.mode)
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
		f.remove(name)
		return -1, fmt.Errorf("cannot set owner and mode: %w", err)
	}
	return fd, nil
}

// open opens what is there; no link.
func (f folder) open(name string, flags int) (int, error) {
	return retryInt(func() (int, error) { return unix.Openat(f.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
}

func (f folder) rename(from, to string) error { return unix.Renameat(f.fd, from, f.fd, to) }

func (f folder) remove(name string) error { return unix.Unlinkat(f.fd, name, 0) }

// look is about what has that name, be it a link.
func (f folder) look(name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(f.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// readlink is where a link leads; an error: it is none.
func (f folder) readlink(name string) (string, error) {
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(f.fd, name, text)
	if err != nil {
		return "", err
	}
	return string(text[:n]), nil
}

// list is the sorted list of the names in it.
func (f folder) list() []string { return listFolder(fmt.Sprintf("/proc/self/fd/%d", f.fd)) }
