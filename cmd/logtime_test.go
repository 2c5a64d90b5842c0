package cmd

import (
	"strings"
	"testing"
	"time"
)

func TestLogTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 15, 4, 5, 0, time.Local)
	for text, want := range map[string]time.Time{
		"10m":                           now.Add(-10 * time.Minute),
		"90s":                           now.Add(-90 * time.Second),
		"1h30m":                         now.Add(-90 * time.Minute),
		"1.5d":                          now.Add(-36 * time.Hour),
		"2w":                            now.Add(-14 * 24 * time.Hour),
		"500ms":                         now.Add(-time.Second / 2),
		"10:30":                         time.Date(2026, 11, 22, 10, 30, 0, 0, time.Local),
		"23:59:58":                      time.Date(2026, 11, 21, 23, 59, 58, 0, time.Local), // not yet today
		"2026-11-20":                    time.Date(2026, 11, 20, 0, 0, 0, 0, time.Local),
		"2026-11-20 10:00":              time.Date(2026, 11, 20, 10, 0, 0, 0, time.Local),
		"2026-11-20 10:00:01":           time.Date(2026, 11, 20, 10, 0, 1, 0, time.Local),
		"2026-11-20T10:00:00":           time.Date(2026, 11, 20, 10, 0, 0, 0, time.Local),
		"2026-11-20-10:00:00":           time.Date(2026, 11, 20, 10, 0, 0, 0, time.Local), // as --timestamp prints it
		"2026-11-20T10:00:00Z":          time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC),
		"2026-11-20T10:00:00.250+02:00": time.Date(2026, 11, 20, 8, 0, 0, 250e6, time.UTC),
	} {
		if got, err := logTime("--since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for text, word := range map[string]string{
		"": "want an age", "10": "want an age", "5x": "want an age", "m": "want an age", "-5m": "want an age", "1..2h": "want an age",
		"9999999999999999999d": "want an age", "25:00": "want an age", "2026-13-01": "want an age", "2026-11-23": "in the future",
	} {
		if _, err := logTime("--since", text, now); err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "--since") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
