package logs

import (
	"strconv"
	"strings"
	"time"
)

// layout is a time format in the words of day.js, taken apart once.
type layout []layoutPart

// layoutPart is a token, or text that stands for itself.
type layoutPart struct {
	token, text string
}

// parseLayout takes any text; what isn't a token stands for itself, as with day.js.
func parseLayout(s string) (l layout) {
	literal := func(text string) {
		text = strings.ReplaceAll(text, "\n", " ") // a line is a line
		if n := len(l); n > 0 && l[n-1].token == "" {
			l[n-1].text += text
			return
		}
		l = append(l, layoutPart{text: text})
	}
	for len(s) > 0 {
		if end := strings.IndexByte(s, ']'); s[0] == '[' && end > 1 {
			literal(s[1:end])
			s = s[end+1:]
			continue
		}
		n := 1
		for n < len(s) && n < longestToken(s[0]) && s[n] == s[0] {
			n++
		}
		if token := s[:n]; isToken(token) {
			l = append(l, layoutPart{token: token})
		} else {
			literal(token)
		}
		s = s[n:]
	}
	return l
}

// longestToken is how many of the same letter may be one token.
func longestToken(c byte) int {
	switch c {
	case 'Y', 'M', 'd':
		return 4
	case 'S':
		return 3
	case 'D', 'H', 'h', 'm', 's', 'Z':
		return 2
	}
	return 1
}

func isToken(s string) bool {
	switch s {
	case "H", "d", "dd", "SSS", "X", "x":
		return true
	}
	return goLayout(s) != ""
}

// goLayout is what package time calls a token; "" if it has no word for it.
func goLayout(token string) string {
	switch token {
	case "YYYY":
		return "2006"
	case "YY":
		return "06"
	case "M":
		return "1"
	case "MM":
		return "01"
	case "MMM":
		return "Jan"
	case "MMMM":
		return "January"
	case "D":
		return "2"
	case "DD":
		return "02"
	case "ddd":
		return "Mon"
	case "dddd":
		return "Monday"
	case "HH":
		return "15"
	case "h":
		return "3"
	case "hh":
		return "03"
	case "m":
		return "4"
	case "mm":
		return "04"
	case "s":
		return "5"
	case "ss":
		return "05"
	case "A":
		return "PM"
	case "a":
		return "pm"
	case "Z":
		return "-07:00"
	case "ZZ":
		return "-0700"
	}
	return ""
}

// append appends the time t in this layout.
func (l layout) append(dst []byte, t time.Time) []byte {
	for _, part := range l {
		switch part.token {
		case "":
			dst = append(dst, part.text...)
		case "H":
			dst = strconv.AppendInt(dst, int64(t.Hour()), 10)
		case "d":
			dst = strconv.AppendInt(dst, int64(t.Weekday()), 10)
		case "dd":
			dst = append(dst, t.Weekday().String()[:2]...)
		case "SSS":
			ms := t.Nanosecond() / 1e6
			dst = append(dst, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		case "X":
			dst = strconv.AppendInt(dst, t.Unix(), 10)
		case "x":
			dst = strconv.AppendInt(dst, t.UnixMilli(), 10)
		default:
			dst = t.AppendFormat(dst, goLayout(part.token))
		}
	}
	return dst
}
