package daemon

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
)

// tuner keeps apps configured by what keys in Consul say. Its goroutine decides; one more
// for each key or prefix asks for it, and one for each app that is being given other
// values does that. While no app asks for values there is none of them.
type tuner struct {
	worker
	d    *Daemon
	wake chan struct{} // one place: the table has changed
	news chan keyNews
	over chan roundOver

	mu       sync.Mutex // guards the rest
	shown    map[string]tuningView
	again    map[string]bool    // apps that are to be given values once more that they have failed with
	foreseen map[string]*values // by source: of apps that are about to ask for them
}

// tuning is what is known of one app. It is the tuner's goroutine's own.
type tuning struct {
	app    string
	source string
	conn   consul.Connection
	where  string // the agent
	end    context.CancelFunc
	replies
	outlook          // but for have and behind, which the table has
	seen     *app    // of which fresh was made; nil: it is to be made anew
	inRound  bool    // it is being given other values
	failures int     // of that, in a row
	gaveUp   *values // that could not be given to what runs
	refused  *badValue
	said     map[string]string // what was told last, by what it is about
}

// replies are what was answered, by question: the variables, if they are asked for, then each
// file.
type replies struct {
	keys    []string
	records [][]consul.Record
	answers []bool
	errs    []error // of the last try
	indexes []uint64
	at      time.Time // of the last answer that said something new
	mute    time.Time // since then not all is answered; zero: it is
}

// keyNews is an answer, or why there is none.
type keyNews struct {
	of      *tuning
	i       int
	records []consul.Record
	index   uint64
	err     error
}

func newTuner(d *Daemon) *tuner {
	return &tuner{d: d, wake: make(chan struct{}, 1), news: make(chan keyNews), over: make(chan roundOver), shown: map[string]tuningView{}, again: map[string]bool{}, foreseen: map[string]*values{}}
}

// look begins or ends the work, after the table has changed.
func (t *tuner) look() {
	t.keep(slices.ContainsFunc(t.d.table.Load().apps, func(a *app) bool { return isConfigured(a.spec) }), t.run)
	t.poke()
}

