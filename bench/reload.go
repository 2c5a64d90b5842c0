package main

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"gopm/bench/load"
)

const (
	perSecondNew = 300                    // new connections a second of reloads and storms
	slowPath     = "/slow?ms=50"          // the requests in flight while a reload goes on
	keptClients  = 60                     // of the reloads with kept connections
	thinking     = 400 * time.Millisecond // the longest pause of such a client
	giveUp       = 3 * time.Second        // then a request was lost
)

// reloading counts the requests that are lost in reloads of two node processes without signal handlers, one after the
// other, under steady new connections and then with kept ones.
func reloading(ctx context.Context, b *bench, n int) error {
	fresh := b.report.figure("reloads, new connections: lost", "requests")
	kept := b.report.figure("reloads, kept: lost", "requests")
	took := b.report.figure("reload, command", "ms")
	if !b.hasNode() {
		return nil
	}
	for _, m := range b.managers {
		p, ok := m.(pm)
		if !ok { // nobody reloads a floor
			continue
		}
		for i, plan := range []load.Plan{
			{Rate: perSecondNew},
			{KeepAlive: true, Clients: keptClients, Think: func() time.Duration { return rand.N(thinking) }},
		} {
			f := []*figure{fresh, kept}[i]
			l := b.beginWeb(ctx, m, nodes(n, 0, nil))
			if l == nil {
				continue
			}
			settle(ctx, map[string]*life{m.name(): l}, b.size.settle)
			b.reloadUnder(ctx, l, []string{p.program, "reload", "web"}, plan, func(r load.Result, each []float64) {
				f.add(m.name(), float64(r.Failed()))
				b.report.remark("%s: %s: %s", f.Name, m.name(), r.Text())
				for _, ms := range each {
					took.add(m.name(), ms)
				}
			})
			b.end(l)
		}
	}
	return nil
}

func (b *bench) reloadUnder(ctx context.Context, l *life, command []string, plan load.Plan, counted func(load.Result, []float64)) {
	var took []float64
	plan.Target, plan.Path, plan.Timeout = l.target(), slowPath, giveUp
	d := load.Start(ctx, plan)
	pause(ctx, b.size.gap)
	before := l.stamps.count("start")
	for range b.size.reloads {
		began := now()
		if err := l.command(command); err != nil {
			b.report.problem(l.name(), "%v", err)
		}
		took = append(took, milliseconds(began, now()))
		pause(ctx, b.size.gap)
	}
	d.Stop()
	r := d.Wait()
	if ctx.Err() != nil {
		return
	}
	counted(r, took)
	if made, want := l.stamps.count("start")-before, b.size.reloads*l.apps[0].web.instances; made != want || len(l.servers()) != l.apps[0].web.instances {
		b.report.problem(l.name(), "%d reloads: %d new processes, expected %d; %d live at the end", b.size.reloads, made, want, len(l.servers()))
	}
}

// storming counts the requests that are lost while one of two processes, by chance, is killed every second.
func storming(ctx context.Context, b *bench, n int) error {
	lost := b.report.figure("kill storm: lost", "requests")
	late := b.report.figure("kill storm, p99", "ms")
	if !b.hasNode() {
		return nil
	}
	for _, m := range b.clusters(true) {
		if m.name() == aloneName {
			continue
		}
		l := b.beginWeb(ctx, m, nodes(n, 0, nil))
		if l == nil {
			continue
		}
		settle(ctx, map[string]*life{m.name(): l}, b.size.settle)
		r := b.stormOver(ctx, l)
		if ctx.Err() == nil {
			lost.add(m.name(), float64(r.Failed()))
			late.add(m.name(), ms(r.Fast.P99))
			b.report.remark("kill storm: %s: %s", m.name(), r.Text())
		}
		b.end(l)
	}
	return nil
}

func (b *bench) stormOver(ctx context.Context, l *life) load.Result {
	d := load.Start(ctx, load.Plan{Target: l.target(), Rate: perSecondNew, Timeout: giveUp})
	for range 3 * b.size.reloads {
		pause(ctx, b.size.gap)
		if live := l.servers(); len(live) > 0 {
			unix.Kill(live[rand.IntN(len(live))], unix.SIGKILL)
		}
	}
	pause(ctx, b.size.gap)
	d.Stop()
	return d.Wait()
}
