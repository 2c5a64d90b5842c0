// Package parent is the parent of the daemon: it adopts and reaps what the
// daemon's apps leave behind, and stops the apps when the daemon dies. Run is a
// process of its own; Link is the daemon's end of the socket between the two.
//
// The keeper must outlive every mistake of the daemon, so it does little: it reaps,
// remembers which groups the daemon started, and acts once, when the daemon ends.
//
// Goroutines: in the keeper the caller of Run, which owns all state, and one that
// reads the socket; in the daemon two per Link, ended and waited for by its Close.
package parent

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settings are the keeper's times and its world, so that tests need no patience.
type settings struct {
	restGrace time.Duration // from SIGTERM to SIGKILL for what no group was told of
	giveUp    time.Duration // from SIGKILL to leaving a process behind
	look      time.Duration // between two looks at what is left
	drain     time.Duration // for the last messages of a dead daemon
	binary    string        // what the daemon is started from
	log       io.Writer
}

func defaults() settings {
	return settings{
		restGrace: 5 * time.Second,
		giveUp:    10 * time.Second,
		look:      100 * time.Millisecond,
		drain:     time.Second,
		binary:    "/proc/self/exe",
		log:       os.Stderr,
	}
}

// Run is the keeper process. It becomes a child subreaper, starts the daemon
// (argv, environ as they are, with extra as descriptors 3, 4, ... and the link's
// socket after them), and returns its exit code when the daemon and everything
// it left behind have ended. Log lines go to stderr, which is the daemon's log.
//
// The daemon runs from the keeper's own binary, even if that was replaced meanwhile,
// so that the two are never of different versions; argv[0] is only a name. The keeper
// closes extra once the daemon has it: the daemon alone then holds a handshake's end.
//
// The exit code is 0 only when the daemon said that it leaves and ended with 0;
// else the daemon's own code, 128 + the signal it died by, or 1.
func Run(argv []string, environ []string, extra []*os.File) int {
	runtime.GOMAXPROCS(1) // it sleeps all its life: one processor's caches are enough
	// Started as /proc/self/exe it would be called "exe" in ps; a name is all that is lost if this fails.
	_ = os.WriteFile("/proc/self/comm", []byte("gopm-keeper"), 0)
	return run(defaults(), argv, environ, extra)
}

// keeper is owned by the goroutine that called Run.
type keeper struct {
	settings
	daemon   int
	told     map[int]group
	leaving  bool
	messages <-chan message
	signals  signals
}

// signals are apart from one another because a full channel loses signals: a
// burst of one kind must not hide another.
type signals struct {
	child, terminate, ignored chan os.Signal
}

func run(s settings, argv, environ []string, extra []*os.File) int {
	k := &keeper{settings: s, told: map[int]group{}, signals: watchSignals()}
	defer k.signals.stop()
	closeStrays(extra)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		k.logf("cannot adopt the orphans of apps: %v", err)
	}
	socket, err := k.start(argv, environ, extra)
	if err != nil {
		k.logf("%v", err)
		return 1
	}
	messages, quit := make(chan message), make(chan struct{})
	k.messages = messages
	go k.receive(socket, messages, quit) // ended by the daemon's end or by us, below, who wait for it
	defer func() {
		close(quit)
		socket.Close()
		for range messages {
		}
	}()
	return k.settle(k.serve())
}

// watchSignals catches instead of ignoring: an ignored signal would stay ignored
// in the daemon and in every app. SIGHUP and SIGINT are for the user's shell, and
// SIGPIPE is a log that nobody reads any more, and SIGUSR2 (open the logs anew) is
// meant for the daemon; none of them may end the keeper.
func watchSignals() signals {
	s := signals{make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)}
	signal.Notify(s.child, unix.SIGCHLD)
	signal.Notify(s.terminate, unix.SIGTERM)
	signal.Notify(s.ignored, unix.SIGHUP, unix.SIGINT, unix.SIGPIPE, unix.SIGUSR2)
	return s
}

func (s signals) stop() {
	signal.Stop(s.child)
	signal.Stop(s.terminate)
	signal.Stop(s.ignored)
}

// serve keeps house until the daemon has ended, and says how it did.
func (k *keeper) serve() unix.WaitStatus {
	for {
		select {
		case m, ok := <-k.messages:
			if !ok {
				k.messages = nil // the daemon gave up its link; what counts is its end
				continue
			}
			k.apply(m)
		case <-k.signals.child:
			if status, ended := k.reap(); ended {
				return status
			}
		case <-k.signals.terminate:
			// The daemon is our child and not yet reaped: the number is its own.
			if err := unix.Kill(k.daemon, unix.SIGTERM); err != nil {
				k.logf("cannot pass SIGTERM on to the daemon (pid %d): %v", k.daemon, err)
			}
		}
	}
}

func (k *keeper) apply(m message) {
	switch m.kind {
	case kindSpawned:
		k.told[m.pid] = group{pid: m.pid, start: m.start, sig: m.sig, grace: m.grace}
	case kindGone:
		delete(k.told, m.pid)
	case kindLeaving:
		k.leaving = true
	}
}

// receive reads messages until the last holder of the other end is gone.
func (k *keeper) receive(socket *os.File, to chan<- message, quit <-chan struct{}) {
	defer close(to)
	var buf [maxPacket]byte
	for {
		n, err := socket.Read(buf[:])
		if err != nil || n == 0 {
			return
		}
		m, err := decode(buf[:n])
		if err != nil {
			k.logf("%v", err)
			continue
		}
		select {
		case to <- m:
		case <-quit:
			return
		}
	}
}

func (k *keeper) logf(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	now := time.Now().Format("2006-01-02T15:04:05.000Z07:00")
	fmt.Fprintf(k.log, "%s keeper: %s\n", now, strings.ReplaceAll(line, "\n", " "))
}
