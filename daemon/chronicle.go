package daemon

import (
	"sync"
	"sync/atomic"
	"time"

	"gopm/daemon/api"
)

// chronicle is what has happened last. Who tells it something never waits for a reader,
// and a reader has nothing queued: it asks what has come since it last did. What is too
// old by then it has missed, and is told how much that is.
type chronicle struct {
	mu     sync.Mutex // guards what follows
	events []api.Event
	size   int
	began  uint64        // the first there ever was
	next   uint64        // that the next one gets
	more   chan struct{} // closed and set to nil when there is one more; nil: nobody waits

	readers atomic.Int64 // who follow: each takes some 30 KB
	missed  atomic.Int64 // what followers were too slow for
}

const (
	maxEvents     = 1000
	maxEventBytes = 200 << 10
	maxEventText  = 1000 // of one
)

// newChronicle begins with a number that is greater than all of the daemon before.
func newChronicle(now time.Time) *chronicle {
	first := uint64(now.UnixMicro())
	return &chronicle{began: first, next: first}
}

// add puts an event to the end, and lets go of the oldest that there is no room for.
func (c *chronicle) add(e api.Event) {
	e.Text = cutText(e.Text, maxEventText)
	c.mu.Lock()
	defer c.mu.Unlock()
	e.Seq = c.next
	c.next++
	c.events = append(c.events, e)
	c.size += eventBytes(e)
	for len(c.events) > maxEvents || c.size > maxEventBytes {
		c.size -= eventBytes(c.events[0])
		c.events[0] = api.Event{} // its texts go at once
		c.events = c.events[1:]
	}
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

// eventBytes is about what an event takes in memory.
func eventBytes(e api.Event) int {
	const itself, exit = 128, 160
	n := itself + len(e.Text)
	if e.Exit != nil {
		n += exit + len(e.Exit.Error)
	}
	return n
}

// since is what has come from number seq on, how many of those are lost, the number to
// ask with the next time, and what is closed when there is more.
func (c *chronicle) since(seq uint64) (events []api.Event, missed int, next uint64, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more == nil {
		c.more = make(chan struct{})
	}
	seq = max(seq, c.began) // of an earlier daemon's there is nothing to be had
	if seq > c.next {
		seq = c.began // the clock was set back between that daemon and this one
	}
	have := int(c.next - seq)
	if have > len(c.events) {
		missed, have = have-len(c.events), len(c.events)
	}
	return append(events, c.events[len(c.events)-have:]...), missed, c.next, c.more
}

// knows says whether it has something of an app.
func (c *chronicle) knows(app string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.App == app {
			return true
		}
	}
	return false
}

// told is how many there were.
func (c *chronicle) told() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next - c.began
}
