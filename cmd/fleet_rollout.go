package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// A rollout goes on without the command that began it: that only writes it down and
// watches.

func (c *cli) fleetVerbCmd(verb string) *cobra.Command {
	o := api.FleetOrder{Verb: verb}
	cmd := &cobra.Command{
		Use:   verb + " APP",
		Short: strings.ToUpper(verb[:1]) + verb[1:] + " an app on all machines, one after the other",
		Long: fmt.Sprintf(`%s an app with "consul": {"fleet": true} on all machines that have it: on the first one alone, and when
it is ready there, healthy and has lived for its min_uptime, on the others. Nothing more is begun after
the first failure. It goes on when this command is interrupted: gopm fleet status, continue, abort.`, strings.ToUpper(verb[:1])+verb[1:]),
		Args: oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Max < 1 {
				return usagef("--max wants at least 1, got %d", o.Max)
			}
			o.App, o.By, o.Environ = args[0], deployWho(), consulEnviron()
			var r api.Rollout
			if err := c.client.Post(cmd.Context(), api.PathFleetBegin, o, &r); err != nil {
				return err
			}
			c.say("%s: %s on %s", r.App, r.Verb, planText(r))
			return c.watchRollout(cmd.Context(), r.App)
		},
	}
	cmd.Flags().IntVar(&o.Max, "max", 1, "at most `N` machines at once, after the first one")
	cmd.Flags().StringSliceVar(&o.Hosts, "host", nil, "these `HOSTS` only")
	if verb != api.VerbStop {
		cmd.Flags().BoolVar(&o.Rollback, "rollback", false, "after a failure every machine goes back to the release that it had (gopm deploy's folders)")
	}
	c.takeJSON(cmd)
	return cmd
}

// planText is the machines of a rollout in their order.
func planText(r api.Rollout) string {
	var names, skipped []string
	for _, m := range r.Machines {
		if m.State == api.TurnSkipped {
			skipped = append(skipped, m.Host)
			continue
		}
		names = append(names, m.Host)
	}
	text := abbreviate(names, 10)
	if len(names) > 1 {
		text += fmt.Sprintf(" (first one alone, then %d at a time)", r.Max)
	}
	if len(skipped) > 0 {
		text += "; left out, for they are down: " + abbreviate(skipped, 10)
	}
	return text
}

func (c *cli) fleetStatusCmd() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "status APP",
		Short: "Tell what has become of an app's rollout",
		Args:  oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := c.rollout(cmd.Context(), args[0], 0)
			switch {
			case err != nil:
				return err
			case follow:
				return c.watchRollout(cmd.Context(), args[0])
			case c.json:
				return c.printJSON(r)
			}
			c.printRollout(r)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "watch it to its end; the exit code says how that was")
	c.takeJSON(cmd)
	return cmd
}

func (c *cli) fleetContinueCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "continue APP",
		Short: "Go on with a rollout that has failed or was aborted: who has failed tries again",
		Args:  oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.changeRollout(cmd.Context(), args[0], api.ChangeContinue); err != nil {
				return err
			}
			return c.watchRollout(cmd.Context(), args[0])
		},
	}
	c.takeJSON(cmd)
	return cmd
}

func (c *cli) fleetAbortCmd() *cobra.Command {
	var back bool
	cmd := &cobra.Command{
		Use:   "abort APP",
		Short: "Have no further machine begin its turn; with --rollback, go back",
		Args:  oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			do := api.ChangeAbort
			if back {
				do = api.ChangeRollback
			}
			if err := c.changeRollout(cmd.Context(), args[0], do); err != nil {
				return err
			}
			if back {
				return c.watchRollout(cmd.Context(), args[0])
			}
			r, err := c.rollout(cmd.Context(), args[0], 0)
			switch {
			case err != nil:
				return err
			case c.json:
				return c.printJSON(r)
			}
			c.printRollout(r)
			return nil
		},
	}
	cmd.Flags().BoolVar(&back, "rollback", false, "every machine goes back to the release that it had (gopm deploy's folders)")
	c.takeJSON(cmd)
	return cmd
}

func (c *cli) changeRollout(ctx context.Context, app, do string) error {
	return c.client.Post(ctx, api.PathFleetChange, api.FleetChange{App: app, Do: do, By: deployWho(), Environ: consulEnviron()}, nil)
}

// rollout is an app's, as soon as its index is another than that.
func (c *cli) rollout(ctx context.Context, app string, after uint64) (r api.Rollout, err error) {
	err = c.client.Post(ctx, api.PathFleetRollout, api.FleetFollow{App: app, After: after, Environ: consulEnviron()}, &r)
	return r, err
}

// rolloutPatience is how long what can't be asked for is asked for again.
const rolloutPatience = time.Minute

