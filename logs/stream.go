package logs

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Target is where a stream goes.
type Target struct {
	Path     string // absolute; "" or /dev/null: nowhere. Shared paths and special files (tty, FIFO, /dev/stdout) are fine
	Also     string // a second file that gets the same lines, shared by the streams of an app; "" = none
	Format   Format // zero: the bytes as they come, which costs least
	Rotation Rotation
	Buffered bool // through bounded memory, so that a disk that hangs stops no program
	UID      int  // owner of files made here; -1 = ours
	GID      int
}

// Rotation is when a file is renamed aside, and what becomes of it.
type Rotation struct {
	MaxSize  int64 // bytes; rotated before a line would pass it; 0 = never
	Retain   int   // rotated files kept; 0 = all
	Compress bool  // rotated files are gzipped
}

// Stream is one pipe and the file behind it; it outlives the processes that write.
type Stream struct {
	pump *Pump
	size int // what the pipe holds

	// The pump's goroutine owns these.
	target Target
	sink   *sink
	carry  []byte // the beginning of a line, when others write to the same file
	skip   bool   // up to the next newline everything belongs to a dropped line
	taken  int64  // from the pipe
	count  dropped
	told   telling

	mu   sync.Mutex // guards what follows; the pump writes, anyone reads
	fd   int        // the pipe; -1 when closed
	pub  Stats
	idx  *index
	end  Mark      // of the file; zero if it isn't this stream's alone, or being written
	busy time.Time // since when bytes are on their way; zero: none are
}

// dropped counts bytes that a file refused.
type dropped struct {
	bytes int64
	since string // when the latest dropping began
}

// Stats counts what a stream did.
type Stats struct {
	Path         string `json:"path"`
	Bytes        int64  `json:"bytes"`         // moved since the stream was opened
	Dropped      int64  `json:"dropped_bytes"` // taken from the pipe but refused by the file
	DroppedSince string `json:"dropped_since,omitempty"`
	Error        string `json:"error,omitempty"` // why the file refuses now; "" = it does not
	Rotations    int    `json:"rotations"`

	// Stalled is since when a write to this stream's file hasn't come back; zero: none is late.
	Stalled time.Time `json:"stalled,omitzero"`
}

// stalledAfter is how long a write may take before it is said to hang.
const stalledAfter = time.Second

// Mark is a place in a stream.
type Mark struct {
	Inode  uint64
	Offset int64
	ahead  int64 // bytes that were still to come there
}

// ChildFile is a fresh O_RDWR description of the pipe to be a child's stdout or
// stderr: the app itself holds the reading end open, so that it never gets SIGPIPE.
func (s *Stream) ChildFile() (*os.File, error) {
	s.mu.Lock() // opening a pipe by its descriptor waits for nothing
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil, errClosed
	}
	return childFile(s.fd)
}

// Retarget changes the file; what is already in the pipe goes to the old one.
func (s *Stream) Retarget(t Target) error {
	o, err := openTarget(t)
	if err != nil {
		return err
	}
	taken := false
	err = s.do(context.Background(), func() error {
		taken = true
		s.pump.empty(s)
		return s.pump.attach(s, t, o)
	})
	if !taken {
		unix.Close(o.fd)
	}
	return err
}

// Flush returns when everything that was in the pipe at the call is in the file.
// In a file that several streams write to, it ends a line that has no end yet.
func (s *Stream) Flush(ctx context.Context) error {
	return s.do(ctx, func() error {
		if !s.pump.empty(s) {
			return fmt.Errorf("cannot write to %s: %w", s.target.Path, errFull)
		}
		return nil
	})
}

// Stats is what info shows; never blocks.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	st, busy := s.pub, s.busy
	s.mu.Unlock()
	if !busy.IsZero() && s.pump.now().Sub(busy) >= stalledAfter {
		st.Stalled = busy
	}
	return st
}

// Mark remembers the present end of the stream, what is in the pipe included.
// It is zero for a target that can't be read back. It is taken at every spawn, so
// it doesn't wait for the pump if the stream has its file for itself: the end of
// the file and what waits in the pipe, unless bytes are on their way between the two.
func (s *Stream) Mark() (m Mark) {
	s.mu.Lock()
	m = s.end
	if s.fd >= 0 && m != (Mark{}) {
		m.ahead = int64(waiting(s.fd))
	}
	s.mu.Unlock()
	if m != (Mark{}) {
		return m
	}
	s.do(context.Background(), func() error {
		s.pump.empty(s)
		if k := s.sink; k.kind == kindFile {
			m = Mark{Inode: k.id.ino, Offset: k.off}
		}
		return nil
	})
	return m
}

// Index is the sparse time index: at Time the file Inode had Offset bytes. At most
// 64 entries, oldest first; the last is the present end.
func (s *Stream) Index() []IndexEntry {
	s.mu.Lock()
	x := s.idx
	s.mu.Unlock()
	if x == nil {
		return nil
	}
	return x.list()
}

// Close drains the pipe, closes file and pipe.
func (s *Stream) Close() error {
	return s.do(context.Background(), func() error {
		s.pump.drop(s)
		return nil
	})
}

// do runs f in the pump's goroutine, unless the stream is closed.
func (s *Stream) do(ctx context.Context, f func() error) error {
	result := errClosed
	err := s.pump.do(ctx, func() {
		if s.fd >= 0 {
			result = f()
		}
	})
	if err != nil {
		return err
	}
	return result
}

// unsettle says that bytes are about to move; publish that they have.
func (s *Stream) unsettle(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end, s.busy = Mark{}, now
}

// publish copies what Stats and Index show.
func (s *Stream) publish() {
	k := s.sink
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pub.Path, s.pub.Rotations = s.target.Path, k.rotations
	s.pub.Bytes, s.pub.Dropped = s.taken-s.count.bytes, s.count.bytes
	s.pub.Error = ""
	if k.trouble.err != nil {
		s.pub.Error = k.trouble.err.Error()
	}
	s.pub.DroppedSince = s.count.since
	s.idx, s.busy = &k.index, time.Time{}
	s.end = Mark{}
	if k.kind == kindFile && !k.append {
		s.end = Mark{Inode: k.id.ino, Offset: k.off}
	}
}
