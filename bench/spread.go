package main

import (
	"context"
	"fmt"
	"time"

	"gopm/bench/load"
)

const (
	many      = 32              // connections that stay
	unhurried = 2 * time.Second // for all of them to be opened
)

// spreading measures how unevenly two node processes share connections that stay: the one's number less the other's.
func spreading(ctx context.Context, b *bench, n int) error {
	slowly := b.report.figure(fmt.Sprintf("%d connections in %.0f s: uneven by", many, unhurried.Seconds()), "connections")
	burst := b.report.figure(fmt.Sprintf("%d connections at once: uneven by", many), "connections")
	if !b.hasNode() {
		return nil
	}
	all := b.clusters(true)
	all = all[:len(all)-1] // but one process that has them all
	lives := b.beginWebs(ctx, all, nodes(n, 0, nil))
	defer b.endAll(lives)
	settle(ctx, lives, b.size.settle)
	for round := range b.size.logRounds {
		for _, m := range turn(all, round) {
			if l := lives[m.name()]; l != nil {
				b.spread(ctx, l, slowly, unhurried)
				b.spread(ctx, l, burst, 0)
			}
		}
	}
	return nil
}

func (b *bench) spread(ctx context.Context, l *life, f *figure, over time.Duration) {
	pause(ctx, stable) // the last connections are forgotten
	held, err := load.Hold(ctx, load.Holding{Target: l.target(), Connections: many, Over: over})
	if err != nil {
		if ctx.Err() == nil {
			b.report.problem(l.name(), "%d connections: %v", many, err)
		}
		return
	}
	defer held.Close()
	f.add(l.name(), float64(held.Spread(l.apps[0].web.instances)))
}
