package daemon

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

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

// look measures the main process of every instance that has one. It reads
// /proc/PID/stat itself, one file for both figures: the process library reads
// several and takes five times as long, which is most of what `gopm ls` would cost.
func (s *sampler) look(instances []*instance) map[*instance]api.Usage {
	found := make(map[*instance]api.Usage, len(instances))
	buf := make([]byte, 1024)
	for _, in := range instances {
		snap := in.proc.Snapshot()
		if snap.Pid == 0 {
			continue
		}
		cpu, memory, ok := readStat(snap.Pid, buf)
		if !ok {
			continue
		}
		now := look{incarnation: snap.Incarnation, at: time.Now(), cpu: cpu}
		usage := s.since(in, now, snap.Started)
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

const clockTick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on

// readStat reads processor time and resident memory of a process.
func readStat(pid int, buf []byte) (cpu time.Duration, memory int64, ok bool) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	n, err := f.Read(buf)
	f.Close()
	if err != nil {
		return 0, 0, false
	}
	return parseStat(buf[:n])
}

// parseStat finds utime, stime (fields 14 and 15) and rss (24, in pages). The
// second field, the program's name in brackets, may hold blanks and brackets itself.
func parseStat(stat []byte) (cpu time.Duration, memory int64, ok bool) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, 0, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	const utime, stime, rss = 14 - 3, 15 - 3, 24 - 3
	if len(fields) <= rss {
		return 0, 0, false
	}
	u, err1 := strconv.ParseInt(fields[utime], 10, 64)
	k, err2 := strconv.ParseInt(fields[stime], 10, 64)
	pages, err3 := strconv.ParseInt(fields[rss], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, 0, false
	}
	return time.Duration(u+k) * clockTick, pages * int64(os.Getpagesize()), true
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
		} else if _, rss, ok := readStat(pid, buf); ok {
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
