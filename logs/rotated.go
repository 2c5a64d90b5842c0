package logs

import (
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// NewRotated is a rotating writer for the daemon's own log (0600). Each Write is
// taken to be whole lines.
func NewRotated(path string, maxSize int64, retain int) (io.WriteCloser, error) {
	t := Target{Path: path, Rotation: Rotation{MaxSize: maxSize, Retain: retain}, UID: -1, GID: -1}
	o, err := openTarget(t)
	if err != nil {
		return nil, err
	}
	k := newSink(o, t)
	k.share()
	return &rotated{sink: k, past: history{path: o.path}, now: time.Now}, nil
}

// rotated is a file that is renamed aside when it is full.
type rotated struct {
	mu   sync.Mutex // orders writes; log writers wait for one another by nature
	sink *sink
	past history
	now  func() time.Time
}

func (r *rotated) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.sink
	if k.fd < 0 {
		return 0, fmt.Errorf("cannot write to %s: %w", k.target.Path, errClosed)
	}
	if err := r.renew(); err != nil {
		return 0, err
	}
	l := k.limit(r.now())
	if l > 0 && k.off > 0 && k.off+int64(len(b)) > int64(l) {
		fd, err := r.past.rotate(k.fd, r.now())
		if err != nil {
			k.unlimited = r.now().Add(retryAfter) // too big is better than lost
		} else {
			k.close()
			k.fd, k.off, k.append = fd, 0, false
			var st unix.Stat_t
			_ = unix.Fstat(fd, &st) // ours, and open
			k.id = idOf(&st)
			k.share()
			r.past.prune(k.target.Rotation.Retain)
		}
	}
	n, err := k.put(b)
	if err != nil {
		return n, fmt.Errorf("cannot write to %s: %w", k.target.Path, err)
	}
	return n, nil
}

// renew opens the log again if somebody has removed it or moved it away.
func (r *rotated) renew() error {
	k := r.sink
	var st unix.Stat_t
	stays := k.kind != kindFile || unix.Lstat(k.path, &st) == nil && idOf(&st) == k.id
	if k.look() == nil && stays {
		return nil
	}
	o, err := openTarget(k.target)
	if err != nil {
		return err
	}
	k.close()
	r.sink.opened, r.sink.off, r.past.path = o, o.size, o.path
	k.share()
	return nil
}

// Close closes the file; lumberjack's goroutine, if there is one, stays.
func (r *rotated) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sink.fd >= 0 {
		r.sink.close()
	}
	return nil
}
