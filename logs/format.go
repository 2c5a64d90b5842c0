package logs

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Format is how lines are written. Anything but its zero value needs whole lines.
type Format struct {
	Layout string // the time before a line, in the words of day.js: "YYYY-MM-DD HH:mm:ss.SSS Z"; "" = none
	JSON   bool   // one object per line, with the keys of pm2 and, in a piece of a line, "partial":true
	Pairs  bool   // timestamp=… app=… id=… type=… message=…, as pm2-runtime --format
	Prefix string // before each line
	App    string // for JSON and pairs
	ID     int
	Err    bool // stderr
}

// formatter writes lines in a Format. What depends on the time only is made when
// that changes, not for every line.
type formatter struct {
	layout layout
	json   bool
	fixed  []byte // what is the same in every line: a part of the stamp
	pairs  bool
	ms     int64  // the time of stamp
	stamp  []byte // before the text, or, in JSON, behind it
}

// newFormatter is nil when lines are written as they are.
func newFormatter(f Format) *formatter {
	if f.Layout == "" && !f.JSON && !f.Pairs && f.Prefix == "" {
		return nil
	}
	w := &formatter{layout: parseLayout(f.Layout), json: f.JSON, pairs: f.Pairs, ms: math.MinInt64}
	kind := "out"
	if f.Err {
		kind = "err"
	}
	switch {
	case f.Pairs:
		w.fixed = fmt.Appendf(nil, "app=%s id=%d type=%s message=", f.App, f.ID, kind)
		return w
	case !f.JSON:
		w.fixed = []byte(f.Prefix)
		return w
	}
	w.fixed = append(w.fixed, `","type":"`+kind+`","process_id":`+strconv.Itoa(f.ID)+`,"app_name":"`...)
	w.fixed = append(appendJSON(w.fixed, []byte(f.App)), '"')
	return w
}

// line appends a line that began at t. partial: its end is still to come.
func (w *formatter) line(dst, text []byte, t time.Time, partial bool) []byte {
	if w == nil {
		return append(append(dst, text...), '\n')
	}
	if ms := t.UnixMilli(); ms != w.ms {
		w.ms = ms
		w.renew(t)
	}
	if !w.json {
		dst = append(append(dst, w.stamp...), text...)
		return append(dst, '\n')
	}
	dst = appendJSON(append(dst, `{"message":"`...), text)
	dst = append(dst, w.stamp...)
	if partial {
		dst = append(dst, `,"partial":true`...)
	}
	return append(dst, "}\n"...)
}

// renew makes the stamp of a time.
func (w *formatter) renew(t time.Time) {
	w.stamp = w.stamp[:0]
	switch {
	case w.pairs:
		w.stamp = append(w.stamp, "timestamp="...)
		if len(w.layout) > 0 {
			w.stamp = w.layout.append(w.stamp, t)
		} else {
			w.stamp = t.UTC().AppendFormat(w.stamp, "2006-01-02T15:04:05.000Z")
		}
		w.stamp = append(append(w.stamp, ' '), w.fixed...)
		return
	case !w.json:
		w.stamp = append(w.stamp, w.fixed...)
		if len(w.layout) > 0 {
			w.stamp = append(w.layout.append(w.stamp, t), ": "...)
		}
		return
	}
	w.stamp = append(w.stamp, `","timestamp":"`...)
	if len(w.layout) > 0 { // as with pm2
		w.stamp = appendJSON(w.stamp, w.layout.append(nil, t))
	} else {
		w.stamp = t.UTC().AppendFormat(w.stamp, "2006-01-02T15:04:05.000Z")
	}
	w.stamp = append(w.stamp, w.fixed...)
}

// appendJSON appends text as the inside of a JSON string. What isn't UTF-8
// becomes U+FFFD: JSON has no other bytes.
func appendJSON(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	plain := 0 // text up to here is in dst
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, text[plain:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			plain = i
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, text[plain:i]...)
			dst = append(dst, "\ufffd"...)
			plain = i + 1
		}
		i += n
	}
	return append(dst, text[plain:]...)
}
