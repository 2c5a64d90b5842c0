package main

import (
	"context"
	"time"
)

// starting measures the cold start of n apps, the manager's daemon included: from the start of the command to the
// first instruction of the last app.
func starting(ctx context.Context, b *bench, n int) error {
	up := b.report.figure("start "+apps(n), "ms")
	back := b.report.figure("start "+apps(n)+", command", "ms")
	rounds := b.size.starts
	if n == 1 { // quick, and the least even
		rounds *= 3
	}
	for round := range rounds {
		for _, m := range b.turn(round) {
			if ctx.Err() == nil {
				b.startOnce(ctx, m, n, up, back)
			}
		}
	}
	return nil
}

func (b *bench) startOnce(ctx context.Context, m manager, n int, up, back *figure) {
	l, err := b.prepare(m, idle(n))
	if err != nil {
		b.report.problem("", "%v", err)
		return
	}
	defer b.end(l)
	began := now()
	if err := l.launch(l); err != nil {
		b.report.problem(m.name(), "start of %s: %v", apps(n), err)
		return
	}
	took := milliseconds(began, now())
	// The step is coarse because looking takes a core away; the times are in the stamps.
	wait(ctx, time.Minute, 5*time.Millisecond, func() bool { return l.stamps.count("start") >= n })
	if wrong := l.stamps.wrong(n, n, alive); wrong != "" {
		b.report.problem(m.name(), "after the start of %s: %s", apps(n), wrong)
		return
	}
	var last int64
	for _, s := range l.stamps.latest("start") {
		last = max(last, s.at)
	}
	up.add(m.name(), milliseconds(began, last))
	if _, is := m.(pm); is { // else the command is the daemon
		back.add(m.name(), took)
	}
}
