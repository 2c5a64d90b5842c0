// Command drive puts a load on an HTTP server of this machine and says what every request came to:
//
//	go run ./bench/drive -rate 400 -for 15s 127.0.0.1:3000
//	go run ./bench/drive -clients 60 -keep -think 400ms -slow '/slow?ms=300' 127.0.0.1:3000   # until Ctrl-C
//
// Its exit code is 1 when a request wasn't answered well. No request is made twice.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gopm/bench/load"
)

const most = 20 // failures that are shown one by one

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var p load.Plan
	flag.Float64Var(&p.Rate, "rate", 0, "requests begun per second, however slow the answers are; 0: each client asks when it has its answer")
	flag.IntVar(&p.Clients, "clients", 10, "how many ask at the same time, without -rate")
	flag.BoolVar(&p.KeepAlive, "keep", false, "keep connections; else one for each request")
	think := flag.Duration("think", 0, "the longest pause of a client between two requests")
	flag.StringVar(&p.Path, "path", "/", "what is asked for")
	flag.StringVar(&p.SlowPath, "slow", "", "what a twentieth asks for instead")
	flag.DurationVar(&p.Duration, "for", 0, "how long; 0: until it is interrupted")
	flag.DurationVar(&p.Timeout, "timeout", 10*time.Second, "of a request")
	all := flag.Bool("all", false, "show each failure")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: drive [flags] HOST:PORT (or the path of a unix socket)")
		flag.PrintDefaults()
		os.Exit(2)
	}
	p.Target = flag.Arg(0)
	if p.SlowPath != "" {
		p.SlowShare = 0.05
	}
	if *think > 0 {
		p.Think = func() time.Duration { return rand.N(*think) }
	}
	r := load.Run(ctx, p)
	fmt.Println(r.Text())
	for i, f := range r.Failures {
		if *all || i < most && r.Failed() <= most {
			fmt.Println(" ", f)
		}
	}
	if r.Failed() > 0 {
		os.Exit(1)
	}
}
