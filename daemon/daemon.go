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
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"gopm/cluster"
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
	Runtime *api.Runtime  // in the foreground; nil: it isn't
	Order   *os.File      // an api.RuntimeOrder for the first one there, or anything for the next
	Metrics string        // where they can be asked for besides the API's socket; "": nowhere
}

// Daemon is one running daemon.
type Daemon struct {
	cfg     Config
	started time.Time
	kernel  kernel
	host    *cluster.Host
	pump    *logs.Pump
	hooks   *hooks
	telling
	roster
	news
	partners
	usage  *sampler
	upkeep upkeep
	thrift thrift
	memory
	ending ending
}

// partners are whom it talks with besides commands.
type partners struct {
	front      *foreground  // who waits for its end; nil: nobody, it is in the background
	talk       *switchboard // programs
	agents     *agents      // Consul's
	registrar  *registrar
	tuner      *tuner
	singletons *singletons
	meter      *meter   // who asks for metrics
	locks      lockRuns // of commands that are not apps
}

// telling is how it says what happens.
type telling struct {
	log     func(format string, args ...any) // what isn't an event
	journal *journal
}

// roster is what there is, and how it changes.
type roster struct {
	table    atomic.Pointer[table]
	changing chan struct{} // holds one token: changes of the table are one at a time
	rolls    rolls
}

// news are what has changed, for those who follow it.
type news struct {
	hub    hub
	feed   *feed
	events *chronicle
}

// memory is what outlives the daemon.
type memory struct {
	trust    trust
	store    *store
	confiner *confiner
}

// kernel starts programs.
type kernel interface {
	supervise.Kernel
	Close()
}

// Run claims the home, serves until it is told to end, stops every app, and
// returns: in the foreground the exit code of what was run, else 0. Its error has been
// told to cfg.Ready if it came before the start.
func Run(cfg Config) (code int, err error) {
	code, err = run(cfg)
	if err != nil {
		tell(cfg.Ready, err.Error()+"\n") // after a good start Ready is closed: no harm
	}
	return code, err
}

func run(cfg Config) (code int, err error) {
	if err := cfg.Home.Prepare(); err != nil {
		return 0, err
	}
	e, err := sortEstate(cfg.Estate.Entries)
	if err != nil {
		return 0, err
	}
	defer e.close()
	claim, err := claimHome(cfg.Home, e.api)
	if err != nil {
		return 0, err
	}
	defer claim.release()
	keeper.ReserveThreads(keeper.DaemonThreads)
	d, err := assemble(cfg)
	if err != nil {
		return 0, err
	}
	if err := d.front.receive(cfg.Order, e.order); err != nil {
		return 0, err
	}
	d.store.allowed = claim.holds
	defer d.journal.close()
	d.tellOfDaemon("daemon %s started: pid %d, home %s%s", cfg.Version, os.Getpid(), cfg.Home.Dir, after(cfg.Estate.Before))
	warnings, err := d.settle(e, claim.listener)
	if err != nil {
		d.log("%v", err)
		return 0, err
	}
	if problem := d.meter.expose(cfg.Metrics); problem != "" {
		d.tellOfDaemon("warning: %s", problem)
		warnings = append(warnings, problem)
	}
	err = d.serve(claim.listener, warnings)
	d.meter.conceal()
	if d.ending.reason() == handedOver {
		claim.handOver()
		d.front.hush()
		d.handOver()
		return 0, err
	}
	code = d.front.exitCode()
	d.shutdown()
	d.log("daemon ended")
	return code, err
}

func after(before string) string {
	if before == "" {
		return ""
	}
	return "; the one before " + before
}

// settle takes over what was left, and gives the keeper what it lacks.
func (d *Daemon) settle(e estate, l *net.UnixListener) (warnings []string, err error) {
	d.endLeftHooks(e.hooks)
	d.confiner.house.Sweep()
	sequence, warnings, err := d.inherit(e)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		d.tellOfDaemon("warning: %s", w)
	}
	d.talk.begin()
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
	d := &Daemon{cfg: cfg, started: time.Now(), roster: roster{changing: make(chan struct{}, 1)}, ending: newEnding()}
	d.front = newForeground(d)
	if d.front != nil {
		d.journal = newJournal(d.front.spoken())
	} else if file, err := logs.NewRotated(cfg.Home.Log(), daemonLogSize, daemonLogRetain); err == nil {
		d.journal = newJournal(file, stamped)
	} else {
		return nil, fmt.Errorf("cannot write the daemon's log: %v", err)
	}
	d.log = d.journal.print
	d.events = newChronicle(d.started)
	d.hooks = newHooks()
	d.confiner = newConfiner(cfg.Home.Dir)
	d.table.Store(&table{})
	d.thrift.spend() // somebody starts us for what comes now
	d.trust.link.Store(cfg.Keeper)
	d.store = newStore(cfg.Home, d.tellOfDaemon, (&scribe{d: d}).document, d.trust.put)
	var err error
	if d.kernel, err = supervise.NewKernel(d.trust.kernelOptions()); err != nil {
		return nil, fmt.Errorf("cannot watch processes: %v", err)
	}
	d.host = cluster.NewHost(cluster.Options{Log: d.log, Keep: d.trust.hold, Changed: d.placeChanged, Stuck: d.killStuck})
	if d.pump, err = logs.NewPump(logs.Options{Log: d.tellOfLogs, Second: d.trust.second}); err != nil {
		return nil, fmt.Errorf("cannot move logs: %v", err)
	}
	if d.front != nil {
		if err := d.front.words.join(d.pump); err != nil {
			return nil, fmt.Errorf("cannot write to stderr: %v", err)
		}
	}
	if d.talk, err = newSwitchboard(d); err != nil {
		return nil, fmt.Errorf("cannot listen to programs: %v", err)
	}
	d.agents, d.registrar, d.tuner, d.singletons = newAgents(d), newRegistrar(d), newTuner(d), newSingletons(d)
	d.feed = newFeed(d.pump)
	d.usage = newSampler()
	d.meter = newMeter(d)
	d.upkeep = upkeep{d.agents, newLimiter(d), newJanitor(d), newOfficer(d), newTimekeeper(d), newHealth(d), newConductor(d), newWatcher(d), newLookout(d), d.singletons, d.registrar}
	d.upkeep = append(d.upkeep, newCrier(d), newRollouts(d), d.tuner)
	return d, nil
}

