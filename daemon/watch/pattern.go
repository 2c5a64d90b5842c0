package watch

import "strings"

// pattern is a line of a .gitignore file, which means here what it means to git.
type pattern struct {
	parts    []part
	negated  bool // what matches is not ignored
	folders  bool // it is for folders only
	anywhere bool // it has no slash: it is for names, in any folder
}

// part is what lies between two slashes.
type part struct {
	glob []symbol
	deep bool // "**": any number of folders, at the end at least one of something
}

// symbol matches a byte, or with star any number of them.
type symbol struct {
	star  bool
	bytes [4]uint64 // a set
}

func (s *symbol) add(from, to byte) {
	for c := int(from); c <= int(to); c++ {
		s.bytes[c>>6] |= 1 << (c & 63)
	}
}

func (s *symbol) has(c byte) bool { return s.bytes[c>>6]&(1<<(c&63)) != 0 }

func (s *symbol) invert() {
	for i := range s.bytes {
		s.bytes[i] = ^s.bytes[i]
	}
}

// parsePattern reads a line. Of an empty one, a comment, and one that can't match
// anything it says so.
func parsePattern(line string) (p pattern, ok bool) {
	line = trimBlanks(strings.TrimSuffix(line, "\r"))
	if line == "" || line[0] == '#' {
		return p, false
	}
	line, p.negated = strings.CutPrefix(line, "!")
	line, p.folders = strings.CutSuffix(line, "/")
	p.anywhere = !strings.Contains(line, "/")
	for rest, more := strings.TrimPrefix(line, "/"), true; more; {
		var next part
		if next, rest, more, ok = parsePart(rest, !p.anywhere); !ok {
			return p, false
		}
		p.parts = append(p.parts, next)
	}
	return p, true
}

// trimBlanks takes the blanks at the end away, up to one that is escaped.
func trimBlanks(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line):
			i++
			end = i + 1
		case line[i] != ' ':
			end = i + 1
		}
	}
	return line[:end]
}

// parsePart reads up to the next slash; more says that there was one.
func parsePart(text string, path bool) (p part, rest string, more, ok bool) {
	stars := 0
	for i := 0; i < len(text); i++ {
		var s symbol
		switch c := text[i]; c {
		case '/':
			return p.finish(stars, path), text[i+1:], true, i > 0
		case '*':
			stars++
			s.star = true
		case '?':
			s.add(0, 255)
		case '[':
			end, good := parseSet(text[i+1:], &s)
			if !good {
				return p, "", false, false
			}
			i += end
		case '\\':
			if i++; i == len(text) {
				return p, "", false, false
			}
			if text[i] == '/' {
				return p.finish(stars, path), text[i+1:], true, i > 1
			}
			s.add(text[i], text[i])
		default:
			s.add(c, c)
		}
		p.glob = append(p.glob, s)
	}
	return p.finish(stars, path), "", false, text != ""
}

// finish sees whether a part is nothing but stars, of which two or more mean folders.
func (p part) finish(stars int, path bool) part {
	p.deep = path && stars > 1 && stars == len(p.glob)
	return p
}

// parseSet reads "abc]", "!a-z]" or "[:alpha:]_]", and returns how long it is.
func parseSet(text string, s *symbol) (length int, ok bool) {
	i := 0
	negated := i < len(text) && (text[i] == '!' || text[i] == '^')
	if negated {
		i++
	}
	var before byte // the begin of a range; 0: there is none
	for first := true; i < len(text); i, first = i+1, false {
		c := text[i]
		switch {
		case c == ']' && !first:
			if negated {
				s.invert()
			}
			return i + 1, true
		case c == '-' && before != 0 && i+1 < len(text) && text[i+1] != ']':
			if i++; text[i] == '\\' {
				i++
			}
			if i == len(text) {
				return 0, false
			}
			s.add(before, text[i])
			before = 0
			continue
		case c == '[' && strings.HasPrefix(text[i:], "[:"):
			end := strings.IndexByte(text[i+2:], ']')
			if end < 0 {
				return 0, false
			}
			if name, named := strings.CutSuffix(text[i+2:i+2+end], ":"); named {
				if !s.addClass(name) {
					return 0, false
				}
				i += 2 + end
				before = 0
				continue
			}
		case c == '\\':
			if i++; i == len(text) {
				return 0, false
			}
			c = text[i]
		}
		s.add(c, c)
		before = c
	}
	return 0, false
}

// classes are the names in sets.
var classes = map[string][]string{
	"alnum": {"09", "AZ", "az"}, "alpha": {"AZ", "az"}, "blank": {"  ", "\t\t"}, "cntrl": {"\x00\x1f", "\x7f\x7f"},
	"digit": {"09"}, "graph": {"!~"}, "lower": {"az"}, "print": {" ~"}, "punct": {"!/", ":@", "[`", "{~"},
	"space": {"  ", "\t\r"}, "upper": {"AZ"}, "xdigit": {"09", "AF", "af"},
}

func (s *symbol) addClass(name string) bool {
	ranges, known := classes[name]
	for _, r := range ranges {
		s.add(r[0], r[1])
	}
	return known
}

// matches says whether the pattern is about a path, which is relative to its folder.
func (p *pattern) matches(path string, isFolder bool) bool {
	if p.folders && !isFolder {
		return false
	}
	if p.anywhere {
		return matchName(p.parts[0].glob, path[strings.LastIndexByte(path, '/')+1:])
	}
	return matchParts(p.parts, path)
}

// matchParts goes back to the last "**" when it can't go on: no earlier one can help.
func matchParts(parts []part, path string) bool {
	next, back, from := 0, -1, "" // from is what the part after back is tried on next
	rest, left := path, true
	for left {
		name, tail, more := strings.Cut(rest, "/")
		switch {
		case next < len(parts) && parts[next].deep:
			if next == len(parts)-1 {
				return true
			}
			next++
			back, from = next, rest
			continue
		case next < len(parts) && matchName(parts[next].glob, name):
			next++
			rest, left = tail, more
			continue
		case back < 0:
			return false
		}
		_, tail, more = strings.Cut(from, "/")
		if !more {
			return false
		}
		next, rest, from = back, tail, tail
	}
	return next == len(parts)
}

// matchName goes back to the last star when it can't go on.
func matchName(glob []symbol, name string) bool {
	next, at, back, from := 0, 0, -1, 0
	for at < len(name) {
		switch {
		case next < len(glob) && glob[next].star:
			back, from = next, at
			next++
		case next < len(glob) && glob[next].has(name[at]):
			next++
			at++
		case back < 0:
			return false
		default:
			from++
			next, at = back+1, from
		}
	}
	for next < len(glob) && glob[next].star {
		next++
	}
	return next == len(glob)
}
