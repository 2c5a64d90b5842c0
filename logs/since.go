package logs

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// Since reads the last n lines written after the mark, rotated files included. It
// flushes first.
func (s *Stream) Since(m Mark, n int) (lines []string, e error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
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
	path := realPath(s.Stats().Path)
	if from == (Mark{}) {
		return nil, fmt.Errorf("cannot show what was written to %s: it can't be read back", path)
	}
	tail := &tailFiles{source: &Source{Path: path}, want: n}
	dir := filepath.Dir(path)
	names := append(rotatedNames(listFolder(dir), path), filepath.Base(path))
	for i := len(names) - 1; i >= 0 && len(tail.lines) < n; i-- {
		found, err := tail.within(filepath.Join(dir, names[i]), from, &to)
		if err != nil {
			return nil, err
		}
		if found {
			break
		}
	}
	for _, l := range tail.ordered() {
		lines = append(lines, string(l.Text))
	}
	return lines, nil
}

// within adds a file's lines, and says whether it is the one with the mark from.
// Files newer than the one with the mark to are passed over.
func (t *tailFiles) within(path string, from Mark, to *Mark) (found bool, err error) {
	f, st, err := openLog(path)
	if f == nil {
		return false, err
	}
	defer f.Close()
	begin, end := int64(0), st.Size
	if *to != (Mark{}) {
		if st.Ino != to.Inode {
			return false, nil
		}
		end = min(end, to.Offset)
		*to = Mark{}
	}
	if found = st.Ino == from.Inode; found && st.Size >= from.Offset { // else it was truncated: all of it is new
		begin = from.Offset
	}
	return found, t.add(f, st, min(begin, end), end)
}
