package logs

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tellStep is the least time between two calls of Grown's f for one stream.
const tellStep = 50 * time.Millisecond

// subscribers are the functions that want to know of growth.
type subscribers struct {
	mu  sync.Mutex // one writer at a time
	all atomic.Pointer[[]*subscriber]
}

type subscriber struct{ f func(*Stream) }

// Grown calls f, from the pump's goroutine, whenever a stream's file has grown or
// was rotated, at most once per 50 ms and stream (what grows meanwhile is told
// when they are over); f must not block, nor ask a Stream for anything but Stats
// and Index. It returns the function that ends it; a call that is just going on
// isn't waited for. With no one interested nothing is spent.
func (p *Pump) Grown(f func(*Stream)) (cancel func()) {
	s := &subscriber{f}
	p.subs.edit(func(all []*subscriber) []*subscriber { return append(all, s) })
	return func() {
		p.subs.edit(func(all []*subscriber) []*subscriber {
			return slices.DeleteFunc(all, func(o *subscriber) bool { return o == s })
		})
	}
}

// edit replaces the list by a changed copy.
func (u *subscribers) edit(change func([]*subscriber) []*subscriber) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var all []*subscriber
	if old := u.all.Load(); old != nil {
		all = slices.Clone(*old)
	}
	all = change(all)
	if len(all) == 0 {
		u.all.Store(nil)
		return
	}
	u.all.Store(&all)
}

// deadline is when the first of the owing streams is due; zero for never.
func (u *subscribers) deadline(owing []*Stream) (first time.Time) {
	for _, s := range owing {
		if due := s.told.Add(tellStep); first.IsZero() || due.Before(first) {
			first = due
		}
	}
	return first
}

// grew queues a stream for notify.
func (p *Pump) grew(s *Stream) {
	if p.subs.all.Load() == nil || s.owed {
		return
	}
	s.owed = true
	p.queue.owing = append(p.queue.owing, s)
}

// notify calls the subscribers for the streams that are due.
func (p *Pump) notify() {
	if len(p.queue.owing) == 0 {
		return
	}
	subs := p.subs.all.Load()
	now := p.now()
	keep := p.queue.owing[:0]
	for _, s := range p.queue.owing {
		if subs != nil && now.Sub(s.told) < tellStep && now.After(s.told) {
			keep = append(keep, s)
			continue
		}
		s.owed, s.told = false, now
		if subs != nil {
			for _, u := range *subs {
				u.f(s)
			}
		}
	}
	clear(p.queue.owing[len(keep):])
	p.queue.owing = keep
}
