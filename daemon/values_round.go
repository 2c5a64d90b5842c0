package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// A round gives an app other values: its files are written, then its instances get the
// variables as its on_change says. If it fails with them, it gets back what it had.

// roundOver is what came of one.
type roundOver struct {
	of     *tuning
	err    error     // it could not be done, and is to be tried again
	bad    *badValue // the app failed
	good   bool      // the app has the newest ones
	gaveUp *values   // that the app has, but not all of what runs
	kept   *values   // that were kept; nil: as before
}

// round is one. It is a goroutine.
func (t *tuner) round(ctx context.Context, x *tuning, m move, v *values) {
	o := roundOver{of: x}
	switch a := t.d.table.Load().app(x.app); {
	case a == nil:
	case m == moveKeep:
		o.kept = t.keepGood(a, v, x.refused)
	case m == moveFirst || m == moveKept:
		o.err = t.give(ctx, a, m, v)
		if o.err == nil {
			o.good, o.kept = m == moveFirst, v
		}
	default:
		o.err = t.inTurn(ctx, a, v, func() error { return t.renew(ctx, a, v, &o) })
	}
	if m == moveCatchUp && o.bad != nil {
		o.bad, o.gaveUp = nil, v
	}
	select {
	case t.over <- o:
	case <-ctx.Done():
	}
}

// inTurn does something that ends processes when it is this machine's turn, if machines take
// turns.
func (t *tuner) inTurn(ctx context.Context, a *app, v *values, do func() error) error {
	if a.spec.Times.IsJob() || a.spec.Consul.Config.OnChange == ecosystem.OnChangeNothing || len(due(a, v)) == 0 {
		return do()
	}
	return t.d.takeTurn(ctx, a, do)
}

// renew gives an app other values than it has, or what runs those that the app has; and
// takes that back if it fails.
func (t *tuner) renew(ctx context.Context, a *app, v *values, o *roundOver) error {
	fault := t.condemned(ctx, a, v)
	if fault == "" {
		var err error
		if fault, err = t.change(ctx, a, v); err != nil {
			return err
		}
		t.condemn(ctx, a, v, fault)
	}
	if fault == "" {
		o.good, o.kept = true, t.keepGood(a, v, nil)
		return nil
	}
	o.bad = &badValue{Values: v, Why: fault, At: time.Now(), Tries: 1}
	if before := o.of.refused; before != nil && before.Values.isSame(v) {
		o.bad.Tries += before.Tries
	}
	o.kept = t.keepGood(a, a.values, o.bad)
	return t.putBack(ctx, a.spec.Name, a.values, o.bad)
}

// give gives an app its first values.
func (t *tuner) give(ctx context.Context, a *app, m move, v *values) error {
	if err := t.d.install(a, v); err != nil {
		return err
	}
	if m == moveFirst {
		t.keepGood(a, v, nil)
	}
	if err := t.d.adopt(ctx, a.spec.Name, v); err != nil {
		return err
	}
	what := fmt.Sprintf("%s of index %d", v.text(), v.Number)
	if m == moveKept {
		what += fmt.Sprintf(", kept since %s: consul doesn't say what they are now", v.Read.Local().Format(time.DateTime))
	}
	t.d.tell(appEvent(a.spec.Name, api.EventConsul, "it gets %s", what))
	t.d.hub.wakeAll() // what has waited for them is started
	return nil
}

// text is how much there is of it.
func (v *values) text() string {
	text := fmt.Sprintf("%d variables", len(v.Vars))
	if len(v.Vars) == 1 {
		text = "1 variable"
	}
	switch n := len(v.Files); {
	case n == 1:
		text += " and 1 file"
	case n > 1:
		text += fmt.Sprintf(" and %d files", n)
	}
	return text
}

// keepGood keeps values for a time without Consul. That it can't is told, and no reason not
// to use them.
func (t *tuner) keepGood(a *app, good *values, bad *badValue) *values {
	if err := t.d.saveKept(a, keptValues{Good: good, Bad: bad}); err != nil {
		t.d.tell(appEvent(a.spec.Name, api.EventConsul, "%v; without Consul it can't be started", err))
	}
	return good
}

// adopt has an app have values: its next processes are started with them.
func (d *Daemon) adopt(ctx context.Context, name string, v *values) error {
	end, err := d.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	a := d.table.Load().app(name)
	if a == nil {
		return nil // deleted meanwhile
	}
	if err := d.rolls.refusal(name); err != nil {
		return err
	}
	return d.tune(a, v)
}

