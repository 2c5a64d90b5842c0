package logs

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gopkg.in/natefinch/lumberjack.v2"
)

// history is the rotated files of one log: it names the next one and has the
// oldest removed. There is one per path for the daemon's life, because lumberjack
// never ends the goroutine that removes (natefinch/lumberjack issue 56).
type history struct {
	path string

	mu     sync.Mutex // orders rotations; two pumps may have a log by that name, one of which was moved away
	last   time.Time  // in the newest name
	retain int
	keeper *lumberjack.Logger
}

// next is the name for the file that is now rotated. Names ascend even when two
// rotations fall into one millisecond or the clock is set back: followers and
// retention go by them.
func (h *history) next(now time.Time) string {
	prefix, ext := splitName(h.path)
	dir := filepath.Dir(h.path)
	if h.last.IsZero() {
		if names := rotatedNames(listFolder(dir), h.path); len(names) > 0 {
			h.last, _ = stampOf(names[len(names)-1], prefix, ext)
		}
	}
	t := now.UTC().Truncate(time.Millisecond)
	if !t.After(h.last) {
		t = h.last.Add(time.Millisecond)
	}
	for {
		h.last = t
		name := filepath.Join(dir, prefix+t.Format(rotatedStamp)+ext)
		if _, err := os.Lstat(name); err != nil {
			return name
		}
		t = t.Add(time.Millisecond)
	}
}

// prune has lumberjack remove what is too old.
//
// Its Rotate isn't used: it creates and chowns the new file through whatever link
// is found there, which as root in a folder of somebody else gives away any file.
// A path with a NUL can't reach the kernel, so Write starts the removal in the
// folder and then fails before it touches a file.
func (h *history) prune(retain int) {
	if retain <= 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.keeper == nil || h.retain != retain {
		dir, base := filepath.Split(h.path)
		h.keeper = &lumberjack.Logger{Filename: dir + "\x00/../" + base, MaxBackups: retain}
		h.retain = retain
	}
	h.keeper.Write(nil)
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
	name := h.next(now)
	if err := os.Rename(h.path, name); err != nil {
		return -1, err
	}
	newFD, err = createLog(h.path, unix.O_RDWR|unix.O_NOFOLLOW, ownerOf(&st))
	if err != nil {
		if e := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, h.path, unix.RENAME_NOREPLACE); e != nil {
			return -1, &os.LinkError{Op: "create new log after rename", Old: h.path, New: name, Err: err}
		}
		return -1, &os.PathError{Op: "create", Path: h.path, Err: err}
	}
	return newFD, nil
}
