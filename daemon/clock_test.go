package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gopm/ecosystem"
)

// wall is a clock on the wall with an agenda whose owner naps as it says.
type wall struct {
	agenda
	list []dated
	now  time.Time
	done []string // what was due, each with the time that the clock showed then
}

func clockIn(t *testing.T, zone, now string, schedules ...string) *wall {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	w := &wall{}
	if w.now, err = time.ParseInLocation(time.DateTime, now, loc); err != nil {
		t.Fatal(err)
	}
	for i, s := range schedules {
		w.list = append(w.list, dated{string(rune('a' + i)), s})
	}
	w.look()
	return w
}

func (w *wall) look() time.Duration {
	due, next := w.due(w.list, w.now)
	for _, name := range due {
		w.done = append(w.done, name+" "+w.now.Format("01-02 15:04:05 MST"))
	}
	return next
}

// pass lets time pass.
func (w *wall) pass(d time.Duration) {
	for end := w.now.Add(d); ; {
		nap := w.look()
		if w.now.Add(nap).After(end) {
			w.now = end
			w.look()
			return
		}
		w.now = w.now.Add(nap)
	}
}

// jump sets the clock while nobody looks.
func (w *wall) jump(d time.Duration) {
	w.now = w.now.Add(d)
	w.look()
}

func (w *wall) want(t *testing.T, done ...string) {
	t.Helper()
	if !slices.Equal(w.done, done) {
		t.Errorf("done:\n%s\nwant:\n%s", strings.Join(w.done, "\n"), strings.Join(done, "\n"))
	}
	w.done = nil
}

const day = 24 * time.Hour

func TestAgenda(t *testing.T) {
	t.Parallel()
	w := clockIn(t, "UTC", "2026-01-01 01:59:30", "0 * * * *", "30 2 * * *")
	w.want(t) // the first look only plans
	if next := w.look(); next != 30*time.Second {
		t.Errorf("it is %v to 02:00", next)
	}
	w.pass(2 * time.Hour)
	w.want(t, "a 01-01 02:00:00 UTC", "b 01-01 02:30:00 UTC", "a 01-01 03:00:00 UTC")
	if next := w.look(); next != 30*time.Second {
		t.Errorf("it is %v to 04:00", next)
	}
	w.list = []dated{{"a", "15 * * * *"}, {"b", "30 2 * * *"}} // another schedule is planned anew
	w.pass(time.Hour)
	w.want(t, "a 01-01 04:15:00 UTC")
	w.list = w.list[1:] // what is deleted, and comes again much later, too
	w.pass(time.Hour)
	w.list = []dated{{"a", "15 * * * *"}}
	w.jump(12 * time.Hour)
	w.want(t)
	if len(w.planned) != 1 {
		t.Errorf("%d are planned, want 1", len(w.planned))
	}
}

// On the days when clocks are changed what is due at some hours is due once, and what is
// due in every hour goes on.
func TestAgendaWhenClocksAreChanged(t *testing.T) {
	t.Parallel()
	spring := clockIn(t, "Europe/Berlin", "2026-03-28 02:45:00", "30 2 * * *")
	spring.pass(2 * day)
	spring.want(t, "a 03-29 03:00:00 CEST", "a 03-30 02:30:00 CEST")

	autumn := clockIn(t, "Europe/Berlin", "2026-10-24 02:45:00", "30 2 * * *")
	autumn.pass(2*day + time.Hour)
	autumn.want(t, "a 10-25 02:30:00 CEST", "a 10-26 02:30:00 CET")

	hourly := clockIn(t, "Europe/Berlin", "2026-10-25 01:15:00", "0 * * * *")
	hourly.pass(4 * time.Hour)
	hourly.want(t, "a 10-25 02:00:00 CEST", "a 10-25 02:00:00 CET", "a 10-25 03:00:00 CET", "a 10-25 04:00:00 CET")

	york := clockIn(t, "America/New_York", "2026-03-07 12:00:00", "30 2 * * *", "*/30 * * * *")
	york.list = york.list[:1]
	york.pass(2 * day)
	york.want(t, "a 03-08 03:00:00 EDT", "a 03-09 02:30:00 EDT")

	back := clockIn(t, "America/New_York", "2026-10-31 12:00:00", "30 1 * * *")
	back.pass(2 * day)
	back.want(t, "a 11-01 01:30:00 EDT", "a 11-02 01:30:00 EST")

	// Clocks in New York have been changed, those in Berlin not yet.
	abroad := clockIn(t, "Europe/Berlin", "2026-03-14 12:00:00", "CRON_TZ=America/New_York 0 9 * * *", "0 9 * * *")
	abroad.pass(day)
	abroad.want(t, "a 03-14 14:00:00 CET", "b 03-15 09:00:00 CET")
}

