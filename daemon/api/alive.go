package api

import (
	"os"
	"strconv"
	"strings"
)

// Alive is the instances of which a process still runs, by id, with its pid. It is the
// recorded one or, of an instance that should run, one that writes into its pipes: the
// daemon may have died right after it had started it.
func (s State) Alive() map[int]int {
	alive := map[int]int{}
	if s.Boot != BootID() {
		return alive
	}
	pipes := map[string]int{} // of instances whose process is not known
	for _, a := range s.Apps {
		for _, in := range a.Instances {
			switch {
			case in.Start != 0 && readStat(in.Process.Pid).start == in.Start:
				alive[in.ID] = in.Process.Pid
			case in.Want && in.Rested == "" && s.Ended == "":
				for _, inode := range []uint64{in.Out.Pipe, in.Err.Pipe} {
					if inode != 0 {
						pipes["pipe:["+strconv.FormatUint(inode, 10)+"]"] = in.ID
					}
				}
			}
		}
	}
	if len(pipes) > 0 {
		findWriters(pipes, alive)
	}
	return alive
}

// findWriters looks at all processes for main processes that write into the pipes.
// They lead a group of their own and no session: what made itself a daemon is not meant.
func findWriters(pipes map[string]int, alive map[int]int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what can be read is enough
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		for _, fd := range []string{"1", "2"} {
			link, _ := os.Readlink("/proc/" + name + "/fd/" + fd) // "": another user's, or gone
			id, writes := pipes[link]
			if !writes || alive[id] != 0 {
				continue
			}
			if st := readStat(pid); st.group == pid && st.session != pid {
				alive[id] = pid
			}
		}
	}
}

// procStat is what counts of /proc/PID/stat; zero: there is no such live process.
type procStat struct {
	state          string
	group, session int
	start          uint64 // in clock ticks since boot
}

// isStopped says whether a signal keeps a process from running.
func isStopped(pid int) bool {
	state := readStat(pid).state
	return state == "T" || state == "t" // the second: by a debugger
}

func readStat(pid int) (st procStat) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return st
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // the name may have blanks
	const state, group, session, start = 0, 2, 3, 19
	if len(fields) <= start || fields[state] == "Z" || fields[state] == "X" {
		return st
	}
	st.state = fields[state]
	st.group, _ = strconv.Atoi(fields[group])
	st.session, _ = strconv.Atoi(fields[session])
	st.start, _ = strconv.ParseUint(fields[start], 10, 64)
	return st
}
