package daemon

import (
	"container/list"
	"slices"
	"sync"

	"gopm/daemon/api"
	"gopm/logs"
)

// maxFollowers bounds what followers of logs take: some 30 KB each, and a share of
// every line that is written.
const maxFollowers = 1000

// feed tells the followers of logs which streams have grown. What that costs the
// pump doesn't depend on how many there are; a follower that is slow, or doesn't
// read at all, has nothing queued for it: it asks what has grown since it last did.
type feed struct {
	pump *logs.Pump

	mu        sync.Mutex // guards what follows
	followers int
	end       func()     // of the subscription; there is one while there are followers
	seq       uint64     // of the latest growth
	grown     *list.List // of growth, the latest in front, each stream once
	at        map[*logs.Stream]*list.Element
	wake      chan struct{} // closed and replaced when something has grown
}

// growth is when a stream grew last.
type growth struct {
	stream *logs.Stream
	seq    uint64
}

func newFeed(p *logs.Pump) *feed {
	return &feed{pump: p, grown: list.New(), at: map[*logs.Stream]*list.Element{}, wake: make(chan struct{})}
}

// join counts a follower, who is told of what grows from now on, and leaves some time.
func (f *feed) join() (since uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == maxFollowers {
		return 0, api.Errorf(api.KindBusy, "too many followers of logs: there are %d (the limit) already; end some of them", maxFollowers)
	}
	f.followers++
	if f.followers == 1 {
		f.end = f.pump.Grown(f.tell)
	}
	return f.seq, nil
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers--
	if f.followers == 0 {
		f.end()
		f.grown.Init()
		clear(f.at)
	}
}

// tell is called by the pump.
func (f *feed) tell(s *logs.Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == 0 {
		return // a call that was under way when the last one left
	}
	f.seq++
	if e := f.at[s]; e != nil {
		e.Value = growth{s, f.seq}
		f.grown.MoveToFront(e)
	} else {
		f.at[s] = f.grown.PushFront(growth{s, f.seq})
	}
	close(f.wake)
	f.wake = make(chan struct{})
}

// since is what has grown since then, in that order, what to ask with the next time,
// and what is closed when there is more.
func (f *feed) since(seq uint64) (streams []*logs.Stream, now uint64, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.grown.Front(); e != nil; e = e.Next() {
		g := e.Value.(growth)
		if g.seq <= seq {
			break
		}
		streams = append(streams, g.stream)
	}
	slices.Reverse(streams)
	return streams, f.seq, f.wake
}

// forget lets go of a stream that is closed.
func (f *feed) forget(s *logs.Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.at[s]; e != nil {
		f.grown.Remove(e)
		delete(f.at, s)
	}
}

// count is how many followers there are.
func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.followers
}
