package logs

import (
	"bytes"
	"strings"
	"time"
)

// TimeFormat prints times in the words of day.js ("YYYY-MM-DD HH:mm:ss.SSS Z").
func TimeFormat(words string) func(dst []byte, t time.Time) []byte {
	return parseLayout(words).append
}

// stampReader reads the time that a line carries, because it was written with a
// format: as JSON, or after a stamp of a layout that can be read back.
type stampReader struct {
	layout string        // in the words of package time; "" = the lines have no stamp, or an unreadable one
	size   int           // of a stamp
	unit   time.Duration // it leaves out what is smaller
	last   []byte        // the stamp read last: many lines have the same
	time   time.Time
}

func newStampReader(words string) stampReader {
	var b strings.Builder
	seen := map[string]bool{}
	l := parseLayout(words)
	for i, part := range l {
		seen[part.token] = true
		switch part.token {
		case "YYYY", "YY", "MM", "DD", "HH", "mm", "ss", "Z", "ZZ": // as wide in every time
			b.WriteString(goLayout(part.token))
		case "SSS":
			if i == 0 || !strings.HasSuffix(l[i-1].text, ".") && !strings.HasSuffix(l[i-1].text, ",") {
				return stampReader{}
			}
			b.WriteString("000")
		case "":
			if strings.IndexFunc(part.text, mayBeToken) >= 0 {
				return stampReader{}
			}
			b.WriteString(part.text)
		default:
			return stampReader{}
		}
	}
	if !(seen["YYYY"] || seen["YY"]) || !seen["MM"] || !seen["DD"] || !seen["HH"] || !seen["mm"] {
		return stampReader{}
	}
	r := stampReader{layout: b.String(), size: len(l.append(nil, time.Unix(0, 0))), unit: time.Minute}
	switch {
	case seen["SSS"]:
		r.unit = time.Millisecond
	case seen["ss"]:
		r.unit = time.Second
	}
	return r
}

// mayBeToken: package time could take it for a word of its own.
func mayBeToken(r rune) bool {
	return r != 'T' && (r == '_' || r == '+' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
}

// read is the time within a line, and what it is a multiple of; false: there is none.
func (r *stampReader) read(text []byte) (t time.Time, unit time.Duration, ok bool) {
	if bytes.HasPrefix(text, []byte(`{"message":`)) {
		return r.readJSON(text)
	}
	if r.size == 0 || len(text) < r.size+2 || text[r.size] != ':' || text[r.size+1] != ' ' {
		return time.Time{}, 0, false
	}
	t, ok = r.parse(r.layout, text[:r.size])
	return t, r.unit, ok
}

func (r *stampReader) readJSON(text []byte) (t time.Time, unit time.Duration, ok bool) {
	const key = `,"timestamp":"` // within a JSON text its quotes would be escaped
	i := bytes.Index(text, []byte(key))
	if i < 0 {
		return time.Time{}, 0, false
	}
	text = text[i+len(key):]
	if i = bytes.IndexByte(text, '"'); i < 0 {
		return time.Time{}, 0, false
	}
	if r.layout != "" {
		if t, ok = r.parse(r.layout, text[:i]); ok {
			return t, r.unit, true
		}
	}
	t, ok = r.parse(time.RFC3339, text[:i])
	return t, time.Millisecond, ok
}

func (r *stampReader) parse(layout string, text []byte) (time.Time, bool) {
	if len(r.last) == 0 || !bytes.Equal(text, r.last) {
		t, err := time.ParseInLocation(layout, string(text), time.Local)
		if err != nil {
			return time.Time{}, false
		}
		r.last, r.time = append(r.last[:0], text...), t
	}
	return r.time, true
}
