package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A call that the daemon before had received, and was killed before it noted that, waits
// for an answer that nobody can give: its number was known to that daemon alone. Only
// the end of the process ends it.

// strandedLook is between two looks at the calls that adopted processes sit in.
const strandedLook = time.Second

// waiter is a thread that sits in a call.
type waiter struct {
	t    *tenant
	tid  int
	call string // with its arguments
}

// watchStranded looks a few times after an adoption; Close waits for it. Who sits twice
// in a call that we don't have is stranded.
func (h *Host) watchStranded(adopted []*tenant) {
	before := map[waiter]bool{}
	for range 5 {
		select {
		case <-h.ending:
			return
		case <-time.After(strandedLook):
		}
		now := map[waiter]bool{}
		for _, t := range adopted {
			for _, w := range t.sitting() {
				now[w] = true
				if before[w] {
					h.opts.Stuck(t.slot, Hang{Inc: t.inc, Lost: true})
				}
			}
		}
		before = now
	}
}

// sitting are the threads of a tenant in a call that isn't in our hands. While there is
// one that can be received it isn't known which of them that is.
func (t *tenant) sitting() (all []waiter) {
	h := t.slot.h
	h.mu.Lock()
	pid := t.slot.state.Pid
	gone := t.slot.tenants[t.inc] != t || t.slot.state.Inc != t.inc
	known := map[int]bool{}
	for _, n := range t.hand {
		known[int(n.tid)] = true
	}
	for _, o := range t.held {
		known[int(o.n.tid)] = true
	}
	h.mu.Unlock()
	if gone || pid == 0 || t.calls.pending() {
		return nil
	}
	for _, pid := range proc.tree(pid) {
		files, _ := filepath.Glob(proc.path(pid, "task/*/syscall"))
		for _, path := range files {
			text, _ := os.ReadFile(path) // an error: it has ended, or doesn't let itself be looked into
			number, _, _ := strings.Cut(string(text), " ")
			tid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if (number == fmt.Sprint(unix.SYS_BIND) || number == fmt.Sprint(unix.SYS_LISTEN)) && !known[tid] {
				all = append(all, waiter{t, tid, string(text)})
			}
		}
	}
	return all
}
