package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
// none is left. The file is replaced by rename: a reader never sees half of one.
func keepPidFile(path string, pid int) error {
	if pid == 0 {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("cannot remove the pid file: %v", err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot write the pid file: %v", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".pid")
	if err != nil {
		return fmt.Errorf("cannot write the pid file: %v", err)
	}
	defer os.Remove(f.Name()) // gone already after the rename
	_, err = fmt.Fprintln(f, pid)
	if e := f.Chmod(0o644); err == nil { // other programs are meant to read it
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the pid file: %v", err)
	}
	return nil
}
