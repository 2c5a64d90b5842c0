package supervise

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// oomCounter counts the kernel's OOM kills: of our own cgroup where that has such a
// count, else of the whole machine, and all the containers on it. Nobody without privileges is told
// whom the killer chose, so a SIGKILL that we didn't send is put down to it when
// the count has grown during the process's life by a kill not yet accounted for.
type oomCounter struct {
	file *os.File // nil: no such count
	seen atomic.Uint64

	mu   sync.Mutex // guards the rest
	last uint64     // what was read
	at   time.Time
}

// oomAge is how old a count may be at a spawn: reading it takes the kernel longer
// than anything else that is read for a spawn.
const oomAge = 100 * time.Millisecond

// groupCount is the count of a cgroup that a process has for itself. It is of its own kills
// alone, so what it says needs no guess.
type groupCount struct {
	file   string // "": it has none
	before uint64
}

// countIn takes the first file that has a count.
func countIn(files []string) groupCount {
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			if n, has := parseOOMKills(data); has {
				return groupCount{file, n}
			}
		}
	}
	return groupCount{}
}

// countOfGroups is for a process that was put into these.
func countOfGroups(groups []string) groupCount {
	var files []string
	for _, procs := range groups {
		dir := filepath.Dir(procs)
		files = append(files, filepath.Join(dir, "memory.events"), filepath.Join(dir, "memory.oom_control"))
	}
	return countIn(files)
}

// countOfProcess is for a process that somebody else has started: it has a group of its own
// if it isn't in ours.
func countOfProcess(pid int) groupCount {
	theirs, ours := countsOf("/proc", strconv.Itoa(pid), "/sys/fs/cgroup"), ownCounts("/proc", "/sys/fs/cgroup")
	return countIn(slices.DeleteFunc(theirs, func(file string) bool { return slices.Contains(ours, file) }))
}

func (g groupCount) grew() bool {
	data, _ := os.ReadFile(g.file)
	n, _ := parseOOMKills(data)
	return n > g.before
}

func newOOMCounter(proc, cgroup string) *oomCounter {
	o := &oomCounter{}
	for _, path := range append(ownCounts(proc, cgroup), filepath.Join(proc, "vmstat")) {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		if o.file = file; o.counts() {
			break
		}
		file.Close()
		o.file = nil
	}
	o.seen.Store(o.read())
	return o
}

// ownCounts are the files that may have the count of our own cgroup, of version 2 or 1. A
// container sees its own as the top, whatever it is told that the path is.
func ownCounts(proc, cgroup string) (paths []string) { return countsOf(proc, "self", cgroup) }

func countsOf(proc, pid, cgroup string) (paths []string) {
	data, _ := os.ReadFile(filepath.Join(proc, pid, "cgroup"))
	for line := range bytes.Lines(data) {
		_, rest, _ := strings.Cut(string(bytes.TrimSpace(line)), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		switch {
		case controllers == "":
			paths = append(paths, filepath.Join(cgroup, path, "memory.events"), filepath.Join(cgroup, "memory.events"))
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			paths = append(paths, filepath.Join(cgroup, "memory", path, "memory.oom_control"), filepath.Join(cgroup, "memory/memory.oom_control"))
		}
	}
	return paths
}

// recent is the count, or what it was a moment ago.
func (o *oomCounter) recent() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); now.Sub(o.at) > oomAge {
		o.last, o.at = o.read(), now
	}
	return o.last
}

func (o *oomCounter) read() uint64 {
	if o.file == nil {
		return 0
	}
	n, _ := parseOOMKills(o.text())
	return n
}

func (o *oomCounter) text() []byte {
	buf := make([]byte, 16<<10)
	n, _ := o.file.ReadAt(buf, 0)
	return buf[:n]
}

// counts says whether the file has a count at all, as version 1 has since Linux 4.13.
func (o *oomCounter) counts() bool {
	_, has := parseOOMKills(o.text())
	return has
}

// grewSince takes one kill off the count if there is one left that came after.
func (o *oomCounter) grewSince(before uint64) bool {
	now := o.read()
	for {
		seen := o.seen.Load()
		if now <= max(seen, before) {
			return false
		}
		if o.seen.CompareAndSwap(seen, max(seen, before)+1) {
			return true
		}
	}
}

func (o *oomCounter) close() {
	if o.file != nil {
		o.file.Close()
	}
}

func parseOOMKills(data []byte) (count uint64, has bool) {
	for line := range bytes.Lines(data) {
		if value, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			return n, true
		}
	}
	return 0, false
}
