package supervise

import "sync"

// mailbox is an unbounded queue of things to do for one goroutine: whoever
// posts never waits, the kernel's event goroutine least of all.
type mailbox struct {
	some   *sync.Cond
	mu     sync.Mutex // guards the rest
	queue  []func()
	closed bool
}

func (b *mailbox) init() { b.some = sync.NewCond(&b.mu) }

// post adds f; after close it is dropped.
func (b *mailbox) post(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.queue = append(b.queue, f)
		b.some.Signal()
	}
}

// next takes the oldest, waiting for one if need be.
func (b *mailbox) next() func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 {
		b.some.Wait()
	}
	f := b.queue[0]
	b.queue[0] = nil
	if b.queue = b.queue[1:]; len(b.queue) == 0 {
		b.queue = nil // an idle process holds nothing
	}
	return f
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.queue = nil
}
