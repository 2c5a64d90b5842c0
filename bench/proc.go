package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readFile is a file's text; empty where it can't be read, as /proc of a process that has ended.
func readFile(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}

// proc reads one file of /proc/PID.
func proc(pid int, file string) string {
	return readFile(fmt.Sprintf("/proc/%d/%s", pid, file))
}

// pids of all processes.
func pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// carrying are the live processes that have id in their environment or command line.
func carrying(id string) []int {
	var out []int
	for _, pid := range pids() {
		if (strings.Contains(proc(pid, "environ"), id) || strings.Contains(proc(pid, "cmdline"), id)) && alive(pid) {
			out = append(out, pid)
		}
	}
	return out
}

// alive: neither gone nor a zombie.
func alive(pid int) bool {
	stat := proc(pid, "stat")
	i := strings.LastIndexByte(stat, ')')
	if i < 0 || i+2 >= len(stat) {
		return false
	}
	return !strings.ContainsRune("ZX", rune(stat[i+2]))
}

// executable is the file that a process runs; empty where there is none.
func executable(pid int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// field is the first number behind a name in the text of a /proc file: "Pss:   812 kB" is 812.
func field(text, name string) (float64, bool) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		words := strings.Fields(rest)
		if len(words) == 0 {
			return 0, false
		}
		n, err := strconv.ParseFloat(words[0], 64)
		return n, err == nil
	}
	return 0, false
}

// sum adds up one number of a /proc file over processes; false if one has none.
func sum(pids []int, file, name string) (float64, bool) {
	total := 0.0
	for _, pid := range pids {
		n, ok := field(proc(pid, file), name)
		if !ok {
			return 0, false
		}
		total += n
	}
	return total, len(pids) > 0
}

// cpuTime is what processes have used, counted by the scheduler in nanoseconds, threads that have ended included.
func cpuTime(pids []int) time.Duration {
	var total time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		// The kernel's number for the CPU clock of another process (clock_getcpuclockid(3)).
		if unix.ClockGettime(int32(^pid<<3|2), &t) == nil {
			total += time.Duration(t.Nano())
		}
	}
	return total
}

// now is CLOCK_MONOTONIC, the clock of child.c's stamps.
func now() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}

// milliseconds between two readings of now.
func milliseconds(from, to int64) float64 { return float64(to-from) / 1e6 }

// sharing counts the processes outside own that run the same executables: the kernel divides the
// pages among them too, which makes PSS look smaller.
func sharing(own []int) int {
	mine, files := map[int]bool{}, map[string]bool{}
	for _, pid := range own {
		mine[pid], files[executable(pid)] = true, true
	}
	n := 0
	for _, pid := range pids() {
		if exe := executable(pid); exe != "" && !mine[pid] && files[exe] {
			n++
		}
	}
	return n
}

// roomy is the folder for temporary files: memory where there is some, so that no disk is measured.
func roomy() string {
	if f, err := os.CreateTemp("/dev/shm", "bench-"); err == nil {
		f.Close()
		os.Remove(f.Name())
		return filepath.Dir(f.Name())
	}
	return os.TempDir()
}
