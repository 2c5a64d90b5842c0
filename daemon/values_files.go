package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"gopm/ecosystem"
)

// A file with the value of a key is written by its owner: a gopm of root does it with the
// owner's rights on files and no others, so that no link that somebody has laid leads to
// what the owner could not write himself. What root owns is written only where nobody else
// can lay one.

// installation is a file that is to have that content.
type installation struct {
	path     string
	content  []byte
	mode     uint32
	uid, gid int // gid -1: the one that a new file there has
	groups   []uint32
}

// installations are the files of an app.
func installations(spec ecosystem.App, v *values) (all []installation, err error) {
	acc, err := lookupAccount(spec.Command)
	if err != nil {
		return nil, err
	}
	for _, f := range spec.Consul.Config.Files {
		s := find(v.Files, f.Path)
		if s == nil {
			continue // its key isn't there
		}
		i := installation{path: f.Path, content: s.Value, mode: f.Mode, uid: os.Geteuid(), gid: -1}
		if i.mode == 0 {
			i.mode = 0o600
		}
		if err := i.own(f, acc); err != nil {
			return nil, fmt.Errorf("%s: %v", f.Path, err)
		}
		all = append(all, i)
	}
	return all, nil
}

// own finds out whose file it is.
func (i *installation) own(f ecosystem.ConsulFile, acc account) error {
	switch {
	case f.Owner != "":
		u, err := findUser(f.Owner)
		if err != nil {
			return err
		}
		if i.uid = int(number(u.Uid)); i.uid != os.Geteuid() {
			i.gid = int(number(u.Gid))
		}
		if ids, err := u.GroupIds(); err == nil && i.uid != 0 {
			for _, id := range ids {
				i.groups = append(i.groups, number(id))
			}
		}
	case acc.cred != nil:
		i.uid, i.gid, i.groups = int(acc.cred.UID), int(acc.cred.GID), acc.cred.Groups
	}
	if f.Group != "" {
		gid, err := findGroup(f.Group)
		i.gid = int(gid)
		return err
	}
	return nil
}

// run writes the file, unless it is like that already. Who reads it sees the old one or the
// new one, also after a power cut.
func (i installation) run() error {
	switch self := os.Geteuid(); {
	case i.uid != self && self != 0:
		return fmt.Errorf("cannot write %s: only a gopm of root can give it to another user", i.path)
	case i.uid != self:
		return i.runAs()
	case self == 0:
		if err := onlyRoots(filepath.Dir(i.path)); err != nil {
			return i.explain(err)
		}
	}
	return i.write()
}

func (i installation) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("its folder does not exist")
	}
	return fmt.Errorf("cannot write %s: %w", i.path, err)
}

// runAs writes with the rights of the owner. They are those of one thread, which ends
// with it.
func (i installation) runAs() error {
	done := make(chan error)
	go func() { // ends when it is written, which is waited for
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		err := i.becomeOwner()
		if err == nil {
			err = i.write()
		}
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(dumpable), 0, 0, 0) // the change of rights takes that from the whole process
		done <- err
	}()
	return <-done
}

func (i installation) becomeOwner() error {
	groups := i.groups
	if len(groups) == 0 {
		groups = []uint32{uint32(max(i.gid, 0))}
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&groups[0])), 0); e != 0 {
		return fmt.Errorf("cannot write %s as its owner: %v", i.path, e)
	}
	if i.gid >= 0 {
		_ = unix.Setfsgid(i.gid) // whether it has worked is asked next
	}
	_ = unix.Setfsuid(i.uid)
	if now, err := unix.SetfsuidRetUid(-1); err != nil || now != i.uid {
		return fmt.Errorf("cannot write %s as its owner, uid %d", i.path, i.uid)
	}
	return nil
}

func (i installation) write() error { return i.explain(i.replace()) }

func (i installation) replace() error {
	base := filepath.Base(i.path)
	folder, err := unix.Open(filepath.Dir(i.path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(folder)
	if i.isThere(folder, base) {
		return nil
	}
	temporary := "." + base + ".gopm"
	_ = unix.Unlinkat(folder, temporary, 0) // of a daemon that was killed
	fd, err := unix.Openat(folder, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = i.fill(os.NewFile(uintptr(fd), temporary))
	if err == nil {
		err = unix.Renameat(folder, temporary, folder, base)
	}
	if err != nil {
		_ = unix.Unlinkat(folder, temporary, 0) // half a file takes room on a full disk
		return err
	}
	return unix.Fsync(folder)
}

// fill writes the new file, and closes it when it is on its disk.
func (i installation) fill(f *os.File) error {
	_, err := f.Write(i.content)
	if err == nil && i.gid >= 0 {
		err = f.Chown(-1, i.gid) // a folder may have given it another group
	}
	if err == nil {
		err = unix.Fchmod(int(f.Fd()), i.mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// isThere says whether the file has that content, mode and owner.
func (i installation) isThere(folder int, base string) bool {
	fd, err := unix.Openat(folder, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), base)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(i.content)) {
		return false
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Mode&0o7777 != i.mode || int(st.Uid) != i.uid || i.gid >= 0 && int(st.Gid) != i.gid {
		return false
	}
	have := make([]byte, len(i.content))
	_, err = f.ReadAt(have, 0)
	return (err == nil || len(have) == 0) && string(have) == string(i.content)
}

// onlyRoots says that nobody but root can lay links on the way to a folder.
func onlyRoots(folder string) error {
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return err
	}
	for _, way := range []string{filepath.Clean(folder), real} {
		for at := way; ; at = filepath.Dir(at) {
			info, err := os.Stat(at)
			if err != nil {
				return err
			}
			others := info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0
			if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || others {
				return fmt.Errorf("others than root can write to %s, and lead root's file elsewhere by a link: name its owner (owner), or take another folder", at)
			}
			if at == "/" || !strings.Contains(at, "/") {
				break
			}
		}
	}
	return nil
}

// install writes the files of an app.
func (d *Daemon) install(a *app, v *values) error {
	all, err := installations(a.spec, v)
	if err != nil {
		return err
	}
	for _, i := range all {
		if err := i.run(); err != nil {
			return err
		}
	}
	return nil
}
