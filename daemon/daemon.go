// Package daemon is the only place where the pieces meet: the table of apps, the
// HTTP handlers, the hub of changes, the samplers, and the order in which all of
// that starts and stops.
//
// Goroutines: the HTTP server's, one each of the kernel, the pump and the journal, one actor
// per instance, and while an app has a memory limit one that measures. Run starts
// them and returns when all have ended.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// Config is what a daemon is told by its parent.
type Config struct {
	Home    api.Home
	Version string
	Binary  string        // the path that gopm was started from: an update is looked for there
	Ready   *os.File      // told "ok" and warnings, or the error, then closed; nil: nobody waits
	Keeper  *keeper.Link  // nil: none
	Estate  keeper.Estate // what the daemon before this one has left
}

// Daemon is one running daemon.
type Daemon struct {
	cfg      Config
	started  time.Time
	log      func(format string, args ...any)
	journal  *journal
	kernel   kernel
	pump     *logs.Pump
	table    atomic.Pointer[table]
	changing chan struct{} // holds one token: changes of the table are one at a time
	hub      hub
	feed     *feed
	usage    *sampler
	upkeep   upkeep
	thrift   thrift
	memory
	ending ending
}

// memory is what outlives the daemon.
type memory struct {
	trust trust
	store *store
}

// kernel starts programs.
type kernel interface {
	supervise.Kernel
	Close()
}

// Run claims the home, serves until it is told to end, stops every app, and
// returns. Its error has been told to cfg.Ready if it came before the start.
func Run(cfg Config) error {
	err := run(cfg)
	if err != nil {
		tell(cfg.Ready, err.Error()+"\n") // after a good start Ready is closed: no harm
	}
	return err
}

func run(cfg Config) error {
	if err := cfg.Home.Prepare(); err != nil {
		return err
	}
	e, err := sortEstate(cfg.Estate.Entries)
	if err != nil {
		return err
	}
	defer e.close()
	claim, err := claimHome(cfg.Home, e.api)
	if err != nil {
		return err
	}
	defer claim.release()
	d, err := assemble(cfg)
	if err != nil {
		return err
	}
	d.store.allowed = claim.holds
	defer d.journal.close()
	d.log("daemon %s started: pid %d, home %s%s", cfg.Version, os.Getpid(), cfg.Home.Dir, after(cfg.Estate.Before))
	warnings, err := d.settle(e, claim.listener)
	if err != nil {
		d.log("%v", err)
		return err
	}
	err = d.serve(claim.listener, warnings)
	if d.ending.reason() == handedOver {
		claim.handOver()
		d.handOver()
		return err
	}
	d.shutdown()
	d.log("daemon ended")
	return err
}

func after(before string) string {
	if before == "" {
		return ""
	}
	return "; the one before " + before
}

// settle takes over what was left, and gives the keeper what it lacks.
func (d *Daemon) settle(e estate, l *net.UnixListener) (warnings []string, err error) {
	sequence, warnings, err := d.inherit(e)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		d.log("warning: %s", w)
	}
	d.store.open(sequence)
	if err := d.trust.serve(l); err != nil {
		return nil, err
	}
	if len(d.table.Load().apps) > 0 {
		d.store.commit()
		d.upkeep.look()
	}
	return warnings, nil
}

func assemble(cfg Config) (*Daemon, error) {
	const daemonLogSize, daemonLogRetain = 10 << 20, 10
	file, err := logs.NewRotated(cfg.Home.Log(), daemonLogSize, daemonLogRetain)
	if err != nil {
		return nil, fmt.Errorf("cannot write the daemon's log: %v", err)
	}
	d := &Daemon{cfg: cfg, started: time.Now(), changing: make(chan struct{}, 1), ending: newEnding()}
	d.journal = newJournal(file)
	d.log = d.journal.print
	d.table.Store(&table{})
	d.thrift.spend() // somebody starts us for what comes now
	d.trust.link.Store(cfg.Keeper)
	d.store = newStore(cfg.Home, d.log, (&scribe{d: d}).document, d.trust.put)
	if d.kernel, err = supervise.NewKernel(d.trust.kernelOptions()); err != nil {
		return nil, fmt.Errorf("cannot watch processes: %v", err)
	}
	if d.pump, err = logs.NewPump(logs.Options{Log: d.tellOfLogs, Second: d.trust.second}); err != nil {
		return nil, fmt.Errorf("cannot move logs: %v", err)
	}
	d.feed = newFeed(d.pump)
	d.usage = newSampler()
	d.upkeep = upkeep{newLimiter(d), newJanitor(d)}
	return d, nil
}

// tellOfLogs prints what the pump says, and keeps it for the next daemon: whether a
// file takes nothing decides what becomes of a line that was torn there.
func (d *Daemon) tellOfLogs(format string, args ...any) {
	d.log(format, args...)
	d.store.changed()
}

