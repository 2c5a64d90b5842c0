package api

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Home is the folder of one daemon and everything it keeps.
type Home struct{ Dir string }

// FindHome is $GOPM_HOME, else ~/.gopm, else (without HOME) /run/gopm for root and
// /tmp/gopm-UID for others.
func FindHome(getenv func(string) string, uid int) (Home, error) {
	if dir := getenv("GOPM_HOME"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Home{}, fmt.Errorf("cannot resolve GOPM_HOME %q: %v", dir, err)
		}
		return Home{abs}, nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return Home{filepath.Join(home, ".gopm")}, nil
	}
	if uid == 0 {
		return Home{"/run/gopm"}, nil
	}
	return Home{fmt.Sprintf("/tmp/gopm-%d", uid)}, nil
}

func (h Home) Socket() string { return filepath.Join(h.Dir, "gopm.sock") }
func (h Home) Lock() string   { return filepath.Join(h.Dir, "gopm.lock") }
func (h Home) Log() string    { return filepath.Join(h.Dir, "gopm.log") }
func (h Home) Logs() string   { return filepath.Join(h.Dir, "logs") }
func (h Home) Env() string    { return filepath.Join(h.Dir, "env") }
func (h Home) State() string  { return filepath.Join(h.Dir, "state.json") }
func (h Home) Saved() string  { return filepath.Join(h.Dir, "saved.json") } // what `save` keeps

// NextState is a state being written: complete, but not yet safe from a power cut.
func (h Home) NextState() string { return h.State() + ".next" }

// KeeperLock is held by the keeper as long as it lives, and has its pid.
func (h Home) KeeperLock() string { return filepath.Join(h.Dir, "keeper.lock") }

// BootPid has the keeper's pid for systemd, which removes it when the service ends.
func (h Home) BootPid() string { return filepath.Join(h.Dir, "gopm.pid") }

// Prepare makes the home and its folders, all 0700, and refuses one that belongs
// to somebody else or that others may write to. Nothing that exists is changed.
func (h Home) Prepare() error {
	for _, dir := range []string{h.Dir, h.Logs(), h.Env()} {
		if err := makeDir(dir); err != nil {
			return fmt.Errorf("cannot use the home %s: %w; set GOPM_HOME to a folder of your own", h.Dir, err)
		}
	}
	return nil
}

func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(dir), 0o755); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if err == nil {
		return os.Chmod(dir, 0o700) // whatever the umask
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkDir(dir)
}

func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is a file, not a folder", dir)
	case ok && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, not to you (%d)", dir, st.Uid, os.Geteuid())
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by others (mode %o): chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	const writeAndSearch = 3
	if err := syscall.Access(dir, writeAndSearch); err != nil {
		return fmt.Errorf("%s is not writable: %v", dir, err)
	}
	return nil
}

// Holder is the pid of the daemon that holds the lock of a home; 0 = none.
type Holder int

// Text is " (pid 42)", or nothing when the pid is not known.
func (p Holder) Text() string {
	if p <= 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", int(p))
}

// WriteHolder writes our pid into the lock file, which the caller has locked.
func (h Home) WriteHolder(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Holder is who holds the lock now, asked without waiting. A pid in the file of a
// lock that nobody holds means nothing.
func (h Home) Holder() Holder { return holder(h.Lock()) }

// Keeper is the same for the keeper.
func (h Home) Keeper() Holder { return holder(h.KeeperLock()) }

func holder(path string) Holder {
	lock, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer lock.Close() // ends our lock, if we got one
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil {
		return 0
	}
	text, err := io.ReadAll(io.LimitReader(lock, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0
	}
	return Holder(pid)
}

// maxSocketPath is what fits into a sockaddr_un, its final zero byte included.
const maxSocketPath = 107

// viaShortPath calls f with a name of the socket that is short enough; a long one
// goes through the folder's descriptor.
func (h Home) viaShortPath(f func(addr string) error) error {
	if len(h.Socket()) <= maxSocketPath {
		return f(h.Socket())
	}
	dir, err := os.Open(h.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/gopm.sock", dir.Fd()))
}

// Dial connects to the socket.
func (h Home) Dial() (net.Conn, error) {
	var conn net.Conn
	err := h.viaShortPath(func(addr string) (err error) {
		conn, err = net.Dial("unix", addr)
		return err
	})
	return conn, err
}

// Listen makes the socket, 0600. The caller holds the lock and has seen that
// nobody answers there.
func (h Home) Listen() (*net.UnixListener, error) {
	var l *net.UnixListener
	err := h.viaShortPath(func(addr string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the name may be of a folder descriptor that is closed; the daemon removes it itself
	return l, os.Chmod(h.Socket(), 0o600)
}

// Contract shortens a path below the user's home for display.
func Contract(path, home string) string {
	if rest, ok := strings.CutPrefix(path, home+"/"); ok && home != "" && home != "/" {
		return "~/" + rest
	}
	return path
}
