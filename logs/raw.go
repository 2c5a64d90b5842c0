package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Raw reads what was written after at and before to, byte by byte as it is in the files,
// rotated ones included; a zero to means the end. next is where to go on; n is 0 when
// there is no more yet. What was compressed or deleted meanwhile is passed over: then
// lost is true. It flushes first.
func (s *Stream) Raw(at, to Mark, buf []byte) (n int, next Mark, lost bool, e error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if b := s.backing(); b != nil {
		if err := s.push(ctx); err != nil {
			return 0, at, false, err
		}
		return b.Raw(at, to, buf)
	}
	path := realPath(s.Stats().Path)
	if at == (Mark{}) {
		return 0, at, false, fmt.Errorf("cannot show what was written to %s: it can't be read back", path)
	}
	for {
		files, err := s.files(ctx, path)
		if err != nil {
			return 0, at, false, err
		}
		if n, next, lost, e = files.read(at, to, buf); !errors.Is(e, errMoved) || ctx.Err() != nil {
			return n, next, lost, e
		}
	}
}

// errMoved says that a file was rotated before it could be opened.
var errMoved = errors.New("it is being rotated")

// files are those of a log with everything in them that was written so far.
func (s *Stream) files(ctx context.Context, path string) (kept, error) {
	var files kept
	err := s.do(ctx, func() error { // see between
		if !s.pump.empty(s) {
			return fmt.Errorf("cannot write to %s: %w", s.target.Path, errFull)
		}
		files = keptFiles(path)
		return nil
	})
	if err != nil {
		return nil, err // it may still be under way: what is found then is nobody's
	}
	return files, nil
}

// read reads a part of one file.
func (files kept) read(at, to Mark, buf []byte) (n int, next Mark, lost bool, e error) {
	if len(files) == 0 {
		return 0, at, false, nil // it was moved away, and nothing has been written since
	}
	i, from, found := files.find(at)
	if !found {
		i, from, lost = 0, 0, true
	}
	last, end := len(files)-1, int64(math.MaxInt64)
	if to != (Mark{}) {
		if last, end, found = files.find(to); !found {
			last, end = -1, 0
		}
	}
	for ; i <= last; i, from = i+1, 0 {
		limit := int64(math.MaxInt64)
		if i == last {
			limit = end
		}
		n, err := files[i].readAt(buf[:min(int64(len(buf)), max(0, limit-from))], from)
		if n > 0 || err != nil {
			return n, Mark{Inode: files[i].ino, Offset: from + int64(n)}, lost, err
		}
	}
	if lost && len(files) > 0 { // or it would be said again and again
		at = Mark{Inode: files[len(files)-1].ino, Offset: files[len(files)-1].size}
	}
	return 0, at, lost, nil
}

func (f keptFile) readAt(buf []byte, from int64) (n int, err error) {
	file, st, err := openLog(f.path)
	if err != nil {
		return 0, err
	}
	if file == nil {
		return 0, errMoved
	}
	defer file.Close()
	if st.Ino != f.ino {
		return 0, errMoved
	}
	n, err = file.ReadAt(buf, from)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// Text is a mark as three numbers, for MarkOf.
func (m Mark) Text() string { return fmt.Sprintf("%d:%d:%d", m.Inode, m.Offset, m.Ahead) }

// MarkOf reads what Text wrote.
func MarkOf(text string) (m Mark, err error) {
	_, err = fmt.Sscanf(text, "%d:%d:%d", &m.Inode, &m.Offset, &m.Ahead)
	if err != nil || m.Text() != text || m.Offset < 0 || m.Ahead < 0 {
		return Mark{}, fmt.Errorf("%.80q is no place in a log", text)
	}
	return m, nil
}
