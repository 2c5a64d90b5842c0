package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// history is the rotated files of one log: it names the next one and removes the oldest.
// There is one per path for the daemon's life.
type history struct {
	path string

	mu   sync.Mutex // orders rotations; two pumps may have a log by that name, one of which was moved away
	last time.Time  // in the newest name
}

// next is the name for the file that is now rotated. Names ascend even when two
// rotations fall into one millisecond or the clock is set back: followers and
// retention go by them.
func (h *history) next(f folder, now time.Time) string {
	prefix, ext := splitName(h.path)
	if h.last.IsZero() {
		if names := rotatedNames(f.list(), h.path); len(names) > 0 {
			h.last, _ = stampOf(names[len(names)-1], prefix, ext)
		}
	}
	t := now.UTC().Truncate(time.Millisecond)
	if !t.After(h.last) {
		t = h.last.Add(time.Millisecond)
	}
	for {
		h.last = t
		name := prefix + t.Format(rotatedStamp) + ext
		if _, err := f.look(name); err != nil {
			return name
		}
		t = t.Add(time.Millisecond)
	}
}

// prune removes the oldest files that are more than retain (0: all may stay). What can't
// be removed stays until the next rotation.
func (h *history) prune(retain int) {
	if retain <= 0 {
		return
	}
	f, err := openFolder(filepath.Dir(h.path), false)
	if err != nil {
		return
	}
	defer f.close()
	names := rotatedNames(f.list(), h.path)
	for _, name := range names[:max(0, len(names)-retain)] {
		_ = f.remove(name)
		if plain := plainName(name, h.path); plain == name {
			_ = f.remove(name + packedExt) // it was being compressed
		}
	}
}

// rotate renames the open log file fd aside and opens a new one with its mode and
// owner. If that can't be done, everything is as before.
func (h *history) rotate(fd int, now time.Time) (newFD int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return -1, err
	}
	f, err := openFolder(filepath.Dir(h.path), false)
	if err != nil {
		return -1, err
	}
	defer f.close()
	base := filepath.Base(h.path)
	if there, err := f.look(base); err != nil || idOf(&there) != idOf(&st) {
		return -1, fmt.Errorf("%s is another file now", h.path)
	}
	name := h.next(f, now)
	if err := f.rename(base, name); err != nil {
		return -1, &os.LinkError{Op: "rename", Old: h.path, New: name, Err: err}
	}
	newFD, err = f.create(base, unix.O_RDWR, ownerOf(&st))
	if err != nil {
		if e := unix.Renameat2(f.fd, name, f.fd, base, unix.RENAME_NOREPLACE); e != nil {
			return -1, &os.LinkError{Op: "create new log after rename", Old: h.path, New: name, Err: err}
		}
		return -1, &os.PathError{Op: "create", Path: h.path, Err: err}
	}
	return newFD, nil
}
