package ecosystem

import (
	"fmt"
	"strings"
)

// parseDotenv reads the variables of an env_file:
//
//	# comment
//	export NAME=value   # comment
//	NAME="with \n escapes, over several lines"   NAME='literal'
//
// Nothing is expanded. The error is `line:col: text`, for the first mistake.
func parseDotenv(data []byte) (layer, error) {
	vars := layer{}
	l := newLines(data)
	for n := 1; n <= len(l.starts); n++ {
		text := strings.TrimSpace(string(l.line(n)))
		if text == "" || text[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(text, "export "); ok {
			text = strings.TrimSpace(rest)
		}
		name, value, ok := strings.Cut(text, "=")
		name = strings.TrimSpace(name)
		if !ok || !isVarName(name) {
			return nil, fmt.Errorf("%v: want NAME=value, got %s", l.firstWord(n), quote(text))
		}
		value = strings.TrimSpace(value)
		if value == "" || strings.IndexByte("\"'`", value[0]) < 0 {
			value = withoutComment(value)
		} else {
			from := l.starts[n-1] + strings.Index(string(l.data[l.starts[n-1]:]), "=") + 1
			from += strings.IndexByte(string(l.data[from:]), value[0])
			content, end := dotenvQuoted(string(l.data[from:]))
			if end < 0 {
				return nil, fmt.Errorf("%v: the quote is not closed", l.at(from))
			}
			end = from + end
			value = content
			n = l.at(end - 1).line
			rest := strings.TrimSpace(string(l.line(n)[min(end-l.starts[n-1], len(l.line(n))):]))
			if rest != "" && rest[0] != '#' {
				return nil, fmt.Errorf("%v: unexpected after the quote: %s", l.at(end), quote(rest))
			}
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("%v: a zero byte can't be in it", l.firstWord(n))
		}
		vars[name] = variable{value: value}
	}
	return vars, nil
}

// firstWord is the place where a line's text begins.
func (l *lines) firstWord(n int) place {
	line := string(l.line(n))
	return place{n, len(line) - len(strings.TrimLeft(line, " \t")) + 1}
}

// dotenvQuoted takes the quotes s begins with: their content and the offset
// behind them, -1 when they are not closed. Escapes count in "…" only.
func dotenvQuoted(s string) (content string, end int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		if c == s[0] {
			return strings.ReplaceAll(b.String(), "\r\n", "\n"), i + 1
		}
		if c == '\\' && s[0] == '"' && i+1 < len(s) {
			i++
			switch s[i] {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case '"', '\\', '$', '`':
				c = s[i]
			default:
				b.WriteByte('\\')
				c = s[i]
			}
		}
		b.WriteByte(c)
	}
	return "", -1
}

// withoutComment cuts what follows a # that has a blank before it.
func withoutComment(value string) string {
	for i := range len(value) {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			return strings.TrimSpace(value[:i])
		}
	}
	return value
}

func isVarName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || (r < '0' || r > '9') && r != '.' && r != '-') {
			return false
		}
	}
	return s != ""
}
