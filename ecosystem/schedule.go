package ecosystem

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // containers and small machines have no time zones of their own

	"github.com/robfig/cron/v3"
)

// Schedule says when something is due: at rotate_interval's times, for one.
type Schedule struct {
	next  cron.Schedule
	zone  *time.Location // nil: that of the time that is asked about
	fixed bool           // at some hours of the day, by the clock on the wall
}

// ParseSchedule reads a schedule: five fields of cron (minute, hour, day of the
// month, month, day of the week), six with the seconds first, "@hourly", "@daily",
// "@weekly", "@monthly", "@yearly", or "@every 90m". Sunday is 0 and 7. When both
// days are restricted either is enough, as in every cron. "CRON_TZ=Europe/Berlin "
// before it names the time zone that is meant.
func ParseSchedule(text string) (Schedule, error) {
	bad := func(cause string) (Schedule, error) {
		return Schedule{}, fmt.Errorf(`want a schedule like "0 3 * * *" (minute hour day month weekday), "@daily" or "@every 1h", got %s: %s`, quote(text), cause)
	}
	fields, zone, err := takeZone(strings.Fields(text))
	switch {
	case err != nil:
		return bad(err.Error())
	case len(fields) == 0:
		return bad("it is empty")
	case strings.HasPrefix(fields[0], "@every"):
		every, err := parseDuration(textNode(strings.Join(fields[1:], "")))
		if err != nil || len(fields) < 2 || every < time.Second {
			return bad(`after @every it wants at least a second, like "30s" or "1h"`)
		}
		return Schedule{next: cron.Every(every)}, nil
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
	const everyHour = 1<<24 - 1
	spec, is := parsed.(*cron.SpecSchedule)
	return Schedule{next: parsed, zone: zone, fixed: is && spec.Hour&everyHour != everyHour}, nil
}

// takeZone takes the time zone from the fields of a schedule; nil: it names none.
func takeZone(fields []string) (rest []string, zone *time.Location, err error) {
	if len(fields) == 0 {
		return nil, nil, nil
	}
	name, is := strings.CutPrefix(strings.TrimPrefix(fields[0], "CRON_"), "TZ=")
	if !is {
		return fields, nil, nil
	}
	if zone, err = time.LoadLocation(name); err != nil || name == "" {
		return nil, nil, fmt.Errorf("no time zone %s: want one like CRON_TZ=Europe/Berlin or CRON_TZ=UTC", quote(name))
	}
	return fields[1:], zone, nil
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

// Next is the first time after t that is due, in t's time zone if the schedule names
// none. On the days when clocks are changed, what is due at some hours of the day is due
// once: a time that is skipped (02:30 in spring) as soon as the clocks have been
// changed, and one that comes twice (02:30 in autumn) the first time. What is due in
// every hour goes on without regard to that, and "@every" knows no clock. A Schedule of
// no text is never due: the zero time.
func (s Schedule) Next(t time.Time) time.Time {
	if s.next == nil {
		return time.Time{}
	}
	zone := s.zone
	if zone == nil {
		zone = t.Location()
	}
	if !s.fixed {
		return s.next.Next(t.Round(0).In(zone)).In(t.Location())
	}
	// The clock on the wall is asked, and what it shows is looked for in the zone.
	for wall := onWall(t.In(zone)); ; {
		if wall = s.next.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if due := ofWall(wall, zone); due.After(t) { // else it is the second time that clocks show this
			return due.In(t.Location())
		}
	}
}

// onWall is what a clock on the wall shows at t, as a time of UTC.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// ofWall is when clocks in a zone first show that, or something later.
func ofWall(wall time.Time, zone *time.Location) time.Time {
	// An offset that is or was in force within a day gives the time, if there is one.
	at := time.Time{}
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(near).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if onWall(t).Equal(wall) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if !at.IsZero() {
		return at
	}
	// There is none: the clocks were put forward over it.
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	begin, end := t.ZoneBounds()
	if onWall(t).Before(wall) {
		return end
	}
	return begin
}
