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
		if ctx.Err() != nil || !o.wants(s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%-6s %s\n", s.name, s.does)
		if err := s.run(ctx, b); err != nil {
			b.report.problem("", "%s: %v", s.name, err)
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

// scenario is one thing that is measured.
type scenario struct {
	name, does string
	run        func(context.Context, *bench) error
}

// scenarios in the order in which they run. A later one is added here, in a file of its own,
// and with its figures in the table of targets.
var scenarios = []scenario{
	{"mem", "memory, threads and CPU time of idle managers", memory},
	{"ls", "the listing command", listing},
	{"crash", "kill -9 of an app to its successor", crash},
	{"log", "one app's output into a rotated file", logging},
	{"start", "cold start, daemon included", starting},
}
