package ecosystem

import (
	"strings"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	must(t, err)
	tests := []struct{ text, from, want string }{
		{"0 3 * * *", "2026-05-01T02:59:59.5+02:00", "2026-05-01T03:00:00+02:00"},
		{"0 3 * * *", "2026-05-01T03:00:00+02:00", "2026-05-02T03:00:00+02:00"},
		{"*/15 * * * *", "2026-05-01T03:14:59+02:00", "2026-05-01T03:15:00+02:00"},
		{"*/10 * * * * *", "2026-05-01T03:00:01+02:00", "2026-05-01T03:00:10+02:00"},
		{" 0  0 * * 7 ", "2026-05-01T00:00:00+02:00", "2026-05-03T00:00:00+02:00"}, // a Sunday
		{"0 0 * * 5-7", "2026-05-02T12:00:00+02:00", "2026-05-03T00:00:00+02:00"},
		{"0 0 * * 7-7,mon", "2026-05-03T12:00:00+02:00", "2026-05-04T00:00:00+02:00"},
		{"0 0 13 * 5", "2026-05-02T12:00:00+02:00", "2026-05-08T00:00:00+02:00"}, // either day is enough
		{"0 0 29 2 *", "2026-05-02T12:00:00+02:00", "2028-02-29T00:00:00+01:00"},
		{"@daily", "2026-05-01T10:00:00+02:00", "2026-05-02T00:00:00+02:00"},
		{"@every 90m", "2026-05-01T10:00:00+02:00", "2026-05-01T11:30:00+02:00"},
		{"@every 1d", "2026-05-01T10:00:00+02:00", "2026-05-02T10:00:00+02:00"},
		// Clocks go from 02:00 to 03:00 on March 29th: what is due between is due then, once.
		{"30 2 * * *", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"*/20 2 * * *", "2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"},
		{"*/20 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"},
		{"0 2,3 * * *", "2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"},
		{"0 2,3 * * *", "2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"},
		{"0 * * * *", "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"*/30 * * * *", "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"},
		// And from 03:00 back to 02:00 on October 25th: 02:30 comes twice, and is due once.
		{"30 2 * * *", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"30 2 * * *", "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"15,45 2 * * *", "2026-10-25T02:15:00+02:00", "2026-10-25T02:45:00+02:00"},
		{"15,45 2 * * *", "2026-10-25T02:45:00+02:00", "2026-10-26T02:15:00+01:00"},
		{"0 3 * * *", "2026-10-25T02:59:00+02:00", "2026-10-25T03:00:00+01:00"},
		{"0 * * * *", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"},
		{"*/30 * * * *", "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00"},
		// A schedule may be of another zone: in New York clocks are changed on March 8th and November 1st, at 2.
		{"CRON_TZ=America/New_York 30 2 * * *", "2026-03-08T06:59:00+01:00", "2026-03-08T08:00:00+01:00"},
		{"CRON_TZ=America/New_York 30 2 * * *", "2026-03-08T08:00:00+01:00", "2026-03-09T07:30:00+01:00"},
		{"TZ=America/New_York 30 1 * * *", "2026-11-01T06:00:00+01:00", "2026-11-01T06:30:00+01:00"},
		{"TZ=America/New_York 30 1 * * *", "2026-11-01T06:30:00+01:00", "2026-11-02T07:30:00+01:00"},
		{"TZ=America/New_York 30 * * * *", "2026-11-01T06:30:00+01:00", "2026-11-01T07:30:00+01:00"},
		{"CRON_TZ=UTC @daily", "2026-07-01T10:00:00+02:00", "2026-07-02T02:00:00+02:00"},
		{"CRON_TZ=Asia/Tokyo 0 9 * * 1", "2026-07-01T10:00:00+02:00", "2026-07-06T02:00:00+02:00"},
		{"CRON_TZ=Australia/Lord_Howe 15 2 * * *", "2026-10-03T12:00:00Z", "2026-10-03T17:30:00+02:00"}, // by half an hour
	}
	for _, test := range tests {
		s, err := ParseSchedule(test.text)
		must(t, err)
		from, err := time.Parse(time.RFC3339, test.from)
		must(t, err)
		if got := s.Next(from.In(berlin)).Format(time.RFC3339); got != test.want {
			t.Errorf("%q after %s: %s, want %s", test.text, test.from, got, test.want)
		}
	}
	if next := (Schedule{}).Next(time.Now()); !next.IsZero() {
		t.Errorf("a schedule of no text is due at %v", next)
	}
}

func TestScheduleErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                    "it is empty",
		"x":                   "1 fields",
		"* * * *":             "4 fields",
		"* * * * * * *":       "7 fields",
		"61 * * * *":          "61",
		"*/0 * * * *":         "0",
		"0 0 L * *":           "L",
		"0 0 30 2 *":          "never comes",
		"@reboot":             "@reboot",
		"@every":              "after @every",
		"@every 10":           "after @every",
		"@every -5m":          "after @every",
		"TZ=0 * * * * *":      `no time zone "0"`,
		"TZ= * * * * *":       `no time zone ""`,
		"CRON_TZ=UTC * * * *": "4 fields",
		"CRON_TZ=UTC":         "it is empty",
		"@":                   "@",
	} {
		_, err := ParseSchedule(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "want a schedule like") {
			t.Errorf("%q: %v, want an error that says %q", text, err, want)
		}
	}
}

// FuzzSchedule: whatever the text, parsing ends, and what it takes is due after
// any time, once, and not at the same time again.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"0 3 * * *", "*/10 * * * * *", "@every 1h", "@daily", "TZ=x", "0 0 * * 5-7", "1-2-3 * * * *", "? ? ? ? ?", "0 0 29 FEB 7/2"} {
		f.Add(s, int64(1767225600))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		from := time.Unix(unix%(200*365*24*3600), 0).UTC()
		first := s.Next(from)
		if first.IsZero() {
			return // the next leap year may be more than five years away
		}
		if second := s.Next(first); !first.After(from) || !second.IsZero() && !second.After(first) {
			t.Errorf("%q: after %v comes %v, then %v", text, from, first, second)
		}
	})
}