// watchRollout prints what happens, up to its end. The exit code is 0 if that is a good one.
func (c *cli) watchRollout(ctx context.Context, app string) error {
	var was api.Rollout
	quietSince, troubleSince, told := time.Now(), time.Time{}, ""
	for {
		r, err := c.rollout(ctx, app, was.Index)
		switch {
		case ctx.Err() != nil:
			c.warn("not waiting any longer; it goes on: gopm fleet status %s, gopm fleet abort %s", app, app)
			return ctx.Err()
		case err != nil:
			if troubleSince.IsZero() {
				troubleSince = time.Now()
			}
			if noDaemon(err) || time.Since(troubleSince) > rolloutPatience {
				return fmt.Errorf("%w; the rollout goes on without this command: gopm fleet status %s", err, app)
			}
			if err.Error() != told {
				told = err.Error()
				c.warn("%s; still watching", told)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		troubleSince = time.Time{}
		if r.Index == was.Index {
			if time.Since(quietSince) > rolloutPatience/3 {
				quietSince = time.Now()
				if stuck := c.stuckHosts(ctx, r); stuck != nil {
					return stuck
				}
			}
			continue
		}
		c.tellTurns(was, r)
		was, quietSince = r, time.Now()
		if r.IsOver() && !slices.ContainsFunc(r.Machines, isAtWork) {
			return c.endRollout(r)
		}
	}
}

func isAtWork(m api.RolloutMachine) bool {
	return m.State == api.TurnTaken || m.State == api.TurnUndoing
}

// stuckHosts is an error if all machines that are still to do something are down.
func (c *cli) stuckHosts(ctx context.Context, r api.Rollout) error {
	f, err := c.machines(ctx, r.App, fleetView{})
	if err != nil {
		return nil // the next look tells
	}
	var down []string
	for _, m := range r.Machines {
		isUp := slices.ContainsFunc(f.Machines, func(o api.FleetMachine) bool {
			return o.Host == m.Host && o.Down == "" && len(o.Apps) > 0 && o.Apps[0].Fleet
		})
		switch {
		case m.State == api.TurnDone && r.State == api.RolloutRunning, m.State == api.TurnSkipped, m.State == api.TurnUndone, m.State == api.TurnStuck:
		case isUp || isAtWork(m):
			return nil
		default:
			down = append(down, m.Host)
		}
	}
	if len(down) == 0 {
		return nil
	}
	return fmt.Errorf("%s: all others are done; %s is down, or has no %s with fleet: true any more, and takes its turn when it is back; gopm fleet abort %s leaves it out",
		r.App, strings.Join(down, ", "), r.App, r.App)
}

// tellTurns prints what has changed.
func (c *cli) tellTurns(was, is api.Rollout) {
	if c.json {
		return
	}
	if was.Index != 0 && was.State != is.State && is.State == api.RolloutUndoing {
		why := ""
		if is.Rollback {
			why = "; " + is.Note
		}
		c.say("%s: %s%s", is.App, is.State, why)
	}
	for _, m := range is.Machines {
		before := ""
		if at := slices.IndexFunc(was.Machines, func(o api.RolloutMachine) bool { return o.Host == m.Host }); at >= 0 {
			before = was.Machines[at].State
		}
		if m.State == before || m.State == api.TurnWaiting || m.State == api.TurnSkipped {
			continue
		}
		line := fmt.Sprintf("  %s: %s%s", m.Host, turnText(m), releaseText(m))
		switch m.State {
		case api.TurnFailed, api.TurnStuck:
			line = c.paint(red, line)
		case api.TurnDone, api.TurnUndone:
			line = c.paint(green, line)
		}
		c.say("%s", line)
	}
}

func turnText(m api.RolloutMachine) string {
	switch {
	case m.State == api.TurnDone && m.Result != "":
		return m.Result
	case m.Result != "" && !isAtWork(m):
		return m.State + ": " + m.Result
	}
	return m.State
}

func releaseText(m api.RolloutMachine) string {
	if m.State != api.TurnDone || m.Before == "" || m.After == "" {
		return ""
	}
	if m.Before == m.After {
		return fmt.Sprintf(" (release %s)", m.After)
	}
	return fmt.Sprintf(" (release %s, was %s)", m.After, m.Before)
}

// endRollout says how it has ended.
func (c *cli) endRollout(r api.Rollout) error {
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
	}
	took := r.Ended.Sub(r.Began).Round(100 * time.Millisecond)
	if r.State == api.RolloutDone {
		c.say("%s: %s is done, after %v", r.App, r.Verb, took)
		return nil
	}
	hint := ""
	if r.State == api.RolloutHalted {
		hint = fmt.Sprintf("; nothing more was begun: gopm fleet continue %s, or abort %s [--rollback]", r.App, r.App)
	}
	c.warn("%s: the %s %s (%s)%s", r.App, r.Verb, stateText(r), countTurns(r), hint)
	return quiet{exitFailed}
}

// stateText is a rollout's state in a sentence.
func stateText(r api.Rollout) string {
	switch r.State {
	case api.RolloutRunning:
		return "is under way"
	case api.RolloutHalted:
		return "has failed"
	case api.RolloutAborted, api.RolloutUndone:
		return "was " + r.State
	}
	return "is " + r.State
}

// countTurns is "1 done, 1 failed, 3 waiting".
func countTurns(r api.Rollout) string {
	var words, parts []string
	counts := map[string]int{}
	for _, m := range r.Machines {
		if counts[m.State] == 0 {
			words = append(words, m.State)
		}
		counts[m.State]++
	}
	for _, w := range words {
		parts = append(parts, fmt.Sprintf("%d %s", counts[w], w))
	}
	return strings.Join(parts, ", ")
}

// printRollout prints a rollout as it is.
func (c *cli) printRollout(r api.Rollout) {
	line := fmt.Sprintf("%s: %s, begun %s by %s, %s (%s)", r.App, r.Verb, r.Began.Local().Format(time.DateTime), orElse(r.By, "somebody"), stateText(r), countTurns(r))
	if r.Note != "" {
		line += "; " + r.Note
	}
	c.say("%s", line)
	for _, m := range r.Machines {
		c.say("  %s: %s%s", m.Host, turnText(m), releaseText(m))
	}
}

// asNotFound says whether an error is that there is no such thing.
func asNotFound(err error) bool {
	var known *api.Error
	return errors.As(err, &known) && known.Kind == api.KindNotFound
}
