package main

import (
	"context"
	"strconv"
	"time"
)

const bindings = 200

// binding measures how long a bind takes: the first one of a program, and that of a port which it has had before.
func binding(ctx context.Context, b *bench, _ int) error {
	first, again := b.report.figure("bind, first", "us"), b.report.figure("bind, again", "us")
	direct := bare{floorName, func(l *life, w *web) []string { return append([]string{l.child}, l.apps[0].args...) }}
	for range b.size.starts {
		for _, m := range b.managers {
			if m.name() == pm2Name || ctx.Err() != nil { // it has no static program in a cluster
				continue
			}
			if m.name() == floorName {
				m = direct
			}
			b.bindOnce(ctx, m, first, again)
		}
	}
	return nil
}

func (b *bench) bindOnce(ctx context.Context, m manager, first, again *figure) {
	l, err := b.prepare(m, func(l *life) []app {
		port := freePorts(1)[0]
		return []app{{name: "bind", args: []string{"binds", l.stamps.path, "bind", strconv.Itoa(port), strconv.Itoa(bindings)},
			web: &web{port: port, instances: 1}}}
	})
	if err != nil {
		b.report.problem("", "%v", err)
		return
	}
	defer b.end(l)
	if err := l.launch(l); err != nil {
		b.report.problem(m.name(), "start of an app that binds: %v", err)
		return
	}
	if !wait(ctx, patience, 5*time.Millisecond, func() bool { return l.stamps.count("again") > 0 }) {
		if ctx.Err() == nil {
			b.report.problem(m.name(), "%d binds are not done after %v", bindings, patience)
		}
		return
	}
	first.add(m.name(), float64(l.stamps.latest("first")["bind"].at)/1000)
	again.add(m.name(), float64(l.stamps.latest("again")["bind"].at)/1000)
}
