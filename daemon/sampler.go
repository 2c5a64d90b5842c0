package daemon

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// sampler measures processes when somebody looks, and only then. It remembers the
// last look at each instance, so that the next one can say what was used since.
type sampler struct {
	mu     sync.Mutex // guards the rest
	gauges map[*instance]*gauge
	open   int // gauges that keep their file
	most   int // that may
}

// gauge is how a run of an instance is measured. Its file is kept open from the
// first look on: opening takes three times as long as reading.
type gauge struct {
	incarnation uint64
	pid         int
	statm       int // -1: opened for each look
	at          time.Time
	cpu         time.Duration // at the last look that was not too short ago
}

// The average since the last look is shown if that was neither so short ago that
// the clock's 10 ms ticks dominate, nor so long that it says little about now.
const (
	shortestLook = 500 * time.Millisecond
	longestLook  = time.Minute
)

// newSampler may keep a quarter of the descriptors that this process may have.
func newSampler() *sampler {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		limit.Cur = 0
	}
	return &sampler{gauges: map[*instance]*gauge{}, most: int(min(limit.Cur, 1<<20) / 4)}
}

func (s *sampler) forget(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(in)
}

func (s *sampler) drop(in *instance) {
	if g := s.gauges[in]; g != nil && g.statm >= 0 {
		unix.Close(g.statm)
		s.open--
	}
	delete(s.gauges, in)
}

// look measures the main process of every instance that has one. It does so itself:
// the process library takes 43 µs for each, this 3, and `gopm ls` waits for it.
func (s *sampler) look(instances []*instance) map[*instance]api.Usage {
	found := make(map[*instance]api.Usage, len(instances))
	var buf [256]byte
	for _, in := range instances {
		if snap := in.proc.Snapshot(); snap.Pid != 0 {
			if usage, ok := s.measure(in, snap, buf[:]); ok {
				found[in] = usage
			}
		}
	}
	return found
}

func (s *sampler) measure(in *instance, snap supervise.Snapshot, buf []byte) (u api.Usage, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gauges[in]
	fresh := g == nil || g.incarnation != snap.Incarnation
	if fresh {
		s.drop(in)
		g = &gauge{incarnation: snap.Incarnation, pid: snap.Pid, statm: -1}
		s.gauges[in] = g
		if s.open < s.most {
			if g.statm = openStatm(g.pid); g.statm >= 0 {
				s.open++
			}
		}
	}
	cpu, memory, ok := g.read(buf)
	if !ok { // it has just ended
		s.drop(in)
		return u, false
	}
	now := time.Now()
	u = g.since(now, cpu, snap.Started, fresh)
	u.Memory = memory
	return u, true
}

// since works out the processor use and keeps the reading for the next look.
func (g *gauge) since(now time.Time, cpu time.Duration, started time.Time, fresh bool) api.Usage {
	age := now.Sub(g.at)
	if !fresh && age < shortestLook {
		return average(cpu, now.Sub(started), true) // the older reading is kept to measure from
	}
	before := g.cpu
	g.at, g.cpu = now, cpu
	if fresh || age > longestLook {
		return average(cpu, now.Sub(started), true)
	}
	return average(cpu-before, age, false)
}

func average(cpu, over time.Duration, sinceStart bool) api.Usage {
	u := api.Usage{SinceStart: sinceStart}
	if over > 0 {
		u.CPU = max(0, 100*cpu.Seconds()/over.Seconds())
	}
	return u
}

// read reads processor time and resident memory of a process: its processor
// clock, and /proc/PID/statm. Both are in /proc/PID/stat as well, in one read that
// takes half as long again, and there in steps of 10 ms.
func (g *gauge) read(buf []byte) (cpu time.Duration, memory int64, ok bool) {
	const processClock = 2 // CPUCLOCK_SCHED: the clock of the whole process, as clock_getcpuclockid makes it
	var t unix.Timespec
	if err := unix.ClockGettime(^int32(g.pid)<<3|processClock, &t); err != nil {
		return 0, 0, false
	}
	fd := g.statm
	if fd < 0 {
		if fd = openStatm(g.pid); fd < 0 {
			return 0, 0, false
		}
		defer unix.Close(fd)
	}
	n, err := unix.Pread(fd, buf, 0)
	if err != nil || n <= 0 {
		return 0, 0, false
	}
	memory, ok = parseStatm(buf[:n])
	return time.Duration(t.Nano()), memory, ok
}

// openStatm calls the kernel directly: an os.File for each of a thousand processes
// costs as much again. -1: there is no such process any more.
func openStatm(pid int) int {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/statm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// parseStatm finds the resident size, the second field, in pages.
func parseStatm(statm []byte) (memory int64, ok bool) {
	_, rest, _ := bytes.Cut(statm, []byte{' '})
	resident, _, found := bytes.Cut(rest, []byte{' '})
	pages, err := strconv.ParseInt(string(resident), 10, 64)
	if !found || err != nil || pages < 0 {
		return 0, false
	}
	return pages * int64(os.Getpagesize()), true
}

// tree is a process and its descendants, as far as they have not left it.
func tree(pid int) []int {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children(pids[i])...)
	}
	return pids
}

func children(pid int) []int {
	var found []int
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			continue
		}
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				found = append(found, n)
			}
		}
	}
	return found
}

// treeMemory is what a process and its descendants take: PSS, in which a page
// shared by n processes counts 1/n; resident memory where that cannot be read.
func treeMemory(pids []int) int64 {
	var total int64
	buf := make([]byte, 1024)
	for _, pid := range pids {
		if pss, ok := readPSS(pid); ok {
			total += pss
		} else if _, rss, ok := (&gauge{pid: pid, statm: -1}).read(buf); ok {
			total += rss
		}
	}
	return total
}

func readPSS(pid int) (int64, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			fields := strings.Fields(rest)
			if len(fields) == 0 {
				return 0, false
			}
			kb, err := strconv.ParseInt(fields[0], 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}
