package keeper

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	calmAfter = 2 * time.Second  // from when something happened to giving memory back
	calmEvery = 10 * time.Second // at most
)

// calm says when to give memory back: the keeper sleeps nearly all its life, and
// what it needed to get there is of no use then.
type calm struct{ due, last time.Time }

// disturb is called when something has happened.
func (c *calm) disturb(now time.Time) {
	if !c.due.IsZero() {
		return
	}
	c.due = now.Add(calmAfter)
	if next := c.last.Add(calmEvery); next.After(c.due) {
		c.due = next
	}
}

func (c *calm) rest(now time.Time) {
	if c.due.IsZero() || now.Before(c.due) {
		return
	}
	c.due, c.last = time.Time{}, now
	debug.FreeOSMemory()
	UnmapProgram()
}

// UnmapProgram lets go of the pages of the program itself, which the kernel maps
// again, a few at a time, as they are used: most of them only the start needed.
func UnmapProgram() {
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer maps.Close()
	var low, high uintptr
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if from, to, ok := readOnlyFile(lines.Text()); ok {
			low, high = from, to
		}
		// What isn't anonymous is as it is in the file. A loader may have written to the
		// rest before it was made read-only; that could not be had again.
		if lines.Text() == "Anonymous:             0 kB" && low < high {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, low, high-low, unix.MADV_DONTNEED)
			low, high = 0, 0
		}
	}
}

// readOnlyFile reads the head of a mapping in smaps, "low-high perms offset device
// inode path". Another head ends the mapping before; other lines are not ok.
func readOnlyFile(line string) (low, high uintptr, ok bool) {
	span, rest, _ := strings.Cut(line, " ")
	from, to, found := strings.Cut(span, "-")
	if !found {
		return 0, 0, false
	}
	perms, path, _ := strings.Cut(rest, " ")
	a, err1 := strconv.ParseUint(from, 16, 64)
	b, err2 := strconv.ParseUint(to, 16, 64)
	if err1 != nil || err2 != nil {
		return 0, 0, false
	}
	if strings.Contains(perms, "w") || !strings.Contains(path, " /") {
		return 0, 0, true
	}
	return uintptr(a), uintptr(b), true
}