// tune is called by who has the turn.
func (d *Daemon) tune(a *app, v *values) error {
	next := *a
	next.values = v
	r, err := d.prepare(&next)
	if err != nil {
		return err
	}
	for _, in := range next.instances {
		d.configure(r, in)
	}
	d.put(d.table.Load().with(&next), &next)
	return nil
}

// isBehind says whether something runs that was begun with other values than the app has.
func (t *tuner) isBehind(x *tuning, a *app) bool {
	if a.values == nil || x.gaveUp == a.values || !renewsOnChange(a.spec) || t.d.rolls.find(a.spec.Name) != nil {
		return false
	}
	return slices.ContainsFunc(a.instances, func(in *instance) bool { return in.isBehind(a.values) })
}

func (in *instance) isBehind(v *values) bool {
	s := in.proc.Snapshot()
	return s.IsUp() && s.Edition != v.Number
}

// renewsOnChange says whether the processes of an app are replaced when values change. A
// job's next run has the new ones.
func renewsOnChange(spec ecosystem.App) bool {
	how := spec.Consul.Config.OnChange
	return !spec.Times.IsJob() && (how == ecosystem.OnChangeReload || how == ecosystem.OnChangeRestart)
}

// reloadsOnChange says that an app is told of a change by an exchange of its processes, by
// which it loses nothing.
func (a *app) reloadsOnChange() bool {
	return renewsOnChange(a.spec) && a.spec.Consul.Config.OnChange == ecosystem.OnChangeReload && reloadable(a)
}

// change gives an app other values than it has, as its on_change says. A fault is how the
// app has failed with them.
func (t *tuner) change(ctx context.Context, a *app, v *values) (fault string, err error) {
	if err := t.d.install(a, v); err != nil {
		return "", err
	}
	if a.values != v {
		t.d.tell(appEvent(a.spec.Name, api.EventConsul, "%s: index %d", changeText(a.values, v, a.spec.Consul.Config.OnChange), v.Number))
	}
	if renewsOnChange(a.spec) {
		return t.d.renewWith(ctx, a, v)
	}
	if err = t.d.adopt(ctx, a.spec.Name, v); err == nil {
		t.signal(a)
	}
	return "", err
}

// renewWith gives an app values, and replaces its processes.
func (d *Daemon) renewWith(ctx context.Context, a *app, v *values) (fault string, err error) {
	who := due(a, v)
	switch {
	case len(who) == 0:
		return "", d.adopt(ctx, a.spec.Name, v)
	case a.reloadsOnChange() && isUp(a):
		return d.reloadWith(ctx, a.spec.Name, v, who)
	}
	return d.restartWith(ctx, a.spec.Name, v, who)
}

// due are the instances of an app that are to have other values: those that run, or have
// failed.
func due(a *app, v *values) []*instance {
	return slices.DeleteFunc(renewable(a), func(in *instance) bool { return in.proc.Snapshot().IsUp() && !in.isBehind(v) })
}

// putBack gives an app the values again that it had.
func (t *tuner) putBack(ctx context.Context, name string, before *values, bad *badValue) error {
	a := t.d.table.Load().app(name)
	if a == nil || before == nil || before == bad.Values {
		return nil
	}
	t.d.tell(appEvent(name, api.EventConsul, "with the values of index %d it fails (%s): it has those of index %d again, until the keys change", bad.Values.Number, bad.Why, before.Number))
	if err := t.d.install(a, before); err != nil {
		return err
	}
	fault, err := t.d.renewWith(ctx, a, before)
	if fault != "" {
		t.d.tell(appEvent(name, api.EventConsul, "with the values of index %d it fails, too: %s", before.Number, fault))
	}
	return err
}

// signal sends what on_change says to what runs; nothing, if it says that.
func (t *tuner) signal(a *app) {
	sig := unix.SignalNum(a.spec.Consul.Config.OnChange)
	if sig == 0 {
		return
	}
	for _, in := range a.instances {
		_ = in.proc.Signal(sig) // an error: it doesn't run
	}
}

// changeText says what has changed, and what is done about it.
func changeText(before, after *values, how string) string {
	var names []string
	for _, part := range [][2][]setting{{before.Vars, after.Vars}, {before.Files, after.Files}} {
		for _, s := range part[1] {
			if was := find(part[0], s.Name); was == nil || string(was.Value) != string(s.Value) {
				names = append(names, s.Name)
			}
		}
		for _, s := range part[0] {
			if find(part[1], s.Name) == nil {
				names = append(names, s.Name+" (gone)")
			}
		}
	}
	const named = 5
	text := strings.Join(names[:min(named, len(names))], ", ")
	if more := len(names) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	follows := map[string]string{ecosystem.OnChangeReload: "it is reloaded", ecosystem.OnChangeRestart: "it is restarted", ecosystem.OnChangeNothing: "its next start has that"}[how]
	if follows == "" {
		follows = "it is sent " + how
	}
	return fmt.Sprintf("changed: %s; %s", text, follows)
}

