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
	"sync/atomic"
	"syscall"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/parent"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// Config is what a daemon is told by its parent.
type Config struct {
	Home    api.Home
	Version string
	Ready   *os.File     // told "ok" or the error, then closed; nil: nobody waits
	Keeper  *parent.Link // nil: none
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
	closing  chan struct{} // closed once, by the first request to end
	ended    atomic.Bool
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
	claim, err := claimHome(cfg.Home)
	if err != nil {
		return err
	}
	defer claim.release()
	d, err := assemble(cfg)
	if err != nil {
		return err
	}
	defer d.journal.close()
	d.log("daemon %s started: pid %d, home %s", cfg.Version, os.Getpid(), cfg.Home.Dir)
	err = d.serve(claim.listener)
	d.shutdown()
	d.log("daemon ended")
	return err
}

func assemble(cfg Config) (*Daemon, error) {
	const daemonLogSize, daemonLogRetain = 10 << 20, 10
	file, err := logs.NewRotated(cfg.Home.Log(), daemonLogSize, daemonLogRetain)
	if err != nil {
		return nil, fmt.Errorf("cannot write the daemon's log: %v", err)
	}
	d := &Daemon{cfg: cfg, started: time.Now(), changing: make(chan struct{}, 1), closing: make(chan struct{})}
	d.journal = newJournal(file)
	d.log = d.journal.print
	d.table.Store(&table{})
	d.thrift.spend() // somebody starts us for what comes now
	options := supervise.KernelOptions{Score: oomScore()}
	if cfg.Keeper != nil {
		options.Keeper = cfg.Keeper.Pid
	}
	if d.kernel, err = supervise.NewKernel(options); err != nil {
		return nil, fmt.Errorf("cannot watch processes: %v", err)
	}
	if d.pump, err = logs.NewPump(logs.Options{Log: d.log}); err != nil {
		return nil, fmt.Errorf("cannot move logs: %v", err)
	}
	d.feed = newFeed(d.pump)
	d.usage = newSampler()
	d.upkeep = upkeep{newLimiter(d), newJanitor(d)}
	return d, nil
}

// serve answers requests until closing; then the listener is closed.
func (d *Daemon) serve(l net.Listener) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE) // dropped; what is ignored would be ignored in the apps, too
	defer signal.Stop(signals)
	srv := newServer(d)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }() // ended by Shutdown or Close below; waited for through failed
	tell(d.cfg.Ready, "ok\n")
	var lost <-chan struct{}
	if d.cfg.Keeper != nil {
		lost = d.cfg.Keeper.Lost()
	}
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGUSR2 { // as for pm2: logrotate has moved log files
				_, _ = d.reopen(context.Background(), api.Targets{Targets: []string{"all"}}) // an app's trouble is its log's
				continue
			}
			d.log("%v: stopping all apps", s)
			d.end()
		case <-lost:
			d.log("the keeper has died; apps go on, but nobody collects their orphans or stops them if this daemon dies: gopm kill, then start again")
			lost = nil
		case <-d.closing:
			d.stopAll()
			d.hub.wakeAll()
			return drain(srv, failed)
		case err := <-failed:
			d.end()
			d.stopAll()
			return fmt.Errorf("cannot serve: %v", err)
		}
	}
}

// end begins the end; further calls change nothing.
func (d *Daemon) end() {
	if d.ended.CompareAndSwap(false, true) {
		close(d.closing)
	}
}

// shutdown ends what assemble began, in the opposite order.
func (d *Daemon) shutdown() {
	d.thrift.end()
	d.upkeep.close()
	for _, in := range d.table.Load().all() {
		d.dispose(in)
	}
	d.pump.Close()
	d.kernel.Close()
	if d.cfg.Keeper != nil {
		d.cfg.Keeper.Leaving()
		d.cfg.Keeper.Close()
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
}

// claimHome takes the lock, makes sure that nobody answers at the socket, and
// listens there. A file that is not a socket is left alone.
func claimHome(h api.Home) (*homeClaim, error) {
	lock, err := os.OpenFile(h.Lock(), os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the home: %v", err)
	}
	if err := lock.Chmod(0o600); err != nil { // whatever the umask
		lock.Close()
		return nil, fmt.Errorf("cannot protect the lock: %v", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another gopm daemon%s runs with the home %s, but does not answer at its socket; kill -TERM it to end it with its apps", h.Holder().Text(), h.Dir)
	}
	if err := h.WriteHolder(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("cannot write the lock: %v", err)
	}
	l, err := listen(h)
	if err != nil {
		lock.Close()
		return nil, err
	}
	socket, err := os.Lstat(h.Socket())
	if err != nil {
		l.Close()
		lock.Close()
		return nil, fmt.Errorf("cannot look at the new socket: %v", err)
	}
	return &homeClaim{lock: lock, listener: l, home: h, socket: socket}, nil
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

func (c *homeClaim) release() {
	c.listener.Close()
	if now, err := os.Lstat(c.home.Socket()); err == nil && os.SameFile(now, c.socket) {
		_ = os.Remove(c.home.Socket())
	}
	c.lock.Close()
}
