package daemon

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"gopm/daemon/supervise"
)

// pipes are the two of an instance, as far as somebody has them.
func (old legacy) pipes(h *heir) (pipes [2]*os.File) {
	if run, is := old.estate.run(h.was); is {
		if len(run.Files) == len(pipes) {
			h.trusted = true
			copy(pipes[:], run.Files)
		}
		return pipes
	}
	if old.rested != "" {
		return pipes
	}
	pid := h.machine.Run.Pid
	if h.found.Pid != 0 {
		pid = h.found.Pid
	}
	return [2]*os.File{pipeOf(pid, h.was.Out.Pipe, 1), pipeOf(pid, h.was.Err.Pipe, 2)}
}

// pipeOf is the pipe of that inode as a process holds it, usually as descriptor fd:
// the pipe of an app is open for reading in the app itself, so that what it has
// written while nobody read is still there.
func pipeOf(pid int, inode uint64, fd int) *os.File {
	if pid == 0 || inode == 0 {
		return nil
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	want := "pipe:[" + strconv.FormatUint(inode, 10) + "]"
	open := func(name string) *os.File {
		if link, err := os.Readlink(dir + name); err != nil || link != want {
			return nil
		}
		f, err := os.OpenFile(dir+name, os.O_RDWR, 0)
		if err != nil {
			return nil
		}
		return f
	}
	if f := open(strconv.Itoa(fd)); f != nil {
		return f
	}
	names, _ := os.ReadDir(dir)
	for _, n := range names {
		if f := open(n.Name()); f != nil {
			return f
		}
	}
	return nil
}

type strayFinder interface {
	Strays(home string, parent int) ([]supervise.Stray, error)
}

// nobodys are the programs of this home that run although no list has them.
func (d *Daemon) nobodys() (warnings []string) {
	finder, able := d.kernel.(strayFinder)
	if !able {
		return nil
	}
	strays, _ := finder.Strays(d.cfg.Home.Dir, 0) // an error: the list goes on
	return unknown(strays, nil)
}

// unknown warns of programs of this home that are no heir's: a list was lost in which
// they were.
func unknown(strays []supervise.Stray, heirs []*heir) (warnings []string) {
	var names []string
	for _, s := range strays {
		if s.ID >= 0 && !s.Dead && !slices.ContainsFunc(heirs, func(h *heir) bool { return h.in.id == s.ID && h.in.name == s.Name }) {
			names = append(names, fmt.Sprintf("%s (pid %d)", s.Name, s.Pid))
		}
	}
	if names != nil {
		warnings = append(warnings, "gopm no longer knows what it has started here, and it runs on: "+strings.Join(names, ", ")+"; end these by pid before you start them again")
	}
	return warnings
}

// findStrays looks for processes that were started so shortly before the end that
// nobody was told. What the keeper was told is the last word on an instance, unless
// that was about to be started.
func (d *Daemon) findStrays(old legacy, heirs []*heir) (lodgers []*heir, warnings []string) {
	searching := slices.DeleteFunc(slices.Clone(heirs), func(h *heir) bool {
		_, told := old.estate.run(h.was)
		return told && h.machine.State != supervise.Spawning
	})
	finder, able := d.kernel.(strayFinder)
	if old.rested != "" || !able || len(searching) == 0 {
		return nil, nil
	}
	parent := 0 // both have died: it may be anybody's child
	if len(old.estate.runs) > 0 && !d.cfg.Estate.Elsewhere {
		parent = os.Getppid()
	}
	strays, err := finder.Strays(d.cfg.Home.Dir, parent)
	if err != nil {
		d.tellOfDaemon("cannot look for processes that nobody was told of: %v", err)
	}
	strays = slices.DeleteFunc(strays, func(s supervise.Stray) bool {
		return slices.ContainsFunc(heirs, func(h *heir) bool { return h.knows(s) })
	})
	for _, s := range strays {
		for _, h := range searching {
			if h.owns(s) && s.StartTime >= h.found.StartTime {
				h.found = s.Run
			}
		}
	}
	claimDead(strays, searching)
	if parent == 0 {
		lodgers = d.lodgeStrays(old, strays, heirs)
		warnings = unknown(strays, heirs)
	}
	return lodgers, warnings
}

// claimDead gives what has died before anybody was told of it to an instance that
// was being started: it can't be seen any more whose it was, but each is counted.
func claimDead(strays []supervise.Stray, searching []*heir) {
	for _, s := range strays {
		i := slices.IndexFunc(searching, func(h *heir) bool {
			return h.machine.State == supervise.Spawning && h.found.Pid == 0 && s.StartTime >= h.machine.Remains.Reaped
		})
		if s.Dead && i >= 0 {
			searching[i].found = s.Run
		}
	}
}

// knows says whether a process is that of the instance's machine.
func (h *heir) knows(s supervise.Stray) bool {
	return s.Pid == h.machine.Run.Pid && s.StartTime == h.machine.Run.StartTime
}

// owns says whether a process belongs to an instance that doesn't know it.
func (h *heir) owns(s supervise.Stray) bool {
	if s.ID >= 0 { // its pipes are those of another life, too
		return s.ID == h.in.id && s.Name == h.in.name && s.Life == h.in.life
	}
	for _, inode := range s.Pipes {
		if inode != 0 && (inode == h.was.Out.Pipe || inode == h.was.Err.Pipe) {
			return true
		}
	}
	return false
}
