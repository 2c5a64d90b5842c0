package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// NewRotated is a rotating writer for the daemon's own log (0600), which is in a folder
// that only we can write to. Each Write is taken to be whole lines.
func NewRotated(path string, maxSize int64, retain int) (io.WriteCloser, error) {
	r := &rotated{path: path, maxSize: maxSize, file: &lumberjack.Logger{Filename: path, MaxSize: never, MaxBackups: retain}}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot create log folder: %w", err)
	}
	if _, err := r.create(); err != nil {
		return nil, err
	}
	return r, nil
}

// never is a size in MB that no log reaches: when it is time to rotate is decided here,
// because the keeper writes to the file as well, and a person may empty it.
const never = 1 << 40

// rotated is a file that is renamed aside when it is full. Lumberjack does that, and
// removes the oldest, in a goroutine that it never ends (natefinch/lumberjack issue 56).
// A file that it makes isn't opened for appending, so it is always one that is there.
type rotated struct {
	path    string
	maxSize int64 // 0: it isn't rotated

	mu     sync.Mutex // orders writes; log writers wait for one another by nature
	file   *lumberjack.Logger
	id     fileID // of the file that is open
	closed bool
}

func (r *rotated) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, fmt.Errorf("cannot write to %s: %w", r.path, errClosed)
	}
	size, err := r.look()
	if err != nil {
		return 0, err
	}
	if r.maxSize > 0 && size > 0 && size+int64(len(b)) > r.maxSize {
		_ = r.file.Rotate() // an error: too big is better than lost
		if _, err = r.look(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(b)
	if err != nil {
		return n, fmt.Errorf("cannot write to %s: %w", r.path, err)
	}
	return n, nil
}

// look is the size of the file at the path. If that is another one than before, because
// somebody has removed it or moved it away, or we have, it is opened with the next write.
func (r *rotated) look() (size int64, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(r.path, &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if st, err = r.create(); err != nil {
			return 0, err
		}
	}
	if id := idOf(&st); id != r.id {
		_ = r.file.Close() // an error loses nothing: writes have said theirs
		r.id = id
	}
	return st.Size, nil
}

// create makes the file if it isn't there. It isn't found through a link.
func (r *rotated) create() (st unix.Stat_t, err error) {
	fd, err := retryInt(func() (int, error) {
		return unix.Open(r.path, unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	})
	if err != nil {
		return st, &fs.PathError{Op: "open", Path: r.path, Err: err}
	}
	defer unix.Close(fd)
	return st, errors.Join(unix.Fchmod(fd, 0o600), unix.Fstat(fd, &st)) // whatever the umask
}

func (r *rotated) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.file.Close()
}
