package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
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
	case p.Incarnation <= after:
		return pending // the earlier run is still being stopped
	case p.Incarnation > after+1:
		return failed // it has ended and was started again since
	case p.Status == "online":
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

// waiting is one instance that a start waits for.
type waiting struct {
	app   string
	after uint64
	row   api.Instance
	state verdict
}

// finish waits for what was started, prints the list, and what failed ones wrote.
func (c *cli) finish(ctx context.Context, out api.Outcome, o *startOptions) error {
	watched := map[int]*waiting{}
	for _, a := range out.Apps {
		if a.Did == api.DidStart || a.Did == api.DidRestart || a.Did == api.DidScale {
			for _, s := range a.Instances {
				watched[s.ID] = &waiting{app: a.Name, after: s.After}
			}
		}
	}
	if len(watched) > 0 && !o.noWait {
		if err := c.await(ctx, watched, o.wait); err != nil {
			return err
		}
	}
	if err := c.printResult(ctx); err != nil {
		return err
	}
	return c.explainFailures(ctx, out, watched)
}

// await follows the instances until each has a verdict, or limit has passed.
func (c *cli) await(ctx context.Context, watched map[int]*waiting, limit time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	query := url.Values{}
	for id := range watched {
		query.Add("target", strconv.Itoa(id))
	}
	open := len(watched)
	err := api.Stream(bounded, c.client, api.PathWatch, query, func(r api.Instance, _ bool) error {
		w := watched[r.ID]
		if w == nil || w.state != pending {
			return nil
		}
		w.row = r
		if w.state = judge(r.Process, w.after); w.state != pending {
			c.progress(w)
			open--
		}
		if open == 0 {
			return errAllSettled
		}
		return nil
	})
	switch {
	case errors.Is(err, errAllSettled), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return nil
	case ctx.Err() != nil:
		c.warn("not waiting any longer; the apps go on")
		return ctx.Err()
	case errors.Is(err, api.ErrStreamEnded):
		return fmt.Errorf("%w before all apps were up; gopm ls says what runs", err)
	}
	return err
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
			case w.state == pending && w.row.ID == s.ID && w.row.Name != "":
				c.warn("%s:%d is still starting (min_uptime %s)", w.app, w.row.Index, duration(time.Duration(a.MinUptime)*time.Millisecond))
			case w.state == failed:
				broken = true
				c.explain(ctx, w)
			}
		}
	}
	if broken {
		return quiet{exitFailed}
	}
	return nil
}

func (c *cli) explain(ctx context.Context, w *waiting) {
	why := "failed"
	if e := w.row.Process.LastExit; e != nil {
		why = "failed: " + exitSentence(*e)
	}
	c.warn("\n%s:%d %s", w.app, w.row.Index, why)
	var o api.Output
	query := api.Targeted(strconv.Itoa(w.row.ID))
	query.Set("lines", strconv.Itoa(outputLines))
	if err := c.client.Get(ctx, api.PathOutput, query, &o); err != nil {
		c.warn("  (cannot read its output: %v)", err)
		return
	}
	c.warnLines("stderr", o.Err)
	c.warnLines("stdout", o.Out)
	if len(o.Err)+len(o.Out) == 0 && w.row.Process.LastExit != nil && w.row.Process.LastExit.Error == "" {
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