// causeOf is why processes are replaced.
func causeOf(a *app) string { return "consul " + firstOf(a.spec.Consul.Config.Env, "files") }

// reloadWith exchanges instances for such with other values. A fault is the app's: then
// some of them may have been exchanged.
func (d *Daemon) reloadWith(ctx context.Context, name string, v *values, who []*instance) (fault string, err error) {
	r, err := d.beginReloadWith(ctx, name, v, who)
	if r == nil || err != nil {
		return "", err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	steps, _ := r.story.since(0)
	if last := steps[len(steps)-1]; last.Did != api.RollFailed {
		return "", d.adopt(ctx, name, v) // for those that were down
	} else if cause := context.Cause(r.ctx); !errors.Is(cause, context.Canceled) {
		return "", fmt.Errorf("the reload with other values was given up: %v", cause)
	} else {
		return last.Why, nil
	}
}

func (d *Daemon) beginReloadWith(ctx context.Context, name string, v *values, who []*instance) (*roll, error) {
	end, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := d.rolls.refusal(name); err != nil {
		return nil, err
	}
	a := d.table.Load().app(name)
	if a == nil {
		return nil, nil
	}
	who = slices.DeleteFunc(slices.Clone(who), func(in *instance) bool { return in.app.Load() == nil })
	if len(who) == 0 {
		return nil, d.tune(a, v)
	}
	next := *a
	next.values = v
	ready, err := d.prepare(&next)
	if err != nil {
		return nil, err
	}
	r := d.newRoll(doReload, ready, who)
	r.cause, r.reason = causeOf(a), byConsul
	d.rolls.begin(r)
	return r, nil
}

// restartWith restarts instances with other values, one after the other, up to the first
// that fails though it had been well.
func (d *Daemon) restartWith(ctx context.Context, name string, v *values, who []*instance) (fault string, err error) {
	if err := d.adopt(ctx, name, v); err != nil {
		return "", err
	}
	heard(who)
	for _, in := range who {
		a := in.app.Load()
		if a == nil {
			continue
		}
		was := in.proc.Snapshot()
		in.because(byConsul, was.Incarnation)
		switch {
		case was.IsUp() && was.Edition == v.Number:
			continue // it has crashed, or was restarted, meanwhile
		case was.IsUp():
			in.proc.Replace(was.Incarnation, causeOf(a))
		case was.Want || was.Status == supervise.StatusErrored:
			in.restart(causeOf(a))
		default:
			continue // its user has stopped it
		}
		why, err := in.judged(ctx, was)
		if err != nil {
			return "", err
		}
		if why != "" && isOnline(was) {
			return fmt.Sprintf("%s:%d %s", in.name, in.index, why), nil
		}
	}
	return "", nil
}

// judged waits for how the run is that comes after the one which was seen, and says how it
// has failed; "": it hasn't. Of one that somebody has killed the next run is judged.
func (in *instance) judged(ctx context.Context, was supervise.Snapshot) (fault string, err error) {
	const mostKills = 3
	for range mostKills {
		now, err := in.proc.Await(ctx, func(s supervise.Snapshot) bool { return isJudged(was, s) })
		if errors.Is(err, supervise.ErrClosed) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if fault = failure(was, now); fault == "" || isDown(now) || !isKill(now.LastExit) {
			return fault, nil
		}
		was.Incarnation = now.LastExit.Incarnation
	}
	return fault, nil
}

// isKill says that a run was ended from outside.
func isKill(e *supervise.Exit) bool {
	return (e.Signal == syscall.SIGKILL || e.Signal == syscall.SIGTERM) && !e.OOM && e.Fault == "" && e.Hang == ""
}

// isJudged says whether the run after the one that was seen has shown how it is.
func isJudged(was, s supervise.Snapshot) bool {
	return isDown(s) || s.Incarnation > was.Incarnation && (s.Settled || s.LastExit != nil && s.LastExit.Incarnation > was.Incarnation)
}

// failure is how it has failed; "": it hasn't, or by somebody's wish.
func failure(was, now supervise.Snapshot) string {
	if e := now.LastExit; e != nil && e.Incarnation > was.Incarnation && !e.Requested {
		return exitText(*e)
	}
	return ""
}
