// Command bench measures gopm beside pm2 and beside a floor: the least that the kernel
// needs for the same thing, done by a few lines of C (child.c). All of them run in the
// same minutes on the same machine, one after the other in turn, so that their ratios
// mean something where absolute times don't.
//
// It is a program and not a Go benchmark because what it measures are processes, and it
// imports none of gopm's own packages: it sees what a user sees. README.md explains each
// figure; each scenario is a file of its own, targets.go has what is demanded.
//
// Goroutines: those of the standard library, of load, and of who asks while something is killed; each is waited for. The bench
// measures one thing at a time, because two would disturb each other.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// longest is how long a run may take before it is ended: something hangs then. Of the comparison with all peers there is
// a page then all the same, with the tables that were through.
const (
	longest     = 40 * time.Minute
	longestSide = 15 * time.Minute
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, longest)
	defer cancel()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run is the whole program: options, the scenarios asked for, the report. The code is 1 when gopm did
// something wrong or, with -strict, missed a target.
func run(ctx context.Context, args []string) (int, error) {
	o, err := parse(args)
	if err != nil {
		return 2, err
	}
	if o.peers {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longestSide)
		defer cancel()
	}
	b, err := open(o)
	if err != nil {
		return 1, err
	}
	defer b.close()
	began := time.Now()
	b.report.busy(readFile("/proc/loadavg"), runtime.NumCPU())
	h := b.header(began)
	if o.peers {
		b.probe(ctx)
	}
	for _, s := range scenarios {
		if ctx.Err() != nil || !o.wants(s) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%4.0f s  %-9s %s\n", time.Since(began).Seconds(), s.id(), s.does)
		if err := b.measure(ctx, s); err != nil {
			b.report.problem("", "%s: %v", s.id(), err)
		}
	}
	if o.peers {
		if err := b.report.publish(os.Stdout, o.page, h); err != nil {
			return 1, err
		}
	}
	b.report.print(os.Stdout, time.Since(began))
	if o.json != "" {
		if err := b.report.save(o.json); err != nil {
			return 1, err
		}
	}
	if ctx.Err() != nil {
		return 1, fmt.Errorf("ended before it was through: %v", context.Cause(ctx))
	}
	return b.report.code(o.strict), nil
}

// scenario is one thing that is measured, with a number of apps.
type scenario struct {
	name string
	apps int
	does string
	run  func(ctx context.Context, b *bench, apps int) error
	// who takes part when all peers are compared; nil: it is no part of that
	among func(manager) bool
}

// measure runs one scenario with those that take part.
func (b *bench) measure(ctx context.Context, s scenario) error {
	b.report.current = s.id()
	defer func() { b.report.current = "" }()
	if !b.peers {
		return s.run(ctx, b, s.apps)
	}
	everybody := b.managers
	defer func() {
		b.managers = everybody
		if ctx.Err() != nil { // cut off in the middle: some had fewer turns than others
			b.report.forget(s.id())
		}
	}()
	b.managers = slices.DeleteFunc(slices.Clone(everybody), func(m manager) bool { return !s.among(m) })
	return s.run(ctx, b, s.apps)
}

// id is the scenario's full name on the command line; its name alone stands for all numbers of apps.
func (s scenario) id() string { return s.name + strconv.Itoa(s.apps) }

// scenarios in the order in which they run. A later one is added here, in a file of its own,
// and with its figures in the table of targets.
var scenarios = []scenario{
	{"mem", 10, "memory and threads of idle managers", memory, all},
	{"mem", 100, "the same, and CPU time while nobody looks", memory, all},
	{"mem", 1000, "memory and threads", memory, nil},
	{"ls", 100, "the listing command", listing, plain},
	{"ls", 1000, "the listing command", listing, nil},
	{"crash", 1, "kill -9 of an app to its successor", crash, plain},
	{"crash", 50, "kill -9 of 50 apps at once", volley, nil},
	{"back", 100, "kill -9 of the daemon until the next one answers", coming, nil},
	{"death", 4, "kill -9 of the manager, and its return", dying, mortal},
	{"orphan", 4, "kill -9 of the processes between the manager and its apps", orphaning, mortal},
	{"health", 100, "what health checks cost", checking, nil},
	{"consul", 500, "what the registration with Consul's agent costs", registering, nil},
	{"log", 1, "one app's output into a rotated file", logging, keepLogs},
	{"log", 10, "ten apps' output into rotated files", logging, keepLogs},
	{"pace", 1, "an app that writes 10,000 lines a second", pacing, nil},
	{"start", 1, "cold start, daemon included", starting, plain},
	{"start", 100, "cold start, daemon included", starting, plain},
	{"start", 1000, "cold start, daemon included", starting, nil},
	{"cmem", 50, "memory and threads with clustered apps", clusteredMemory, nil},
	{"ccrash", 1, "kill -9 of a clustered static app to its successor", clusteredCrash, nil},
	{"bind", 1, "a bind", binding, nil},
	{"steer", 2, "how long new connections go to a process that was killed", steering, nil},
	{"answer", 1, "kill -9 of the only node process to the next answer", crashToAnswer, nil},
	{"answer", 2, "kill -9 of one of two node processes to the next answer", crashToAnswer, nil},
	{"spare", 1, "kill -9 of a node process that has a spare", spares, nil},
	{"spread", 2, "how evenly two node processes share connections that stay", spreading, nil},
	{"serve", 2, "requests a second of two node processes on one port", serving, cluster},
	{"reload", 2, "requests lost in reloads", reloading, cluster},
	{"storm", 2, "requests lost while processes are killed", storming, cluster},
}
