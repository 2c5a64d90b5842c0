package cmd

import (
	"os"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

func (c *cli) flushCmd() *cobra.Command {
	var rotated bool
	cmd := &cobra.Command{
		Use:   "flush [TARGET...]",
		Short: "Empty log files",
		Long: `Empty the log files of apps; without a target of all apps, and gopm's own log. Rotated
files stay, unless --rotated deletes them, too. A target is ` + targetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.Flush{Targets: []string{"all"}, Own: len(args) == 0, Rotated: rotated}
			if len(args) > 0 {
				var err error
				if req.Targets, err = c.targetNames(cmd.Context(), args); err != nil {
					return err
				}
			}
			var done api.Flushed
			if err := c.client.Post(cmd.Context(), api.PathFlush, req, &done); err != nil {
				return err
			}
			return c.printFiles("emptied", done)
		},
	}
	cmd.Flags().BoolVar(&rotated, "rotated", false, "delete the rotated files, too")
	return cmd
}

func (c *cli) reloadLogsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reloadLogs [TARGET...]",
		Short: "Open log files anew, after they were moved away",
		Long: `Open the log files of apps anew (without a target of all apps), for a logrotate of your
own: after its "mv". The daemon does the same at SIGUSR2. gopm's own rotation needs
neither. A target is ` + targetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets := []string{"all"}
			if len(args) > 0 {
				var err error
				if targets, err = c.targetNames(cmd.Context(), args); err != nil {
					return err
				}
			}
			var done api.Flushed
			if err := c.client.Post(cmd.Context(), api.PathReopen, api.Targets{Targets: targets}, &done); err != nil {
				return err
			}
			return c.printFiles("opened", done)
		},
	}
}

// printFiles says what was done to which files; one that failed fails the command.
func (c *cli) printFiles(did string, done api.Flushed) error {
	if c.json {
		_ = c.printJSON(done) // what cannot be written fails the command: see output
	}
	failed := false
	for _, f := range done.Files {
		path := api.Contract(f.Path, os.Getenv("HOME"))
		switch {
		case f.Error != "":
			failed = true
			c.warn("gopm: %s", f.Error)
		case c.json:
		case f.Rotated > 0:
			c.say("%s %s (%s, and %s in rotated files)", did, path, bytesText(f.Bytes), bytesText(f.Rotated))
		default:
			c.say("%s %s (%s)", did, path, bytesText(f.Bytes))
		}
	}
	if failed {
		return quiet{exitFailed}
	}
	if len(done.Files) == 0 {
		c.say("no log files")
	}
	return nil
}
