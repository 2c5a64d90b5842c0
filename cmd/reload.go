package cmd

import (
	"github.com/spf13/cobra"

	"gopm/ecosystem"
)

// Reloading without a gap needs sockets that are shared, which is not in this
// version: these commands restart, as pm2 does in fork mode, and say so.

const reloadNote = "note: reload restarts the apps in this version: there is a short gap"

func (c *cli) reloadCmd() *cobra.Command {
	o := startOptions{act: true, set: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "reload TARGET...",
		Short: "Restart apps (without a gap in a later version)",
		Long:  "Restart apps, or all apps of a file; without a gap in a later version. A target is " + targetHelp,
		Args:  needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.noting(reloadNote, c.restart(cmd.Context(), args, &o))
		},
	}
	addStartFlags(cmd, &o)
	addFieldFlags(cmd, o.set)
	cmd.Flags().BoolP("force", "f", false, "accepted and ignored: pm2's lock of reloads is not needed")
	_ = cmd.Flags().MarkHidden("force") // it is there
	return cmd
}

func (c *cli) startOrReloadCmd() *cobra.Command {
	o := startOptions{act: true, set: map[string]string{}}
	cmd := &cobra.Command{
		Use:     "startOrReload FILE",
		Aliases: []string{"startOrGracefulReload"},
		Short:   "Start the apps of a file; reload those that run",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "-" && !ecosystem.IsFile(args[0]) {
				return usagef("%s wants one ecosystem file, got %q; for apps: gopm reload", cmd.CalledAs(), args)
			}
			return c.noting(reloadNote, c.start(cmd.Context(), args, nil, &o))
		},
	}
	addStartFlags(cmd, &o)
	return cmd
}

// noting prints a note on stderr about what was done, unless --silent.
func (c *cli) noting(note string, err error) error {
	if err == nil && !c.silent {
		c.warn("%s", note)
	}
	return err
}
