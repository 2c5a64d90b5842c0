package keeper

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A guard is a third process, there only while there are leases: it has a copy of them,
// and enforces them as well. Should somebody kill both daemon and keeper, or stop them,
// nobody else would see to it that what has outlived its lease is dead.
//
//	gopm keeper HOME guard    3: a link on which the keeper says until and leaving
//
// One whose keeper has gone waits for the end of its last lease; a new one takes the
// place of those before it, and so does the orderly end of a keeper.

const (
	modeGuard = "guard"
	guardFD   = 3
)

// watchman is the keeper's end of a guard.
type watchman struct {
	fd  int
	pid int
}

// alert tells the guard of a key's lease.
func (k *keeper) alert(key string) {
	d := &k.deadMan
	if len(d.leases) == 0 {
		d.guard.dismiss()
		d.guard = nil
		return
	}
	if d.guard == nil || ready(uintptr(d.guard.fd), unix.POLLHUP) || !d.guard.tell(k.copyOf(key)) {
		d.guard.dismiss()
		d.guard = k.newGuard()
	}
}

// copyOf is a lease as somebody needs it who doesn't know the entries.
func (k *keeper) copyOf(key string) message {
	l, is := k.deadMan.leases[key]
	if !is {
		return message{verb: verbUntil, key: key}
	}
	main := l.main
	if e := k.store.byKey[key]; e != nil && main.Pid == 0 {
		main = e.main
	}
	return message{verb: verbUntil, key: key, main: main, number: l.ends.Milliseconds(), note: joinMarker(l.marker)}
}

// newGuard starts one that knows all leases; nil if that fails: it is tried again with the
// next news of a lease.
func (k *keeper) newGuard() *watchman {
	near, far, err := pair()
	if err != nil {
		k.logf("no guard beside the keeper: %v", err)
		return nil
	}
	w := &watchman{fd: near}
	for key := range k.deadMan.leases {
		w.tell(k.copyOf(key)) // what has no room comes with its next renewal
	}
	farEnd := os.NewFile(uintptr(far), "guard's link")
	defer farEnd.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		defer null.Close()
		var p *os.Process
		p, err = os.StartProcess("/proc/self/exe", []string{"gopm", keeperWord, k.opts.Home, modeGuard}, &os.ProcAttr{
			Dir: "/", Files: []*os.File{null, os.Stdout, os.Stderr, farEnd}, Sys: &unix.SysProcAttr{Setsid: true},
		})
		if err == nil {
			w.pid = p.Pid
			_ = p.Release() // it is reaped as a stranger
			return w
		}
	}
	unix.Close(near)
	k.logf("no guard beside the keeper: %v", err)
	return nil
}

// tell is false if the guard doesn't listen: it must not go by what it was told before.
func (w *watchman) tell(m message) bool { return postMessage(w.fd, m) == sent }

// dismiss ends a guard; nil is none.
func (w *watchman) dismiss() {
	if w == nil {
		return
	}
	w.tell(message{verb: verbLeaving})
	unix.Close(w.fd)
	if isGuard(w.pid) {
		_ = unix.Kill(w.pid, unix.SIGKILL) // our child: nobody else has its number before it is reaped
	}
}

// dismissAll ends all guards of a home but this process, and waits a little for that.
func dismissAll(home string) {
	for limit := time.Now().Add(time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		left := false
		for _, p := range processes() {
			if p.pid != os.Getpid() && !p.zombie && isGuardOf(p.pid, home) {
				_ = signalOne(Main{p.pid, p.start}, unix.SIGKILL)
				left = true
			}
		}
		if !left {
			return
		}
	}
}

func isGuard(pid int) bool {
	call, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return bytes.HasPrefix(call, []byte("gopm\x00"+keeperWord+"\x00")) && bytes.HasSuffix(call, []byte("\x00"+modeGuard+"\x00"))
}

func isGuardOf(pid int, home string) bool {
	call, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return string(call) == "gopm\x00"+keeperWord+"\x00"+home+"\x00"+modeGuard+"\x00"
}

// guard is the process: it returns the exit code.
func guard(s settings, o Options) int {
	_ = os.WriteFile("/proc/self/comm", []byte("gopm-guard"), 0)
	signal.Notify(make(chan os.Signal, 1), ignoredSignals()...) // dropped
	k := &keeper{settings: s, opts: o, store: newStore(), deadMan: newDeadMan()}
	conn, err := newConn(guardFD)
	if err != nil {
		k.logf("guard: %v", err)
		return 1
	}
	readable := conn.readable
	k.deadMan.lag = guardLag
	k.deadMan.news = func() {
		if readable != nil && !k.learn(conn) {
			readable, k.deadMan.lag = nil, 0
			conn.close()
		}
	}
	dismissAll(o.Home) // what they had, we have
	k.calm.disturb(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		k.deadMan.news() // before anything is enforced: a lease may have been extended while we were stopped
		for _, key := range k.deadMan.ended(Boottime()) {
			k.evict(key)
		}
		k.deadMan.wind()
		k.calm.rest(time.Now())
		due := k.due()
		if k.deadMan.next() == 0 && readable == nil {
			return 0
		}
		timer.Stop()
		if !due.IsZero() {
			timer.Reset(time.Until(due))
		}
		select {
		case <-readable:
			k.calm.disturb(time.Now())
		case <-k.deadMan.alarm.ring():
		case <-timer.C:
		}
	}
}

// guardLag is how long the keeper has the first turn as long as it lives: a lease that it
// has just been told of, and not us yet, must not be taken for one that is over. If it
// is stopped, together with the daemon, the kill comes so much later; Consul waits longer.
const guardLag = 2 * time.Second

// learn takes in what the keeper has said; false: it says no more.
func (k *keeper) learn(conn *conn) bool {
	for {
		m, err := conn.in.receive(conn.fd)
		switch {
		case err == errNone:
			return true
		case err != nil:
			return false
		case m.verb == verbUntil:
			if m.number > 0 {
				m.number = max(m.number, Boottime().Milliseconds()) // one that is over may be for another process now
			}
			k.deadMan.grant(m)
		case m.verb == verbLeaving:
			k.deadMan.leases = map[string]lease{}
			return false
		default:
			closeAll(m.files)
			k.logf("%v", fmt.Errorf("guard: the keeper says %q", m.verb))
		}
	}
}
