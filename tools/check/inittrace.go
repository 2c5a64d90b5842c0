package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// A package's initialisation is shown when it costs more than this.
const (
	dearMillis = 0.3
	dearBytes  = 100 << 10
)

// initCost is what the initialisation of one package costs each process.
type initCost struct {
	pkg    string
	millis float64
	bytes  int
}

// measure runs the binary a few times and keeps each package's cheapest
// initialisation: the rest is the machine's noise.
func measure(ctx context.Context, binary string) ([]initCost, error) {
	const runs = 5
	best := map[string]initCost{}
	for range runs {
		cmd := exec.CommandContext(ctx, binary, "version")
		cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
		var trace bytes.Buffer
		cmd.Stderr = &trace
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("cannot run %s version: %w", binary, err)
		}
		for _, c := range parseTrace(&trace) {
			if old, ok := best[c.pkg]; !ok || c.millis < old.millis {
				best[c.pkg] = c
			}
		}
	}
	var costs []initCost
	for _, c := range best {
		costs = append(costs, c)
	}
	slices.SortFunc(costs, func(a, b initCost) int { return strings.Compare(a.pkg, b.pkg) })
	return costs, nil
}

// parseTrace reads lines like
//
//	init internal/godebug @0.11 ms, 0.022 ms clock, 616 bytes 9 allocs
func parseTrace(r io.Reader) []initCost {
	var costs []initCost
	for in := bufio.NewScanner(r); in.Scan(); {
		var c initCost
		var at float64
		if n, _ := fmt.Sscanf(in.Text(), "init %s @%f ms, %f ms clock, %d bytes", &c.pkg, &at, &c.millis, &c.bytes); n == 4 {
			costs = append(costs, c)
		}
	}
	return costs
}

// printCosts shows the sum and what is dear. It is a light and no finding: most of
// it is in libraries.
func printCosts(out io.Writer, costs []initCost) {
	var sum initCost
	for _, c := range costs {
		sum.millis, sum.bytes = sum.millis+c.millis, sum.bytes+c.bytes
	}
	fmt.Fprintf(out, "initialisation: %d packages, %.2f ms, %d KB\n", len(costs), sum.millis, sum.bytes>>10)
	for _, c := range costs {
		if c.millis > dearMillis || c.bytes > dearBytes {
			fmt.Fprintf(out, "dear: %s: %.2f ms, %d KB in every process\n", c.pkg, c.millis, c.bytes>>10)
		}
	}
}
