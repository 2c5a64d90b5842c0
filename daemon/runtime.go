package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// foreground is what a daemon does besides, that a command runs and waits for, as in a
// container: it starts what that was given, ends when all of that has, and says with
// which code. A nil one does nothing of that.
type foreground struct {
	d        *Daemon
	settings api.Runtime
	order    []byte // to be started; nil: a daemon before has done it
	words    voice
	by       atomic.Int32 // the signal that we were told to end by
	code     atomic.Int32 // to end with; unset: that of what was stopped
	reloads  chan struct{}
	stop     context.CancelFunc
	running  sync.WaitGroup
}

const (
	unset     = -1
	signalled = 128 // and the number of the signal, as a shell has it
)

func newForeground(d *Daemon) *foreground {
	if d.cfg.Runtime == nil {
		return nil
	}
	f := &foreground{d: d, settings: *d.cfg.Runtime, reloads: make(chan struct{}, 1), stop: func() {}}
	f.code.Store(unset)
	return f
}

// spoken is where the daemon's own words go, and how they are written.
func (f *foreground) spoken() (io.WriteCloser, func(time.Time, string) string) {
	return &f.words, func(now time.Time, text string) string {
		return f.settings.Words(now, cutText(text, maxForegroundText))
	}
}

func (f *foreground) signals() []os.Signal {
	usual := []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2}
	if f == nil {
		return usual
	}
	return append(usual, syscall.SIGQUIT, syscall.SIGHUP)
}

// receive takes the order, of the command or of the daemon before, and has the keeper
// keep it until it is carried out.
func (f *foreground) receive(file *os.File, left []byte) (err error) {
	if f == nil {
		return nil
	}
	if f.order = left; file == nil || left != nil {
		return nil
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	if f.order, err = readMemory(file); err == nil {
		f.d.trust.put(keyOrder, file)
	}
	return err
}

// isFresh says that this is the first daemon of its run.
func (f *foreground) isFresh(e estate) bool { return f != nil && f.order != nil && e.state == nil }

// begin starts what was ordered, and watches what becomes of it, until close.
func (f *foreground) begin() {
	if f == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	f.running.Go(func() { // ended by close, which waits for it
		if err := f.carryOut(ctx); err != nil && (ctx.Err() != nil || f.d.ending.reason() != "") {
			return // we are told to end already
		} else if err != nil {
			f.finish("nothing runs", codeOf(err))
			f.d.tellOfDaemon("error: %v", err)
			return
		}
		f.watch(ctx)
	})
}

func codeOf(err error) int {
	var e *api.Error
	if errors.As(err, &e) && e.Kind == api.KindInvalid {
		return 2
	}
	return 1
}

func (f *foreground) close() {
	if f != nil {
		f.stop()
		f.running.Wait()
	}
}

// carryOut applies the order: what is there besides is of an earlier run, and goes.
func (f *foreground) carryOut(ctx context.Context) error {
	if f.order == nil {
		return nil
	}
	var order api.RuntimeOrder
	if err := json.Unmarshal(f.order, &order); err != nil {
		return fmt.Errorf("cannot read what is to be started: %v", err)
	}
	select {
	case <-time.After(order.Delay):
	case <-ctx.Done():
		return ctx.Err()
	}
	var wanted []string
	for _, req := range order.Applies {
		out, err := f.d.apply(ctx, req)
		if err != nil {
			return err
		}
		for _, w := range out.Warnings {
			f.d.tellOfDaemon("warning: %s", w)
		}
		for _, a := range req.Apps {
			wanted = append(wanted, a.Name)
		}
	}
	old := slices.DeleteFunc(f.d.table.Load().names(), func(name string) bool { return slices.Contains(wanted, name) })
	if len(old) > 0 {
		if _, err := f.d.remove(ctx, api.Targets{Targets: old}); err != nil {
			return err
		}
	}
	heard(f.d.table.Load().all())
	f.order = nil
	f.d.trust.put(keyOrder, nil)
	return nil
}

// watch ends the daemon when what it was started for is over.
func (f *foreground) watch(ctx context.Context) {
	changes := f.d.hub.subscribe()
	defer f.d.hub.unsubscribe(changes)
	var sure <-chan time.Time // set while nothing runs but what waits for others
	for {
		v, code := judgeRun(f.settings.ExitOn, f.d.fates())
		switch {
		case v == runs:
			sure = nil
		case v == stuck && sure == nil:
			sure = time.After(stuckFor)
		case v == over:
			f.finish(f.why(), code)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-sure:
			f.finish("what the rest waits for has failed", code)
			return
		case <-changes.wake:
			changes.take()
		case <-f.reloads:
			if _, err := f.d.reload(ctx, api.Targets{Targets: []string{"all"}}); err != nil {
				f.d.tellOfDaemon("cannot reload: %v", err)
			}
		}
	}
}

func (f *foreground) finish(why string, code int) {
	f.code.Store(int32(code))
	f.d.tellOfDaemon("%s: ending with code %d", why, code)
	f.d.end("shutdown")
}

func (f *foreground) reload() {
	if f == nil {
		return
	}
	select {
	case f.reloads <- struct{}{}:
	default: // one is due
	}
}

// passOn has everything end by the signal that we were told to end by, but what has one
// of its own.
func (f *foreground) passOn(s syscall.Signal) {
	if f == nil {
		return
	}
	f.by.Store(int32(s))
	for _, in := range f.d.table.Load().all() {
		if a := in.version.Load(); a != nil && !a.spec.Stop.Given {
			in.proc.EndsBy(s)
		}
	}
}

// listen waits for a second signal, or for the end of the grace.
func (f *foreground) listen(ctx context.Context, signals <-chan os.Signal, hurry func()) {
	var late <-chan time.Time
	if f.settings.Grace > 0 {
		late = time.After(f.settings.Grace)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-late:
			f.d.tellOfDaemon("not everything has ended within %s: killing what is left", f.settings.Grace)
			hurry()
			return
		case s := <-signals:
			if s == syscall.SIGUSR2 || s == syscall.SIGHUP {
				continue
			}
			f.d.tellOfDaemon("%v: killing what is left", s)
			hurry()
			return
		}
	}
}

