package daemon

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
)

// machineTurn is what this machine does when it is its turn in a rollout. Its goroutine ends when
// that is done and written down, or with its context.
type machineTurn struct {
	d      *Daemon
	book   *releaseBook
	client *consul.Client
	app    string
	host   string
	mark   consul.Mark
	id     string // of the rollout
	verb   string
	backed bool // by --rollback: it must be known what to go back to
	alone  bool // no other machine is to do anything with the app meanwhile
	undo   bool // it goes back
	resume bool // the daemon before this one has begun it
	began  time.Time
}

// The session of a turn: Consul ends it between one and two times the TTL after the last
// renewal.
const (
	turnTTL   = 10 * time.Second
	turnRenew = 3 * time.Second
)

// begin takes the turn that a record offers; false: another was quicker, or it failed.
func (t *machineTurn) begin(ctx context.Context, r api.Rollout, index uint64) (bool, error) {
	mark, ok, err := t.client.TakeMark(ctx, turnKey(t.app, t.host), t.host, turnTTL)
	if err != nil || !ok {
		return false, err
	}
	t.mark, t.id, t.began = mark, r.ID, time.Now()
	record := consul.Record{Key: rolloutKey(t.app), Index: index}
	done, err := t.client.Replace(ctx, record, encodeRollout(taken(r, t.host, mark.Session, t.began)))
	if done && err == nil {
		return true, nil
	}
	t.drop() // an answer that was lost: who reads the record sees that the turn has no session
	return false, err
}

// drop gives the turn back. It is bounded, and does not need the turn's context.
func (t *machineTurn) drop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.client.DropMark(ctx, t.mark) // else it ends by its TTL
}

// run does what the turn is for, and writes down what came of it.
func (t *machineTurn) run(ctx context.Context) {
	t.tell("its turn: %s", t.what())
	working, done := context.WithCancel(ctx)
	renewed := make(chan struct{})
	go func() { // ends with working; waited for below
		defer close(renewed)
		t.client.KeepAlive(working, t.mark, turnRenew)
	}()
	result := t.carryOut(ctx)
	if ctx.Err() == nil {
		t.report(ctx, result)
	}
	done()
	<-renewed
	if ctx.Err() == nil {
		t.drop()
	}
}

func (t *machineTurn) what() string {
	switch {
	case t.undo:
		return "back to the release that it had"
	case t.resume:
		return t.verb + ", which was begun before this daemon"
	}
	return t.verb
}

func (t *machineTurn) tell(format string, args ...any) {
	t.d.tell(appEvent(t.app, api.EventConsul, "rollout: "+format, args...))
}

// report writes the result down until it is, or nobody waits for it any more.
func (t *machineTurn) report(ctx context.Context, result turnResult) {
	for failures := 0; ctx.Err() == nil; {
		done, err := t.note(ctx, result)
		switch {
		case err == nil && done:
			t.tell("%s", firstOf(result.fault, result.text))
			return
		case err != nil:
			failures++
			t.tell("what came of it can't be written down: %v; it is tried again", err)
			_ = t.client.Rest(ctx, time.Now().Add(consul.Pause(failures)), nil) // ctx is looked at
		}
	}
}

// note is one try; false: the record has changed meanwhile.
func (t *machineTurn) note(ctx context.Context, result turnResult) (done bool, err error) {
	record, err := t.client.Record(ctx, rolloutKey(t.app))
	if err != nil {
		return false, err
	}
	r, err := parseRollout(t.app, record.Value)
	own := turnOf(&r, t.host)
	if err != nil || r.ID != t.id || own == nil || own.Session != t.mark.Session {
		t.tell("its turn was taken away meanwhile")
		return true, nil
	}
	return t.client.Replace(ctx, record, encodeRollout(settled(r, t.host, result, time.Now())))
}

// carryOut does what the turn is for.
func (t *machineTurn) carryOut(ctx context.Context) (result turnResult) {
	a := t.d.table.Load().app(t.app)
	if a == nil || !a.spec.Consul.Fleet {
		return turnResult{fault: fmt.Sprintf("%s is not here, or does not say fleet: true", t.app)}
	}
	dir, err := a.runningRelease()
	if !t.undo && !t.resume {
		if err == nil {
			err = t.book.note(t.app, t.id, dir, func(app string) bool { return t.d.table.Load().app(app) != nil })
		}
		if err != nil && t.backed {
			return turnResult{fault: fmt.Sprintf("nothing was done, for it could not be rolled back: %v", err)}
		}
	}
	result.before = releaseName(dir)
	t.byItself(ctx, a, func() { result.text, result.fault = t.act(ctx, a) })
	if a := t.d.table.Load().app(t.app); a != nil {
		dir, _ = a.runningRelease() // "": it can't be told
		result.after = releaseName(dir)
	}
	if result.fault == "" && result.text == "" {
		result.text = fmt.Sprintf("%s, well after %v", pastTense[t.verb], time.Since(t.began).Round(100*time.Millisecond))
	}
	return result
}

