package daemon

import (
	"slices"
	"time"

	"gopm/daemon/api"
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
// a flood of them is no flood of looks.
const janitorPause = 250 * time.Millisecond

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
		due, next := plans.due(rotations(apps), time.Now())
		for _, a := range apps {
			if slices.Contains(due, a.spec.Name) {
				j.rotate(a, stop)
			}
		}
		j.trim(apps)
		select {
		case <-stop:
			return
		case <-time.After(janitorPause):
		}
		timer := time.NewTimer(next)
		select {
		case <-stop:
		case <-j.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// rotations are the times at which logs are to be rotated.
func rotations(apps []*app) (list []dated) {
	for _, a := range apps {
		if text := a.spec.Logs.RotateInterval; text != "" {
			list = append(list, dated{a.spec.Name, text})
		}
	}
	return list
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
				j.d.tell(in.event(api.EventLog, "cannot rotate its log: %v", err))
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
			j.d.tell(appEvent(a.spec.Name, api.EventLog, "cannot keep its logs below max_total_size: %v", err))
		}
		if freed > 0 {
			j.d.tell(appEvent(a.spec.Name, api.EventLog, "rotated logs of %d bytes were deleted: max_total_size", freed))
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
