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
	"time"
)

// Home is the folder of one daemon and everything it keeps.
type Home struct{ Dir string }

// FindHome is $GOPM_HOME, else the first that is there or can be made of ~/.gopm, /run/gopm
// for root and /tmp/gopm-UID for others, and /dev/shm/gopm-UID: in a container without a
// writable folder that still is one. If there is none it is the first of them.
func FindHome(getenv func(string) string, uid int) (Home, error) {
	if dir := getenv("GOPM_HOME"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Home{}, fmt.Errorf("cannot resolve GOPM_HOME %q: %v", dir, err)
		}
		return Home{abs}, nil
	}
	var places []Home
	if home := getenv("HOME"); filepath.IsAbs(home) {
		places = append(places, Home{filepath.Join(home, ".gopm")})
	}
	if uid == 0 {
		places = append(places, Home{"/run/gopm"})
	} else {
		places = append(places, Home{fmt.Sprintf("/tmp/gopm-%d", uid)})
	}
	places = append(places, Home{fmt.Sprintf("/dev/shm/gopm-%d", uid)})
	for _, h := range places {
		if h.isPossible() {
			return h, nil
		}
	}
	return places[0], nil
}

// isPossible says that a home is in use, or that it can be written, or made. A folder
// that is somebody else's is possible, too: that is to be told, not to be evaded.
func (h Home) isPossible() bool {
	if _, err := os.Lstat(h.Socket()); err == nil {
		return true
	}
	for dir := h.Dir; ; dir = filepath.Dir(dir) {
		err := syscall.Access(dir, writeAndSearch)
		if !errors.Is(err, fs.ErrNotExist) {
			return err == nil || dir == h.Dir && !errors.Is(err, syscall.EROFS)
		}
		if dir == "/" {
			return false
		}
	}
}

const writeAndSearch = 3

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
	if err := checkWay(h.Dir, 0); err != nil {
		return fmt.Errorf("cannot use the home %s: %w; set GOPM_HOME to a folder of your own", h.Dir, err)
	}
	for _, dir := range []string{h.Dir, h.Logs(), h.Env()} {
		if err := makeDir(dir); err != nil {
			return fmt.Errorf("cannot use the home %s: %w; set GOPM_HOME to a folder of your own", h.Dir, err)
		}
	}
	return nil
}

// Check says why the home, which is there, can't be used; nothing is made or changed.
func (h Home) Check() error {
	if err := checkWay(h.Dir, 0); err != nil {
		return err
	}
	return checkDir(h.Dir)
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

// checkWay refuses a home that somebody else has laid ready for us: what is on the way to
// it in a folder that everybody can write to must be ours or root's, and so must a link in
// its own place. What isn't there yet is made.
func checkWay(dir string, links int) error {
	at, everybodys := "/", false
	parts := strings.Split(strings.Trim(filepath.Clean(dir), "/"), "/")
	for i, part := range parts {
		if info, err := os.Stat(at); err == nil {
			everybodys = info.Mode()&0o002 != 0
		}
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		if err != nil {
			return nil // what is missing is made; other errors come again there
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		isLink, last := info.Mode().Type() == fs.ModeSymlink, i == len(parts)-1
		if ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() && (everybodys || isLink && last) {
			return fmt.Errorf("%s belongs to user %d, not to you (%d), in a folder that others can write to", at, st.Uid, os.Geteuid())
		}
		if !isLink {
			continue
		}
		to, err := os.Readlink(at)
		if err != nil || links > 40 {
			return fmt.Errorf("cannot follow the link %s: %v", at, err)
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		return checkWay(filepath.Join(append([]string{to}, parts[i+1:]...)...), links+1)
	}
	return nil
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

// Dial connects to the socket, if it is one of our own daemon or of root's: where others
// can write, somebody may have laid one to hear what we have to say. Root may ask
// everybody's daemon, but not one in a home that was laid ready for him.
func (h Home) Dial() (net.Conn, error) {
	var conn *net.UnixConn
	const patience, pause = 5 * time.Second, 2 * time.Millisecond
	err := h.viaShortPath(func(addr string) (err error) {
		for end := time.Now().Add(patience); ; time.Sleep(pause) {
			conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: addr, Net: "unix"})
			if !errors.Is(err, syscall.EAGAIN) || time.Now().After(end) { // the socket's queue is full; the daemon empties it
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	uid, err := listenerOf(conn)
	known := uid == 0 || uid == os.Geteuid() || os.Geteuid() == 0 && checkWay(h.Dir, 0) == nil
	if err != nil || !known {
		conn.Close()
		return nil, &StrangerError{h.Socket(), uid, err}
	}
	return conn, nil
}

// StrangerError says that not our own daemon answers at the socket.
type StrangerError struct {
	Socket string
	UID    int
	Why    error // why it isn't known who it is
}

func (e *StrangerError) Error() string {
	if e.Why != nil {
		return fmt.Sprintf("cannot see whose socket %s is: %v", e.Socket, e.Why)
	}
	return fmt.Sprintf("a program of uid %d answers at %s, not your gopm: nothing was told to it; set GOPM_HOME to a folder of your own", e.UID, e.Socket)
}

// listenerOf is whose process listens there.
func listenerOf(conn *net.UnixConn) (uid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var who *syscall.Ucred
	if e := raw.Control(func(fd uintptr) { who, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED) }); e != nil || err != nil {
		return 0, errors.Join(e, err)
	}
	return int(who.Uid), nil
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
