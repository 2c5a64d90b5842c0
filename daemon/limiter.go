package daemon

import (
	"fmt"
	"slices"
	"time"
)

// limiter restarts instances that pass their app's max_memory_restart: the whole
// tree, twice in a row. While no app has a limit it has no goroutine and no timer.
type limiter struct {
	worker
	d     *Daemon
	every time.Duration
}

const memoryInterval = 5 * time.Second

func newLimiter(d *Daemon) *limiter { return &limiter{d: d, every: memoryInterval} }

// look starts or ends the measuring, after the table has changed.
func (l *limiter) look() {
	l.keep(slices.ContainsFunc(l.d.table.Load().apps, func(a *app) bool { return a.spec.Restart.MaxMemory > 0 }), l.run)
}

func (l *limiter) run(stop <-chan struct{}) {
	ticker := time.NewTicker(l.every)
	defer ticker.Stop()
	over := map[*instance]uint64{} // the incarnation that was over its limit at the last look
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			over = l.measure(over)
		}
	}
}

// measure looks at every instance with a limit and restarts those that were over
// it the last time, too.
func (l *limiter) measure(before map[*instance]uint64) map[*instance]uint64 {
	over := map[*instance]uint64{}
	for _, a := range l.d.table.Load().apps {
		limit := a.spec.Restart.MaxMemory
		if limit <= 0 {
			continue
		}
		for _, in := range a.instances {
			s := in.proc.Snapshot()
			if s.Pid == 0 {
				continue
			}
			used := treeMemory(tree(s.Pid))
			switch {
			case used <= limit:
			case before[in] == s.Incarnation:
				cause := fmt.Sprintf("memory %s > %s", megabytes(used), megabytes(limit))
				in.because(byMemory, s.Incarnation)
				in.proc.Restart(cause)
			default:
				over[in] = s.Incarnation
			}
		}
	}
	return over
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }
