// Command bench measures gopm beside pm2 and beside a floor: the least that the kernel
// needs for the same thing, done by a few lines of C (child.c). All of them run in the
// same minutes on the same machine, one after the other in turn, so that their ratios
// mean something where absolute times don't.
//
// It is a program and not a Go benchmark because what it measures are processes, and it
// imports none of gopm's packages: it sees what a user sees. README.md explains each
// figure; each scenario is a file of its own, targets.go has what is demanded.
//
// Goroutines: only those of the standard library; the bench does one thing at a time, because
// two would disturb each other.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// longest is how long a run may take before it is ended: something hangs then.
const longest = 15 * time.Minute

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
	b, err := open(o)
	if err != nil {
		return 1, err
	}
	defer b.close()
	began := time.Now()
	b.report.busy(readFile("/proc/loadavg"), runtime.NumCPU())
	for _, s := range scenarios {
		if ctx.Err() != nil || !o.wants(s) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%-9s %s\n", s.id(), s.does)
		if err := s.run(ctx, b, s.apps); err != nil {
			b.report.problem("", "%s: %v", s.id(), err)
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
}

// id is the scenario's full name on the command line; its name alone stands for all numbers of apps.
func (s scenario) id() string { return s.name + strconv.Itoa(s.apps) }

// scenarios in the order in which they run. A later one is added here, in a file of its own,
// and with its figures in the table of targets.
var scenarios = []scenario{
	{"mem", 10, "memory and threads of idle managers", memory},
	{"mem", 100, "the same, and CPU time while nobody looks", memory},
	{"mem", 1000, "memory and threads", memory},
	{"ls", 100, "the listing command", listing},
	{"ls", 1000, "the listing command", listing},
	{"crash", 1, "kill -9 of an app to its successor", crash},
	{"crash", 50, "kill -9 of 50 apps at once", volley},
	{"back", 100, "kill -9 of the daemon until the next one answers", coming},
	{"log", 1, "one app's output into a rotated file", logging},
	{"log", 10, "ten apps' output into rotated files", logging},
	{"pace", 1, "an app that writes 10,000 lines a second", pacing},
	{"start", 1, "cold start, daemon included", starting},
	{"start", 100, "cold start, daemon included", starting},
	{"start", 1000, "cold start, daemon included", starting},
}
