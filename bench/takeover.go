package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gopm/bench/load"
)

// askEvery is the pause between two that ask after a crash.
const askEvery = 3 * time.Millisecond

// crashToAnswer measures the time from kill -9 of one of n node processes to the first answer to anybody who asks from
// then on.
func crashToAnswer(ctx context.Context, b *bench, n int) error {
	name := "crash to answer, " + instances(n)
	half, tail := b.report.figure(name, "ms"), b.report.figure(name+", p90", "ms")
	tail.pick = p90
	if !b.hasNode() {
		return nil
	}
	all := b.clusters(false)
	lives := b.beginWebs(ctx, all, nodes(n, 0, nil))
	defer b.endAll(lives)
	for i := range b.size.calls / 2 {
		for _, m := range turn(all, i) {
			l := lives[m.name()]
			if l == nil || ctx.Err() != nil {
				continue
			}
			took, err := l.killToAnswer(ctx, n)
			if err != nil {
				b.report.problem(m.name(), "%v", err)
				continue
			}
			half.add(m.name(), took)
			tail.add(m.name(), took)
		}
	}
	return nil
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// killToAnswer kills the oldest process when the youngest has lived long enough, and returns the milliseconds to the next
// good answer.
func (l *life) killToAnswer(ctx context.Context, n int) (float64, error) {
	wait(ctx, patience, 5*time.Millisecond, func() bool { return len(l.servers()) >= n })
	if err := l.serving(ctx); err != nil {
		return 0, err
	}
	pause(ctx, stable-time.Duration(now()-l.stamps.latest("start")[l.apps[0].name].at))
	began, err := l.killOldest()
	if err != nil {
		return 0, err
	}
	at, err := l.firstAnswer(ctx)
	return milliseconds(began, at), err
}

// killOldest kills the process that has lived longest, and says when.
func (l *life) killOldest() (int64, error) {
	live := l.servers()
	if len(live) == 0 {
		return 0, fmt.Errorf("no process is left to be killed")
	}
	began := now()
	return began, unix.Kill(live[0], unix.SIGKILL)
}

// firstAnswer is when the first of many that ask one after the other, without waiting for each other, is answered: one
// that was lost holds nobody up.
func (l *life) firstAnswer(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var all sync.WaitGroup
	defer all.Wait()
	answered := make(chan int64, 1)
	for {
		all.Go(func() {
			if _, err := load.Get(l.target(), "/", giveUp); err == nil {
				select {
				case answered <- now():
				default:
				}
			}
		})
		select {
		case at := <-answered:
			return at, nil
		case <-time.After(askEvery):
		case <-ctx.Done():
			return 0, fmt.Errorf("no answer within %v after a crash", patience)
		}
	}
}

// clusteredCrash is crash, of static apps in cluster mode. What is under the floor execs them directly.
func clusteredCrash(ctx context.Context, b *bench, _ int) error {
	half := b.report.figure("crash to successor, clustered", "ms")
	tail := b.report.figure("crash, clustered, p90", "ms")
	tail.pick = p90
	lives := b.beginAllWith(ctx, crashApps, statics(crashApps, 1, 0))
	b.crashInTurn(ctx, lives, half, tail)
	return nil
}

// clusteredMemory is memory, of n static apps in cluster mode. The other managers have the same programs, each on a port.
func clusteredMemory(ctx context.Context, b *bench, n int) error {
	mem := b.report.figure("mem "+apps(n)+", clustered", "MB PSS")
	threads := b.report.figure("threads "+apps(n)+", clustered", "")
	lives := b.beginAllWith(ctx, n, statics(n, 1, 0))
	defer b.endAll(lives)
	settle(ctx, lives, b.size.settle)
	b.ownMemory(lives, mem, threads)
	return nil
}

const (
	probeEvery = 250 * time.Microsecond
	probeFor   = 300 * time.Millisecond
	coldStatic = time.Second // of the static program: who is given to the dead one waits for so long
)

// steering measures how long new connections still go to a process that was killed, the other one of two being there: from kill -9
// to the first connection after the last that was lost or had to wait for the successor. The floor is two processes that
// have set SO_REUSEPORT by themselves: the kernel forgets a socket with its process, and what waits in it is lost.
func steering(ctx context.Context, b *bench, n int) error {
	change := b.report.figure("steering change", "ms")
	floor := bare{floorName, func(l *life, w *web) []string {
		port := "r" + strconv.Itoa(w.port)
		return []string{b.super, "super", l.child, l.stamps.path, "2", port, port, l.argument(4)}
	}}
	for range b.size.logRounds {
		for _, m := range b.managers {
			if m.name() == pm2Name || ctx.Err() != nil { // it has no static program in a cluster
				continue
			}
			if m.name() == floorName {
				m = floor
			}
			l := b.beginWeb(ctx, m, statics(1, n, coldStatic))
			if l == nil {
				continue
			}
			pause(ctx, stable)
			if took, err := l.steered(ctx); err != nil {
				b.report.problem(m.name(), "%v", err)
			} else {
				change.add(m.name(), took)
			}
			b.end(l)
		}
	}
	return nil
}

// steered kills one process while connections are opened all the time.
func (l *life) steered(ctx context.Context) (float64, error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	served := map[int64]bool{}
	killed, err := l.killOldest()
	if err != nil {
		return 0, err
	}
	for now() < killed+int64(probeFor) && ctx.Err() == nil {
		all.Go(func() {
			began := now()
			_, err := load.Get(l.target(), "/", patience)
			took := time.Duration(now() - began)
			mu.Lock()
			defer mu.Unlock()
			served[began] = err == nil && took < coldStatic/2
		})
		pause(ctx, probeEvery)
	}
	all.Wait()
	return steeredAfter(killed, served), nil
}

// steeredAfter is the milliseconds from a moment to the first connection after which all were served.
func steeredAfter(moment int64, served map[int64]bool) float64 {
	var last, next int64
	for began, ok := range served {
		if !ok {
			last = max(last, began)
		}
	}
	for began := range served {
		if began > last && (next == 0 || began < next) {
			next = began
		}
	}
	return milliseconds(moment, max(last, next))
}

const coldNode = 2 * time.Second // what a node app with much to load needs

// spares measures the time from kill -9 to the next answer where an app that takes 2 s to boot has a spare. Under the
// floor stands the same app's cold start: the same crash without one.
func spares(ctx context.Context, b *bench, _ int) error {
	warmed := b.report.figure("spare to answer", "ms")
	if !b.hasNode() {
		return nil
	}
	for _, m := range b.managers {
		if m.name() == gopmName {
			b.kills(ctx, m, 0, func(took float64) { warmed.add(floorName, took) })
			b.kills(ctx, m, 1, func(took float64) { warmed.add(gopmName, took) })
		}
	}
	return nil
}

// kills kills a node app that has so many spares again and again, when all of them are ready.
func (b *bench) kills(ctx context.Context, m manager, spares int, answered func(took float64)) {
	l := b.beginWeb(ctx, m, nodes(1, coldNode, map[string]any{"spares": spares}))
	if l == nil {
		return
	}
	defer b.end(l)
	for range b.size.starts {
		wait(ctx, patience, 5*time.Millisecond, func() bool { return len(l.servers()) >= 1+spares })
		pause(ctx, coldNode+stable) // the youngest one is a spare, and has booted
		took, err := l.killToAnswer(ctx, 1)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.report.problem(m.name(), "with %d spares: %v", spares, err)
			return
		}
		answered(took)
	}
}
