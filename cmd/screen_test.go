package cmd

import (
	"bytes"
	"regexp"
	"testing"
	"unicode/utf8"
)

func TestHarmless(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"a line\twith a tab\nand another\n":                    "a line\twith a tab\nand another\n",
		"\x1b[31mred\x1b[0m \x1b[38;5;196mso\x1b[m":            "\x1b[31mred\x1b[0m \x1b[38;5;196mso\x1b[m",
		"\x1b[2J\x1b[H gone":                                   `\x1b[2J\x1b[H gone`,
		"\x1b]0;title\x07":                                     `\x1b]0;title\x07`,
		"\x1b]52;c;Zm9v\x1b\\":                                 `\x1b]52;c;Zm9v\x1b\`,
		"\x1bP1$r\x1b\\ \x1bc \x1b(0":                          `\x1bP1$r\x1b\ \x1bc \x1b(0`,
		"\x1b[?1049h\x1b[>4;2m\x1b[ m":                         `\x1b[?1049h\x1b[>4;2m\x1b[ m`,
		"10%\r20%\r\nnext\b\b":                                 `10%\x0d20%` + "\n" + `next\x08\x08`,
		"\u009b2J \x9b2J \xc3\xa9 \xff":                        `\u009b2J \x9b2J é \xff`,
		"zero\x00 del\x7f":                                     `zero\x00 del\x7f`,
		"evil\u202etxt.exe\u2066":                              `evil\u202etxt.exe\u2066`,
		"日本語 👩‍👧 ↺ é":                                          "日本語 👩‍👧 ↺ é",
		"it ends in \x1b[3":                                    `it ends in \x1b[3`,
		"and in \xe6\x97":                                      `and in \xe6\x97`,
		"a carriage\r":                                         `a carriage\x0d`,
		"\x1b[" + string(bytes.Repeat([]byte("1;"), 50)) + "m": `\x1b[` + string(bytes.Repeat([]byte("1;"), 50)) + "m",
	} {
		if got, rest := harmless(nil, []byte(given), true); string(got) != want || len(rest) > 0 {
			t.Errorf("%q became %q and %q, want %q", given, got, rest, want)
		}
	}
}

var colour = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// FuzzScreen: whatever is written and in whatever pieces, what arrives is text and colours.
func FuzzScreen(f *testing.F) {
	for _, text := range []string{"plain\n", "\x1b[31mred\x1b[0m\r\n", "\x1b]0;t\x07\u009b2J", "\xe6\x97\xa5\xff\x00", "\x1b[\x1b[1m"} {
		f.Add([]byte(text), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		piece = max(1, piece%64)
		var got bytes.Buffer
		s := &screen{to: &got}
		for rest := text; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			b := rest[:min(piece, len(rest))]
			if n, err := s.Write(b); n != len(b) || err != nil {
				t.Fatalf("%d written of %d: %v", n, len(b), err)
			}
			if len(s.held) > longestColour {
				t.Fatalf("%d bytes are held back", len(s.held))
			}
		}
		s.end()
		want, _ := harmless(nil, text, true)
		if !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%q in pieces of %d became %q, at once %q", text, piece, got.Bytes(), want)
		}
		left := colour.ReplaceAll(got.Bytes(), nil)
		if !utf8.Valid(left) {
			t.Fatalf("%q became %q: it is no UTF-8", text, left)
		}
		for _, r := range string(left) {
			if r != '\n' && r != '\t' && drives(r) {
				t.Fatalf("%q became %q: it has %q", text, left, r)
			}
		}
	})
}
