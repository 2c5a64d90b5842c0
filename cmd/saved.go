package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// The list of apps is kept by itself. These commands are for one that is kept apart:
// a snapshot that later changes don't touch.

var errNothingToSave = usageError{"save: there are no apps, and the last snapshot stays; --force keeps an empty one"}

func (c *cli) saveCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "save",
		Aliases: []string{"dump"},
		Short:   "Keep a snapshot of the list, for resurrect --saved",
		Long: `Keep a snapshot of the list of apps, which later changes don't touch: resurrect --saved
brings it back. Nothing has to be saved for a restart of gopm or the machine: the
list itself is kept with every change.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rows, err := c.client.Instances(cmd.Context(), nil)
			if err != nil {
				return err
			}
			if len(rows) == 0 && !force {
				return errNothingToSave
			}
			var done api.Saved
			if err := c.client.Post(cmd.Context(), api.PathSave, nil, &done); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(done)
			}
			c.say("saved %s in %s", counted(done.Apps, "app"), api.Contract(done.Path, os.Getenv("HOME")))
			return nil
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "keep a list without apps, too")
	return cmd
}

func (c *cli) resurrectCmd() *cobra.Command {
	var o startOptions
	var saved, boot bool
	cmd := &cobra.Command{
		Use:   "resurrect",
		Short: "Start what should run, after a kill or a reboot",
		Long: `Start the apps that should run and don't: those that ran before gopm kill, a shutdown or
a reboot. What you had stopped stays stopped. If gopm itself was killed, the apps that
live on are taken over as they are.

With --saved the apps of the snapshot that save made are added first, those whose names
are not in the list.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if boot {
				return c.boot(ctx)
			}
			if !saved && !c.alive() && c.client.Home().Keeper() == 0 {
				if r := c.remains(); len(r.state.Apps) == 0 {
					if r.err != nil {
						return r.unusable()
					}
					return fmt.Errorf("nothing to resurrect: no apps are known in the home %s", c.client.Home().Dir)
				}
			}
			if err := c.ensureDaemon(ctx); err != nil {
				return err
			}
			var out api.Outcome
			if err := c.client.Post(ctx, api.PathResurrect, api.Resurrect{Saved: saved}, &out); err != nil {
				return err
			}
			c.report(out)
			if len(out.Apps) == 0 {
				c.say("nothing to start: no app that should run is at rest")
			}
			return c.finish(ctx, out, &o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&saved, "saved", false, "add the apps of the last snapshot (gopm save)")
	f.DurationVar(&o.wait, "wait", 0, "wait at most so long for the apps to be up (default 5s, or the longest ready_timeout that is given)")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait for the apps to be up")
	f.BoolVar(&boot, "boot", false, "as the unit of gopm startup calls it")
	_ = f.MarkHidden("boot") // it is there
	return cmd
}

func (c *cli) cleardumpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "cleardump",
		Short: "Delete the snapshot that save made",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			path := c.client.Home().Saved()
			err := os.Remove(path)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				c.say("there is no snapshot")
			case err != nil:
				return fmt.Errorf("cannot delete the snapshot: %v", err)
			default:
				c.say("deleted %s; the list of apps itself is untouched", api.Contract(path, os.Getenv("HOME")))
			}
			return nil
		},
	}
}
