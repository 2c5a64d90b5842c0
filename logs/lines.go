package logs

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

const (
	// maxLine: longer lines are shown in pieces, so that a file without newlines
	// never has to fit into memory.
	maxLine = 64 << 10
	// Files are read in blocks: a small one for the few lines that are mostly asked
	// for, large ones when it takes more.
	smallBlock = 16 << 10
	largeBlock = 256 << 10
)

// span is a line within a file: its text, and where it ends (newline included).
type span struct {
	text []byte
	end  int64
}

// lastSpans reads the last n lines of f between from and to.
func lastSpans(f io.ReaderAt, from, to int64, n int) ([]span, error) {
	var all []span // the last first
	if n > 0 {
		err := backward(f, from, to, nil, func(s span) bool {
			all = append(all, span{bytes.Clone(s.text), s.end})
			return len(all) < n
		})
		if err != nil {
			return nil, err
		}
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all, nil
}

// backward gives the lines of f between from and to to take, the last one first,
// until it returns false. What isn't wanted isn't read. The text is valid during
// the call only. Lines without the needle may be left out.
func backward(f io.ReaderAt, from, to int64, needle []byte, take func(span) bool) error {
	size := smallBlock
	buf := make([]byte, size)
	var spans []span
	for to > from {
		start := max(from, to-int64(size))
		data := buf[:to-start]
		if n, err := f.ReadAt(data, start); err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			data = data[:n] // truncated meanwhile
		}
		head, ok := 0, true
		if start > from {
			head, ok = lineBegin(data)
		}
		if size < largeBlock {
			size *= 4
			buf = make([]byte, size) // data keeps the old one
		}
		if !ok {
			continue
		}
		if bytes.Contains(data[head:], needle) {
			spans = cutAll(spans[:0], data[head:], start+int64(head))
			for i := len(spans) - 1; i >= 0; i-- {
				if !take(spans[i]) {
					return nil
				}
			}
		}
		to = start + int64(head)
	}
	return nil
}

// lineBegin finds the first place in a block, whose end is one of a line, where a
// line begins. Of an over-long line it is where its last piece does. false: the
// block is too small to tell.
func lineBegin(data []byte) (int, bool) {
	if len(data) == 0 {
		return 0, true
	}
	if i := bytes.IndexByte(data[:len(data)-1], '\n'); i >= 0 {
		return i + 1, true
	}
	if len(data) <= maxLine+utf8.UTFMax {
		return 0, false
	}
	i := len(data) - maxLine
	for n := 0; n < utf8.UTFMax-1 && !utf8.RuneStart(data[i]); n++ {
		i++
	}
	return i, true
}

// cutAll appends the lines of data, which begins at start.
func cutAll(spans []span, data []byte, start int64) []span {
	for len(data) > 0 {
		text, used := cutLine(data, true)
		start += int64(used)
		spans = append(spans, span{text, start})
		data = data[used:]
	}
	return spans
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

// lineReader reads lines forward. Its buffer is small, because there is one per
// source, and grows with the lines.
type lineReader struct {
	in     io.Reader
	needle []byte // lines without it may be left out
	buf    []byte
	r, w   int   // what is in buf
	off    int64 // of buf[r]
	err    error // why there is no more
}

// next is the next line, valid until the call after it; io.EOF after the last one.
func (l *lineReader) next() (span, error) {
	for {
		l.skip()
		text, used := cutLine(l.buf[l.r:l.w], l.err != nil)
		if used > 0 {
			l.r += used
			l.off += int64(used)
			return span{text, l.off}, nil
		}
		if l.err != nil {
			return span{}, l.err
		}
		l.fill()
	}
}

// skip passes over whole lines that can't be wanted.
func (l *lineReader) skip() {
	data := l.buf[l.r:l.w]
	if len(l.needle) == 0 {
		return
	}
	if i := bytes.Index(data, l.needle); i >= 0 {
		data = data[:i]
	}
	n := bytes.LastIndexByte(data, '\n') + 1
	l.r += n
	l.off += int64(n)
}

func (l *lineReader) fill() {
	if l.r > 0 {
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	if l.w == len(l.buf) {
		l.buf = append(make([]byte, 0, max(smallBlock, 2*l.w)), l.buf...)[:max(smallBlock, 2*l.w)]
	}
	n, err := l.in.Read(l.buf[l.w:])
	l.w += n
	l.err = err
}
