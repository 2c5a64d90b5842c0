package supervise

import "os"

// A descendant that left the group of its app (setsid, a double fork) can be
// found when its parents are dead: it has fallen to the keeper, and its
// environment names the app it came from.

// reaper is who the orphans of our children fall to: the keeper, unless it is one
// that was started later than we, which is nobody's ancestor.
func (k *OSKernel) reaper() int {
	if keeper := k.keeper(); keeper == 0 || keeper == os.Getpid() {
		return keeper
	}
	return os.Getppid()
}

// orphans lists live children of reaper that came from the incarnation
// started at since. It is asked at every exit, so the usual answer, none, is cheap.
func (k *OSKernel) orphans(reaper int, since uint64, marker []string) []procStat {
	if reaper == 0 || len(marker) == 0 {
		return nil
	}
	candidates, err := k.keptChildren(reaper, since)
	if err != nil {
		c := <-k.census
		candidates = c.youngChildren(k, reaper, since)
		k.census <- c
	}
	var found []procStat
	for _, st := range candidates {
		if k.isMarked(st, marker) {
			found = append(found, st)
		}
	}
	return found
}

// isMarked says whether an orphan shows the marker. Below the keeper there are only apps, and
// one that is exiting is taken for ours. What has another parent, as everything that init
// starts, may be anybody's: else a service of the machine that just ends would lose its
// children to us.
func (k *OSKernel) isMarked(st procStat, marker []string) bool {
	if st.ppid == k.keeper() && !k.orphaned() {
		return k.proc.marked(st.pid, marker)
	}
	has, _ := k.proc.hasMarker(st.pid, marker)
	return has
}

// keptChildren asks the kernel for the reaper's children. One that has ended since
// the list was made has left its own children to it, so then there is
// another look, at those that are new.
func (k *OSKernel) keptChildren(reaper int, since uint64) (found []procStat, err error) {
	looked := map[int]bool{os.Getpid(): true, k.keeper(): true}
	for changed := true; changed; {
		changed = false
		pids, err := k.proc.children(reaper)
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			if looked[pid] {
				continue
			}
			looked[pid] = true
			st, err := k.proc.stat(pid)
			if err != nil || !st.alive() {
				changed = true
			} else if st.start >= since {
				found = append(found, st)
			}
		}
	}
	return found, nil
}

// census remembers the start times of all processes, for kernels without a list
// of children: there every process has to be looked at, but one that is older
// than the dead incarnation only once in its life.
type census struct {
	round uint32
	known map[entry]record
}

type record struct {
	start uint64
	round uint32 // in which it was seen last
}

func (c *census) youngChildren(k *OSKernel, reaper int, since uint64) (found []procStat) {
	if c.known == nil {
		c.known = map[entry]record{}
	}
	c.round++
	seen := 0
	_ = k.proc.list(func(e entry) {
		seen++
		r, ok := c.known[e]
		if r.round = c.round; ok && (r.start < since || k.isMain(e.pid)) {
			c.known[e] = r
			return
		}
		st, err := k.proc.stat(e.pid)
		if err != nil {
			return
		}
		r.start = st.start
		c.known[e] = r
		if st.ppid == reaper && st.start >= since && st.alive() && e.pid != os.Getpid() {
			found = append(found, st)
		}
	})
	if len(c.known) > 2*seen {
		c.forget()
	}
	return found
}

// forget drops what wasn't seen in this round.
func (c *census) forget() {
	for e, r := range c.known {
		if r.round != c.round {
			delete(c.known, e)
		}
	}
}
