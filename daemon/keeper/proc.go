package keeper

import (
	"bytes"
	"os"
	"strconv"
)

// proc is what we need of a process, as /proc/PID/stat shows it.
type proc struct {
	pid, ppid int
	group     int
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

// MainOf is a process as it is now; not ok means that it is gone.
func MainOf(pid int) (Main, bool) {
	p, ok := look(pid)
	return Main{Pid: pid, Start: p.start}, ok
}

// parseStat reads /proc/PID/stat. The name in it is chosen by the program and may
// hold blanks and brackets, so the fields are counted from its last bracket.
func parseStat(text []byte) (proc, bool) {
	open, shut := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return proc{}, false
	}
	fields := bytes.Fields(text[shut+1:])
	const state, ppid, group, start = 0, 1, 2, 19 // fields 3, 4, 5 and 22 of proc(5)
	if len(fields) <= start {
		return proc{}, false
	}
	letter := string(fields[state])
	p := proc{zombie: letter == "Z" || letter == "X"}
	var errs [4]error
	p.pid, errs[0] = strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	p.ppid, errs[1] = strconv.Atoi(string(fields[ppid]))
	p.group, errs[3] = strconv.Atoi(string(fields[group]))
	p.start, errs[2] = strconv.ParseUint(string(fields[start]), 10, 64)
	return p, errs == [4]error{}
}
