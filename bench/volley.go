package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// volley measures the time from the first kill -9 of n idle apps, all at once, to the first instruction of the
// last successor.
func volley(ctx context.Context, b *bench, n int) error {
	all := b.report.figure("crash of "+apps(n)+" at once", "ms")
	lives := b.beginAll(ctx, n)
	defer b.endAll(lives)
	for round := range b.size.volleys {
		for _, m := range b.turn(round) {
			l := lives[m.name()]
			if l == nil || ctx.Err() != nil {
				continue
			}
			took, wrong := l.killAll(ctx, n*(round+2))
			if wrong != "" && ctx.Err() == nil {
				b.report.problem(m.name(), "%s killed at once: %s", apps(n), wrong)
				b.end(l)
				delete(lives, m.name())
				continue
			}
			all.add(m.name(), took)
		}
	}
	return nil
}

// killAll ends all apps when the youngest has lived long enough, and returns the milliseconds to the last
// of the starts, of which there must be so many then, or what is wrong.
func (l *life) killAll(ctx context.Context, starts int) (float64, string) {
	old := l.stamps.latest("start")
	var youngest int64
	pids := make([]int, 0, len(old))
	for _, one := range old {
		youngest = max(youngest, one.at)
		pids = append(pids, one.pid)
	}
	pause(ctx, max(rest, stable-time.Duration(now()-youngest)))
	began := now()
	for _, pid := range pids {
		unix.Kill(pid, unix.SIGKILL)
	}
	// Coarse, as in kill: the times are in the stamps.
	wait(ctx, respawn, 5*time.Millisecond, func() bool { return l.stamps.count("start") >= starts })
	var last int64
	for _, one := range l.stamps.latest("start") {
		last = max(last, one.at)
	}
	return milliseconds(began, last), l.stamps.wrong(len(l.apps), starts, alive)
}
