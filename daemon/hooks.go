package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// Hooks are commands around an instance's process: pre_start before each spawn, whose
// failure is the spawn's; post_start when the run is online; pre_stop before it is asked
// to end; on_errored when it is given up. Each runs in a session of its own, at most for
// its timeout, and what it leaves in its group is ended with it.

const (
	hookPreStart  = "pre_start"
	hookPostStart = "post_start"
	hookPreStop   = "pre_stop"
	hookOnErrored = "on_errored"
)

// hooks are those that are under way, of all instances.
type hooks struct {
	running sync.WaitGroup
	ctx     context.Context // ends with the daemon
	cancel  context.CancelCauseFunc
}

func newHooks() *hooks {
	h := &hooks{}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// end breaks off what is under way, and waits for that.
func (h *hooks) end(why error) {
	h.cancel(why)
	h.running.Wait()
}

// errand is a hook under way that nobody waits for in place.
type errand struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin does something in a goroutine that ends by itself, or soon after cancel or the
// daemon's end; end waits for it.
func (h *hooks) begin(do func(ctx context.Context)) *errand {
	ctx, cancel := context.WithCancel(h.ctx)
	e := &errand{cancel: cancel, done: make(chan struct{})}
	h.running.Go(func() {
		defer close(e.done)
		defer cancel()
		do(ctx)
	})
	return e
}

// around is what is under way around an instance's process. All but busy is its actor's own.
type around struct {
	busy   atomic.Pointer[string] // the hook that its process waits for; nil: none
	post   *errand                // post_start of the run that is online; nil: none yet
	part   *errand                // pre_stop of the run that is to end; nil: none yet
	warned bool                   // on_errored was run, and it has not been online since
}

// waitsForHook is the name of the hook that an instance's process waits for.
func (in *instance) waitsForHook() string {
	if name := in.busy.Load(); name != nil {
		return *name
	}
	return ""
}

// before is what is done before a run is spawned; nil: nothing. What it writes is the
// output of a run that fails by it, and else none of the program's: that begins after it.
func (d *Daemon) before(in *instance, l supervise.Launch) func(context.Context) error {
	a := in.version.Load()
	if !a.spec.Hooks.PreStart.IsSet() {
		return nil
	}
	return func(ctx context.Context) error {
		err := d.holdUp(in, hookPreStart, func() error {
			return d.runAround(ctx, hookRun{in: in, app: a, name: hookPreStart, hook: a.spec.Hooks.PreStart, out: l.Out, err: l.Err})
		})
		if err == nil {
			in.marks.Store(&marks{out: in.out.Mark(), err: in.err.Mark()})
		}
		return err
	}
}

// holdUp shows that an instance's process waits for a hook, as long as that takes.
func (d *Daemon) holdUp(in *instance, name string, do func() error) error {
	in.busy.Store(&name)
	d.hub.tell(in)
	defer d.hub.tell(in)
	defer in.busy.Store(nil)
	return do()
}

// part does what is to be done before a run is asked to end. It is called by the actor.
func (d *Daemon) part(in *instance, inc uint64, parted func()) {
	a, post := in.version.Load(), in.post
	in.part = d.hooks.begin(func(ctx context.Context) {
		defer parted()
		if post != nil {
			<-post.done // attend has broken it off
		}
		d.leave(ctx, in, inc)
		if h := a.spec.Hooks.PreStop; h.IsSet() {
			_ = d.holdUp(in, hookPreStop, func() error { // an error: it is told, and the process is asked to end all the same
				return d.runAround(ctx, hookRun{in: in, app: a, name: hookPreStop, hook: h})
			})
		}
	})
}

// attend does what is due after a transition. It is called by the actor.
func (d *Daemon) attend(in *instance, before, s supervise.Snapshot) {
	online := s.Status == supervise.StatusOnline
	if in.post != nil && !online {
		in.post.cancel()
	}
	if in.part != nil && s.Pid == 0 {
		in.part.cancel()
	}
	a := in.version.Load()
	switch {
	case online && before.Status != supervise.StatusOnline:
		in.warned = false
		if h := a.spec.Hooks.PostStart; h.IsSet() {
			in.post = d.hooks.begin(func(ctx context.Context) {
				_ = d.runAround(ctx, hookRun{in: in, app: a, name: hookPostStart, hook: h, env: []string{pidVariable(s.Pid)}}) // it is told
			})
		}
	case s.Status == supervise.StatusLaunching && s.Unstable == 0:
		in.warned = false // somebody has started it, or it is a job
	case in.isJob():
		if runHasFailed(before, s) {
			d.warn(in, a, s)
		}
	case s.Status == supervise.StatusErrored && before.Status != supervise.StatusErrored && !in.warned:
		in.warned = true
		d.warn(in, a, s)
	}
}

func pidVariable(pid int) string { return "GOPM_PID=" + strconv.Itoa(pid) }

// warn runs on_errored.
func (d *Daemon) warn(in *instance, a *app, s supervise.Snapshot) {
	h := a.spec.Hooks.OnErrored
	if !h.IsSet() || s.LastExit == nil {
		return
	}
	exit, from := *s.LastExit, in.marks.Load()
	d.hooks.begin(func(ctx context.Context) {
		env := append(exitVariables(exit), "GOPM_LAST_LINES="+in.linesSince(ctx, from))
		_ = d.runAround(ctx, hookRun{in: in, app: a, name: hookOnErrored, hook: h, env: env}) // it is told
	})
}

// exitVariables say how a run has ended.
func exitVariables(e supervise.Exit) []string {
	code, signal := strconv.Itoa(e.Code), ""
	if e.Signal != 0 {
		signal = signalName(e.Signal)
	}
	if e.Signal != 0 || e.Err != "" || e.Code == supervise.Unknown {
		code = ""
	}
	return []string{"GOPM_REASON=" + exitText(e), "GOPM_EXIT_CODE=" + code, "GOPM_SIGNAL=" + signal}
}

// linesSince are the last lines of stderr from a place on.
func (in *instance) linesSince(ctx context.Context, from *marks) string {
	const most, bytes = 20, 4000
	if from == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = in.err.Flush(ctx)                    // an error: then without what is on its way
	lines, _ := in.err.Since(from.err, most) // an error: it is not kept in a file
	text := strings.ReplaceAll(strings.Join(lines, "\n"), "\x00", "")
	return strings.ToValidUTF8(text[max(0, len(text)-bytes):], "") // it may be cut within a character
}

// hookRun is one run of a hook.
type hookRun struct {
	in       *instance
	app      *app
	name     string
	hook     ecosystem.Hook
	out, err *os.File // nil: into the app's log
	env      []string // besides the app's own
}

// outlives says that the next daemon neither repeats the hook nor goes on without it, so
// that it may end in its own time.
func (r hookRun) outlives() bool { return r.name == hookPostStart || r.name == hookOnErrored }

// errHandedOver is why hooks are left alone at the daemon's end.
var errHandedOver = errors.New("the daemon is being replaced")

// runAround runs a hook and tells what it has come to. Its error names the hook.
func (d *Daemon) runAround(ctx context.Context, r hookRun) error {
	began := time.Now()
	err := d.runHookProcess(ctx, r)
	switch {
	case errors.Is(err, errHandedOver):
		return err
	case err != nil:
		err = fmt.Errorf("%s: %w", r.name, err)
		d.tell(r.in.event(api.EventHook, "%v", err))
		return err
	}
	d.tell(r.in.event(api.EventHook, "%s: done after %v", r.name, time.Since(began).Round(time.Millisecond)))
	return nil
}

// runHookProcess runs a hook as its app's program would be.
func (d *Daemon) runHookProcess(ctx context.Context, r hookRun) error {
	c, err := d.hookCommand(r)
	if err != nil {
		return err
	}
	l := supervise.Launch{Out: r.out, Err: r.err}
	if r.out == nil {
		if l.Out, err = r.in.out.ChildFile(); err != nil {
			return err
		}
		defer l.Out.Close()
		if l.Err, err = r.in.err.ChildFile(); err != nil {
			return err
		}
		defer l.Err.Close()
	}
	wait := r.hook.Timeout
	if wait <= 0 {
		wait = usualHookWait
	}
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	exit, err := d.besides(bounded, c, l, r)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return errors.New("broken off")
	case bounded.Err() != nil:
		return fmt.Errorf("not done within %v: it was ended", wait)
	case exit.Signal != 0:
		return fmt.Errorf("ended by %s", signalName(exit.Signal))
	case exit.Code != 0:
		return fmt.Errorf("exit code %d", exit.Code)
	}
	return nil
}

