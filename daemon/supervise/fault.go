package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// explain says why a spawn failed, for the person who wrote the configuration.
// The kernel gives a number only, without the step that failed (becoming the
// user, entering the folder, running the program), so the steps are tried again.
func explain(c Command, err error) error {
	if f := (boundFault{}); errors.As(err, &f) {
		return f
	}
	errno := syscall.Errno(0)
	if !errors.As(err, &errno) {
		return fmt.Errorf("cannot run %s: %v", c.Argv[0], err)
	}
	if errno == unix.EPERM && c.User != nil {
		return fmt.Errorf("cannot become uid %d, gid %d: %v (only a daemon of root can)", c.User.UID, c.User.GID, errno)
	}
	if why := cwdFault(c); why != "" {
		return errors.New(why)
	}
	path := c.Argv[0]
	if !filepath.IsAbs(path) && c.Dir != "" {
		path = filepath.Join(c.Dir, path) // the program is looked up from there
	}
	return failedSpawn{programFault(c, path, errno), errno}
}

// failedSpawn is a sentence that still knows the kernel's number.
type failedSpawn struct {
	text  string
	errno syscall.Errno
}

func (f failedSpawn) Error() string { return f.text }
func (f failedSpawn) Unwrap() error { return f.errno }

// cwdFault is "" when the user of the app can enter its folder.
func cwdFault(c Command) string {
	if c.Dir == "" {
		return ""
	}
	info, err := os.Stat(c.Dir)
	switch {
	case err != nil:
		return fmt.Sprintf("cannot enter cwd %s: %v", c.Dir, cause(err))
	case !info.IsDir():
		return fmt.Sprintf("cannot enter cwd %s: not a directory", c.Dir)
	case !mayReach(c.Dir, c.User):
		return fmt.Sprintf("cannot enter cwd %s: permission denied%s", c.Dir, forUser(c.User))
	}
	return ""
}

func programFault(c Command, path string, errno syscall.Errno) string {
	switch errno {
	case unix.ENOENT:
		if _, err := os.Stat(path); err != nil {
			return "no such file or directory: " + path
		}
		return missingInterpreter(path)
	case unix.EACCES:
		info, err := os.Stat(path)
		switch {
		case err == nil && info.IsDir():
			return "is a directory: " + path
		case err == nil && info.Mode()&0o111 == 0:
			return fmt.Sprintf("permission denied: %s (not executable: chmod +x %s)", path, path)
		}
		return "permission denied: " + path + forUser(c.User)
	case unix.ENOEXEC:
		return notAProgram(path)
	case unix.E2BIG:
		return "the arguments and the environment are too long: " + path
	case unix.EAGAIN:
		return "cannot start another process: a limit on processes is reached (ulimit -u, pids.max)"
	case unix.ENOMEM:
		return "cannot start another process: out of memory"
	case unix.EMFILE, unix.ENFILE:
		return "cannot start another process: too many open files (ulimit -n)"
	case unix.ETXTBSY:
		return "cannot run " + path + ": somebody is still writing it"
	}
	return fmt.Sprintf("%v: %s", errno, path)
}

// missingInterpreter is for a file that is there, and yet "no such file".
func missingInterpreter(path string) string {
	if line, ok := strings.CutPrefix(string(head(path)), "#!"); ok {
		line, _, _ = strings.Cut(line, "\n")
		if name, isDOS := strings.CutSuffix(line, "\r"); isDOS {
			return fmt.Sprintf("cannot run %s: its lines end as on Windows, so its interpreter is %q (sed -i 's/\\r$//' %s)", path, strings.TrimSpace(name)+"\r", path)
		}
		if f := strings.Fields(line); len(f) > 0 {
			return fmt.Sprintf("cannot run %s: no such file or directory: its interpreter %s", path, f[0])
		}
	}
	return fmt.Sprintf("cannot run %s: the loader that it names is not on this machine (built for another libc?)", path)
}

func notAProgram(path string) string {
	h := head(path)
	switch {
	case len(h) == 0:
		return "exec format error: " + path + " (it is empty)"
	case bytes.HasPrefix(h, []byte("\x7fELF")):
		return "exec format error: " + path + " (built for another kind of machine?)"
	case bytes.HasPrefix(h, []byte("\xef\xbb\xbf#!")):
		return "exec format error: " + path + " (a byte order mark stands before #!)"
	}
	return "exec format error: " + path + " (no shebang? its first line must be like #!/bin/sh)"
}

// head is the beginning of a file, empty when it can't be read.
func head(path string) []byte {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	buf := make([]byte, 256)
	n, _ := f.Read(buf)
	return buf[:n]
}

// mayReach says whether a user may enter a folder and all above it, by the
// permission bits.
func mayReach(dir string, u *Credential) bool {
	if u == nil {
		return unix.Faccessat(unix.AT_FDCWD, dir, unix.X_OK, unix.AT_EACCESS) == nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil || u.UID == 0 {
		return true
	}
	for ; ; abs = filepath.Dir(abs) {
		var st unix.Stat_t
		if unix.Stat(abs, &st) == nil && !mayEnter(&st, u) {
			return false
		}
		if abs == "/" {
			return true
		}
	}
}

func mayEnter(st *unix.Stat_t, u *Credential) bool {
	switch {
	case st.Uid == u.UID:
		return st.Mode&0o100 != 0
	case st.Gid == u.GID:
		return st.Mode&0o010 != 0
	}
	for _, g := range u.Groups {
		if st.Gid == g {
			return st.Mode&0o010 != 0
		}
	}
	return st.Mode&0o001 != 0
}

func forUser(u *Credential) string {
	if u == nil {
		return ""
	}
	return fmt.Sprintf(" (as uid %d)", u.UID)
}

// cause takes the operation and the path off an error, which the message has already.
func cause(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
