package main

import (
	"context"
	"time"

	"gopm/bench/load"
)

const clients = 50 // of the throughput

// serving measures the requests a second of two node processes on one port, and the time in which 99 of 100 are answered:
// with connections that are kept, and with a connection for each request. All are up at the same time, idle, and are measured in
// turn for a short while each: the client is a busy neighbour itself, and a noisy minute is everybody's.
func serving(ctx context.Context, b *bench, n int) error {
	kept, keptLate := b.report.figure("serve, kept", "requests/s"), b.report.figure("serve, kept, p99", "ms")
	fresh, freshLate := b.report.figure("serve, new", "requests/s"), b.report.figure("serve, new, p99", "ms")
	if !b.hasNode() {
		return nil
	}
	all := b.clusters(true)
	lives := b.beginWebs(ctx, all, nodes(n, 0, nil))
	defer b.endAll(lives)
	settle(ctx, lives, b.size.settle)
	for round := range b.size.serveRounds {
		for _, m := range turn(all, round) {
			if l := lives[m.name()]; l != nil {
				b.throughput(ctx, l, true, kept, keptLate)
				b.throughput(ctx, l, false, fresh, freshLate)
			}
		}
	}
	return nil
}

func (b *bench) throughput(ctx context.Context, l *life, keep bool, rate, late *figure) {
	p := load.Plan{Target: l.target(), KeepAlive: keep, Clients: clients, Duration: b.size.serve / 4}
	load.Run(ctx, p)
	p.Duration = b.size.serve
	r := load.Run(ctx, p)
	if ctx.Err() != nil {
		return
	}
	if r.Failed() > 0 {
		b.report.problem(l.name(), "throughput: %s", r.Text())
	}
	rate.add(l.name(), r.PerSecond())
	late.add(l.name(), ms(r.Fast.P99))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
