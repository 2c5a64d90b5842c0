// Package keeper is the parent of the daemon, and what makes the daemon's death a
// thing that nobody notices. It has four jobs:
//
//   - store: it keeps what the daemon would need to go on, under keys: the main
//     process, a note, and duplicates of descriptors. It doesn't look into the notes;
//   - reaper: orphans of a dead daemon become its children. It reaps strangers at
//     once, but the main process of an entry only when the daemon asks for its exit
//     code; while no daemon serves, nothing is reaped at all;
//   - reviver: a daemon that ends unasked is started again and given everything back;
//   - dead man: it, and a guard (guard.go) should it die, kills a process group whose deadline the daemon didn't extend, and
//     all that belongs to a lease (lease.go) that has ended.
//
// Serve is a process of its own; Link is the daemon's end of the socket between the
// two. The keeper must outlive every mistake of the daemon, so it does little, and
// everything in it is owned by one goroutine.
//
// How the processes are called (Options.Mode is what follows HOME; in the last two
// modes of a keeper descriptor 3 is no handshake, and may be anything or nothing):
//
//	gopm keeper HOME            descriptor 3: the starter's handshake, given to the first daemon
//	gopm keeper HOME guest      3: /dev/null, 4: the link to a daemon that runs already (Spawn)
//	gopm keeper HOME resume N   N: the memory of the keeper that was executed over (HandOver)
//	gopm keeper HOME guard      3: the link to the keeper
//	gopm daemon HOME            3: the handshake or /dev/null, 4: the link to the keeper (Attach)
//
// Goroutines: in the keeper, beside the caller of Serve, one that waits for the link
// to the daemon to be readable and at most one for it to be writable, ended and
// waited for by conn.close, one for the alarm while there are leases, and one that waits for the end of a daemon that is not
// its child; in the daemon two per Link, ended and waited for by its Close.
package keeper

import (
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what to keep and how.
type Options struct {
	Home      string   // for the argument list of a keeper's successor
	Lock      string   // held for as long as the keeper lives; holds its pid
	Log       string   // the file that stdout and stderr went to at first; "": they stay what they are
	Mode      []string // what followed HOME in the arguments
	Daemon    []string // the daemon's arguments; its program is the keeper's own
	Environ   []string // of the daemons
	Handshake *os.File // for the first daemon, or the keeper's own error; nil: none. Only without Mode

	// Foreground: somebody waits for its end, and sends it the signals that are meant for
	// the daemon. It makes lines of what the keeper says. nil: it is in the background.
	Foreground func(now time.Time, text string) string
}

// settings are the keeper's times and its world, so that tests need no patience.
type settings struct {
	binary   string        // what daemons are started from
	trial    time.Duration // for a new binary to serve, and for the old daemon to make room for it
	lockWait time.Duration // for the lock of a keeper that is just ending
	log      io.Writer
}

func defaults() settings {
	return settings{binary: "/proc/self/exe", trial: 15 * time.Second, lockWait: time.Second, log: os.Stderr}
}

// Serve is the keeper process: it returns the exit code when the last daemon has
// ended on purpose, or has never served. Log lines go to stderr.
//
// Daemons run from the keeper's own binary, even if that was replaced meanwhile, so
// that the two are never of different versions; only HandOver brings another.
func Serve(o Options) int {
	runtime.GOMAXPROCS(1)  // it sleeps all its life: one processor's caches are enough
	debug.SetGCPercent(25) // memory is what it should not need; time it has
	// Started as /proc/self/exe it would be called "exe" in ps; a name is all that is lost if this fails.
	_ = os.WriteFile("/proc/self/comm", []byte("gopm-keeper"), 0)
	return run(defaults(), o)
}

// keeper is owned by the goroutine that called Serve.
type keeper struct {
	settings
	opts    Options
	lock    *os.File
	store   *store
	daemon  *daemon // nil: none runs
	before  epitaph
	reviver reviver
	next    time.Time // when to start a daemon; zero: not
	missed  missed
	update  update
	deadMan deadMan
	zombies zombies
	calm    calm
	signals signals
	exit    *int // set: the keeper ends with this code
}

// missed are signals that came when there was nobody to take them.
type missed struct {
	end   unix.Signal   // ends everything; 0: none came
	other []unix.Signal // each once
}

// signals are apart from one another because a full channel loses signals: a
// burst of one kind must not hide another.
type signals struct {
	child, terminate, retry, ignored, forward chan os.Signal
}

func run(s settings, o Options) int {
	if len(o.Mode) == 1 && o.Mode[0] == modeGuard {
		return guard(s, o)
	}
	k := &keeper{settings: s, opts: o, store: newStore(), deadMan: newDeadMan(), update: noUpdate()}
	k.deadMan.news = func() {
		if k.daemon != nil {
			k.hear()
		}
	}
	k.signals = watchSignals(o.Foreground != nil)
	defer k.signals.stop()
	if err := k.begin(); err != nil {
		k.logf("%v", err)
		k.shake(err.Error())
		return 1
	}
	k.serve()
	return *k.exit
}

// shake tells the starter, unless a daemon has the handshake: then that tells.
func (k *keeper) shake(text string) {
	if k.opts.Handshake != nil {
		_, _ = k.opts.Handshake.WriteString(text + "\n")
		k.closeHandshake()
	}
}

func (k *keeper) closeHandshake() {
	if k.opts.Handshake != nil {
		k.opts.Handshake.Close()
		k.opts.Handshake = nil
	}
}

// watchSignals catches instead of ignoring: an ignored signal would stay ignored
// in the daemon and in every app. SIGHUP and SIGINT are for the user's shell,
// SIGPIPE is a log that nobody reads any more, and SIGUSR2 (open the logs anew) is
// meant for the daemon; none of them may end the keeper. In the foreground they are
// passed on.
func watchSignals(foreground bool) signals {
	one := func() chan os.Signal { return make(chan os.Signal, 1) }
	s := signals{one(), one(), one(), one(), make(chan os.Signal, 8)}
	if foreground {
		signal.Notify(s.forward, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR2)
		signal.Notify(s.ignored, unix.SIGPIPE)
	} else {
		signal.Notify(s.ignored, ignoredSignals()...)
	}
	signal.Notify(s.child, unix.SIGCHLD)
	signal.Notify(s.terminate, unix.SIGTERM)
	signal.Notify(s.retry, unix.SIGUSR1)
	return s
}

func ignoredSignals() []os.Signal {
	return []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGPIPE, unix.SIGUSR2}
}

