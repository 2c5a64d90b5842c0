package daemon

import (
	"maps"
	"slices"
	"time"

	"gopm/ecosystem"
	"gopm/logs"
)

// janitor rotates logs at the times of rotate_interval, one after the other, and
// keeps all log files of an app below its max_total_size. While no app asks for
// either it has no goroutine.
type janitor struct {
	worker
	d    *Daemon
	wake chan struct{} // one place: the table has changed, or a log was rotated
}

// janitorPause is how long rotations are left to themselves after a look, so that
// a flood of them is no flood of looks; janitorNap how often the clock on the wall
// is looked at, which may be set.
const (
	janitorPause = 250 * time.Millisecond
	janitorNap   = time.Minute
)

func newJanitor(d *Daemon) *janitor { return &janitor{d: d, wake: make(chan struct{}, 1)} }

// look begins or ends the work, after the table has changed.
func (j *janitor) look() {
	j.keep(slices.ContainsFunc(j.d.table.Load().apps, func(a *app) bool {
		return a.spec.Logs.RotateInterval != "" || a.spec.Logs.MaxTotal > 0
	}), j.run)
	j.poke()
}

func (j *janitor) poke() {
	select {
	case j.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

func (j *janitor) run(stop <-chan struct{}) {
	defer j.d.pump.Rotated(func(*logs.Stream) { j.poke() })()
	plans := agenda{}
	for {
		apps := j.d.table.Load().apps
		due, next := plans.due(apps, time.Now())
		for _, a := range due {
			j.rotate(a, stop)
		}
		j.trim(apps)
		select {
		case <-stop:
			return
		case <-time.After(janitorPause):
		}
		timer := time.NewTimer(min(next, janitorNap))
		select {
		case <-stop:
		case <-j.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (j *janitor) rotate(a *app, stop <-chan struct{}) {
	for _, in := range a.instances {
		for _, s := range []*logs.Stream{in.out, in.err} {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Rotate(); err != nil && in.app.Load() != nil {
				j.d.log("%s:%d (id %d) cannot rotate its log: %v", in.name, in.index, in.id, err)
			}
		}
	}
}

func (j *janitor) trim(apps []*app) {
	for _, a := range apps {
		most := a.spec.Logs.MaxTotal
		if most <= 0 {
			continue
		}
		freed, err := logs.Trim(a.logPaths(), most)
		if err != nil {
			j.d.log("%s: cannot keep its logs below max_total_size: %v", a.spec.Name, err)
		}
		if freed > 0 {
			j.d.log("%s: rotated logs of %d bytes were deleted: max_total_size", a.spec.Name, freed)
		}
	}
}

// logPaths are the files that an app's instances write to.
func (a *app) logPaths() []string {
	var paths []string
	for _, in := range a.instances {
		for _, s := range []*logs.Stream{in.out, in.err} {
			st := s.Stats()
			for _, path := range []string{st.Path, st.Also} {
				if path != "" {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
}

// agenda is when each app's logs are to be rotated next.
type agenda map[string]appointment

type appointment struct {
	interval string
	at       time.Time
}

// due is whose time has come, and how long it is to the next one. A rotation that
// was missed, because the machine slept, is made up for once.
func (g agenda) due(apps []*app, now time.Time) (due []*app, next time.Duration) {
	next = janitorNap
	before := maps.Clone(g)
	clear(g) // of apps that are gone
	for _, a := range apps {
		name, interval := a.spec.Name, a.spec.Logs.RotateInterval
		if interval == "" {
			continue
		}
		schedule, err := ecosystem.ParseSchedule(interval)
		if err != nil {
			continue // a file with that is refused
		}
		p := before[name]
		switch {
		case p.interval != interval:
			p = appointment{interval, schedule.Next(now)}
		case !now.Before(p.at):
			due = append(due, a)
			p.at = schedule.Next(now)
		}
		g[name] = p
		next = min(next, max(0, p.at.Sub(now)))
	}
	return due, next
}
