package logs

import (
	"sync"
	"time"
)

const (
	// indexCap bounds an index to 1.5 KB: a thousand apps have two thousand of them.
	indexCap = 64
	// indexStep is the least time between two entries: lines of two programs that
	// answer one another are shown in their order.
	indexStep = 2 * time.Millisecond
)

// IndexEntry ties a place to a time.
type IndexEntry struct {
	Inode  uint64    `json:"inode"`
	Offset int64     `json:"offset"`
	Time   time.Time `json:"time"`
}

// index is the sparse time index of a file: dense for what is young, thinner the
// older it gets. The pump adds, anyone reads.
type index struct {
	mu      sync.Mutex
	entries []indexed // oldest first
	end     indexed   // the latest growth, not yet among the entries
}

// indexed is an entry without time.Time, for its size.
type indexed struct {
	inode  uint64
	offset int64
	at     int64 // nanoseconds since 1970
}

// grown notes that the file has offset bytes since now. The end of every burst
// becomes an entry, and in a long burst one is made per step.
func (x *index) grown(inode uint64, offset int64, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.end.inode == inode && x.end.offset == offset {
		return // what was written has been refused
	}
	next := indexed{inode, offset, now.UnixNano()}
	if x.end.inode != 0 && x.keepsEnd(next) {
		x.push(x.end)
	}
	x.end = next
}

// keepsEnd: next would hide a place that a reader needs.
func (x *index) keepsEnd(next indexed) bool {
	e := x.end
	if next.inode != e.inode || next.at-e.at >= int64(indexStep) || len(x.entries) == 0 {
		return true
	}
	return e.at-x.entries[len(x.entries)-1].at >= int64(indexStep)
}

// push adds an entry; when full, every second one of the older half goes.
func (x *index) push(e indexed) {
	if len(x.entries) >= indexCap-1 {
		keep := x.entries[:0]
		for i, old := range x.entries {
			if i >= indexCap/2 || i%2 == 1 {
				keep = append(keep, old)
			}
		}
		x.entries = keep
	}
	x.entries = append(x.entries, e)
}

// renewed says that a file with this inode begins anew: what is known of an older
// file with that number (file systems reuse them), or of what was cut off, is wrong.
func (x *index) renewed(inode uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	keep := x.entries[:0]
	for _, e := range x.entries {
		if e.inode != inode {
			keep = append(keep, e)
		}
	}
	x.entries = keep
	if x.end.inode == inode {
		x.end = indexed{}
	}
}

func (x *index) list() []IndexEntry {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.end.inode == 0 && len(x.entries) == 0 {
		return nil
	}
	out := make([]IndexEntry, 0, len(x.entries)+1)
	for _, e := range x.entries {
		out = append(out, e.public())
	}
	if x.end.inode != 0 {
		out = append(out, x.end.public())
	}
	return out
}

func (e indexed) public() IndexEntry {
	return IndexEntry{Inode: e.inode, Offset: e.offset, Time: time.Unix(0, e.at)}
}
