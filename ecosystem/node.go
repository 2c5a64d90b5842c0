package ecosystem

import (
	"fmt"
	"strconv"
	"strings"
)

// kind is what a node of a parsed file is.
type kind int

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindText
	kindList
	kindObject
)

// node is one value of a file: the common form of JSON, YAML and what node
// evaluated, so that everything behind the parsers exists once.
type node struct {
	kind    kind
	text    string   // of a scalar, as written: "true", "1.10", a string's content
	items   []*node  // of a list
	members []member // of an object, in the order of the file
	place
}

// member is one `name: value` of an object; its place is that of the name.
type member struct {
	name  string
	value *node
	place
}

// place is where something was written; the zero place is "not known".
type place struct{ line, col int }

// maxDepth bounds the nesting of a file: all walks over nodes are recursive.
const maxDepth = 200

// text makes a node of a value that did not come from a file.
func textNode(s string) *node { return &node{kind: kindText, text: s} }

func (n *node) isScalar() bool {
	return n.kind == kindBool || n.kind == kindNumber || n.kind == kindText
}

// describe is what an error says a value is: "got a list".
func (n *node) describe() string {
	switch n.kind {
	case kindNull:
		return "nothing"
	case kindBool, kindNumber:
		return n.text
	case kindText:
		return quote(n.text)
	case kindList:
		return "a list"
	default:
		return "an object"
	}
}

// get is the value of a member, nil when there is none.
func (n *node) get(name string) *node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// isOff says that a value asks for nothing: false, "", 0, null, an empty list.
func (n *node) isOff() bool {
	switch n.kind {
	case kindNull:
		return true
	case kindList:
		return len(n.items) == 0
	case kindObject:
		return len(n.members) == 0
	default:
		return n.text == "" || n.text == "0" || n.text == "false"
	}
}

// json is the value as compact JSON text.
func (n *node) json() string {
	var b strings.Builder
	n.appendJSON(&b)
	return b.String()
}

func (n *node) appendJSON(b *strings.Builder) {
	switch n.kind {
	case kindNull:
		b.WriteString("null")
	case kindBool, kindNumber:
		b.WriteString(n.text)
	case kindText:
		b.WriteString(jsonString(n.text))
	case kindList:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.appendJSON(b)
		}
		b.WriteByte(']')
	case kindObject:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(jsonString(m.name) + ":")
			m.value.appendJSON(b)
		}
		b.WriteByte('}')
	}
}

// quote shows a value from outside: cut when long, control characters escaped.
func quote(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:57], "") + "..."
	}
	return strconv.Quote(s)
}

// duplicates reports names that an object has twice, anywhere below n. Most
// parsers let the last one win, which hides half of what the user wrote.
func (r *reader) duplicates(n *node, path string) {
	switch n.kind {
	case kindList:
		for i, item := range n.items {
			r.duplicates(item, path+"["+strconv.Itoa(i)+"]")
		}
	case kindObject:
		first := make(map[string]place, len(n.members))
		for _, m := range n.members {
			p := join(path, m.name)
			if at, twice := first[m.name]; twice {
				r.errorf(m.place, p, "given twice, first in line %d", at.line)
			} else {
				first[m.name] = m.place
			}
			r.duplicates(m.value, p)
		}
	}
}

// join extends a path: apps[1] + name = apps[1].name. A name that could play
// tricks on a terminal is shown quoted.
func join(path, name string) string {
	if !isPrintable(name) || len(name) > 60 {
		name = quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

func (p place) String() string { return fmt.Sprintf("%d:%d", p.line, p.col) }
