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
)

// sampler measures processes when somebody looks, and only then. It remembers the
// last look at each instance, so that the next one can say what was used since.
type sampler struct {
	mu   sync.Mutex // guards last
	last map[*instance]look
}

// look is one reading of a process's processor time.
type look struct {
	incarnation uint64
	at          time.Time
	cpu         time.Duration
}

// The average since the last look is shown if that was neither so short ago that
// the clock's 10 ms ticks dominate, nor so long that it says little about now.
const (
	shortestLook = 500 * time.Millisecond
	longestLook  = time.Minute
)

func newSampler() *sampler { return &sampler{last: map[*instance]look{}} }

func (s *sampler) forget(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.last, in)
}

// look measures the main process of every instance that has one. It does so itself:
// the process library takes 43 µs for each, this 6, and `gopm ls` waits for it.
func (s *sampler) look(instances []*instance) map[*instance]api.Usage {
	found := make(map[*instance]api.Usage, len(instances))
	buf := make([]byte, 1024)
	for _, in := range instances {
		snap := in.proc.Snapshot()
		if snap.Pid == 0 {
			continue
		}
		cpu, memory, ok := readUsage(snap.Pid, buf)
		if !ok {
			continue
		}
		usage := s.since(in, look{incarnation: snap.Incarnation, at: time.Now(), cpu: cpu}, snap.Started)
		usage.Memory = memory
		found[in] = usage
	}
	return found
}

// since works out the processor use and keeps the reading for the next look.
func (s *sampler) since(in *instance, now look, started time.Time) api.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.last[in]
	age := now.at.Sub(before.at)
	if known && before.incarnation == now.incarnation && age < shortestLook {
		return average(now.cpu, now.at.Sub(started), true) // the older reading is kept to measure from
	}
	s.last[in] = now
	if !known || before.incarnation != now.incarnation || age > longestLook {
		return average(now.cpu, now.at.Sub(started), true)
	}
	return average(now.cpu-before.cpu, age, false)
}

func average(cpu, over time.Duration, sinceStart bool) api.Usage {
	u := api.Usage{SinceStart: sinceStart}
	if over > 0 {
		u.CPU = max(0, 100*cpu.Seconds()/over.Seconds())
	}
	return u
}

// readUsage reads processor time and resident memory of a process: its processor
// clock, and /proc/PID/statm. Both are in /proc/PID/stat as well, in one read that
// takes half as long again, and there in steps of 10 ms.
func readUsage(pid int, buf []byte) (cpu time.Duration, memory int64, ok bool) {
	const processClock = 2 // CPUCLOCK_SCHED: the clock of the whole process, as clock_getcpuclockid makes it
	var t unix.Timespec
	if err := unix.ClockGettime(^int32(pid)<<3|processClock, &t); err != nil {
		return 0, 0, false
	}
	// The kernel is called directly: an os.File for each of a thousand processes
	// costs as much again.
	path := append(strconv.AppendInt(append(make([]byte, 0, 32), "/proc/"...), int64(pid), 10), "/statm"...)
	fd, err := unix.Open(string(path), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, false
	}
	n, err := unix.Read(fd, buf)
	unix.Close(fd)
	if err != nil || n <= 0 {
		return 0, 0, false
	}
	memory, ok = parseStatm(buf[:n])
	return time.Duration(t.Nano()), memory, ok
}

// parseStatm finds the resident size, the second field, in pages.
func parseStatm(statm []byte) (memory int64, ok bool) {
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
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
		} else if _, rss, ok := readUsage(pid, buf); ok {
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