// hush is for the end of the pump.
func (f *foreground) hush() {
	if f != nil {
		f.words.leave()
	}
}

// hungUp says that the terminal which we were started on is gone.
func hungUp() bool {
	for fd := range int32(3) {
		var st unix.Stat_t
		if unix.Fstat(int(fd), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
			continue
		}
		look := []unix.PollFd{{Fd: fd}}
		if n, err := unix.Poll(look, 0); n == 1 && err == nil && look[0].Revents&unix.POLLHUP != 0 {
			return true
		}
	}
	return false
}

// orphaned ends everything: whoever waits for the keeper is told that it is over.
func (f *foreground) orphaned() bool {
	if f == nil {
		return false
	}
	f.d.tellOfDaemon("the keeper was killed: stopping all apps")
	f.d.end("shutdown")
	return true
}

// exitCode is asked when everything has ended.
func (f *foreground) exitCode() int {
	if f == nil {
		return 0
	}
	if code := f.code.Load(); code != unset {
		return int(code)
	}
	all := f.d.fates()
	if by := f.by.Load(); by != 0 && !slices.ContainsFunc(all, func(f fate) bool { return f.exit != nil }) {
		return signalled + int(by) // nothing has run yet
	}
	return firstFailure(all)
}

// fate is what matters of an instance.
type fate struct {
	over    bool // it doesn't run, and isn't going to
	waits   bool // for what it depends on
	errored bool
	exit    *supervise.Exit // nil: it has never run
}

func (d *Daemon) fates() (all []fate) {
	for _, in := range d.table.Load().all() {
		s := in.proc.Snapshot()
		waits := isDown(s) && in.waits.Load() != nil
		all = append(all, fate{over: isDown(s) && !waits && !in.isArmed(), waits: waits, errored: s.Status == supervise.StatusErrored, exit: s.LastExit})
	}
	return all
}

// foregone is how things are in the foreground.
type foregone int

const (
	runs  foregone = iota
	stuck          // nothing runs, and what others wait for has failed
	over
)

// stuckFor is how long that has to last: what waits may be about to be started.
const stuckFor = 2 * time.Second

// judgeRun says whether the end of some is the end of all, and its code.
func judgeRun(exitOn string, all []fate) (v foregone, code int) {
	var ended, ran []fate
	waiting := 0
	for _, f := range all {
		switch {
		case f.over:
			ended = append(ended, f)
		case f.waits:
			waiting++
		}
		if f.over && (f.exit != nil || f.errored) { // else it has never been started
			ran = append(ran, f)
		}
	}
	byTime(ran)
	code = firstFailure(ended)
	switch {
	case exitOn == api.ExitOnNever:
		return runs, 0
	case exitOn == api.ExitOnFirst && len(ran) > 0:
		return over, ran[0].code()
	case exitOn == api.ExitOnFailure && code != 0, len(ended) == len(all):
		return over, code
	case waiting > 0 && len(ended)+waiting == len(all) && code != 0:
		return stuck, code
	}
	return runs, 0
}

// why everything is over.
func (f *foreground) why() string {
	switch f.settings.ExitOn {
	case api.ExitOnFirst:
		return "one of the apps has ended (--exit-on first)"
	case api.ExitOnFailure:
		return "one of the apps has failed, or all have ended (--exit-on failure)"
	}
	return "all that was to run has ended"
}

// firstFailure is the first code that isn't 0.
func firstFailure(all []fate) int {
	all = slices.Clone(all)
	byTime(all)
	for _, f := range all {
		if code := f.code(); code != 0 {
			return code
		}
	}
	return 0
}

func byTime(all []fate) {
	at := func(f fate) int64 {
		if f.exit == nil {
			return 0
		}
		return f.exit.At.UnixNano()
	}
	slices.SortStableFunc(all, func(a, b fate) int { return cmp.Compare(at(a), at(b)) })
}

// code is a shell's for what has ended like that. What is given up hasn't ended well,
// whatever it said itself.
func (f fate) code() int {
	const notRun = 127
	switch {
	case f.exit == nil:
	case f.exit.Err != "":
		return notRun
	case f.exit.Signal != 0:
		return signalled + int(f.exit.Signal)
	case f.exit.Code > 0:
		return f.exit.Code
	case f.exit.Code == supervise.Unknown:
		return 1
	}
	if f.errored {
		return 1
	}
	return 0
}
