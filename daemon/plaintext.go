package daemon

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What gopm says has texts of programs in it: names, titles, reasons, answers. None of
// them makes it long, drives the terminal on which the log is read, or looks like a line
// of its own there.

// cutText is a text of so many bytes at most.
func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// plainText is a text in which controls are shown as what they are; a line after the
// first is indented.
func plainText(text string) string {
	if !strings.ContainsFunc(text, isUnplain) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\n':
			b.WriteString("\n    ")
		case r == utf8.RuneError && n == 1, r < utf8.RuneSelf && isUnplain(r):
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case isUnplain(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

// isUnplain says that a character can't be shown as it is.
func isUnplain(r rune) bool {
	return r != '\t' && (unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r))
}
