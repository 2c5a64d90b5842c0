package logs

import (
	"bytes"
	"io"
	"time"
	"unicode/utf8"
)

// maxLine: longer lines are shown in pieces, so that a file without newlines
// never has to fit into memory.
const maxLine = 64 << 10

// span is a line within a file: its text, and where it ends (newline included).
type span struct {
	text []byte
	end  int64
}

// lastSpans reads the last n lines of f between from and to. It reads backwards
// in blocks until it has seen enough newlines; what isn't shown isn't read.
func lastSpans(f io.ReaderAt, from, to int64, n int) ([]span, error) {
	if n <= 0 || to <= from {
		return nil, nil
	}
	start, err := seekBack(f, from, to, n)
	if err != nil {
		return nil, err
	}
	data := make([]byte, to-start)
	if m, err := f.ReadAt(data, start); err != nil {
		if err != io.EOF {
			return nil, err
		}
		data = data[:m] // truncated meanwhile
	}
	var all []span
	for len(data) > 0 {
		text, used := cutLine(data, true)
		start += int64(used)
		all = append(all, span{text, start})
		data = data[used:]
	}
	return all[max(0, len(all)-n):], nil
}

// seekBack finds where the last n lines before to begin.
func seekBack(f io.ReaderAt, from, to int64, n int) (int64, error) {
	var block [16 << 10]byte
	bound := to // the end of the line we are in
	for pos := to; pos > from; {
		size := min(int64(len(block)), pos-from)
		pos -= size
		m, err := f.ReadAt(block[:size], pos)
		if err != nil && err != io.EOF {
			return 0, err
		}
		for i := m - 1; i >= 0; i-- {
			at := pos + int64(i) + 1 // behind this byte
			if block[i] != '\n' && bound-at <= maxLine || at == to {
				continue
			}
			if n--; n == 0 {
				return at, nil
			}
			bound = at
		}
	}
	return from, nil
}

// cutLine takes the first line from data: its text without the newline, and how
// many bytes it is; 0 used = there is no whole line yet. An over-long line is cut
// into pieces, never within a character. last: nothing follows data.
func cutLine(data []byte, last bool) (text []byte, used int) {
	head := data[:min(len(data), maxLine+1)]
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		return data[:i], i + 1
	}
	if len(data) <= maxLine {
		if last {
			return data, len(data)
		}
		return nil, 0
	}
	n := maxLine
	for n > maxLine-utf8.UTFMax && !utf8.RuneStart(data[n]) {
		n--
	}
	return data[:n], n
}

// clock tells the times of a file's lines.
type clock struct {
	index    []IndexEntry
	inode    uint64
	fallback time.Time // the file's time, when the index knows nothing
}

// at is when the file had end bytes: the first time the index knows it to be that long.
func (c clock) at(end int64) time.Time {
	for _, e := range c.index {
		if e.Inode == c.inode && e.Offset >= end {
			return e.Time
		}
	}
	return c.fallback
}
