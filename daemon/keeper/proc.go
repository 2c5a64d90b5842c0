package keeper

import (
	"bytes"
	"os"
	"strconv"
)

// proc is what we need of a process, as /proc/PID/stat shows it.
type proc struct {
	pid, ppid int
	start     uint64 // clock ticks since boot: with pid it names a process for good
	zombie    bool
}

// look reads one process; not ok means that it is gone.
func look(pid int) (proc, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc{}, false
	}
	return parseStat(text)
}

// parseStat reads /proc/PID/stat. The name in it is chosen by the program and may
// hold blanks and brackets, so the fields are counted from its last bracket.
func parseStat(text []byte) (proc, bool) {
	open, shut := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return proc{}, false
	}
	fields := bytes.Fields(text[shut+1:])
	const state, ppid, start = 0, 1, 19 // fields 3, 4 and 22 of proc(5)
	if len(fields) <= start {
		return proc{}, false
	}
	letter := string(fields[state])
	p := proc{zombie: letter == "Z" || letter == "X"}
	var errs [3]error
	p.pid, errs[0] = strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	p.ppid, errs[1] = strconv.Atoi(string(fields[ppid]))
	p.start, errs[2] = strconv.ParseUint(string(fields[start]), 10, 64)
	return p, errs == [3]error{}
}