func (t *tuner) poke() {
	select {
	case t.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

func (t *tuner) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var helpers sync.WaitGroup
	defer helpers.Wait() // they end soon after cancel
	defer cancel()
	defer t.show(nil)
	all := map[string]*tuning{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t.match(ctx, &helpers, all)
		wait := t.proceed(ctx, &helpers, all)
		t.show(all)
		timer.Reset(wait)
		select {
		case <-stop:
			t.drop(all)
			return
		case <-t.wake:
		case n := <-t.news:
			n.of.take(n)
		case o := <-t.over:
			t.finish(o)
		case <-timer.C:
		}
	}
}

// match begins to ask for apps that are new, or ask for something else, and ends it for
// those that are gone.
func (t *tuner) match(ctx context.Context, helpers *sync.WaitGroup, all map[string]*tuning) {
	table := t.d.table.Load()
	for name, x := range all {
		a := table.app(name)
		if a != nil && isConfigured(a.spec) && t.d.sourceOf(a) == x.source && t.d.agents.connection(a) == x.conn {
			continue
		}
		x.end()
		t.drop(map[string]*tuning{name: x})
		delete(all, name)
	}
	for _, a := range table.apps {
		if isConfigured(a.spec) && all[a.spec.Name] == nil {
			all[a.spec.Name] = t.begin(ctx, helpers, a, openAt(all, t.d.agents.connection(a)))
		}
	}
}

// drop forgets what is kept of apps that are gone, or ask for nothing any more.
func (t *tuner) drop(all map[string]*tuning) {
	for name := range all {
		if a := t.d.table.Load().app(name); a == nil || !isConfigured(a.spec) {
			t.d.dropKept(name)
		}
	}
}

// openAt is how many questions there are at an agent.
func openAt(all map[string]*tuning, at consul.Connection) (n int) {
	for _, x := range all {
		if x.conn == at {
			n += len(x.keys)
		}
	}
	return n
}

// begin asks for everything that an app is configured by; so many questions are at its agent
// already.
func (t *tuner) begin(ctx context.Context, helpers *sync.WaitGroup, a *app, open int) *tuning {
	ctx, end := context.WithCancel(ctx)
	conn := t.d.agents.connection(a)
	x := &tuning{app: a.spec.Name, source: t.d.sourceOf(a), conn: conn, where: conn.Address, end: end, said: map[string]string{}}
	x.begun = time.Now()
	if k := t.d.loadKept(a); k != nil {
		x.kept, x.refused = k.Good, k.Bad
		if k.Bad != nil {
			x.bad = k.Bad.Values
		}
	}
	c := a.spec.Consul.Config
	if c.Env != "" {
		key, _ := envKey(c)
		x.keys = append(x.keys, key)
	}
	below := len(x.keys)
	for _, f := range c.Files {
		x.keys = append(x.keys, fileKey(f))
	}
	x.records, x.answers, x.errs, x.indexes = make([][]consul.Record, len(x.keys)), make([]bool, len(x.keys)), make([]error, len(x.keys)), make([]uint64, len(x.keys))
	for i, key := range x.keys {
		q := question{at: conn, key: key, below: i < below, polls: open+i >= mostOpen}
		helpers.Go(func() { t.ask(ctx, q, keyNews{of: x, i: i}) }) // ends with ctx
	}
	return x
}

// question is one key, or what is below it.
type question struct {
	at    consul.Connection
	key   string
	below bool
	polls bool // it is asked again and again, and no answer is waited for
}

const (
	keyWait  = time.Minute     // that an agent is asked to wait for a change
	mostOpen = 60              // questions that wait at an agent: it allows 200 connections in all
	pollEach = 5 * time.Second // for the questions beyond
	pollCalm = 50 * time.Millisecond
)

// ask tells what a key says, and each change of it.
func (t *tuner) ask(ctx context.Context, q question, n keyNews) {
	var after, told uint64
	for failures := 0; ctx.Err() == nil; {
		client, err := t.d.agents.client(q.at)
		if n.err = err; err == nil {
			n.records, n.index, n.err = client.Keys(ctx, q.key, q.below, after, keyWait)
		}
		if ctx.Err() == nil && (n.err != nil || n.index == 0 || n.index != told) {
			select {
			case t.news <- n:
			case <-ctx.Done():
			}
		}
		switch after, told = n.index, n.index; {
		case err != nil: // of its certificates, for example
			after, told = 0, 0
			calm(ctx, pollEach)
			continue
		case n.err != nil:
			after, told = 0, 0 // it may be another store by then
			failures++
			_ = client.Rest(ctx, time.Now().Add(consul.Pause(failures)), nil) // an error: ctx has ended
			continue
		case q.polls:
			after = 0
			calm(ctx, pollEach)
		default:
			calm(ctx, pollCalm) // for a key that changes all the time
		}
		failures = 0
	}
}

// calm is a pause.
func calm(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// take notes an answer.
func (x *tuning) take(n keyNews) {
	x.errs[n.i] = n.err
	switch isMute := cmp.Or(x.errs...) != nil; {
	case !isMute:
		x.mute = time.Time{}
	case x.mute.IsZero():
		x.mute = time.Now()
	}
	if n.err != nil {
		x.failed = true
		return
	}
	x.records[n.i], x.answers[n.i], x.indexes[n.i], x.at = n.records, true, n.index, time.Now()
	x.seen = nil
}

// refresh makes values of what was answered, unless something was never answered.
func (t *tuner) refresh(x *tuning, a *app) {
	if x.seen == a || slices.Contains(x.answers, false) {
		return
	}
	x.seen = a
	got := answers{index: slices.Max(x.indexes), files: x.records}
	if a.spec.Consul.Config.Env != "" {
		got.env, got.files = x.records[0], x.records[1:]
	}
	next, err := valuesOf(a.spec.Consul.Config, ownNames(a.spec), got, a.values, x.at)
	t.say(x, "document", textOf(err), "%v; what it was before stays", err)
	if err != nil {
		x.failed = true
		return
	}
	if x.fresh != nil && !x.fresh.isSame(next) {
		if now := time.Now(); x.change.first.IsZero() || x.fresh.isSame(a.values) || x.fresh.isSame(x.bad) {
			x.change.first, x.change.last = now, now
		} else {
			x.change.last = now
		}
	}
	x.fresh = next
	for _, r := range next.refused {
		t.say(x, "refused "+r.Key+" "+r.Name, r.why, "%s (%s) is not used: %s", r.Name, r.Key, r.why)
	}
	for _, key := range x.missingKeys(a) {
		is := slices.Contains(next.missing, key)
		text := map[bool]string{true: "missing"}[is]
		t.say(x, "missing "+key, text, "%s isn't there in consul at %s%s", key, x.where, map[bool]string{true: "; what it was before stays"}[a.values != nil])
	}
}

// missingKeys are those that could be missing.
func (x *tuning) missingKeys(a *app) (keys []string) {
	c := a.spec.Consul.Config
	if c.Env != "" {
		keys = append(keys, c.Env)
	}
	for _, f := range c.Files {
		keys = append(keys, f.Key)
	}
	return keys
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// say tells something about an app's keys, once. With an empty what there is nothing to
// tell any more.
func (t *tuner) say(x *tuning, about, what, format string, args ...any) {
	if was := x.said[about]; was == what {
		return
	}
	x.said[about] = what
	if what != "" {
		t.d.tell(appEvent(x.app, api.EventConsul, format, args...))
	}
}

// proceed does for each app what is to be done, and says when to look again.
func (t *tuner) proceed(ctx context.Context, helpers *sync.WaitGroup, all map[string]*tuning) time.Duration {
	const seldom = time.Hour
	now, wait := time.Now(), seldom
	for _, x := range all {
		a := t.d.table.Load().app(x.app)
		if a == nil || x.inRound {
			continue
		}
		t.refresh(x, a)
		t.forgive(x)
		if err := cmp.Or(x.errs...); err != nil && !consul.IsDown(err) {
			t.say(x, "error", err.Error(), "%v", err)
		} else {
			t.say(x, "error", "", "")
		}
		x.change.debounce = a.spec.Consul.Config.Debounce
		o := x.outlook
		o.have, o.behind = a.values, t.isBehind(x, a)
		if a.reloadsOnChange() {
			o.pardon = x.refused.pardon()
		}
		m, again := o.next(now)
		switch {
		case m != moveNone:
			v := map[move]*values{moveFirst: x.fresh, moveChange: x.fresh, moveKept: x.kept, moveKeep: a.values, moveCatchUp: a.values}[m]
			x.inRound = true
			helpers.Go(func() { t.round(ctx, x, m, v) }) // ends by itself, or soon after ctx
		case !again.IsZero():
			wait = min(wait, time.Until(again))
		}
	}
	return max(wait, 0)
}

// finish notes what came of giving values to an app.
func (t *tuner) finish(o roundOver) {
	const mostTries = 5
	x := o.of
	x.inRound = false
	t.mu.Lock()
	delete(t.again, x.app)
	t.mu.Unlock()
	x.seen = nil
	if o.bad != nil {
		x.refused, x.bad = o.bad, o.bad.Values
	}
	if o.good {
		x.refused, x.bad = nil, nil
	}
	x.gaveUp = o.gaveUp
	if o.kept != nil {
		x.kept = o.kept
	}
	if o.err == nil || t.d.ending.reason() != "" {
		x.failures, x.retry = 0, time.Time{}
		t.say(x, "round", "", "")
		return
	}
	x.failures = min(x.failures+1, mostTries)
	x.retry = time.Now().Add(time.Second << (x.failures - 1))
	t.say(x, "round", o.err.Error(), "%v; it is tried again", o.err)
}

// lacks is what an app waits for that has no values yet.
func (t *tuner) lacks(a *app) []lack {
	if !a.lacksValues() {
		return nil
	}
	c := a.spec.Consul.Config
	what := c.Env
	if what == "" {
		what = c.Files[0].Key
	}
	return []lack{{app: "consul", state: keyLack(what, t.view(a.spec.Name).trouble)}}
}

// keyLack says why there are no values of a key. What is wrong may name the key itself.
func keyLack(key, trouble string) string {
	return key + ": " + cmp.Or(strings.TrimPrefix(trouble, key+": "), "it is being read")
}