// act does it.
func (t *machineTurn) act(ctx context.Context, a *app) (text, fault string) {
	switch {
	case t.undo:
		return t.goBack(ctx, a)
	case t.resume && (t.verb == api.VerbReload || t.verb == api.VerbRestart):
		return "", t.d.verify(ctx, t.app, t.began, proof{renewed: true, resumed: true}) // it is not done twice
	}
	return "", t.d.doVerb(ctx, a, t.verb)
}

// byItself does something while no other machine changes the app because its configuration
// has changed, if one at a time was asked for. Without an answer it is done all the same:
// the turn is held anyhow.
func (t *machineTurn) byItself(ctx context.Context, a *app, do func()) {
	begun := false
	once := func() error {
		begun = true
		do()
		return nil
	}
	if t.alone {
		_ = t.d.takeTurn(ctx, a, once)
	}
	if !begun {
		_ = once()
	}
}

var pastTense = map[string]string{api.VerbReload: "reloaded", api.VerbRestart: "restarted", api.VerbStart: "started", api.VerbStop: "stopped"}

// doVerb does one of the four things with an app, and waits until it is verified.
func (d *Daemon) doVerb(ctx context.Context, a *app, verb string) (fault string) {
	since := time.Now()
	targets := api.Targets{}
	for _, in := range a.instances { // by id: a name can mean more than an app
		targets.Targets = append(targets.Targets, strconv.Itoa(in.id))
	}
	var out api.Outcome
	var err error
	switch verb {
	case api.VerbReload:
		out, err = d.reload(ctx, targets)
	case api.VerbRestart:
		out, err = d.restart(ctx, targets)
	case api.VerbStart:
		out, err = d.start(ctx, targets)
	case api.VerbStop:
		_, err = d.stop(ctx, targets)
		if err != nil {
			return err.Error()
		}
		return ""
	}
	if err != nil {
		return err.Error()
	}
	for _, one := range out.Apps {
		if r := d.rolls.numbered(one.Roll); r != nil {
			if fault := r.outcomeOf(ctx); fault != "" {
				return fault
			}
		}
	}
	return d.verify(ctx, a.spec.Name, since, proof{renewed: verb != api.VerbStart})
}

// outcomeOf waits for a roll's end; "" = it is done.
func (r *roll) outcomeOf(ctx context.Context) (fault string) {
	select {
	case <-r.done:
	case <-ctx.Done():
		return ctx.Err().Error()
	}
	steps, _ := r.story.since(0)
	for _, s := range steps {
		if s.Did == api.RollFailed {
			return s.Why
		}
	}
	return ""
}

// goBack has the release current again that an app had before its turn, and runs it.
func (t *machineTurn) goBack(ctx context.Context, a *app) (text, fault string) {
	r, err := releasesOf(a.spec)
	if err != nil {
		return "", err.Error()
	}
	dir := t.book.of(t.app, t.id)
	if dir == "" { // its turn had not come: it still runs what it had
		if dir, err = a.runningRelease(); err != nil {
			return "", err.Error()
		}
	}
	now, err := r.leadsTo()
	if err != nil {
		return "", fmt.Sprintf("cannot see where %s leads: %v", r.link, err)
	}
	if now != dir {
		if err := r.lead(dir, "a rollout that is rolled back"); err != nil {
			return "", err.Error()
		}
	}
	if runs, err := a.runningRelease(); err == nil && runs == dir && a.isWell() {
		return fmt.Sprintf("release %s is current; its processes never were of another", releaseName(dir)), ""
	}
	if fault := t.d.doVerb(ctx, a, api.VerbReload); fault != "" {
		return "", fault
	}
	return fmt.Sprintf("release %s is current, and runs", releaseName(dir)), ""
}

// isWell says that all instances run and are well now.
func (a *app) isWell() bool {
	for _, in := range a.instances {
		if passed, _ := in.shown(proof{}).verdict(time.Now()); !passed {
			return false
		}
	}
	return true
}
