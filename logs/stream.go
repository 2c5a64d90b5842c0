package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Target is where a stream goes.
type Target struct {
	Key      string // names the stream for Options.Second; that of the first target stays
	Path     string // absolute; "" or /dev/null: nowhere. Shared paths and special files (tty, FIFO, /dev/stdout) are fine
	Also     string // a second file that gets the same lines, shared by the streams of an app; "" = none
	Format   Format // zero: the bytes as they come, which costs least
	Console  Console
	Patient  bool // programs wait for as long as nobody reads a FIFO or terminal, and nothing is dropped
	Rotation Rotation
	Buffered bool // through bounded memory, so that a disk that hangs stops no program
	UID      int  // owner of files made here; -1 = ours
	GID      int
}

// Console is a stream of ours, or anything else, that gets the lines besides, in a format of its own.
type Console struct {
	Path   string // "": none
	Format Format
}

// Rotation is when a file is renamed aside, and what becomes of it.
type Rotation struct {
	MaxSize  int64 // bytes; rotated before a line would pass it; 0 = never
	Retain   int   // rotated files kept; 0 = all
	Compress bool  // rotated files are gzipped
}

// Stream is one pipe and the file behind it; it outlives the processes that write.
type Stream struct {
	pump  *Pump
	front *Stream // of which this is the back; see buffered.go
	key   string  // for Options.Second

	// The pump's goroutine owns these.
	target Target
	outs   [3]outlet // the file, the one of Also, and the console
	frame  framer
	inflow inflow
	told   telling

	mu   sync.Mutex // guards what follows; the pump writes, anyone reads
	fd   int        // the pipe; -1 when closed
	back *Stream    // writes the files of this one, if it is buffered
	pub  Stats
	idx  *index
	end  Mark      // of the file; zero if it isn't this stream's alone, or being written
	busy time.Time // since when bytes are on their way; zero: none are
}

// outlet is one of the files a stream writes to.
type outlet struct {
	sink    *sink // nil: none
	skip    bool  // up to the next newline everything belongs to a dropped line
	refused error // why nothing can be written in this step
	count   dropped

	rotations int // for earlier daemons
}

// dropped counts bytes that a file refused.
type dropped struct {
	bytes int64
	since string // when the latest dropping began
}

// Stats counts what a stream did.
type Stats struct {
	Path         string `json:"path"`
	Also         string `json:"also,omitempty"` // the second file
	Bytes        int64  `json:"bytes"`          // moved since the stream was opened
	Dropped      int64  `json:"dropped_bytes"`  // taken from the pipe but refused by the file
	DroppedSince string `json:"dropped_since,omitempty"`
	Error        string `json:"error,omitempty"` // why the file refuses now; "" = it does not
	Rotations    int    `json:"rotations"`

	// Stalled is since when a write to this stream's file hasn't come back, or programs
	// wait for somebody to read a FIFO or terminal; zero: none is late.
	Stalled time.Time `json:"stalled,omitzero"`
}

// stalledAfter is how long a write may take before it is said to hang.
const stalledAfter = time.Second

// markWait bounds what a spawn waits for a disk that hangs.
const markWait = time.Second

