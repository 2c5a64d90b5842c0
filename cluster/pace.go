package cluster

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A program's calls are answered one after the other, by a goroutine of its own, so
// that it makes only itself wait. So that it doesn't take a processor from the others
// either, its calls may take a burst, and then a share of the time.

const (
	paceBurst = 50 * time.Millisecond // hundreds of calls: more than a start needs
	paceShare = 20                    // one twentieth; the keeper is told of each call, which takes as much again
	paceMost  = time.Second           // of a pause
)

// Pace is what the calls of one program have cost lately, or what it says in other ways.
type Pace struct {
	Burst time.Duration // is free
	debt  time.Duration
	at    time.Time
}

// Pay adds a call that has taken so long until now, and returns how long the next one
// has to wait.
func (p *Pace) Pay(now time.Time, took time.Duration) time.Duration {
	p.debt = max(0, p.debt-now.Sub(p.at)/paceShare) + took
	p.at = now
	return min(paceMost, max(0, p.debt-p.Burst)*paceShare)
}

// ProcessorTime is what a function takes of a processor: on a busy machine it may take
// much longer without using more of it.
func ProcessorTime(work func()) time.Duration {
	runtime.LockOSThread() // whose time is counted
	defer runtime.UnlockOSThread()
	before := threadTime()
	work()
	return threadTime() - before
}

func threadTime() time.Duration {
	var at unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at) != nil {
		return 0
	}
	return time.Duration(at.Nano())
}

// rest waits, but not for a host that ends.
func (h *Host) rest(d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.ending:
	}
}
