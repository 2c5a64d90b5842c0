package parent

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// settle follows the daemon's end: the last messages, the verdict, the clean-up.
func (k *keeper) settle(status unix.WaitStatus) int {
	k.readLast()
	asked := k.leaving && status.Exited() && status.ExitStatus() == 0
	var rest *group
	if !asked {
		// A daemon that ends as it announced has stopped what it wanted stopped; after
		// any other end nobody looks after what is left.
		rest = &group{sig: unix.SIGTERM, grace: k.restGrace}
	}
	switch childless := k.reapAll(); {
	case !childless && (!asked || len(k.told) > 0):
		k.logf("the daemon (pid %d) %s; stopping what it left (apps it told of: %d)", k.daemon, describe(status), len(k.told))
		k.stop(newStopper(os.Getpid(), k.told, rest, k.giveUp))
	case !asked:
		k.logf("the daemon (pid %d) %s; it left nothing running", k.daemon, describe(status))
	}
	switch {
	case asked:
		return 0
	case status.Signaled():
		return 128 + int(status.Signal())
	}
	return max(status.ExitStatus(), 1)
}

// readLast takes in what the daemon had sent before its end. The socket ends with
// the daemon, or a moment later with a child it was just starting.
func (k *keeper) readLast() {
	limit := time.After(k.drain)
	for k.messages != nil {
		select {
		case m, ok := <-k.messages:
			if !ok {
				return
			}
			k.apply(m)
		case <-limit:
			k.logf("the link to the dead daemon is still open; going on without its last messages")
			return
		}
	}
}

// stop ends what the daemon left, as the stopper plans it.
func (k *keeper) stop(s *stopper) {
	began := time.Now()
	refused := map[int]bool{} // said once, however often it is tried
	again := time.NewTicker(k.look)
	defer again.Stop()
	for !k.reapAll() {
		// Nothing is reaped between this look and the signals: a leader seen here keeps
		// its number until they are sent.
		all, err := processes()
		if err != nil {
			k.logf("%v; what the daemon left keeps running", err)
			return
		}
		orders, done := s.plan(time.Now(), descendants(all, s.self))
		for _, o := range orders {
			if err := send(o); err != nil && !refused[o.pid] {
				refused[o.pid] = true
				k.logf("cannot send %s to pid %d: %v", signalName(o.sig), o.pid, err)
			}
		}
		if done {
			break
		}
		k.await(again.C)
	}
	for _, p := range s.stuck {
		k.logf("pid %d (%s) does not end, even by SIGKILL; leaving it behind", p.pid, p.name)
	}
	k.logf("stopped what the daemon left, in %s", time.Since(began).Round(time.Millisecond))
}

// await returns when it is time for another look. Every child's end is reaped at
// once; only the last one, which leaves nothing to look for, ends the wait early.
func (k *keeper) await(tick <-chan time.Time) {
	for {
		select {
		case <-k.signals.child:
			if k.reapAll() {
				return
			}
		case <-k.signals.terminate: // it is stopping already
		case <-tick:
			return
		}
	}
}

// describe says how a process ended, as a sentence's verb.
func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return "was killed by " + signalName(status.Signal())
	}
	return fmt.Sprintf("exited with code %d", status.ExitStatus())
}

func signalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig)) // the real-time ones have no names
}
