package daemon

import (
	"strings"
	"testing"
)

func TestPlainText(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"plain, with é and 日本":     "plain, with é and 日本",
		"a\tb":                     "a\tb",
		"\x1b[2Jgone\x07\r":        `\x1b[2Jgone\x07\x0d`,
		"\xff \u009b1m \u202eevil": `\xff \u009b1m \u202eevil`,
		"one\n2026-01-01 faked":    "one\n    2026-01-01 faked",
	} {
		if got := plainText(given); got != want {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
}

func TestCutText(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"short": "short", "12345678": "12345678", "123456789": "12345678…", "1234567é": "1234567…"} {
		if got := cutText(given, 8); got != want {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
	if got := cutText(strings.Repeat("x", 1<<20), 10); len(got) > 20 {
		t.Errorf("%d bytes", len(got))
	}
}
