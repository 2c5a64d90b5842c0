package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopm/daemon/api"
)

// verdict is what is known of a start that is being waited for.
type verdict int

const (
	pending verdict = iota
	up
	failed
)

// judge says how the run after incarnation after is doing: up when it has lived
// min_uptime or ended as it should, failed at its first unwanted end.
func judge(p api.Process, after uint64) verdict {
	switch {
	case p.Incarnation <= after && p.Stuck:
		return failed // what it waits for does not come
	case p.Incarnation <= after:
		return pending // the earlier run is still being stopped, or it waits for others
	case p.Incarnation > after+1 && !isRestarted(p):
		return failed // it has ended and was started again since
	case p.Status == "online", p.Status == api.StatusStandby && p.Lock != nil && (p.Lock.Holder != "" || p.Lock.Why != ""):
		return up
	case p.LastExit == nil || p.LastExit.Incarnation != p.Incarnation:
		return pending
	case p.LastExit.Expected && p.Status == "stopped" || p.LastExit.Requested:
		return up
	case p.LastExit.Expected && p.Clearing:
		return pending
	}
	return failed
}

// isRestarted says that the run before this one was asked to end: by a restart, or for a file that has changed.
func isRestarted(p api.Process) bool {
	e := p.LastExit
	return e != nil && e.Requested && e.Incarnation+1 == p.Incarnation
}

// waiting is one instance that a start waits for.
type waiting struct {
	app   string
	after uint64
	limit time.Duration // how long it is waited for, from when it has been started
	since time.Time     // that; zero: it waits for others
	until time.Time     // when it had its verdict
	row   api.Instance
	state verdict
	ill   string // what its health check said last in this start, as the end of a sentence
}

// finish waits for what was started, prints the list, and what failed ones wrote.
func (c *cli) finish(ctx context.Context, out api.Outcome, o *startOptions) error {
	watched := map[int]*waiting{}
	for _, a := range out.Apps {
		if a.Did == api.DidStart || a.Did == api.DidRestart || a.Did == api.DidScale {
			for _, s := range a.Instances {
				watched[s.ID] = &waiting{app: a.Name, after: s.After, limit: patience(a)}
			}
		}
	}
	if len(watched) > 0 && !o.noWait {
		if err := c.await(ctx, watched, o.wait); err != nil {
			return err
		}
	}
	var rolled error
	if !o.noWait {
		if rolled = c.follow(ctx, out); rolled != nil && !errors.Is(rolled, errRollFailed) {
			return rolled
		}
	}
	if err := c.printResult(ctx); err != nil {
		return err
	}
	err := c.explainFailures(ctx, out, watched)
	if err == nil && rolled != nil {
		err = quiet{exitFailed}
	}
	return err
}

// patience is how long an app is waited for: as long as anything, or as its file gives it
// to become ready.
func patience(a api.AppOutcome) time.Duration {
	const grace = time.Second // for the news of it
	if a.ReadyMS > 0 {
		return max(defaultWait, time.Duration(a.ReadyMS)*time.Millisecond+grace)
	}
	return defaultWait
}

// await follows the instances until each has a verdict, or its time has passed: that which
// limit gives to all together, if it is not 0.
func (c *cli) await(ctx context.Context, watched map[int]*waiting, limit time.Duration) error {
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	query := url.Values{}
	for id := range watched {
		query.Add("target", strconv.Itoa(id))
	}
	began := time.Now()
	late := time.AfterFunc(lastMoment(watched, began, limit), cancel)
	defer late.Stop()
	err := api.Stream(bounded, c.client, api.PathWatch, query, func(r api.Instance, _ bool) error {
		w := watched[r.ID]
		if w == nil || w.isSettled(watched) {
			return nil
		}
		w.row, w.ill = r, cmp.Or(failingCheck(r), w.ill)
		if len(r.Process.WaitsOn) == 0 && w.since.IsZero() {
			w.since = time.Now()
		}
		if now := judge(r.Process, w.after); now == failed || now == up && w.state == pending {
			w.state, w.until = now, time.Now()
			c.progress(w)
		}
		condemn(watched)
		if !slices.ContainsFunc(slices.Collect(maps.Values(watched)), (*waiting).isOpen) {
			return errAllSettled
		}
		late.Reset(lastMoment(watched, began, limit))
		return nil
	})
	switch {
	case errors.Is(err, errAllSettled), bounded.Err() != nil && ctx.Err() == nil:
		return nil
	case ctx.Err() != nil:
		c.warn("not waiting any longer; the apps go on")
		return ctx.Err()
	case errors.Is(err, api.ErrStreamEnded):
		return fmt.Errorf("%w before all apps were up; gopm ls says what runs", err)
	}
	return err
}

func (w *waiting) isOpen() bool { return w.state == pending }

// isSettled says that nothing can change its verdict: who is up may still fail those that wait for its end.
func (w *waiting) isSettled(watched map[int]*waiting) bool {
	return w.state == failed || w.state == up && !w.isAwaited(watched)
}

// isAwaited says whether others wait for it: it was up, and what they wait for is that it ends.
func (w *waiting) isAwaited(watched map[int]*waiting) bool {
	for _, o := range watched {
		if o.state == pending && slices.Contains(o.row.Process.WaitsOn, w.app) {
			return true
		}
	}
	return false
}

// condemn lets those fail that wait for others which have failed.
func condemn(watched map[int]*waiting) {
	for again := true; again; {
		again = false
		for _, w := range watched {
			if w.state == pending && w.waitsOnAny(watched, failed) {
				w.state, again = failed, true
			}
		}
	}
}

