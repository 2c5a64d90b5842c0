package keeper

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxRounds bounds how often new processes are looked for.
const maxRounds = 100

// tick is how exactly the start of a process is known.
const tick = 10 * time.Millisecond

// hunt ends what belongs together: main processes with their groups, all that is
// marked, and the descendants of those.
type hunt struct {
	mains  []Main
	marker []string
	spared []int  // never, and who descends from nobody but these isn't meant
	before uint64 // who is marked counts only if he was started before that tick; 0: always
	struck map[Main]unix.Signal
	alive  int   // that the last strike has found
	err    error // why one could not be signalled
}

// strike sends a signal to all that haven't had it, and says to how many.
func (h *hunt) strike(sig unix.Signal) (fresh int) {
	if h.struck == nil {
		h.struck = map[Main]unix.Signal{}
	}
	found := kin(processes(), h.mains, h.spared, func(p proc) bool { return (h.before == 0 || p.start < h.before) && marked(p.pid, h.marker) })
	if sig == unix.SIGKILL {
		for _, m := range h.mains {
			h.note(m.Pid, killGroup(m))
		}
	}
	h.alive = 0
	for _, p := range found {
		one := Main{p.pid, p.start}
		if p.zombie {
			continue
		}
		h.alive++
		if h.struck[one] != sig {
			h.struck[one] = sig
			fresh++
			h.note(p.pid, signalOne(one, sig))
		}
	}
	return fresh
}

func (h *hunt) note(pid int, err error) {
	if err != nil {
		h.err = fmt.Errorf("pid %d: %v", pid, err)
	}
}

// endPatience is how long what was killed may take to die before that is an error.
const endPatience = 10 * time.Second

// End ends main with its group, all that has the entries of marker in its environment,
// and their descendants, and returns how many there were when all are dead. They have
// time to end by themselves until gentle does. The spared are left alone.
func End(gentle context.Context, main Main, marker []string, spared ...int) (ended int, err error) {
	h := hunt{mains: []Main{main}, marker: marker, spared: append(spared, 1, os.Getpid())}
	kill := unix.SIGTERM
	var late <-chan time.Time
	pause := time.Millisecond
	for {
		over := gentle.Done()
		if gentle.Err() != nil {
			over, kill = nil, unix.SIGKILL
			if late == nil {
				late, pause = time.After(endPatience), time.Millisecond
			}
		}
		if h.strike(kill) == 0 && h.alive == 0 {
			return len(h.struck), nil
		}
		select {
		case <-time.After(pause):
		case <-over:
		case <-late:
			return len(h.struck), fmt.Errorf("%d processes do not die (the last error: %v)", h.alive, h.err)
		}
		pause = min(2*pause, 200*time.Millisecond) // each look at all processes costs something
	}
}

// kin are the processes that are, or descend from, a main process, a member of its
// group, or one that is marked.
func kin(all []proc, mains []Main, spared []int, marked func(proc) bool) []proc {
	is := map[int]bool{}
	mains = slices.DeleteFunc(slices.Clone(mains), func(m Main) bool { // another has the number: the group is gone
		return slices.ContainsFunc(all, func(p proc) bool { return p.pid == m.Pid && p.start != m.Start })
	})
	for _, p := range all {
		of := func(m Main) bool {
			return m.Pid > 1 && (p.pid == m.Pid && p.start == m.Start || p.group == m.Pid && p.start >= m.Start)
		}
		is[p.pid] = slices.ContainsFunc(mains, of) || marked(p)
	}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !is[p.pid] && is[p.ppid] && !slices.Contains(spared, p.ppid) {
				is[p.pid], grown = true, true
			}
		}
	}
	return slices.DeleteFunc(all, func(p proc) bool { return !is[p.pid] || slices.Contains(spared, p.pid) })
}

// marked says whether a process was started with all these environment entries.
func marked(pid int, marker []string) bool {
	if len(marker) == 0 || slices.Contains(marker, "") { // every environment ends with nothing: it would be everybody's
		return false
	}
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	entries := bytes.Split(env, []byte{0})
	return !slices.ContainsFunc(marker, func(want string) bool {
		return !slices.ContainsFunc(entries, func(e []byte) bool { return string(e) == want })
	})
}

// processes is everybody in /proc.
func processes() (all []proc) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if p, ok := look(pid); ok {
				all = append(all, p)
			}
		}
	}
	return all
}

// signalOne signals the process meant and no other that has its number by now.
func signalOne(m Main, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(m.Pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil { // no descriptors left
		if p, ok := look(m.Pid); !ok || p.start != m.Start {
			return nil
		}
		return ignoreGone(unix.Kill(m.Pid, sig))
	}
	defer unix.Close(fd)
	if p, ok := look(m.Pid); !ok || p.start != m.Start {
		return nil
	}
	return ignoreGone(unix.PidfdSendSignal(fd, sig, nil, 0))
}

func ignoreGone(err error) error {
	if err == unix.ESRCH {
		return nil
	}
	return err
}
