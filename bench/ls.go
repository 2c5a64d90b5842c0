package main

import "context"

// listing measures the listing command, from the start of its process to its end, output to /dev/null.
func listing(ctx context.Context, b *bench, n int) error {
	ls := b.report.figure("ls "+apps(n), "ms")
	lives := b.beginAll(ctx, n)
	defer b.endAll(lives)
	for name, l := range lives {
		if !b.complete(l) {
			b.end(l)
			delete(lives, name)
		}
	}
	settle(ctx, lives, b.size.settle/2)
	for call := range b.size.calls {
		for _, m := range b.turn(call) {
			l := lives[m.name()]
			if l == nil || ctx.Err() != nil {
				continue
			}
			took, err := l.timed(l.list(l), nil)
			if err != nil {
				b.report.problem(m.name(), "ls: %v", err)
				continue
			}
			ls.add(m.name(), took)
		}
	}
	return nil
}

// complete says whether the listing shows every app.
func (b *bench) complete(l *life) bool {
	out, err := l.output(l.list(l))
	if err != nil {
		b.report.problem(l.name(), "%v", err)
		return false
	}
	if k := shown(out, l.apps); k != len(l.apps) {
		b.report.problem(l.name(), "ls shows %d of %d apps", k, len(l.apps))
		return false
	}
	return true
}
