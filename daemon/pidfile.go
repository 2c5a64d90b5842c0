package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gopm/logs"
)

// pidPath is where the pid of instance index goes, "" for nowhere. Several
// instances have their number in the name.
func pidPath(file string, index, instances int) string {
	if file == "" || instances < 2 {
		return file
	}
	end := filepath.Ext(file)
	return strings.TrimSuffix(file, end) + "-" + strconv.Itoa(index) + end
}

// keepPidFile writes the pid of a run that has begun and removes the file when
// none is left. The file is replaced by rename: a reader never sees half of one. Its
// folder may be one that others can write to: see logs.OpenFolder.
func keepPidFile(path string, pid int) error {
	if pid == 0 {
		if err := removePidFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove the pid file: %v", err)
		}
		return nil
	}
	if err := writePidFile(path, pid); err != nil {
		return fmt.Errorf("cannot write the pid file %s: %v", path, err)
	}
	return nil
}

func removePidFile(path string) error {
	if _, err := os.Lstat(path); err != nil {
		return err // and no folder is made for it
	}
	folder, err := logs.OpenFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return unix.Unlinkat(int(folder.Fd()), filepath.Base(path), 0)
}

func writePidFile(path string, pid int) error {
	folder, err := logs.OpenFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	at, base := int(folder.Fd()), filepath.Base(path)
	temporary := "." + base + ".gopm"
	_ = unix.Unlinkat(at, temporary, 0) // of a daemon that was killed
	fd, err := unix.Openat(at, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), path)
	_, err = fmt.Fprintln(f, pid)
	err = errors.Join(err, f.Chmod(0o644), f.Close()) // other programs are meant to read it
	if err == nil {
		err = unix.Renameat(at, temporary, at, base)
	}
	if err != nil {
		_ = unix.Unlinkat(at, temporary, 0)
	}
	return err
}
