package parent

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// proc is one process as /proc shows it.
type proc struct {
	pid, ppid, pgrp int
	start           uint64 // clock ticks since boot: with pid it names a process for good
	zombie          bool
	name            string
}

// processes lists everything in /proc. Reading all of it costs more than following
// the children files, but works on kernels without CONFIG_PROC_CHILDREN, and it is
// done only after the daemon has died.
func processes() ([]proc, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var procs []proc
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, ok := look(pid); ok {
			procs = append(procs, p)
		}
	}
	return procs, nil
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
	const state, ppid, pgrp, start = 0, 1, 2, 19 // fields 3, 4, 5 and 22 of proc(5)
	if len(fields) <= start {
		return proc{}, false
	}
	p := proc{name: string(text[open+1 : shut])}
	p.zombie = string(fields[state]) == "Z" || string(fields[state]) == "X"
	var errs [4]error
	p.pid, errs[0] = strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	p.ppid, errs[1] = strconv.Atoi(string(fields[ppid]))
	p.pgrp, errs[2] = strconv.Atoi(string(fields[pgrp]))
	p.start, errs[3] = strconv.ParseUint(string(fields[start]), 10, 64)
	return p, errs == [4]error{}
}

// descendants keeps the processes below root.
func descendants(all []proc, root int) []proc {
	children := make(map[int][]proc, len(all))
	for _, p := range all {
		children[p.ppid] = append(children[p.ppid], p)
	}
	// Taking a parent's list away as it is visited ends the walk even if a list
	// read while processes came and went should contain a circle.
	var below []proc
	for next := []int{root}; len(next) > 0; {
		parent := next[len(next)-1]
		next = next[:len(next)-1]
		for _, p := range children[parent] {
			below = append(below, p)
			next = append(next, p.pid)
		}
		delete(children, parent)
	}
	return below
}
