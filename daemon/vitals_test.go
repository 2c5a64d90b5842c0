package daemon

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gopm/daemon/api"
)

// sick is a run under observation in a world whose clock moves from check to check.
type sick struct {
	t       *testing.T
	r       regimen
	v       vitals
	started time.Time
	now     time.Time
	awaited bool
}

func newSick(t *testing.T, r regimen) *sick {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r.epoch = at.Add(-time.Hour)
	return &sick{t: t, r: r, v: newVitals(1, at, at, r), started: at, now: at}
}

// check makes the check that is due; it takes no time.
func (s *sick) check(f finding) turn {
	s.t.Helper()
	if s.v.due.Before(s.now) {
		s.t.Fatalf("the next check is due at %v, and it is %v", s.v.due, s.now)
	}
	s.now = s.v.due
	f.began, f.ended = s.now, s.now
	next, turned := s.v.after(f, s.started, s.awaited, s.r)
	s.v = next
	return turned
}

// failing checks until the run is unhealthy, and gives how long after its start that was.
func (s *sick) failing() time.Duration {
	s.t.Helper()
	for range 1000 {
		if s.check(finding{why: "it is dead"}) == nowUnhealthy {
			return s.now.Sub(s.started)
		}
	}
	s.t.Fatal("it never becomes unhealthy")
	return 0
}

func ten() regimen { return regimen{interval: 10 * time.Second, retries: 3, phase: 0.3} }

func TestTheFirstPassMakesHealthy(t *testing.T) {
	t.Parallel()
	s := newSick(t, ten())
	for range 5 {
		if turned := s.check(finding{why: "refused"}); turned != asBefore || s.v.state != api.HealthUnknown || s.v.why != "refused" {
			t.Fatalf("a failure at the start: %v, %+v", turned, s.v)
		}
	}
	if s.now.Sub(s.started) > 2*time.Second {
		t.Errorf("five looks at a young run took %v: it may be ready at any moment", s.now.Sub(s.started))
	}
	if turned := s.check(finding{}); turned != nowHealthy || s.v.state != api.HealthHealthy || s.v.why != "" || s.v.row != 0 {
		t.Errorf("a pass: %v, %+v", turned, s.v)
	}
	if turned := s.check(finding{}); turned != asBefore {
		t.Errorf("it is healthy again: %v", turned)
	}
}

// A run that never passes is unhealthy after as many intervals as there are retries, however
// often it was looked at; and not before the end of its start_period.
func TestFailuresOfTheStartAreCountedByTheInterval(t *testing.T) {
	t.Parallel()
	r := ten()
	if took := newSick(t, r).failing(); took < 30*time.Second || took > 60*time.Second {
		t.Errorf("unhealthy after %v, want three intervals of 10s, and not many more", took)
	}
	r.grace = time.Minute
	if took := newSick(t, r).failing(); took < 80*time.Second || took > 2*time.Minute {
		t.Errorf("with a start_period of a minute unhealthy after %v", took)
	}
	late := newSick(t, r)
	late.check(finding{})
	if late.check(finding{why: "dead"}); late.v.row != 0 {
		t.Error("a failure in the start_period counts")
	}
}

func TestRetriesInARow(t *testing.T) {
	t.Parallel()
	s := newSick(t, ten())
	s.check(finding{})
	bad, good := finding{why: "503"}, finding{}
	for i, step := range []struct {
		f    finding
		want turn
		row  int
	}{
		{bad, asBefore, 1}, {bad, asBefore, 2}, {good, asBefore, 0}, {bad, asBefore, 1}, {bad, asBefore, 2},
		{finding{why: "too many open files", unsure: true}, asBefore, 2},
		{bad, nowUnhealthy, 3}, {bad, asBefore, 4}, {good, nowHealthy, 0},
	} {
		if turned := s.check(step.f); turned != step.want || s.v.row != step.row {
			t.Fatalf("step %d: %v with %d in a row, want %v with %d", i, turned, s.v.row, step.want, step.row)
		}
	}
	if s.v.checks != 9 || s.v.failed != 6 {
		t.Errorf("%d of %d failed, want 6 of 9: gopm's own trouble is no check", s.v.failed, s.v.checks)
	}
}

// One that is still to say that it is ready has its ready_timeout, and nothing else.
func TestWhoIsNotReadyYetIsNotUnhealthy(t *testing.T) {
	t.Parallel()
	s := newSick(t, ten())
	s.awaited = true
	for range 50 {
		if turned := s.check(finding{why: "refused"}); turned != asBefore {
			t.Fatalf("%v after %v", turned, s.now.Sub(s.started))
		}
	}
	s.awaited = false
	from := s.now
	if s.failing(); s.now.Sub(from) < 20*time.Second {
		t.Errorf("unhealthy %v after it was ready", s.now.Sub(from))
	}
}