// While a machine sleeps nothing is due; afterwards what was missed is made up for once.
func TestAgendaAfterSleep(t *testing.T) {
	t.Parallel()
	w := clockIn(t, "Europe/Berlin", "2026-05-01 22:00:00", "0 3 * * *", "* * * * *", "@every 1h")
	w.list = w.list[:1]
	w.jump(3 * day)
	w.want(t, "a 05-04 22:00:00 CEST")
	w.pass(day)
	w.want(t, "a 05-05 03:00:00 CEST")

	often := clockIn(t, "UTC", "2026-05-01 22:00:30", "* * * * *", "@every 1h")
	often.jump(10 * time.Hour)
	often.want(t, "a 05-02 08:00:30 UTC", "b 05-02 08:00:30 UTC")
	often.pass(time.Minute)
	often.want(t, "a 05-02 08:01:00 UTC")
}

// A clock that is set back makes nothing be done again, if it isn't set back by more
// than there is between two times: then it goes by the new time.
func TestAgendaWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	w := clockIn(t, "UTC", "2026-05-01 02:58:30", "0 3 * * *", "* * * * *")
	w.pass(91 * time.Second)
	w.want(t, "b 05-01 02:59:00 UTC", "a 05-01 03:00:00 UTC", "b 05-01 03:00:00 UTC")
	w.jump(-10 * time.Second) // as NTP may do
	w.pass(30 * time.Second)
	w.want(t)                // neither again
	w.jump(-5 * time.Minute) // by hand
	w.pass(2 * time.Minute)
	w.want(t, "b 05-01 02:56:00 UTC", "b 05-01 02:57:00 UTC") // each minute goes on, the night is over
	w.pass(day + time.Hour)
	if got := slices.DeleteFunc(w.done, func(s string) bool { return s[0] == 'b' }); !slices.Equal(got, []string{"a 05-02 03:00:00 UTC"}) {
		t.Errorf("done: %v", got)
	}
	w.done = nil
	w.list = w.list[:1]
	w.jump(-30 * day) // it was a month ahead
	w.pass(day)
	w.want(t, "a 04-03 03:00:00 UTC")
}

// The next daemon goes on with what was planned: what came due while there was none is
// due now, if that is not long ago.
func TestAgendaIsResumed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		planned, now, schedule string
		want                   []string
	}{
		{"2026-05-01 03:00:00", "2026-05-01 03:00:02", "0 3 * * *", []string{"a 05-01 03:00:02 UTC"}},
		{"2026-05-01 03:00:00", "2026-05-01 02:59:58", "0 3 * * *", []string{"a 05-01 03:00:00 UTC"}},
		{"2026-05-01 03:00:00", "2026-05-01 09:00:00", "0 3 * * *", nil},
		{"2026-05-01 03:20:00", "2026-05-01 03:10:00", "@every 1h", []string{"a 05-01 03:20:00 UTC"}}, // since it was begun
		{"2026-05-09 03:20:00", "2026-05-01 03:10:00", "@every 1h", nil},                              // the clock was set back
		{"2026-05-01 03:00:00", "2026-05-01 03:00:02", "x", nil},
		{"0001-01-01 00:00:00", "2026-05-01 03:00:02", "0 3 * * *", nil},
	} {
		w := clockIn(t, "UTC", test.now)
		planned, err := time.ParseInLocation(time.DateTime, test.planned, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		w.list = []dated{{"a", test.schedule}}
		w.resume(w.list[0], planned, w.now)
		w.pass(30 * time.Minute)
		w.want(t, test.want...)
	}
}

// FuzzAgenda: however the clock is set, nothing is due twice in the same minute of it
// but after it was set back by more than that, and naps are bounded.
func FuzzAgenda(f *testing.F) {
	f.Add(int64(1777593600), int16(-3), int16(61), "* * * * *")
	f.Add(int64(1777593600), int16(3600), int16(-59), "*/5 2 * * *")
	f.Add(int64(1792890000), int16(-3600), int16(1800), "30 2 * * *")
	f.Fuzz(func(t *testing.T, unix int64, first, second int16, schedule string) {
		if s, err := ecosystem.ParseSchedule(schedule); err != nil || len(strings.Fields(schedule)) != 5 || s.Next(time.Unix(1777593600, 0)).IsZero() {
			return
		}
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		w := &wall{list: []dated{{"a", schedule}}, now: time.Unix(unix%(1<<33), 0).In(berlin)}
		w.pass(3 * time.Minute)
		for _, seconds := range []int16{first % 60, second % 60} { // less than there is between two times
			w.jump(time.Duration(seconds) * time.Second)
			for range 200 {
				nap := w.look()
				if nap < 0 || nap > clockNap {
					t.Fatalf("a nap of %v", nap)
				}
				w.now = w.now.Add(max(nap, time.Second))
			}
		}
		seen := map[string]bool{}
		for _, done := range w.done {
			minute := done[:len("a 01-02 15:04")] + done[len(done)-4:]
			if seen[minute] {
				t.Fatalf("%s: twice in the minute %s: %s", schedule, minute, fmt.Sprint(w.done))
			}
			seen[minute] = true
		}
	})
}
