package main

import (
	"context"
	"strconv"
)

// perSecond is the rate of the lines: a busy program's log.
const perSecond = 10_000

// pacing measures what a steady stream of lines, each written by itself, costs a manager: CPU time, and whether its
// memory grows.
func pacing(ctx context.Context, b *bench, n int) error {
	cpu := b.report.figure("10,000 lines/s, CPU", "% of a core")
	memory := b.report.figure("10,000 lines/s, memory", "MB more")
	lines := int(b.size.pace.Seconds() * perSecond)
	for round := range b.size.paceRounds {
		for _, m := range b.turn(round) {
			if ctx.Err() != nil {
				return nil
			}
			flow, err := b.logOnce(ctx, m, writers(n, lines, "pace", strconv.Itoa(perSecond)))
			if err != nil {
				b.report.problem(m.name(), "%d lines a second: %v", perSecond, err)
				continue
			}
			if slow := flow.took.Seconds() / b.size.pace.Seconds(); slow > 1.05 {
				b.report.remark("pace: %s had %.0f lines a second, not %d", m.name(), perSecond/slow, perSecond)
			}
			cpu.add(m.name(), 100*flow.cpu.Seconds()/flow.took.Seconds())
			memory.add(m.name(), flow.grown/1024)
		}
	}
	return nil
}