// Whatever the checks find, the next one is due later, and no more than one and a half
// intervals; and a regular one is where those of this instance are.
func TestAnyCourseOfHealth(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		r := regimen{interval: time.Duration(1+random.IntN(60)) * time.Second, retries: 1 + random.IntN(4), phase: random.Float64(), grace: time.Duration(random.IntN(30)) * time.Second}
		s := newSick(t, r)
		odds, sure, row := random.Float64(), false, 0
		for range 60 {
			f := finding{}
			if random.Float64() < odds {
				f = finding{why: "no", unsure: random.IntN(5) == 0}
			}
			began := s.v.due
			turned := s.check(f)
			switch {
			case f.unsure:
			case f.why == "":
				sure, row = true, 0
			default:
				row++
			}
			healthy := sure && (row == 0 || s.v.row < r.retries)
			if wait := s.v.due.Sub(began); wait <= 0 || wait > 3*r.interval/2 {
				t.Fatalf("%+v: the next check is %v after this one", r, wait)
			}
			if s.v.state != api.HealthUnknown && s.r.slot(s.v.due) != s.v.due {
				t.Fatalf("%+v: %v isn't a place of its own", r, s.v.due)
			}
			if (s.v.state == api.HealthUnhealthy) != (s.v.row >= r.retries) || s.v.state == api.HealthHealthy && !healthy || s.v.row > row {
				t.Fatalf("%+v: %+v after %v, %d failures in a row", r, s.v, turned, row)
			}
		}
	}
}

// The checks of many instances are spread over their interval, whatever their number.
func TestChecksAreSpread(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 10, 100, 500} {
		var all []float64
		for id := range n {
			p := phaseOf(id + 17)
			if p < 0 || p >= 1 {
				t.Fatalf("phase %v", p)
			}
			all = append(all, p)
		}
		slices.Sort(all)
		widest := all[0] + 1 - all[n-1]
		for i := 1; i < n; i++ {
			widest = max(widest, all[i]-all[i-1])
		}
		if even := 1 / float64(n); widest > 3*even {
			t.Errorf("%d instances: none is checked for %.4f of the interval, evenly spread it would be %.4f", n, widest, even)
		}
	}
}

// What another daemon knew is shown, but only what this one has seen counts.
func TestKnownFromBefore(t *testing.T) {
	t.Parallel()
	r := ten()
	was := vitals{inc: 4, state: api.HealthUnhealthy, why: "503", checks: 9, failed: 3, row: 3, seen: true}
	now := time.Now()
	r.epoch = now.Add(-time.Minute)
	v := was.recalled(now, r)
	if v.seen || v.state != api.HealthUnhealthy || v.checks != 9 || v.due.Before(now) || v.due.After(now.Add(r.interval)) {
		t.Errorf("recalled as %+v", v)
	}
	if v, turned := v.after(finding{why: "503", began: v.due, ended: v.due}, now, false, r); turned != asBefore || !v.seen {
		t.Errorf("still unhealthy: %v, %+v", turned, v)
	}
	if _, turned := v.after(finding{began: v.due, ended: v.due}, now, false, r); turned != nowHealthy {
		t.Errorf("a pass: %v", turned)
	}
}

// A program that runs for long when it is first looked at is nobody's who waits for it.
func TestAnOldRunIsLookedAtInItsTurn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := ten()
	r.epoch = now.Add(-time.Minute)
	if v := newVitals(1, now.Add(-time.Hour), now, r); r.slot(v.due) != v.due || v.due.After(now.Add(r.interval)) {
		t.Errorf("due in %v", v.due.Sub(now))
	}
	if v := newVitals(1, now.Add(-time.Second), now, r); !v.due.Equal(now) {
		t.Errorf("a young one: due in %v", v.due.Sub(now))
	}
}

func TestCure(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	ill := func(s int) patient { return patient{ill: true, since: at(s)} }
	for name, c := range map[string]struct {
		all  []patient
		want int
	}{
		"nobody":                              {nil, -1},
		"all are well":                        {[]patient{{}, {}}, -1},
		"one":                                 {[]patient{{}, ill(5)}, 1},
		"the one that has been ill longest":   {[]patient{ill(5), ill(3), ill(4)}, 1},
		"one is on its way back":              {[]patient{ill(5), {away: true}}, -1},
		"one has come back and is ill again":  {[]patient{ill(5), {ill: true, since: at(9), back: true}}, 1},
		"one is back, another on its way yet": {[]patient{{away: true}, {ill: true, since: at(9), back: true}}, -1},
	} {
		if got := cure(c.all); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
