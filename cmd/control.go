package cmd

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

func (c *cli) stopCmd() *cobra.Command {
	stop := &cobra.Command{
		Use:   "stop TARGET...",
		Short: "Stop apps; they stay in the list",
		Long:  "Stop apps and wait until they are down; they stay in the list. A target is " + targetHelp,
		Args:  needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.noteStopWatch(cmd)
			return c.endTargets(cmd, api.PathStop, args)
		},
	}
	takeStopWatch(stop)
	return stop
}

func (c *cli) deleteCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "delete TARGET...",
		Aliases: []string{"del"},
		Short:   "Stop apps and forget them; their log files stay",
		Long:    "Stop apps and take them from the list; their log files stay. A target is " + targetHelp,
		Args:    needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endTargets(cmd, api.PathDelete, args)
		},
	}
}

const targetHelp = "an id, a name, a namespace, all, /regex/, an ecosystem file, or - for one on standard input."

func needTargets(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s what? a target is %s", cmd.CalledAs(), targetHelp)
	}
	return nil
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no arguments, got %q", cmd.CalledAs(), args)
	}
	return nil
}

// endTargets stops or deletes, prints what was done and then the list.
func (c *cli) endTargets(cmd *cobra.Command, path string, args []string) error {
	ctx := cmd.Context()
	targets, err := c.targetNames(ctx, args)
	if err != nil {
		return err
	}
	var out api.Outcome
	if err := c.client.Post(ctx, path, api.Targets{Targets: targets}, &out); err != nil {
		return err
	}
	c.report(out)
	return c.printResult(ctx)
}

func (c *cli) pingCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "ping",
		Short: "Say whether the daemon answers",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var p api.Ping
			if err := c.client.Get(cmd.Context(), api.PathPing, nil, &p); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(p)
			}
			c.say("pong: daemon %s, pid %d (keeper %d), up %s, home %s", p.Version, p.Pid, p.KeeperPid, uptime(time.Since(p.Started)), p.Home)
			return nil
		},
	}
}

func (c *cli) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return c.printVersion() },
	}
}

func (c *cli) printVersion() error {
	fmt.Fprintln(c.out, version)
	return nil
}

// environ is the user's environment as it is given to new apps.
func environ() []string { return os.Environ() }
