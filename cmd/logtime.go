package cmd

import (
	"strconv"
	"strings"
	"time"
)

// logTime reads a time as a person gives it to an option.
func logTime(option, text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if age, ok := parseAge(text); ok {
		return now.Add(-age), nil
	}
	if t, ok := timeOfDay(text, now); ok {
		return t, nil
	}
	for _, layout := range dateLayouts() {
		t, err := time.ParseInLocation(layout, text, time.Local)
		if err != nil {
			continue
		}
		if t.After(now) {
			return t, usagef("%s %s is in the future; it is %s now", option, text, now.Format("2006-01-02 15:04:05"))
		}
		return t, nil
	}
	return now, usagef("%s %q: want an age (30s, 10m, 2h, 1d), a time of day (10:30) or a date (2026-11-22, \"2026-11-22 10:00\", 2026-11-22T10:00:00Z)", option, text)
}

// dateLayouts are without fractions of a second: package time takes them anyway.
func dateLayouts() []string {
	return []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02-15:04:05",
		"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
		"2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02T15:04Z07:00",
	}
}

// timeOfDay is the last time it was that late.
func timeOfDay(text string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{"15:04", "15:04:05"} {
		d, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		year, month, day := now.Date()
		t := time.Date(year, month, day, d.Hour(), d.Minute(), d.Second(), d.Nanosecond(), now.Location())
		if t.After(now) {
			t = time.Date(year, month, day-1, d.Hour(), d.Minute(), d.Second(), d.Nanosecond(), now.Location())
		}
		return t, true
	}
	return time.Time{}, false
}

// parseAge reads 90s, 1h30m, 2d, 1.5w.
func parseAge(text string) (total time.Duration, ok bool) {
	const most = 100 * 365 * 24 * time.Hour
	for text != "" {
		digits := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if digits <= 0 {
			return 0, false
		}
		n, err := strconv.ParseFloat(text[:digits], 64)
		rest := strings.TrimLeft(text[digits:], "abcdefghijklmnopqrstuvwxyz")
		unit, known := ageUnit(text[digits : len(text)-len(rest)])
		if err != nil || !known || n > float64(most/unit) {
			return 0, false
		}
		if total += time.Duration(n * float64(unit)); total > most {
			return 0, false
		}
		text = rest
		ok = true
	}
	return total, ok
}

func ageUnit(name string) (time.Duration, bool) {
	switch name {
	case "ms":
		return time.Millisecond, true
	case "s", "sec":
		return time.Second, true
	case "m", "min":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	case "w":
		return 7 * 24 * time.Hour, true
	}
	return 0, false
}