// Mark is a place in a stream.
type Mark struct {
	Inode  uint64
	Offset int64
	Ahead  int64 // bytes that were still to come there
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

// Pipe is the pipe for whoever outlives this daemon, to be given to AdoptAll by the next.
func (s *Stream) Pipe() (*os.File, error) { return s.ChildFile() }

// PipeID is the inode of the pipe, which the descriptors of the programs that write
// to it have as well; 0 when it is closed.
func (s *Stream) PipeID() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var st unix.Stat_t
	if s.fd < 0 || unix.Fstat(s.fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// Retarget changes the files and how lines are written; what is already in the
// pipe goes to the old ones.
func (s *Stream) Retarget(t Target) error {
	if !t.Buffered && s.backing() == nil {
		if err := s.retarget(t); !errors.Is(err, errOwned) {
			return err
		}
	}
	return s.reroute(t)
}

// retarget is Retarget for the part of a stream that writes its files.
func (s *Stream) retarget(t Target) error {
	o, err := openTargets(t)
	if err != nil {
		return err
	}
	taken := false
	err = s.do(context.Background(), func() error {
		taken = true
		s.pump.empty(s)
		return s.pump.aim(s, t, o)
	})
	if !taken {
		closeTargets(o)
	}
	return err
}

// Flush returns when everything that was in the pipe at the call is in the file.
// Where lines are kept whole, it ends one that has no end yet.
func (s *Stream) Flush(ctx context.Context) error {
	if b := s.backing(); b != nil {
		return s.flushThrough(ctx, b)
	}
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
	st, busy, b := s.pub, s.busy, s.back
	s.mu.Unlock()
	if b != nil {
		return b.Stats().behind(st)
	}
	if busy.IsZero() {
		busy = st.Stalled
	}
	st.Stalled = time.Time{}
	if !busy.IsZero() && s.pump.now().Sub(busy) >= stalledAfter {
		st.Stalled = busy
	}
	return st
}

// behind adds what is known of the stream's front.
func (st Stats) behind(front Stats) Stats {
	st.Dropped += front.Dropped
	st.DroppedSince = max(st.DroppedSince, front.DroppedSince)
	st.Error = cmp.Or(st.Error, front.Error)
	return st
}

// Mark remembers the present end of the stream, what is in the pipe included.
// It is zero for a target that can't be read back. It is taken at every spawn, so
// it doesn't wait for the pump if the stream has its file for itself: the end of
// the file and what waits in the pipe, unless bytes are on their way between the two.
func (s *Stream) Mark() (m Mark) {
	ctx, cancel := context.WithTimeout(context.Background(), markWait)
	defer cancel()
	if b := s.backing(); b != nil {
		if s.push(ctx) != nil {
			return Mark{}
		}
		return b.Mark()
	}
	s.mu.Lock()
	m = s.end
	if s.fd >= 0 && m != (Mark{}) {
		m.Ahead = int64(waiting(s.fd))
	}
	s.mu.Unlock()
	if m != (Mark{}) {
		return m
	}
	found := Mark{}
	err := s.do(ctx, func() error {
		s.pump.empty(s)
		if k := s.outs[0].sink; k.kind == kindFile {
			found = Mark{Inode: k.id.ino, Offset: k.off}
		}
		return nil
	})
	if err != nil {
		return Mark{} // its disk hangs: there is no waiting for that before a spawn
	}
	return found
}

// Index is the sparse time index: at Time the file Inode had Offset bytes. At most
// 64 entries, oldest first; the last is the present end.
func (s *Stream) Index() []IndexEntry {
	if b := s.backing(); b != nil {
		return b.Index()
	}
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
	err := s.do(context.Background(), func() error {
		s.pump.drop(s)
		return nil
	})
	if b := s.backing(); err == nil && b != nil {
		err = s.endBack(b)
		s.pump.fam.seconds.forget(s.key)
	}
	return err
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
	k := s.outs[0].sink
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pub.Path, s.pub.Also, s.pub.Rotations = s.target.Path, s.target.Also, s.outs[0].rotations+k.rotations
	s.pub.Bytes, s.pub.Dropped = s.inflow.taken-s.outs[0].count.bytes, 0
	s.pub.Error, s.pub.DroppedSince, s.pub.Stalled = "", "", time.Time{}
	for i := range s.outs {
		o := &s.outs[i]
		s.pub.Dropped += o.count.bytes
		s.pub.DroppedSince = max(s.pub.DroppedSince, o.count.since)
		if o.sink == nil {
			continue
		}
		if o.sink.patient() && s.pump.waitsFor(o.sink) {
			s.pub.Stalled = earlier(s.pub.Stalled, o.sink.trouble.full)
		}
		if o.sink.trouble.err != nil && s.pub.Error == "" {
			s.pub.Error = o.sink.trouble.err.Error()
			if i > 0 {
				s.pub.Error = s.part(i).Path + ": " + s.pub.Error
			}
		}
	}
	s.idx, s.busy = &k.index, time.Time{}
	s.end = Mark{}
	if k.kind == kindFile && !k.append && !s.framed() && !s.inflow.left {
		s.end = Mark{Inode: k.id.ino, Offset: k.off}
	}
}

// framed says that this stream's lines have to be whole.
func (s *Stream) framed() bool {
	k := s.outs[0].sink
	return s.outs[1].sink != nil || s.outs[2].sink != nil || k.kind != kindNull && (s.frame.format != nil || k.streams > 1)
}

// part is the target of one of the stream's files.
func (s *Stream) part(i int) Target { return s.target.part(i) }

// part is the target of one of the files; without a path there is none.
func (t Target) part(i int) Target {
	switch i {
	case 0:
		if t.Path == "" {
			t.Path = os.DevNull
		}
		return t
	case 1:
		t.Path = t.Also
	case 2:
		t.Path = t.Console.Path
	}
	if t.Path == os.DevNull {
		t.Path = ""
	}
	return t
}
