package logs

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// matcher picks lines. Most searches are for something rare: needle, a text without
// which no line can match, is looked for in whole blocks, which is many times faster
// than asking the expression line by line.
type matcher struct {
	re     *regexp.Regexp // nil: every line, or every one with the needle
	needle []byte
}

func newMatcher(re *regexp.Regexp) matcher {
	if re == nil {
		return matcher{}
	}
	parsed, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil { // of another syntax (CompilePOSIX)
		return matcher{re: re}
	}
	parsed = parsed.Simplify()
	m := matcher{re: re, needle: []byte(needle(parsed))}
	if parsed.Op == syntax.OpLiteral && len(m.needle) > 0 {
		m.re = nil // the needle is all of it
	}
	return m
}

func (m matcher) match(text []byte) bool {
	if m.re != nil {
		return m.re.Match(text)
	}
	return bytes.Contains(text, m.needle)
}

// needle is the longest text that is certain to be in whatever re matches.
func needle(re *syntax.Regexp) (longest string) {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 && !slices.Contains(re.Rune, utf8.RuneError) { // which matches any broken character
			return string(re.Rune)
		}
	case syntax.OpCapture, syntax.OpPlus:
		return needle(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if text := needle(sub); len(text) > len(longest) {
				longest = text
			}
		}
	}
	return longest
}
