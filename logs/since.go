package logs

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Since reads the last n lines written after the mark, rotated files included. It
// flushes first.
func (s *Stream) Since(m Mark, n int) (lines []string, e error) {
	return s.between(m, Mark{}, n)
}

// Between reads the last n lines written after from and before to.
func (s *Stream) Between(from, to Mark, n int) (lines []string, e error) {
	if to == (Mark{}) {
		return nil, nil // it could not be read back then
	}
	return s.between(from, to, n)
}

// between reads backwards, the newest file first; a zero to means the end.
func (s *Stream) between(from, to Mark, n int) (lines []string, e error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if b := s.backing(); b != nil {
		if err := s.push(ctx); err != nil {
			return nil, err
		}
		return b.between(from, to, n)
	}
	if from == (Mark{}) {
		return nil, fmt.Errorf("cannot show what was written to %s: it can't be read back", realPath(s.Stats().Path))
	}
	files, _, err := s.written(ctx)
	if err != nil {
		return nil, err
	}
	first, begin, found := files.find(from)
	if !found {
		first, begin = 0, 0 // rotated away: all that is kept is newer
	}
	last, end := len(files)-1, int64(math.MaxInt64)
	if to != (Mark{}) {
		if last, end, found = files.find(to); !found {
			return nil, nil
		}
	}
	for i := last; i >= first && len(lines) < n; i-- {
		from, to := int64(0), int64(math.MaxInt64)
		if i == first {
			from = begin
		}
		if i == last {
			to = end
		}
		spans, err := files[i].lastSpans(from, to, n-len(lines))
		if err != nil {
			return nil, err
		}
		for _, s := range slices.Backward(spans) {
			lines = append(lines, string(s.text))
		}
	}
	slices.Reverse(lines)
	return lines, nil
}

// written are the files of a stream with all that was written so far.
func (s *Stream) written(ctx context.Context) (kept, Format, error) {
	path := realPath(s.Stats().Path)
	var files kept
	var f Format
	err := s.do(ctx, func() error { // in the pump's goroutine: a folder isn't listed at one instant, and this stream is not rotated meanwhile
		if !s.pump.empty(s) {
			return fmt.Errorf("cannot write to %s: %w", s.target.Path, errFull)
		}
		files, f = keptFiles(path), s.target.Format
		return nil
	})
	if err != nil {
		return nil, Format{}, err // see files
	}
	return files, f, nil
}

// lastSpans reads a part of a file. A run whose last words are compressed by now is
// long over: they aren't worth unpacking.
func (f keptFile) lastSpans(from, to int64, n int) ([]span, error) {
	file, st, err := openLog(f.path)
	if file == nil {
		return nil, err
	}
	defer file.Close()
	to = min(to, st.Size)
	return lastSpans(file, min(from, to), to, n)
}

// kept is the files of a log, the oldest first.
type kept []keptFile

type keptFile struct {
	path string
	ino  uint64
	size int64
}

func keptFiles(path string) (files kept) {
	dir := filepath.Dir(path)
	for _, name := range append(rotatedNames(listFolder(dir), path), filepath.Base(path)) {
		if name != filepath.Base(path) && packedName(name, path) {
			continue
		}
		var st unix.Stat_t
		if full := filepath.Join(dir, name); unix.Stat(full, &st) == nil {
			files = append(files, keptFile{full, st.Ino, st.Size})
		}
	}
	return files
}

// find is where a mark is: what was still to come then may have gone into later
// files. In a file that was truncated since, everything is new.
func (files kept) find(m Mark) (file int, offset int64, found bool) {
	for i, f := range files {
		if f.ino != m.Inode {
			continue
		}
		if f.size < m.Offset {
			return i, 0, true
		}
		offset := m.Offset + m.Ahead
		for offset > files[i].size && i < len(files)-1 {
			offset -= files[i].size
			i++
		}
		return i, min(offset, files[i].size), true
	}
	return 0, 0, false
}
