package cmd

import (
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf8"
)

// What gopm shows comes from programs, too: their lines, names, titles, states, reasons.
// On a terminal such a text could move the cursor, clear the screen, write the title or
// the clipboard, or look like a line of another app. So all that gopm writes to a terminal
// goes through a screen, which passes text and colours (SGR), and shows every other control
// character as what it is: \x1b. A pipe or a file gets the bytes as they are.

// screen is a terminal as a writer of harmless text.
type screen struct {
	mu   sync.Mutex // guards what follows: errors are printed from several goroutines
	to   io.Writer
	held []byte // the beginning of what only the next bytes will tell
	out  []byte
}

// longestColour is more than any colour needs.
const longestColour = 48

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == 0 && isPlain(b) {
		return s.to.Write(b)
	}
	data := b
	if len(s.held) > 0 {
		data = append(s.held, b...)
	}
	out, rest := harmless(s.out[:0], data, false)
	s.held = append([]byte(nil), rest...)
	s.out = out
	if _, err := s.to.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// end writes what is held back: there are no next bytes.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) > 0 {
		out, _ := harmless(nil, s.held, true)
		s.held = nil
		_, _ = s.to.Write(out) // nothing is left to be done
	}
}

// isPlain says that a text has nothing that would have to be looked at.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// harmless appends data to out as a terminal may have it. rest is its end, when what
// follows decides what that is; with all there is nothing to follow.
func harmless(out, data []byte, all bool) (written, rest []byte) {
	for len(data) > 0 {
		if n, more := colourAt(data); n > 0 {
			out, data = append(out, data[:n]...), data[n:]
			continue
		} else if more && !all {
			return out, data
		}
		if data[0] == '\r' {
			switch {
			case len(data) == 1 && !all:
				return out, data
			case len(data) > 1 && data[1] == '\n': // the end of a line elsewhere
				data = data[1:]
				continue
			}
		}
		if !utf8.FullRune(data) && !all {
			return out, data
		}
		r, n := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, data[0])
		case r == '\n' || r == '\t' || !drives(r):
			out = append(out, data[:n]...)
		case r < utf8.RuneSelf:
			out = fmt.Appendf(out, `\x%02x`, r)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		data = data[n:]
	}
	return out, nil
}

// drives says that a character does something with a terminal, or with what comes after
// it there: the controls, and those that turn the direction of writing.
func drives(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

// colourAt is the length of the colour (SGR: ESC [ numbers m) that data begins with; 0:
// there is none. more: so far it could be the beginning of one.
func colourAt(data []byte) (n int, more bool) {
	for i, c := range data[:min(len(data), longestColour)] {
		switch {
		case i == 0 && c == '\x1b', i == 1 && c == '[', i > 1 && (c >= '0' && c <= '9' || c == ';' || c == ':'):
		case i > 1 && c == 'm':
			return i + 1, false
		default:
			return 0, false
		}
	}
	return 0, len(data) < longestColour
}
