package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"
)

// checkEvery is the interval of the health checks that are measured.
const checkEvery = 5 * time.Second

// checking measures what it costs gopm to check n apps by HTTP, each on a connection of its own: CPU time, and memory beside
// that of a gopm with the same apps and no checks.
func checking(ctx context.Context, b *bench, n int) error {
	cpu := b.report.figure("health of "+apps(n)+", CPU", "% of a core")
	memory := b.report.figure("health of "+apps(n)+", memory", "MB more")
	for _, m := range b.managers {
		if m.name() != gopmName {
			continue
		}
		without, _, err := b.checked(ctx, m, n, map[string]any{"exec_mode": "fork"})
		if err != nil {
			return err
		}
		with, busy, err := b.checked(ctx, m, n, map[string]any{"exec_mode": "fork",
			"health": map[string]any{"http": "http://127.0.0.1:{port}/health", "interval": milli(checkEvery)}})
		if err != nil {
			return err
		}
		cpu.add(m.name(), busy)
		memory.add(m.name(), with-without)
	}
	return nil
}

// checked is the memory of a manager with n apps that serve, after a while, and the CPU time that it has used then.
func (b *bench) checked(ctx context.Context, m manager, n int, fields map[string]any) (memory, busy float64, err error) {
	l, err := b.prepare(m, servingWith(n, fields))
	if err != nil {
		return 0, 0, err
	}
	defer b.end(l)
	if err := l.launch(l); err != nil {
		return 0, 0, fmt.Errorf("start of %s with checks: %v", apps(n), err)
	}
	if !wait(ctx, patience, 20*time.Millisecond, func() bool { return l.stamps.count("start") >= n }) {
		return 0, 0, fmt.Errorf("%s are not there after %v", apps(n), patience)
	}
	pause(ctx, 2*checkEvery) // until each has passed its first checks
	memory, busy, err = l.atRest(ctx, m, b.size.idle)
	if err != nil {
		return 0, 0, err
	}
	if wrong := l.stamps.wrong(n, n, alive); wrong != "" {
		b.report.problem(m.name(), "with checks: %s", wrong)
	}
	if _, are := fields["health"]; are {
		err = l.allHealthy(m, n)
	}
	return memory, busy, err
}

// servingWith is n apps that serve, each on its port, with some fields more.
func servingWith(n int, fields map[string]any) func(*life) []app {
	return func(l *life) []app {
		all := statics(n, 1, 0)(l)
		for i := range all {
			all[i].web.more = map[string]any{"port": all[i].web.port}
			maps.Copy(all[i].web.more, fields)
		}
		return all
	}
}

// atRest is the memory of a manager in MB, and the share of a core in percent that it uses meanwhile.
func (l *life) atRest(ctx context.Context, m manager, while time.Duration) (memory, busy float64, err error) {
	own := l.keepers()
	before, began := cpuTime(own), time.Now()
	pause(ctx, while)
	busy = 100 * (cpuTime(own) - before).Seconds() / time.Since(began).Seconds()
	pss, ok := sum(own, "smaps_rollup", "Pss")
	if !ok {
		return 0, 0, fmt.Errorf("cannot read the memory of %s", m.name())
	}
	return pss / 1024, busy, nil
}

// allHealthy sees to it that what was measured has happened.
func (l *life) allHealthy(m manager, n int) error {
	p, ok := m.(pm)
	if !ok {
		return fmt.Errorf("%s has no health checks", m.name())
	}
	out, err := l.output([]string{p.program, "jlist"})
	if k := strings.Count(out, `"gopm_health":{"state":"healthy"`); err == nil && k != n {
		err = fmt.Errorf("%d of %s are healthy", k, apps(n))
	}
	return err
}