// besides runs a command to its end, or to that of ctx. When it has ended, so have all in
// its group.
func (d *Daemon) besides(ctx context.Context, c supervise.Command, l supervise.Launch, r hookRun) (exit supervise.Exit, err error) {
	exited := make(chan struct{})
	child, err := d.kernel.Spawn(c, l, func() { close(exited) })
	if err != nil {
		return exit, err
	}
	defer child.Release()
	forget := d.trust.bindHook(ctx, child, r)
	select {
	case <-exited:
	case <-ctx.Done():
		if r.outlives() && errors.Is(context.Cause(ctx), errHandedOver) {
			return exit, errHandedOver
		}
		pid, _ := child.Identity()
		endGroup(pid)
		<-exited
	}
	_ = child.Signal(syscall.SIGKILL, true) // what is left of its group; an error: nothing is
	child.Reap(false, func(e supervise.Exit) { exit = e })
	forget()
	return exit, nil
}

// hookCommand is what is executed for a hook.
func (d *Daemon) hookCommand(r hookRun) (supervise.Command, error) {
	acc, err := lookupAccount(r.app.spec.Command)
	if err != nil {
		return supervise.Command{}, err
	}
	c := buildCommand(r.app, r.in, acc, d.cfg.Home.Dir)
	env := newEnviron(slices.DeleteFunc(c.Env, func(entry string) bool {
		return slices.Contains(c.Marker, entry) && !strings.HasPrefix(entry, "GOPM_HOME=") // by these the instance's own processes are known
	}))
	env.set("GOPM_HOOK="+r.name, "GOPM_APP="+r.in.name, "GOPM_ID="+strconv.Itoa(r.in.id), "GOPM_INSTANCE="+strconv.Itoa(r.in.index))
	env.set(r.env...)
	return supervise.Command{
		Argv: []string{"/bin/sh", "-c", r.hook.Exec}, Env: env.list, Dir: c.Dir, Umask: c.Umask, User: c.User, Bounds: c.Bounds, Session: true,
	}, nil
}
