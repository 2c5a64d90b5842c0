package ecosystem

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when something is due: at rotate_interval's times, for one.
type Schedule struct{ next cron.Schedule }

// ParseSchedule reads a schedule: five fields of cron (minute, hour, day of the
// month, month, day of the week), six with the seconds first, "@hourly", "@daily",
// "@weekly", "@monthly", "@yearly", or "@every 90m". Sunday is 0 and 7. When both
// days are restricted either is enough, as in every cron.
func ParseSchedule(text string) (Schedule, error) {
	bad := func(cause string) (Schedule, error) {
		return Schedule{}, fmt.Errorf(`want a schedule like "0 3 * * *" (minute hour day month weekday), "@daily" or "@every 1h", got %s: %s`, quote(text), cause)
	}
	fields := strings.Fields(text)
	switch {
	case len(fields) == 0:
		return bad("it is empty")
	case strings.HasPrefix(fields[0], "TZ="), strings.HasPrefix(fields[0], "CRON_TZ="):
		return bad("a time zone can't be in it, schedules run in the daemon's local time")
	case strings.HasPrefix(fields[0], "@every"):
		every, err := parseDuration(textNode(strings.Join(fields[1:], "")))
		if err != nil || len(fields) < 2 || every < time.Second {
			return bad(`after @every it wants at least a second, like "30s" or "1h"`)
		}
		return Schedule{cron.Every(every)}, nil
	case fields[0][0] != '@' && len(fields) != 5 && len(fields) != 6:
		return bad(fmt.Sprintf("it has %d fields, not 5 or 6", len(fields)))
	case fields[0][0] != '@':
		fields[len(fields)-1] = sundays(fields[len(fields)-1])
	}
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	parsed, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return bad(err.Error())
	}
	// From the beginning of a leap year: the library looks five years ahead.
	if parsed.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return bad("that day never comes")
	}
	return Schedule{parsed}, nil
}

// sundays writes the Sundays of a field of weekdays as 0: the library knows no 7.
func sundays(field string) string {
	days := strings.Split(field, ",")
	for i, day := range days {
		from, isRange := strings.CutSuffix(day, "-7")
		switch {
		case day == "7", isRange && from == "7":
			days[i] = "0"
		case isRange:
			days[i] = from + "-6,0"
		}
	}
	return strings.Join(days, ",")
}

// Next is the first time after t that is due, in t's time zone. On the days when
// clocks are changed, a time that is skipped is not due that day (02:30 in spring),
// and one that comes twice is due twice (02:30 in autumn); "@every" knows no clock.
// A Schedule of no text is never due: the zero time.
func (s Schedule) Next(t time.Time) time.Time {
	if s.next == nil {
		return time.Time{}
	}
	return s.next.Next(t)
}
