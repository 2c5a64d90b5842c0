package logs

import (
	"errors"
	"sync"
	"time"
)

// closeWait bounds what Close waits for a disk that hangs.
const closeWait = 3 * time.Second

// errOwned: two pumps would write over each other's lines.
var errOwned = errors.New("an app with another log_buffered writes to it")

// errHangs: a disk doesn't answer.
var errHangs = errors.New("a disk has not answered; what was still to be written to its logs is lost")

// family is what the pumps of a daemon share: the ordinary one, and one for each
// group of files that are written through memory.
type family struct {
	subs   listeners
	packer packer

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

// close ends what works beside the ordinary pump, without waiting for ever.
func (f *family) close() error {
	packed := f.packer.close()
	late := time.NewTimer(closeWait)
	defer late.Stop()
	select {
	case <-packed:
		return nil
	case <-late.C:
		return errHangs
	}
}
