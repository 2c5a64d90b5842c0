package supervise

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// oomCounter counts the kernel's OOM kills: of our own cgroup where cgroup v2
// has such a count, else of the whole machine. Nobody without privileges is told
// whom the killer chose, so a SIGKILL that we didn't send is put down to it when
// the count has grown during the process's life by a kill not yet accounted for.
type oomCounter struct {
	file *os.File // nil: no such count
	seen atomic.Uint64

	mu   sync.Mutex // guards the rest
	last uint64     // what was read
	at   time.Time
}

// oomAge is how old a count may be at a spawn: reading it takes the kernel longer
// than anything else that is read for a spawn.
const oomAge = 100 * time.Millisecond

func newOOMCounter(proc, cgroup string) *oomCounter {
	o := &oomCounter{}
	path := filepath.Join(proc, "vmstat")
	if own := filepath.Join(cgroup, ownCgroup(proc), "memory.events"); own != filepath.Join(cgroup, "memory.events") {
		if _, err := os.Stat(own); err == nil {
			path = own
		}
	}
	o.file, _ = os.Open(path)
	o.seen.Store(o.read())
	return o
}

// ownCgroup is our path in the cgroup v2 tree.
func ownCgroup(proc string) string {
	data, _ := os.ReadFile(filepath.Join(proc, "self/cgroup"))
	for line := range bytes.Lines(data) {
		if path, ok := bytes.CutPrefix(line, []byte("0::")); ok {
			return string(bytes.TrimSpace(path))
		}
	}
	return ""
}

// recent is the count, or what it was a moment ago.
func (o *oomCounter) recent() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); now.Sub(o.at) > oomAge {
		o.last, o.at = o.read(), now
	}
	return o.last
}

func (o *oomCounter) read() uint64 {
	if o.file == nil {
		return 0
	}
	buf := make([]byte, 16<<10)
	n, _ := o.file.ReadAt(buf, 0)
	return parseOOMKills(buf[:n])
}

// grewSince takes one kill off the count if there is one left that came after.
func (o *oomCounter) grewSince(before uint64) bool {
	now := o.read()
	for {
		seen := o.seen.Load()
		if now <= max(seen, before) {
			return false
		}
		if o.seen.CompareAndSwap(seen, max(seen, before)+1) {
			return true
		}
	}
}

func (o *oomCounter) close() {
	if o.file != nil {
		o.file.Close()
	}
}

func parseOOMKills(data []byte) uint64 {
	for line := range bytes.Lines(data) {
		if value, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			n, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			return n
		}
	}
	return 0
}
