package logs

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// trail is the files of one log as a search finds them.
type trail struct {
	source *Source
	path   string
	names  []string // of the rotated files, oldest first
	live   *os.File // the newest; nil = none
	to     int64    // where the follower goes on in it
}

// part is one of these files.
type part struct {
	file   *os.File
	in     io.ReaderAt // the file, for as long as it is wanted
	packed bool
	to     int64 // what is behind that isn't ours to read
	clock  *clock
}

// count is how many parts there are.
func (t *trail) count() int {
	if t.live != nil {
		return len(t.names) + 1
	}
	return len(t.names)
}

// mtimeSlack is how far a file's time may be behind the writing.
const mtimeSlack = 20 * time.Millisecond

// older says that everything in a part, and so in those before it, was written
// before since. The newest one may still grow.
func (t *trail) older(i int, since time.Time) bool {
	if since.IsZero() || i == len(t.names) {
		return false
	}
	end := t.endOf(i)
	return !end.IsZero() && end.Before(since.Add(-mtimeSlack))
}

// endOf is when a rotated file was last written to; zero if it is gone.
func (t *trail) endOf(i int) time.Time {
	path := filepath.Join(filepath.Dir(t.path), t.names[i])
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil && unix.Stat(path+packedExt, &st) != nil {
		return time.Time{}
	}
	return time.Unix(st.Mtim.Unix())
}

// open opens a part; nil if it was removed meanwhile, being too old. The caller
// closes it.
func (t *trail) open(ctx context.Context, i int) (*part, error) {
	if i == len(t.names) {
		return t.openLive(ctx)
	}
	p, st, err := openRotated(t.path, t.names[i])
	if p == nil {
		return nil, err
	}
	p.in = untilDone{ctx, p.file}
	p.clock = newClock(t.source, st.Ino, p.to, t.begin(i, p), time.Unix(st.Mtim.Unix()))
	if p.packed {
		p.clock.size = unpackedSize(p.file, st.Size)
	}
	return p, nil
}

func (t *trail) openLive(ctx context.Context) (*part, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.live.Fd()), &st); err != nil {
		return nil, err
	}
	p := &part{file: t.live, in: untilDone{ctx, t.live}, to: min(t.to, st.Size)}
	p.clock = newClock(t.source, st.Ino, p.to, t.begin(len(t.names), p), time.Unix(st.Mtim.Unix()))
	return p, nil
}

// close closes a part, unless it is the follower's file.
func (t *trail) close(p *part) {
	if p.file != t.live {
		p.file.Close()
	}
}

// begin is when a part was begun: when the one before it ended.
func (t *trail) begin(i int, p *part) time.Time {
	if i > 0 {
		return t.endOf(i - 1)
	}
	if p.packed {
		return time.Time{} // it is a copy: its birth says nothing
	}
	return bornAt(int(p.file.Fd()))
}

// openRotated opens a rotated file of the log path, which may have been compressed
// since its name was read.
func openRotated(path, name string) (*part, *unix.Stat_t, error) {
	full := filepath.Join(filepath.Dir(path), name)
	packed := packedName(name, path)
	file, st, err := openLog(full)
	if file == nil && err == nil && !packed {
		packed = true
		file, st, err = openLog(full + packedExt)
	}
	if file == nil {
		return nil, nil, err
	}
	return &part{file: file, in: file, packed: packed, to: st.Size}, st, nil
}

// reader reads the part's lines from a place on; a compressed one only from its beginning.
func (p *part) reader(from int64) (io.Reader, error) {
	if !p.packed {
		return io.NewSectionReader(p.in, from, p.to-from), nil
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(io.NewSectionReader(p.in, 0, p.to), smallBlock))
	if err != nil {
		return nil, p.broken(err)
	}
	return z, nil
}

// untilDone is a file that can't be read any more when ctx is done.
type untilDone struct {
	ctx context.Context
	io.ReaderAt
}

func (u untilDone) ReadAt(b []byte, off int64) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.ReaderAt.ReadAt(b, off)
}

// broken explains an error of reading.
func (p *part) broken(err error) error {
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("cannot read log %s: %w", p.file.Name(), path.Err)
	case p.packed:
		return fmt.Errorf("cannot read log %s: it is damaged: %w", p.file.Name(), err)
	}
	return fmt.Errorf("cannot read log %s: %w", p.file.Name(), err)
}

// seek finds a beginning of a line before which every line is older than t, and one
// from which on none is, by bisection; between the two are at most some blocks.
func (p *part) seek(t time.Time) (from, to int64, err error) {
	from, to = 0, p.to
	low, high := from, to
	buf := make([]byte, 2*maxLine+2)
	for high-low > largeBlock/2 {
		middle := low + (high-low)/2
		n, err := p.in.ReadAt(buf[:min(int64(len(buf)), p.to-middle)], middle)
		if n == 0 {
			return from, to, err
		}
		head := bytes.IndexByte(buf[:n], '\n') + 1
		text, used := cutLine(buf[head:n], true)
		if head == 0 || used == 0 { // over-long lines: what is here is read
			return from, to, nil
		}
		begin := middle + int64(head)
		if p.clock.of(span{text, begin + int64(used)}).Before(t) {
			from, low = begin, middle
		} else {
			to, high = begin, middle
		}
	}
	return from, to, nil
}

// unpackedSize is what the end of a compressed file says, in 32 bits.
func unpackedSize(f *os.File, size int64) int64 {
	var b [4]byte
	if _, err := f.ReadAt(b[:], size-int64(len(b))); err != nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint32(b[:]))
}
