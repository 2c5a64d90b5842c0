package main

import (
	"context"
	"fmt"
)

// memory measures managers whose apps do nothing: PSS and threads, for one number of apps also CPU time.
// All managers are up at the same time, which changes neither figure; but those of one program are not.
func memory(ctx context.Context, b *bench, n int) error {
	mem := b.report.figure("mem "+apps(n), "MB PSS")
	threads := b.report.figure("threads "+apps(n), "")
	var cpu *figure
	if n == b.size.idleApps {
		cpu = b.report.figure("idle CPU "+apps(n), fmt.Sprintf("ms in %.0f s", b.size.idle.Seconds()))
	}
	for _, together := range batches(b.managers) {
		lives := b.beginThese(ctx, together, n, idle(n))
		if !settle(ctx, lives, b.size.settle) {
			b.report.remark("mem: not quiet after the start of %s", apps(n))
		}
		b.ownMemory(lives, mem, threads)
		if cpu != nil {
			b.idleCPU(ctx, lives, n, cpu)
		}
		b.endAll(lives)
	}
	return nil
}

// ownMemory adds what the managers' own processes have.
func (b *bench) ownMemory(lives map[string]*life, mem, threads *figure) {
	for _, l := range lives {
		own := l.keepers()
		pss, ok := sum(own, "smaps_rollup", "Pss")
		if !ok {
			b.report.problem(l.name(), "cannot read its memory")
			continue
		}
		mem.add(l.name(), pss/1024)
		if count, ok := sum(own, "status", "Threads"); ok {
			threads.add(l.name(), count)
		}
		if k := sharing(own); k > 0 {
			b.report.remark("mem: %d other processes run the program of %s, its PSS is too low", k, l.name())
		}
	}
}

// idleCPU counts what the managers use while nobody looks.
func (b *bench) idleCPU(ctx context.Context, lives map[string]*life, n int, cpu *figure) {
	own, before := map[*life][]int{}, map[*life]float64{}
	for _, l := range lives {
		own[l] = l.keepers()
		before[l] = cpuTime(own[l]).Seconds()
	}
	pause(ctx, b.size.idle)
	for _, l := range lives {
		cpu.add(l.name(), 1000*(cpuTime(own[l]).Seconds()-before[l]))
		if wrong := l.stamps.wrong(n, n, alive); wrong != "" {
			b.report.problem(l.name(), "after idling: %s", wrong)
		}
	}
}