// tellOfLogs prints what the pump says, and keeps it for the next daemon: whether a
// file takes nothing decides what becomes of a line that was torn there.
func (d *Daemon) tellOfLogs(format string, args ...any) {
	d.tell(event{kind: api.EventLog, text: fmt.Sprintf(format, args...)})
	d.store.changed()
}

// serve answers requests until closing; then the listener is closed.
func (d *Daemon) serve(l *net.UnixListener, warnings []string) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, d.front.signals()...)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE) // dropped; what is ignored would be ignored in the apps, too
	defer signal.Stop(signals)
	entry := newDoor(d.tellOfDaemon)
	srv := newServer(d, entry)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(entry.at(l)) }() // ended by Shutdown or Close below; waited for through failed
	tell(d.cfg.Ready, strings.Join(append([]string{"ok"}, warnings...), "\n")+"\n")
	if d.cfg.Keeper != nil {
		d.cfg.Keeper.Ready()
	}
	d.front.begin()
	lost := d.trust.lost()
	var again <-chan time.Time
	var begun <-chan struct{}
	for {
		select {
		case s := <-signals:
			d.heed(s.(syscall.Signal))
		case <-lost:
			lost, again, begun = nil, nil, nil
			if d.front.orphaned() {
				continue
			}
			if err := d.newKeeper(); err != nil {
				d.tellOfDaemon("the keeper has died, and another can't be started: %v; apps go on, it is tried again", err)
				again = time.After(keeperAgain)
				continue
			}
			lost, begun = d.trust.lost(), d.trust.link.Load().Begun()
		case <-begun:
			begun = nil
			d.tellOfDaemon("the new keeper (pid %d) has everything; how programs that run now end after a later death of this daemon will not be known", d.trust.link.Load().Pid())
		case <-again:
			lost, again = d.trust.lost(), nil
		case <-d.ending.closing:
			d.front.close()
			if d.ending.reason() != handedOver {
				d.stopAll(signals)
			}
			d.hub.wakeAll()
			return drain(srv, failed)
		case err := <-failed:
			d.end("shutdown")
			d.front.close()
			d.stopAll(signals)
			return fmt.Errorf("cannot serve: %v", err)
		}
	}
}

// shutdown ends what assemble began, in the opposite order.
func (d *Daemon) shutdown() {
	d.thrift.end()
	d.hooks.end(errEnding)
	d.upkeep.close()
	d.store.close()
	for _, in := range d.table.Load().all() {
		d.dispose(in)
	}
	d.confiner.house.Sweep()
	d.talk.close()
	d.host.Close()
	d.front.hush()
	d.pump.Close()
	d.kernel.Close()
	if l := d.trust.link.Load(); l != nil {
		l.Leaving()
		l.Close()
	}
}

// heed does what a signal asks for.
func (d *Daemon) heed(s syscall.Signal) {
	switch s {
	case syscall.SIGUSR2: // as for pm2: logrotate has moved log files
		_, _ = d.reopen(context.Background(), api.Targets{Targets: []string{"all"}}) // an app's trouble is its log's
	case syscall.SIGHUP:
		if !hungUp() {
			d.front.reload()
			return
		}
		d.tellOfDaemon("the terminal is gone: stopping all apps")
		d.end("shutdown")
	default:
		d.tellOfDaemon("%v: stopping all apps", s)
		d.front.passOn(s)
		d.end("shutdown")
	}
}

// stopAll stops every instance and waits; the desired state of apps is not meant. In the
// foreground a second signal kills what is left.
func (d *Daemon) stopAll(signals <-chan os.Signal) {
	d.rolls.cancelAll()
	all := d.table.Load().all()
	ctx, hurry := context.WithCancel(context.Background())
	defer hurry()
	if d.front != nil {
		go d.front.listen(ctx, signals, hurry) // ends with ctx; nobody has to wait
	}
	d.endInOrder(ctx, slices.Clone(all), (*instance).halt)
	for _, in := range all {
		if _, err := in.proc.Await(ctx, isStopped); err != nil && ctx.Err() != nil {
			d.endNow(in)
		}
	}
	for _, in := range all {
		_, _ = in.proc.Await(context.Background(), isStopped)
	}
	d.rolls.running.Wait()
}

// endNow kills an instance that is being stopped.
func (d *Daemon) endNow(in *instance) {
	s := in.proc.Snapshot()
	if s.Pid != 0 {
		d.tell(in.event(api.EventStop, "killed, for there is no more time (pid %d)", s.Pid))
	}
	in.proc.Kill(s.Incarnation, "")
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
