package logs

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tellStep is the least time between two calls of Grown's f for one stream.
const tellStep = 50 * time.Millisecond

// listeners are told what happens to files.
type listeners struct{ grown, rotated subscribers }

// subscribers are the functions that want to know of growth.
type subscribers struct {
	mu  sync.Mutex // one writer at a time
	all atomic.Pointer[[]*subscriber]
}

// telling is what a stream is owed by notify.
type telling struct {
	last time.Time // when Grown's f was last called
	owed bool      // it has grown since
}

type subscriber struct{ f func(*Stream) }

// Grown calls f, from a pump's goroutine, whenever a stream's file has grown or
// was rotated, at most once per 50 ms and stream (what grows meanwhile is told
// when they are over); f must not block, nor ask a Stream for anything but Stats
// and Index. It returns the function that ends it; a call that is just going on
// isn't waited for. With no one interested nothing is spent.
func (p *Pump) Grown(f func(*Stream)) (cancel func()) {
	return p.fam.subs.grown.add(f)
}

// Rotated calls f, from a pump's goroutine, after each rotation of a file, for
// every stream that writes to it; f must not block. It returns the function that
// ends it.
func (p *Pump) Rotated(f func(*Stream)) (cancel func()) {
	return p.fam.subs.rotated.add(f)
}

func (p *Pump) tellRotated(k *sink) {
	subs := p.fam.subs.rotated.all.Load()
	if subs == nil {
		return
	}
	for _, s := range p.streams {
		if !s.writes(k) {
			continue
		}
		for _, u := range *subs {
			u.f(s.public())
		}
	}
}

// add subscribes f, and returns the function that ends that.
func (u *subscribers) add(f func(*Stream)) (cancel func()) {
	s := &subscriber{f}
	u.edit(func(all []*subscriber) []*subscriber { return append(all, s) })
	return func() {
		u.edit(func(all []*subscriber) []*subscriber {
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
		first = earlier(first, s.told.last.Add(tellStep))
	}
	return first
}

// grew queues a stream for notify.
func (p *Pump) grew(s *Stream) {
	if p.fam.subs.grown.all.Load() == nil || s.told.owed {
		return
	}
	s.told.owed = true
	p.queue.owing = append(p.queue.owing, s)
}

// notify calls the subscribers for the streams that are due.
func (p *Pump) notify() {
	if len(p.queue.owing) == 0 {
		return
	}
	subs := p.fam.subs.grown.all.Load()
	now := p.now()
	keep := p.queue.owing[:0]
	for _, s := range p.queue.owing {
		if subs != nil && now.Sub(s.told.last) < tellStep && now.After(s.told.last) {
			keep = append(keep, s)
			continue
		}
		s.told = telling{last: now}
		if subs != nil {
			for _, u := range *subs {
				u.f(s.public())
			}
		}
	}
	clear(p.queue.owing[len(keep):])
	p.queue.owing = keep
}
