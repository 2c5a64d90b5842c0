package daemon

import (
	"os"
	"sync/atomic"

	"gopm/daemon/api"
)

// ending is whether, how and why the daemon ends.
type ending struct {
	closing chan struct{} // closed once, by the first request to end
	how     atomic.Pointer[string]
	binary  *os.File // of the next daemon, when this one hands over; set before closing
}

// handedOver is the reason of an end that concerns no app.
const handedOver = "hand-over"

func newEnding() ending { return ending{closing: make(chan struct{})} }

// reason is "" while the daemon runs.
func (e *ending) reason() string {
	if how := e.how.Load(); how != nil {
		return *how
	}
	return ""
}

// refusal answers who wants a change now. After a hand-over the next daemon can be asked.
func (e *ending) refusal() error {
	if e.reason() == handedOver {
		return api.Errorf(api.KindAgain, "the daemon is being replaced by another: ask again")
	}
	return api.Errorf(api.KindStopping, "the daemon is ending")
}

// end begins the end ("kill", "shutdown", or handedOver); further calls change
// nothing. What is to run again after it is written down before anything is stopped.
func (d *Daemon) end(how string) {
	if !d.ending.how.CompareAndSwap(nil, &how) {
		return
	}
	if how != handedOver {
		for _, in := range d.table.Load().all() {
			if in.proc.Snapshot().Want || in.waits.Load() != nil {
				in.rest(how)
			}
		}
		d.store.commit()
	}
	close(d.ending.closing)
}

// handOver ends the daemon without touching any program: the next daemon goes on
// where this one stops.
func (d *Daemon) handOver() {
	d.thrift.end()
	d.upkeep.close()
	d.changing <- struct{}{} // a change that has begun is finished first
	d.talk.close()           // what it has heard comes before the end
	for _, in := range d.table.Load().all() {
		in.proc.Abandon()
	}
	d.hooks.end(errHandedOver)
	d.host.Close()
	d.pump.HandOver()
	d.store.close()
	d.tellOfDaemon("handing over to %s", d.ending.binary.Name())
	if l := d.trust.link.Load(); l != nil {
		l.HandOver(d.ending.binary)
		l.Close()
	}
}
