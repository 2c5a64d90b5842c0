package daemon

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processTable is what /proc shows of all processes that we may see, at one moment. Each is
// one short file that the kernel writes without waiting for anything: what hangs in a
// disk is read like the others.
type processTable struct {
	of       map[int]processLine
	children map[int][]int
}

// processLine is what is needed of /proc/PID/stat.
type processLine struct {
	parent  int
	cpu     time.Duration
	waited  time.Duration // that of the children that it has waited for
	threads int
	start   uint64 // clock ticks since boot
	memory  int64  // resident bytes
}

// treeUse is what a process and its descendants take.
type treeUse struct {
	cpu                       time.Duration
	memory                    int64
	threads, processes, files int // files 0: they may not be counted
}

// allProcesses reads the table.
func allProcesses() (t processTable, err error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return t, fmt.Errorf("cannot read the processes: %v", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return t, fmt.Errorf("cannot read the processes: %v", err)
	}
	t = processTable{of: make(map[int]processLine, len(names)), children: make(map[int][]int, len(names))}
	var buf [1024]byte
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, is := readProcess(name, buf[:]); is {
			t.of[pid] = p
			t.children[p.parent] = append(t.children[p.parent], pid)
		}
	}
	return t, nil
}

// readProcess is false for one that has ended.
func readProcess(pid string, buf []byte) (p processLine, is bool) {
	fd, err := unix.Open("/proc/"+pid+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p, false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil || n <= 0 {
		return p, false
	}
	return parseProcess(buf[:n])
}

// parseProcess reads "pid (name) state ppid … utime(14) stime cutime cstime … threads(20) …
// starttime(22) vsize rss(24)", where the name may contain anything.
func parseProcess(line []byte) (p processLine, is bool) {
	const ticks = time.Second / 100 // the kernel's clock for programs, on every machine
	const parent, user, threads, start, resident = 1, 11, 17, 19, 21
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) <= resident {
		return p, false
	}
	number := func(at int) int64 {
		n, _ := strconv.ParseInt(string(fields[at]), 10, 64) // 0: not known
		return n
	}
	p.cpu = time.Duration(number(user)+number(user+1)) * ticks
	p.waited = time.Duration(number(user+2)+number(user+3)) * ticks
	p.parent, p.threads, p.start = int(number(parent)), int(number(threads)), uint64(number(start))
	p.memory = number(resident) * int64(os.Getpagesize())
	return p, true
}

// tree adds up what a process and its descendants take; false if it is another one by now,
// or none.
func (t processTable) tree(pid int, start uint64) (u treeUse, is bool) {
	first, is := t.of[pid]
	if !is || first.start != start {
		return u, false
	}
	pids := []int{pid}
	for i := 0; i < len(pids) && i < len(t.of); i++ { // pids may have come and gone while they were read
		pids = append(pids, t.children[pids[i]]...)
		p := t.of[pids[i]]
		u.cpu += p.cpu + p.waited // so that the sum doesn't shrink when a descendant ends
		u.memory += p.memory
		u.threads += p.threads
		u.processes++
		u.files += countFiles(pids[i])
	}
	return u, true
}

// countFiles is how many descriptors a process has; 0: that can't be seen. Since Linux 6.2
// it is the size of the folder.
func countFiles(pid int) int {
	path := "/proc/" + strconv.Itoa(pid) + "/fd"
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil && st.Size > 0 {
		return int(st.Size)
	}
	dir, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // an error: it has just ended
	return len(names)
}

// bootTime is when the kernel's clock of starts began.
func bootTime(now time.Time) time.Time {
	var since unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &since) // always there
	return now.Add(-time.Duration(since.Nano()))
}

// started is when a process was.
func (p processLine) started(boot time.Time) time.Time {
	return boot.Add(time.Duration(p.start) * (time.Second / 100))
}
