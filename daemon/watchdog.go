package daemon

import (
	"fmt"
	"time"

	"gopm/daemon/supervise"
)

// A program with health.watchdog has to send WATCHDOG=1 every so often, from when it is
// online. One that is silent for longer is stuck: it is ended, and that is a crash. The
// next daemon begins a new period.

// watchdog is that of one run.
type watchdog struct {
	inc    uint64
	period time.Duration
	heard  time.Time
	timer  *time.Timer
}

// mind has an instance watched as its app and its process are now.
func (p *postbox) mind(in *instance, s supervise.Snapshot) {
	var period time.Duration
	if a := in.version.Load(); a != nil && p.name != "" {
		period = a.spec.Health.Watchdog
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	on := period > 0 && s.Pid != 0 && s.Status == supervise.StatusOnline && !p.closed
	if dog := p.dogs[in]; dog != nil && (!on || dog.inc != s.Incarnation) {
		dog.timer.Stop()
		delete(p.dogs, in)
	}
	if !on || p.dogs[in] != nil {
		return
	}
	dog := &watchdog{inc: s.Incarnation, period: period, heard: time.Now()}
	dog.timer = time.AfterFunc(period, func() { p.bark(in, dog) }) // ended by itself; mind, forget or close stops it
	p.dogs[in] = dog
}

// forget is for an instance that is gone.
func (p *postbox) forget(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if dog := p.dogs[in]; dog != nil {
		dog.timer.Stop()
		delete(p.dogs, in)
	}
}

// faultWatchdog begins the reason for which an instance was restarted.
const faultWatchdog = "watchdog: "

// pet is for a run that has said WATCHDOG=…
func (p *postbox) pet(in *instance, inc uint64, value string) {
	p.mu.Lock()
	dog := p.dogs[in]
	known := dog != nil && dog.inc == inc
	if known && value == "1" {
		dog.heard = time.Now()
	}
	p.mu.Unlock()
	if known && value == "trigger" {
		in.proc.Fail(inc, faultWatchdog+"stuck, as it says itself")
	}
}

// bark is for a run that may have been silent for too long. What it has said by now counts,
// though we may not have come to it.
func (p *postbox) bark(in *instance, dog *watchdog) {
	p.hear()
	p.mu.Lock()
	current, left := p.dogs[in] == dog && !p.closed, dog.period-time.Since(dog.heard)
	if current && left > 0 {
		dog.timer.Reset(left)
	}
	p.mu.Unlock()
	if current && left <= 0 {
		in.proc.Fail(dog.inc, fmt.Sprintf(faultWatchdog+"silent for %v", dog.period))
	}
}
