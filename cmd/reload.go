package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

func (c *cli) reloadCmd() *cobra.Command {
	o := startOptions{act: true, reload: true, set: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "reload TARGET...",
		Short: "Replace the processes of apps by new ones, without a gap",
		Long: `Replace the processes of apps by new ones: each new process has to be ready before the old
one's connections are drained and it is told to end. If one isn't ready in time (listen_timeout),
or dies, the old ones go on and the exit code is 1. It goes on when this command is interrupted.
Apps in fork mode are restarted. With a file its apps get what the file says now.
A target is ` + targetHelp,
		Args: needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.reload(cmd.Context(), args, &o)
		},
	}
	addStartFlags(cmd, &o)
	addFieldFlags(cmd, o.set)
	cmd.Flags().BoolP("force", "f", false, "accepted and ignored: pm2's lock of reloads is not needed")
	_ = cmd.Flags().MarkHidden("force") // it is there
	return cmd
}

func (c *cli) startOrReloadCmd() *cobra.Command {
	o := startOptions{act: true, reload: true, set: map[string]string{}}
	cmd := &cobra.Command{
		Use:     "startOrReload FILE",
		Aliases: []string{"startOrGracefulReload"},
		Short:   "Start the apps of a file; reload those that run",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "-" && !ecosystem.IsFile(args[0]) {
				return usagef("%s wants one ecosystem file, got %q; for apps: gopm reload", cmd.CalledAs(), args)
			}
			return c.start(cmd.Context(), args, nil, &o)
		},
	}
	addStartFlags(cmd, &o)
	return cmd
}

func (c *cli) reload(ctx context.Context, args []string, o *startOptions) error {
	todo, err := c.prepareTargets(ctx, args, o)
	if err != nil {
		return err
	}
	return c.carryOut(ctx, todo, api.PathReload, o)
}

// noteGaps names the apps that were restarted though a reload was asked for.
func (c *cli) noteGaps(out api.Outcome) {
	for _, a := range out.Apps {
		if a.Gap && !c.silent {
			c.warn("note: %s runs in fork mode: reload restarts it, with a short gap; exec_mode: cluster has none", a.Name)
		}
	}
}

// follow waits for the ends of what was begun, app by app, and prints each step. What
// has failed is in the error.
func (c *cli) follow(ctx context.Context, out api.Outcome) (failed error) {
	for _, a := range out.Apps {
		if a.Roll == 0 {
			continue
		}
		if err := c.followRoll(ctx, a); err != nil {
			if !errors.Is(err, errRollFailed) {
				return err
			}
			failed = err
		}
	}
	return failed
}

var errRollFailed = errors.New("a reload has failed")

func (c *cli) followRoll(ctx context.Context, a api.AppOutcome) error {
	query := url.Values{"number": {strconv.FormatUint(a.Roll, 10)}}
	var end api.RollStep
	replaced := map[int]api.RollStep{}
	told := 0
	err := api.Stream(ctx, c.client, api.PathRoll, query, func(step api.RollStep, _ bool) error {
		if told++; step.IsEnd() {
			end = step
			return errAllSettled
		}
		c.done.Rolls = append(c.done.Rolls, step)
		if step.Did == api.RollReplaced {
			replaced[step.ID] = step
			return nil
		}
		c.printStep(step, replaced)
		return nil
	})
	_, known := asAPIError(err)
	switch {
	case ctx.Err() != nil:
		c.warn("not waiting any longer; what has begun goes on: gopm info %s, gopm ls", a.Name)
		return ctx.Err()
	case errors.Is(err, api.ErrStreamEnded), known && told > 0:
		return fmt.Errorf("%s: the daemon has ended before this was done; gopm ls says what runs", a.Name)
	case !errors.Is(err, errAllSettled):
		return fmt.Errorf("%s: %w", a.Name, err)
	}
	c.done.Rolls = append(c.done.Rolls, end)
	if end.Did == api.RollFailed {
		c.warn("%s: failed: %s", a.Name, end.Why)
		return errRollFailed
	}
	return nil
}

// pidOf is "" for none.
func pidOf(pid int) string {
	if pid == 0 {
		return ""
	}
	return strconv.Itoa(pid)
}

// printStep prints a line for each instance that has been exchanged, or has not.
func (c *cli) printStep(step api.RollStep, replaced map[int]api.RollStep) {
	name := fmt.Sprintf("%s:%d", step.App, step.Index)
	switch step.Did {
	case api.RollEnded:
		how := ""
		if step.Drain != nil && (step.Drain.TookMS > 0 || step.Drain.Closed+step.Drain.Cut > 0) {
			how = ", " + step.Drain.Text
		}
		if c.json {
			return
		}
		if was, is := replaced[step.ID]; is {
			c.say("  %s replaced (pid %s → %d)%s", name, orElse(pidOf(was.Before), "none"), was.Pid, how)
			return
		}
		if step.Before == 0 {
			c.say("  %s is given up; it was down", name)
			return
		}
		c.say("  %s ended (pid %d)%s", name, step.Before, how)
	case api.RollRefused:
		c.warn("  %s: the new process %s", name, cmp.Or(step.Why, "was stopped"))
		c.warnLines("stderr", step.Last)
	}
}
