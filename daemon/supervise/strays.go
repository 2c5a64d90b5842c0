package supervise

import (
	"bytes"
	"cmp"
	"os"
	"slices"
	"strconv"
	"time"
)

// Stray is a process that may be an instance's main process although nobody has
// noted it: the daemon died between the fork and its note.
type Stray struct {
	Run
	Parent int
	Pipes  [2]uint64 // inodes of the pipes behind its stdout and stderr; 0: no pipe, or not to be seen by us
	ID     int       // pm_id of its environment; -1: none, or of another home
	Name   string
	Life   uint64 // GOPM_LIFE of its environment: which of the processes of that id it is
	Dead   bool   // it has ended, and its keeper knows how: no pipes and no environment any more
}

// forkPatience is how long a process may take from its fork to its program.
const forkPatience = time.Second

// Strays lists, oldest first, the processes that could be such: leaders of their
// group, but not of a session, that carry the home's marker or write into a pipe.
// It looks at the children of parent, where they fall to when a keeper lives, or
// with 0 at all processes. Until the noted ones are taken away they are among them;
// and, below a keeper, dead ones, which may be of any instance that was being started.
//
// One that is still a copy of the daemon, on its way to its program, is waited for.
func (k *OSKernel) Strays(home string, parent int) ([]Stray, error) {
	own := image(k.proc, "self")
	for deadline := time.Now().Add(forkPatience); ; time.Sleep(time.Millisecond) {
		all, err := k.group(parent)
		if err != nil {
			return nil, err
		}
		onItsWay := func(st procStat) bool { return k.onItsWay(st, own) }
		if time.Now().Before(deadline) && slices.ContainsFunc(all, onItsWay) {
			continue
		}
		var strays []Stray
		for _, st := range all {
			if s, ok := k.stray(st, home); ok && (parent != 0 || !s.Dead) {
				strays = append(strays, s)
			}
		}
		slices.SortFunc(strays, func(a, b Stray) int {
			return cmp.Or(cmp.Compare(a.StartTime, b.StartTime), cmp.Compare(a.Pid, b.Pid))
		})
		return strays, nil
	}
}

// onItsWay says whether a young process is between its fork and its program: still
// a copy of the daemon, or without any arguments, which the kernel gives it last.
func (k *OSKernel) onItsWay(st procStat, own program) bool {
	const ticks = uint64(forkPatience / (10 * time.Millisecond))
	if !st.alive() || st.group == 0 || st.start+ticks < k.proc.now() { // the kernel's own threads have no group
		return false
	}
	is := image(k.proc, strconv.Itoa(st.pid))
	return len(is.call) == 0 || st.forked() && is.same(own)
}

// group is everything that Strays looks at.
func (k *OSKernel) group(parent int) (all []procStat, err error) {
	except := []int{os.Getpid(), k.keeper(), 1}
	add := func(pid int) {
		if slices.Contains(except, pid) {
			return
		}
		if st, err := k.proc.stat(pid); err == nil && (parent == 0 || st.ppid == parent) {
			all = append(all, st)
		}
	}
	if parent != 0 {
		if pids, err := k.proc.children(parent); err == nil {
			for _, pid := range pids {
				add(pid)
			}
			return all, nil
		}
	}
	err = k.proc.list(func(e entry) { add(e.pid) })
	return all, err
}

// stray looks closer. Our programs are put into a group of their own and nothing
// more; what made itself a daemon leads a session as well.
func (k *OSKernel) stray(st procStat, home string) (Stray, bool) {
	if st.pid != st.group || st.pid == st.session {
		return Stray{}, false
	}
	s := Stray{Parent: st.ppid, ID: -1, Dead: !st.alive()}
	s.Run = Run{Pid: st.pid, StartTime: st.start, Started: k.proc.wallClock(st.start)}
	if env, err := os.ReadFile(k.proc.path(st.pid, "environ")); err == nil && hasEntries(env, []string{"GOPM_HOME=" + home}) {
		s.Name = entryOf(env, "name=")
		if id, err := strconv.Atoi(entryOf(env, "pm_id=")); err == nil {
			s.ID = id
			s.Life, _ = strconv.ParseUint(entryOf(env, "GOPM_LIFE="), 10, 64) // an error: it is the first
		}
	}
	s.Pipes = [2]uint64{k.proc.pipe(st.pid, "fd/1"), k.proc.pipe(st.pid, "fd/2")}
	return s, s.Dead || s.ID >= 0 || s.Pipes != [2]uint64{}
}

func entryOf(env []byte, prefix string) string {
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, []byte(prefix)); ok {
			return string(value)
		}
	}
	return ""
}

// pipe is the inode of the pipe that a descriptor is.
func (p procfs) pipe(pid int, fd string) (inode uint64) {
	target, _ := os.Readlink(p.path(pid, fd))
	if n, ok := bytes.CutPrefix([]byte(target), []byte("pipe:[")); ok {
		inode, _ = strconv.ParseUint(string(bytes.TrimSuffix(n, []byte("]"))), 10, 64)
	}
	return inode
}

// wallClock is the time of a clock tick since boot.
func (p procfs) wallClock(tick uint64) time.Time {
	now := p.now()
	return time.Now().Add(-time.Duration(now-min(tick, now)) * 10 * time.Millisecond)
}

// program is what a process runs: the file and how it was called. After an update the
// file is another, the call is not.
type program struct {
	file os.FileInfo
	call []byte
}

func image(p procfs, pid string) (is program) {
	is.file, _ = os.Stat(p.root + "/" + pid + "/exe")
	is.call, _ = os.ReadFile(p.root + "/" + pid + "/cmdline")
	return is
}

func (is program) same(own program) bool {
	return is.file != nil && own.file != nil && os.SameFile(is.file, own.file) || bytes.Equal(is.call, own.call)
}
