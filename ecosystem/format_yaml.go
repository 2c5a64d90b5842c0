package ecosystem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxYAMLNodes bounds what aliases may blow a file up to.
const maxYAMLNodes = 200_000

// yaml parses one YAML document.
func (r *reader) yaml(data []byte) *node {
	l := newLines(data)
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		r.errorf(place{1, 1}, "", "the file is empty: want a list of apps")
		return nil
	}
	if err == nil {
		switch err = decoder.Decode(&second); {
		case errors.Is(err, io.EOF):
			err = nil
		case err == nil:
			at := l.clamp(place{second.Line, 1})
			r.errorf(at, "", "a second YAML document begins here: put all apps into one")
			return nil
		}
	}
	if err != nil {
		p, text := l.yamlError(err)
		r.errorf(l.clamp(p), "", "%s", text)
		return nil
	}
	c := yamlConverter{reader: r, lines: l}
	n := c.node(doc.Content[0], 0)
	if c.failed {
		return nil
	}
	return n
}

// yamlError takes the line out of the parser's error.
func (l *lines) yamlError(err error) (place, string) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	var line int
	if _, scanErr := fmt.Sscanf(text, "line %d:", &line); scanErr == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	indent := l.line(line)
	indent = indent[:len(indent)-len(bytes.TrimLeft(indent, " \t"))]
	if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
		return place{line, tab + 1}, "not valid YAML: tabs can't be used for indentation"
	}
	return place{line, 1}, "not valid YAML: " + text
}

// yamlConverter makes our nodes of the parser's.
type yamlConverter struct {
	*reader
	lines  *lines
	made   int
	failed bool // a problem was reported that makes the rest pointless
}

// node converts y; aliases are followed, which the depth and the number of nodes
// bound: an anchor may contain itself.
func (c *yamlConverter) node(y *yaml.Node, depth int) *node {
	at := c.at(y)
	c.made++
	if !c.failed && (depth > maxDepth || c.made > maxYAMLNodes) {
		c.errorf(at, "", "nested too deeply, or too large after following the aliases")
		c.failed = true
	}
	n := &node{place: at}
	if c.failed {
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return c.node(y.Alias, depth+1)
	case yaml.SequenceNode:
		n.kind = kindList
		for _, item := range y.Content {
			n.items = append(n.items, c.node(item, depth+1))
		}
	case yaml.MappingNode:
		n.kind = kindObject
		c.members(n, y, depth)
	default:
		n.kind, n.text = yamlScalar(y)
	}
	return n
}

// members converts a mapping: its own names first, then what merge keys add.
func (c *yamlConverter) members(n *node, y *yaml.Node, depth int) {
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			c.errorf(c.at(key), "", "a name must be a text, not a list or an object")
			c.failed = true
		case key.ShortTag() == "!!merge":
			merged = append(merged, c.mergeSources(value, depth)...)
		default:
			n.members = append(n.members, member{key.Value, c.node(value, depth+1), c.at(y.Content[i])})
		}
	}
	if len(merged) == 0 {
		return
	}
	known := make(map[string]bool, len(n.members))
	for _, m := range n.members {
		known[m.name] = true
	}
	for _, source := range merged {
		for _, m := range source.members {
			if !known[m.name] {
				n.members = append(n.members, m)
				known[m.name] = true
			}
		}
	}
}

// mergeSources are the objects that `<<:` names, one or a list of them.
func (c *yamlConverter) mergeSources(y *yaml.Node, depth int) []*node {
	n := c.node(y, depth+1)
	sources := []*node{n}
	if n.kind == kindList {
		sources = n.items
	}
	for _, s := range sources {
		if s.kind != kindObject && !c.failed {
			c.errorf(c.at(y), "", "<<: wants an object or a list of objects, got %s", s.describe())
			c.failed = true
		}
	}
	return sources
}

// yamlScalar keeps numbers as written: 1.10 stays "1.10" in an environment.
func yamlScalar(y *yaml.Node) (kind, string) {
	switch y.ShortTag() {
	case "!!null":
		return kindNull, ""
	case "!!bool":
		return kindBool, strings.ToLower(y.Value)
	case "!!int":
		if n, err := strconv.ParseInt(y.Value, 0, 64); err == nil && strings.ContainsAny(y.Value, "xXbB_") {
			return kindNumber, strconv.FormatInt(n, 10)
		}
		return kindNumber, y.Value
	case "!!float":
		return kindNumber, y.Value
	default:
		return kindText, y.Value
	}
}

// at is a node's place; the parser counts columns in characters, we in bytes.
func (c *yamlConverter) at(y *yaml.Node) place {
	line := c.lines.line(y.Line)
	col := 1
	for chars := 1; chars < y.Column && col <= len(line); chars++ {
		_, size := utf8.DecodeRune(line[col-1:])
		col += size
	}
	return c.lines.clamp(place{y.Line, col})
}