// serve answers requests until closing; then the listener is closed.
func (d *Daemon) serve(l net.Listener, warnings []string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE) // dropped; what is ignored would be ignored in the apps, too
	defer signal.Stop(signals)
	srv := newServer(d)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }() // ended by Shutdown or Close below; waited for through failed
	tell(d.cfg.Ready, strings.Join(append([]string{"ok"}, warnings...), "\n")+"\n")
	if d.cfg.Keeper != nil {
		d.cfg.Keeper.Ready()
	}
	lost := d.trust.lost()
	var again <-chan time.Time
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGUSR2 { // as for pm2: logrotate has moved log files
				_, _ = d.reopen(context.Background(), api.Targets{Targets: []string{"all"}}) // an app's trouble is its log's
				continue
			}
			d.log("%v: stopping all apps", s)
			d.end("shutdown")
		case <-lost:
			lost, again = nil, nil
			if err := d.newKeeper(); err != nil {
				d.log("the keeper has died, and another can't be started: %v; apps go on, it is tried again", err)
				again = time.After(keeperAgain)
				continue
			}
			lost = d.trust.lost()
		case <-again:
			lost, again = d.trust.lost(), nil
		case <-d.ending.closing:
			if d.ending.reason() != handedOver {
				d.stopAll()
			}
			d.hub.wakeAll()
			return drain(srv, failed)
		case err := <-failed:
			d.end("shutdown")
			d.stopAll()
			return fmt.Errorf("cannot serve: %v", err)
		}
	}
}

// shutdown ends what assemble began, in the opposite order.
func (d *Daemon) shutdown() {
	d.thrift.end()
	d.upkeep.close()
	d.store.close()
	for _, in := range d.table.Load().all() {
		d.dispose(in)
	}
	d.pump.Close()
	d.kernel.Close()
	if l := d.trust.link.Load(); l != nil {
		l.Leaving()
		l.Close()
	}
}

// stopAll stops every instance and waits; the desired state of apps is not meant.
func (d *Daemon) stopAll() {
	all := d.table.Load().all()
	for _, in := range all {
		in.proc.Stop()
	}
	for _, in := range all {
		_, _ = in.proc.Await(context.Background(), isStopped)
	}
}

func isDown(s supervise.Snapshot) bool {
	return s.Pid == 0 && !s.Clearing && (s.Status == supervise.StatusStopped || s.Status == supervise.StatusErrored)
}

// isStopped says that a Stop has taken effect, a pending retry included.
func isStopped(s supervise.Snapshot) bool { return !s.Want && isDown(s) }

func tell(f *os.File, text string) {
	if f != nil {
		_, _ = f.WriteString(text)
		_ = f.Close()
	}
}

// homeClaim is the exclusive right to a home.
type homeClaim struct {
	lock     *os.File
	listener *net.UnixListener
	home     api.Home
	socket   fs.FileInfo // ours; another's must not be removed at the end
	given    bool        // to the next daemon
}

// claimHome takes the lock, makes sure that nobody answers at the socket, and
// listens there. A file that is not a socket is left alone. A socket that the daemon
// before has left goes on as it is.
func claimHome(h api.Home, left *net.UnixListener) (*homeClaim, error) {
	lock, err := os.OpenFile(h.Lock(), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the home: %v", err)
	}
	if err := lock.Chmod(0o600); err != nil { // whatever the umask
		lock.Close()
		return nil, fmt.Errorf("cannot protect the lock: %v", err)
	}
	if err := takeLock(lock, left != nil); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another gopm daemon%s runs with the home %s, but does not answer at its socket; kill -TERM it to end it with its apps", h.Holder().Text(), h.Dir)
	}
	if err := h.WriteHolder(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("cannot write the lock: %v", err)
	}
	l := left
	if info, err := os.Lstat(h.Socket()); l == nil || err != nil || info.Mode().Type() != fs.ModeSocket {
		if l, err = listen(h); err != nil {
			lock.Close()
			return nil, err
		}
	}
	socket, err := os.Lstat(h.Socket())
	if err != nil {
		l.Close()
		lock.Close()
		return nil, fmt.Errorf("cannot look at the new socket: %v", err)
	}
	return &homeClaim{lock: lock, listener: l, home: h, socket: socket}, nil
}

// takeLock waits a moment, for a command may just be looking whether it is held; and
// longer for the lock of a daemon that has just died: a child that it was starting may
// hold it until its exec.
func takeLock(lock *os.File, died bool) error {
	const pause = time.Millisecond
	patience := 200 * time.Millisecond
	if died {
		patience = 5 * time.Second
	}
	for began := time.Now(); ; time.Sleep(pause) {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil || time.Since(began) > patience {
			return err
		}
	}
}

func listen(h api.Home) (*net.UnixListener, error) {
	if conn, err := h.Dial(); err == nil {
		conn.Close()
		return nil, fmt.Errorf("something else already answers at %s; is another gopm running there? gopm ping", h.Socket())
	}
	info, err := os.Lstat(h.Socket())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("cannot look at the socket: %v", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s exists and is not a socket; it is left alone: move it away, or set GOPM_HOME", h.Socket())
	default:
		if err := os.Remove(h.Socket()); err != nil {
			return nil, fmt.Errorf("cannot remove the stale socket: %v", err)
		}
	}
	l, err := h.Listen()
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %v", h.Socket(), err)
	}
	return l, nil
}

// holds says whether the home is still the one whose lock we have: its path may have
// become another daemon's.
func (c *homeClaim) holds() error {
	own, err := c.lock.Stat()
	if err != nil {
		return err
	}
	if now, err := os.Lstat(c.home.Lock()); err != nil || !os.SameFile(own, now) {
		return fmt.Errorf("the home %s was removed or replaced", c.home.Dir)
	}
	return nil
}

// handOver leaves the socket to the next daemon.
func (c *homeClaim) handOver() { c.given = true }

func (c *homeClaim) release() {
	c.listener.Close()
	if c.given {
		c.lock.Close()
		return
	}
	if now, err := os.Lstat(c.home.Socket()); err == nil && os.SameFile(now, c.socket) {
		_ = os.Remove(c.home.Socket())
	}
	c.lock.Close()
}