func (s signals) stop() {
	for _, c := range []chan os.Signal{s.child, s.terminate, s.retry, s.ignored, s.forward} {
		signal.Stop(c)
	}
}

// serve keeps house until it has an exit code.
func (k *keeper) serve() {
	ReserveThreads(keeperThreads)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for k.exit == nil {
		k.act(time.Now())
		if k.exit != nil {
			break
		}
		if due := k.due(); due.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(due))
		}
		k.wait(timer.C)
	}
	k.deadMan.alarm.close()
	if len(k.deadMan.leases) == 0 && *k.exit == 0 {
		dismissAll(k.opts.Home) // also those of a keeper before: nothing of this home runs any more
	}
	if k.daemon != nil {
		k.daemon.close()
	}
}

// wait takes in what happens next.
func (k *keeper) wait(tick <-chan time.Time) {
	var readable, writable, gone <-chan struct{}
	if d := k.daemon; d != nil {
		gone = d.gone
		if d.conn != nil {
			readable, writable = d.conn.readable, d.conn.writable
		}
	}
	select {
	case <-readable:
		k.hear()
		k.calm.disturb(time.Now())
	case <-writable:
		k.daemon.conn.flush()
	case <-gone:
		k.buryGuest()
	case <-k.signals.child:
		k.reap()
	case <-k.signals.terminate:
		k.stop(unix.SIGTERM)
	case s := <-k.signals.forward:
		k.forward(s.(unix.Signal))
	case <-k.signals.retry:
		k.retry()
	case <-k.deadMan.alarm.ring():
	case <-tick:
	}
}

// act does what is due.
func (k *keeper) act(now time.Time) {
	k.enforce(now)
	if k.zombies.held && k.zombies.stale {
		k.reap()
	}
	k.zombies.stale = false
	k.calm.rest(now)
	if k.daemon != nil {
		k.judgeTrial(now)
	} else if !k.next.IsZero() && !now.Before(k.next) {
		k.revive()
	}
}

// due is when act has something to do; zero: nothing in sight.
func (k *keeper) due() time.Time {
	due := earliest(k.deadMan.groups)
	var lease time.Time
	if at := k.deadMan.next(); at > 0 {
		lease = time.Now().Add(at - Boottime())
	}
	for _, t := range []time.Time{lease, k.next, k.update.limit, k.calm.due} {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	return due
}

// forward passes a signal on that is meant for the daemon.
func (k *keeper) forward(sig unix.Signal) {
	switch {
	case sig == unix.SIGINT || sig == unix.SIGQUIT:
		k.stop(sig)
	case k.daemon != nil && (k.daemon.ready || !k.daemon.ours):
		_ = k.daemon.signal(sig) // an error means that it has ended
	case !slices.Contains(k.missed.other, sig):
		k.missed.other = append(k.missed.other, sig)
	}
}

// stop passes a signal on that ends everything: to a daemon that has something to stop
// only when it can take it, for before that the signal would just end it.
func (k *keeper) stop(sig unix.Signal) {
	d := k.daemon
	switch {
	case d == nil && (k.next.IsZero() || k.reviver.hasGivenUp()):
		k.logf("told to end while no daemon runs; the apps go on")
		k.end(1)
	case d == nil || d.ours && !d.ready && (len(k.store.list) > 0 || k.opts.Foreground != nil):
		k.missed.end = sig
	default:
		k.missed.end = 0
		if err := d.signal(sig); err != nil {
			k.logf("cannot pass %s on to the daemon (pid %d): %v", signalName(sig), d.pid, err)
		}
	}
}

// retry starts a daemon at once if one is missing.
func (k *keeper) retry() {
	k.reviver.row = 0
	if k.daemon == nil {
		k.next = time.Now()
	}
}

func (k *keeper) end(code int) { k.exit = &code }
