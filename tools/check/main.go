// Package main of tools/check holds the code to what the design promises and the
// compiler doesn't know: which package may import which, how large things may get,
// that tests wait for facts and not for time, and what every start of gopm pays
// for the initialisation of its libraries. `make check` runs it on the module in
// the working directory; its findings end with exit code 1. No goroutines.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	binary := flag.String("binary", "", "the gopm binary whose initialisation is measured; none if empty")
	flag.Parse()
	findings, err := check(context.Background(), os.Stdout, *binary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	if findings > 0 {
		fmt.Printf("check: %d findings\n", findings)
		os.Exit(1)
	}
}

// check prints all reports and counts what must be mended.
func check(ctx context.Context, out io.Writer, binary string) (findings int, err error) {
	packages, err := list(ctx, ".")
	if err != nil {
		return 0, err
	}
	sources, err := parse(packages)
	if err != nil {
		return 0, err
	}
	printLines(out, countLines(sources))
	for _, group := range [][]string{misplaced(packages), imports(sources), sizes(sources), sleeps(sources), inits(sources)} {
		for _, line := range group {
			fmt.Fprintln(out, line)
		}
		findings += len(group)
	}
	if binary == "" {
		return findings, nil
	}
	costs, err := measure(ctx, binary)
	if err != nil {
		return findings, err
	}
	printCosts(out, costs)
	return findings, nil
}
