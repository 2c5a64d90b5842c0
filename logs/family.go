package logs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// closeWait bounds what Close waits for a disk that hangs.
const closeWait = 3 * time.Second

// errOwned: two pumps would write over each other's lines.
var errOwned = errors.New("an app with another log_buffered writes to it")

// errHangs: a disk doesn't answer.
var errHangs = errors.New("its disk has not answered")

// family is what the pumps of a daemon share: the ordinary one, and one for each
// group of files that are written through memory.
type family struct {
	subs    listeners
	packer  packer
	seconds seconds

	mu     sync.Mutex // guards what follows
	owners map[fileID]*Pump
	past   map[string]*history // by path; kept for the daemon's life
	guests map[*Pump]int       // the pumps beside the ordinary one, and their streams
}

// claim makes p the one writer of a file, unless another pump is.
func (f *family) claim(id fileID, p *Pump) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.owners[id]; o != nil && o != p {
		return false
	}
	f.owners[id] = p
	return true
}

// disown lets others write to a file.
func (f *family) disown(id fileID, p *Pump) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.owners[id] == p {
		delete(f.owners, id)
	}
}

// history is that of a log.
func (f *family) history(path string) *history {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.past[path]
	if h == nil {
		h = &history{path: path}
		f.past[path] = h
	}
	return h
}

// home is the pump that writes these files, or is to: a file has one writer. A
// guest counts the stream that comes with them, until leave.
func (f *family) home(ordinary *Pump, buffered bool, all []opened) (*Pump, error) {
	home, err := f.find(ordinary, all)
	switch {
	case err != nil || home != nil:
		return home, err
	case !buffered:
		return ordinary, nil
	}
	if home, err = newMember(f, ordinary.log, ordinary.now); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guests[home] = 1
	return home, nil
}

// find is the pump that writes any of these files; nil: none does.
func (f *family) find(ordinary *Pump, all []opened) (home *Pump, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range all {
		switch owner := f.owners[o.id]; {
		case owner == nil || owner == home:
		case home != nil:
			return nil, errOwned
		default:
			home = owner
		}
	}
	if home == nil || home == ordinary {
		return home, nil
	}
	if f.guests[home] == 0 { // it can't be ended: its disk hangs
		return nil, errHangs
	}
	f.guests[home]++
	return home, nil
}

// leave ends a guest that has no stream any more.
func (f *family) leave(p *Pump) {
	f.mu.Lock()
	f.guests[p]--
	last := f.guests[p] <= 0
	if last {
		delete(f.guests, p)
	}
	f.mu.Unlock()
	if last {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		p.askEnd(ctx, drain)
		p.awaitEnd(ctx)
	}
}

// pumps are those beside the ordinary one.
func (f *family) pumps() []*Pump {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.guests))
}

// close ends what works beside the ordinary pump, without waiting for ever.
func (f *family) close() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	guests := f.pumps()
	packed := f.packer.close()
	for _, p := range guests {
		p.askEnd(ctx, drain)
	}
	for _, p := range guests {
		if !p.awaitEnd(ctx) {
			return errHangs
		}
	}
	select {
	case <-packed:
		return nil
	case <-ctx.Done():
		return errHangs
	}
}

// askEnd tells a pump to end. One whose disk hangs may not even hear it.
func (p *Pump) askEnd(ctx context.Context, how ending) {
	select {
	case p.cmds <- func() { p.end = max(p.end, how) }:
		p.poll.ring()
	case <-p.ended:
	case <-ctx.Done():
	}
}

func (p *Pump) awaitEnd(ctx context.Context) bool {
	select {
	case <-p.ended:
		return true
	case <-ctx.Done():
		return false
	}
}