// waitsOnAny says whether it waits for an app with an instance in a state.
func (w *waiting) waitsOnAny(watched map[int]*waiting, state verdict) bool {
	for _, o := range watched {
		if o.state == state && slices.Contains(w.row.Process.WaitsOn, o.app) {
			return true
		}
	}
	return false
}

// lacks is what one that was never started waits for. What is known of the others here is
// later than what the daemon said when it was held back.
func (w *waiting) lacks(watched map[int]*waiting) string {
	var names []string
	for _, name := range w.row.Process.WaitsOn {
		for _, o := range watched {
			if o.app != name || o.state != failed {
				continue
			}
			state := "failed"
			if len(o.row.Process.WaitsOn) > 0 {
				state = "not started"
			}
			names = append(names, fmt.Sprintf("%s (%s)", name, state))
			break
		}
	}
	if len(names) == 0 {
		return w.row.Process.Waits
	}
	return strings.Join(names, ", ")
}

// lastMoment is in how long nobody is waited for any more. Those that wait for others
// have their time when these have had theirs, and so has one that is up, but has to end
// before others are started.
func lastMoment(watched map[int]*waiting, began time.Time, limit time.Duration) time.Duration {
	if limit > 0 {
		return time.Until(began.Add(limit))
	}
	const grace = time.Second // for the news that what has waited for another is started now
	end := began.Add(defaultWait)
	for _, w := range watched {
		at := w.since.Add(w.limit)
		if w.isSettled(watched) {
			at = w.until.Add(grace)
		}
		if !w.since.IsZero() && at.After(end) {
			end = at
		}
	}
	return max(0, time.Until(end))
}

var errAllSettled = errors.New("all settled")

// progress prints a line per instance on a terminal.
func (c *cli) progress(w *waiting) {
	if c.json || !isTerminal(c.out) {
		return
	}
	if w.state == up {
		c.say("  %s:%d %s", w.app, w.row.Index, w.row.Process.Status)
		return
	}
	c.say("  %s:%d failed", w.app, w.row.Index)
}

const outputLines = 10

// explainFailures names what is still starting, and shows what failed apps wrote.
func (c *cli) explainFailures(ctx context.Context, out api.Outcome, watched map[int]*waiting) error {
	broken := false
	for _, a := range out.Apps {
		for _, s := range a.Instances {
			w := watched[s.ID]
			switch {
			case w == nil:
			case w.state == pending && w.row.ID == s.ID && w.row.Process.Hook != "":
				c.warn("%s:%d waits for its %s; gopm ls %s shows when that is done, --wait waits longer", w.app, w.row.Index, w.row.Process.Hook, w.app)
			case w.state == pending && len(w.row.Process.WaitsOn) > 0:
				c.warn("%s:%d still waits for %s; it is started when that is there", w.app, w.row.Index, w.row.Process.Waits)
			case w.state == pending && w.row.ID == s.ID && w.row.Process.NotReady:
				c.warn("%s:%d is not ready yet%s; gopm ls shows when it is, gopm info %s what makes it ready; --wait 1m waits longer", w.app, w.row.Index, failingCheck(w.row), w.app)
			case w.state == pending && w.row.ID == s.ID && w.row.Name != "":
				c.warn("%s:%d is still starting (min_uptime %s)", w.app, w.row.Index, duration(time.Duration(a.MinUptime)*time.Millisecond))
			case w.state == failed:
				broken = true
				c.explain(ctx, w, w.lacks(watched))
			}
		}
	}
	if broken {
		return quiet{exitFailed}
	}
	return nil
}

func (c *cli) explain(ctx context.Context, w *waiting, lacks string) {
	if lacks != "" {
		did := "started"
		if w.row.Process.Pid > 0 {
			did = "restarted yet"
		}
		c.warn("\n%s:%d is not %s: it waits for %s", w.app, w.row.Index, did, lacks)
		return
	}
	why := "failed"
	if e := w.row.Process.LastExit; e != nil {
		why = "failed: " + exitSentence(*e)
		if e.Fault != "" {
			why += w.ill
		}
	}
	c.warn("\n%s:%d %s", w.app, w.row.Index, why)
	var o api.Output
	query := api.Targeted(strconv.Itoa(w.row.ID))
	query.Set("lines", strconv.Itoa(outputLines))
	if err := c.client.Get(ctx, api.PathOutput, query, &o); err != nil {
		c.warn("  (cannot read its output: %v)", err)
		return
	}
	if o.Why != "" {
		c.warn("  %s", printable(o.Why))
	}
	c.warnLines("stderr", o.Err)
	c.warnLines("stdout", o.Out)
	if len(o.Err)+len(o.Out)+len(o.Why) == 0 && w.row.Process.LastExit != nil && w.row.Process.LastExit.Error == "" {
		c.warn("  it wrote nothing")
	}
}

func (c *cli) warnLines(stream string, lines []string) {
	if len(lines) == 0 {
		return
	}
	c.warn("  %s, last lines:", stream)
	for _, line := range lines {
		c.warn("    %s", printable(line))
	}
}

// exitSentence is how a run ended, in words.
func exitSentence(e api.Exit) string {
	lived := fmt.Sprintf(" after %s", duration(time.Duration(e.UptimeMS)*time.Millisecond))
	switch {
	case e.Error != "":
		return "it cannot be started: " + e.Error
	case e.Fault != "":
		return e.Fault + ": ended by gopm" + lived
	case e.Hang != "":
		return "killed by gopm, " + e.Hang + "," + lived
	case e.OOM:
		return "killed by the kernel, out of memory" + lived
	case e.Core:
		return "ended by " + e.Signal + " (core dumped)" + lived
	case e.Signal != "":
		return "ended by " + e.Signal + lived
	case e.Unknown():
		return "ended while gopm was not there: how is not known"
	}
	return fmt.Sprintf("exited with code %d%s", e.Code, lived)
}
