package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// crashApps are as many as let each live longer than a second although they are killed in turn all the time.
	crashApps = 12
	// stable is how long an app lives before it is killed: longer than the min_uptime (1 s) of gopm and pm2.
	stable = 1200 * time.Millisecond
	// rest is how long the machine is left alone between two crashes.
	rest = 50 * time.Millisecond
	// respawn is the longest time allowed for a successor.
	respawn = 10 * time.Second
)

// crash measures the time from kill -9 of one idle app, each of crashApps in turn, to the first instruction of its successor.
func crash(ctx context.Context, b *bench, _ int) error {
	half := b.report.figure("crash to successor", "ms")
	tail := b.report.figure("crash, p90", "ms")
	tail.pick = p90
	lives := b.beginAll(ctx, crashApps)
	b.crashInTurn(ctx, lives, half, tail)
	return nil
}

// crashInTurn kills one app of each life after the other, and ends the lives.
func (b *bench) crashInTurn(ctx context.Context, lives map[string]*life, figures ...*figure) {
	defer b.endAll(lives)
	for i := range b.size.calls {
		for _, m := range b.turn(i) {
			l := lives[m.name()]
			if l == nil || ctx.Err() != nil {
				continue
			}
			took, ok := l.kill(ctx, l.apps[i%crashApps].name)
			if !ok {
				b.report.problem(m.name(), "app killed with SIGKILL: no successor within %v", respawn)
				b.end(l)
				delete(lives, m.name())
				continue
			}
			for _, f := range figures {
				f.add(m.name(), took)
			}
		}
	}
	pause(ctx, rest)
	for _, l := range lives {
		if wrong := l.stamps.wrong(crashApps, crashApps+b.size.calls, alive); wrong != "" && ctx.Err() == nil {
			b.report.problem(l.name(), "after %d crashes: %s", b.size.calls, wrong)
		}
	}
}

// kill ends an app that has lived long enough and returns the milliseconds to its successor's own stamp.
func (l *life) kill(ctx context.Context, name string) (float64, bool) {
	old := l.stamps.latest("start")[name]
	pause(ctx, max(rest, stable-time.Duration(now()-old.at)))
	began := now()
	if unix.Kill(old.pid, unix.SIGKILL) != nil {
		return 0, false
	}
	var next stamp
	// The step is coarse on purpose: the time is in the stamp, and looking takes a core away.
	ok := wait(ctx, respawn, 3*time.Millisecond, func() bool {
		next = l.stamps.latest("start")[name]
		return next.pid != old.pid
	})
	return milliseconds(began, next.at), ok
}
