// Package room says what there is to run on: the processors and the memory of this
// machine, less what the limits of a container or a service keep from a process.
package room

import (
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits is what one process, and those it starts, can have.
type Limits struct {
	Online  int   // processors of the machine
	Allowed int   // those of them that the process may run on (cpuset, taskset)
	Total   int64 // bytes of memory of the machine; 0 = not known
	Time    Quota // of processor time
	Memory  Limit
}

// Quota is processor time that may be used in each period of it; zero = no such limit.
type Quota struct {
	Used, Period int64
	By           string // the file that says so
}

// Limit is a limit in bytes; zero = none.
type Limit struct {
	Bytes int64
	By    string
}

// CPUs is how many processors there are to use, at least one. A part of one counts as a
// whole: with half a processor more, one program more is of use.
func (r Limits) CPUs() int {
	n := max(r.Allowed, 1)
	if r.Time.Period > 0 {
		n = min(n, max(int(min((r.Time.Used+r.Time.Period-1)/r.Time.Period, math.MaxInt32)), 1))
	}
	return n
}

// Bytes is how much memory there is to use; 0 = not known.
func (r Limits) Bytes() int64 {
	if r.Memory.Bytes > 0 && (r.Total == 0 || r.Memory.Bytes < r.Total) {
		return r.Memory.Bytes
	}
	return r.Total
}

// Narrows says whether the limit of memory is less than what the machine has.
func (r Limits) Narrows() bool { return r.Bytes() != r.Total }

// Processors is the quota as a number of processors: 1.5.
func (q Quota) Processors() float64 {
	if q.Period <= 0 {
		return 0
	}
	return float64(q.Used) / float64(q.Period)
}

// Of looks at what a process has; 0 is the caller. Limits can be changed while programs
// run (docker update), so it looks each time. What can't be read limits nothing.
func Of(pid int) Limits {
	who := "self"
	if pid > 0 {
		who = strconv.Itoa(pid)
	}
	r := look(os.DirFS("/"), who)
	var set unix.CPUSet
	if r.Allowed = runtime.NumCPU(); unix.SchedGetaffinity(pid, &set) == nil {
		r.Allowed = set.Count()
	}
	r.Online = max(r.Online, r.Allowed)
	return r
}

// look reads all that is in files.
func look(root fs.FS, who string) Limits {
	read := func(name string) []byte {
		data, _ := fs.ReadFile(root, name) // none: it says nothing
		return data
	}
	r := Limits{Online: countList(string(read("sys/devices/system/cpu/online"))), Total: totalMemory(read("proc/meminfo"))}
	groups, mounts := Memberships(read("proc/"+who+"/cgroup")), Mounts(read("proc/self/mountinfo"))
	if len(groups) == 0 { // it is hidden from us (hidepid): ours are a better guess than none
		groups = Memberships(read("proc/self/cgroup"))
	}
	for _, m := range mounts {
		for _, dir := range m.folders(groups) {
			r.Time = r.Time.or(m.quota(dir, read))
			r.Memory = r.Memory.or(m.limit(dir, read))
		}
	}
	return r
}

// or is the smaller of two: of all the groups that one is in, the tightest counts.
func (q Quota) or(other Quota) Quota {
	if other.Period == 0 || q.Period > 0 && q.Processors() <= other.Processors() {
		return q
	}
	return other
}

func (l Limit) or(other Limit) Limit {
	if other.Bytes == 0 || l.Bytes > 0 && l.Bytes <= other.Bytes {
		return l
	}
	return other
}

func (m Mount) quota(dir string, read func(string) []byte) Quota {
	file, text := path.Join(dir, "cpu.max"), ""
	switch {
	case m.Unified:
		text = string(read(file))
	case m.has("cpu"):
		file = path.Join(dir, "cpu.cfs_quota_us")
		text = string(read(file)) + " " + string(read(path.Join(dir, "cpu.cfs_period_us")))
	}
	q := parseQuota(text)
	if q.Period > 0 {
		q.By = "/" + file
	}
	return q
}

func (m Mount) limit(dir string, read func(string) []byte) Limit {
	file := path.Join(dir, "memory.max")
	switch {
	case m.Unified:
	case m.has("memory"):
		file = path.Join(dir, "memory.limit_in_bytes")
	default:
		return Limit{}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(read(file))), 10, 64)
	if err != nil || n <= 0 { // "max", or no such file
		return Limit{}
	}
	return Limit{n, "/" + file}
}

// parseQuota reads "150000 100000"; "max 100000" and "-1 100000" are no limit.
func parseQuota(text string) Quota {
	words := strings.Fields(text)
	if len(words) != 2 {
		return Quota{}
	}
	used, err := strconv.ParseInt(words[0], 10, 64)
	period, err2 := strconv.ParseInt(words[1], 10, 64)
	const most = 1 << 40 // of microseconds: what is above isn't from the kernel
	if err != nil || err2 != nil || used <= 0 || period <= 0 || used > most || period > most {
		return Quota{}
	}
	return Quota{Used: used, Period: period}
}

// countList counts a list of the kernel's: "0-3,6" has five.
func countList(text string) (n int) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(first, 10, 20)
		if err != nil {
			return 0
		}
		b := a
		if isRange {
			if b, err = strconv.ParseUint(last, 10, 20); err != nil || b < a {
				return 0
			}
		}
		n += int(b-a) + 1
	}
	return n
}

// totalMemory is the machine's, from /proc/meminfo.
func totalMemory(text []byte) (bytesTotal int64) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("MemTotal:")); ok {
			var kilobytes int64
			if _, err := fmt.Sscan(string(rest), &kilobytes); err == nil && kilobytes > 0 && kilobytes < 1<<50 {
				return kilobytes << 10
			}
		}
	}
	return 0
}
