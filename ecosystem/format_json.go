package ecosystem

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/tailscale/hujson"
)

// json parses JSON with comments and trailing commas.
func (r *reader) json(data []byte) *node {
	l := newLines(data)
	if at := tooDeep(data); at >= 0 {
		r.errorf(l.at(at), "", "nested more than %d levels deep", maxDepth)
		return nil
	}
	if len(bytes.TrimSpace(data)) == 0 {
		r.errorf(place{1, 1}, "", "the file is empty: want {\"apps\": [...]}")
		return nil
	}
	v, err := hujson.Parse(append(slices.Clip(data), '\n')) // a comment in the last line needs its end
	if err != nil {
		p, text := l.jsonError(err)
		r.errorf(l.clamp(p), "", "%s", text)
		return nil
	}
	return l.jsonNode(v)
}

// at is the place of an offset.
func (l *lines) at(offset int) place {
	i, found := slices.BinarySearch(l.starts, offset)
	if !found {
		i--
	}
	return place{i + 1, offset - l.starts[i] + 1}
}

// jsonNode converts a value; its depth was checked before.
func (l *lines) jsonNode(v hujson.Value) *node {
	n := &node{place: l.at(v.StartOffset)}
	switch value := v.Value.(type) {
	case *hujson.Object:
		n.kind = kindObject
		for _, m := range value.Members {
			name := m.Name.Value.(hujson.Literal).String() // the parser lets nothing else through
			n.members = append(n.members, member{name, l.jsonNode(m.Value), l.at(m.Name.StartOffset)})
		}
	case *hujson.Array:
		n.kind = kindList
		for _, e := range value.Elements {
			n.items = append(n.items, l.jsonNode(e))
		}
	case hujson.Literal:
		n.text = string(value)
		switch value.Kind() {
		case '"':
			n.kind, n.text = kindText, value.String()
		case 't', 'f':
			n.kind = kindBool
		case '0':
			n.kind = kindNumber
		}
	}
	return n
}

// jsonError takes the place out of the parser's error and says it for a person.
func (l *lines) jsonError(err error) (place, string) {
	var p place
	text := err.Error()
	if _, scanErr := fmt.Sscanf(text, "hujson: line %d, column %d:", &p.line, &p.col); scanErr == nil {
		parts := strings.SplitN(text, ": ", 3)
		text = parts[len(parts)-1]
	}
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("unexpected EOF"):
		p = l.at(len(bytes.TrimRight(l.data, " \t\r\n")))
		text = "the file ends too early: a bracket, a quote or a comment is not closed"
	case has("at start of object name"):
		text = strings.TrimPrefix(text, "invalid character ")
		text = "want a name in double quotes or }, got " + strings.TrimSuffix(text, " at start of object name")
	case has(`'\''`):
		text += "; JSON wants double quotes"
	case has("expecting ','"):
		text += "; is a comma missing before it?"
	case has("invalid literal: "):
		text = l.literalError(p, strings.TrimPrefix(text, "invalid literal: "))
	}
	return p, text
}

// literalError explains a word at p that JSON does not know.
func (l *lines) literalError(p place, literal string) string {
	behind := l.line(p.line)
	behind = bytes.TrimLeft(behind[min(p.col-1+len(literal), len(behind)):], " \t")
	switch {
	case strings.HasPrefix(literal, `"`):
		return "not a valid text: " + quote(literal) + `; a line break is \n and a backslash \\`
	case bytes.HasPrefix(behind, []byte(":")):
		return "the name " + literal + ` needs double quotes: "` + literal + `"`
	}
	return quote(literal) + " is no JSON value: texts need double quotes, and code belongs into ecosystem.config.js"
}

// tooDeep is the offset of the first bracket nested deeper than maxDepth, or
// -1. The parser is recursive without a bound of its own: a file of brackets
// would exhaust the stack, which nothing can catch.
func tooDeep(data []byte) int {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if depth++; depth > maxDepth {
				return i
			}
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '/':
			i = skipComment(data, i)
		}
	}
	return -1
}

// skipComment is the offset of the last byte of the comment that may begin at i.
func skipComment(data []byte, i int) int {
	end := ""
	switch string(data[i:min(i+2, len(data))]) {
	case "//":
		end = "\n"
	case "/*":
		end = "*/"
	default:
		return i
	}
	n := bytes.Index(data[i+2:], []byte(end))
	if n < 0 {
		return len(data)
	}
	return i + 2 + n + len(end) - 1
}
