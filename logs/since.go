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
	path := realPath(s.Stats().Path)
	tail := &tailFiles{source: &Source{Path: path}, want: n}
	if m == (Mark{}) {
		return nil, fmt.Errorf("cannot show what was written to %s: it can't be read back", path)
	}
	dir := filepath.Dir(path)
	names := append(rotatedNames(listFolder(dir), path), filepath.Base(path))
	for i := len(names) - 1; i >= 0 && len(tail.lines) < n; i-- {
		found, err := tail.since(filepath.Join(dir, names[i]), m)
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

// since adds a file's lines, and says whether it is the one with the mark.
func (t *tailFiles) since(path string, m Mark) (found bool, err error) {
	f, st, err := openLog(path)
	if f == nil {
		return false, err
	}
	defer f.Close()
	from := int64(0)
	if found = st.Ino == m.Inode; found && st.Size >= m.Offset { // else it was truncated: all of it is new
		from = m.Offset
	}
	return found, t.add(f, st, from, st.Size)
}
