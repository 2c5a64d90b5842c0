package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// coming measures how long gopm's daemon is away: from kill -9 to the end of a `gopm ping` that was started at once.
// What stands under the floor is gopm's own cold start with as many apps, to the return of the command. No other
// manager comes back by itself with its apps.
func coming(ctx context.Context, b *bench, n int) error {
	back := b.report.figure("daemon back, "+apps(n), "ms")
	for _, m := range b.managers {
		p, ok := m.(pm)
		if !ok || p.label != gopmName {
			continue
		}
		l, err := b.prepare(m, idle(n))
		if err != nil {
			return err
		}
		defer b.end(l)
		began := now()
		if err := l.launch(l); err != nil {
			b.report.problem(gopmName, "start of %s: %v", apps(n), err)
			return nil
		}
		back.add(floorName, milliseconds(began, now()))
		wait(ctx, time.Minute, 5*time.Millisecond, func() bool { return l.stamps.count("start") >= n })
		for range b.size.calls {
			settle(ctx, map[string]*life{m.name(): l}, 2*time.Second) // also, so that these deaths don't count as a row
			took, err := l.killDaemon(p.program)
			if err != nil {
				b.report.problem(gopmName, "%v", err)
				return nil
			}
			back.add(gopmName, took)
		}
		if wrong := l.stamps.wrong(n, n, alive); wrong != "" {
			b.report.problem(gopmName, "after the deaths of the daemon: %s", wrong)
		}
	}
	return nil
}

// killDaemon returns the time until the next one answers, in milliseconds.
func (l *life) killDaemon(program string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(l.dir, "home", "gopm.lock"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, err
	}
	began := now()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return 0, err
	}
	out, err := l.output([]string{program, "ping"})
	took := milliseconds(began, now())
	if err == nil && strings.Contains(out, fmt.Sprintf("pid %d ", pid)) {
		err = fmt.Errorf("the dead daemon %d answers: %s", pid, out)
	}
	return took, err
}
