package cmd

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

func (c *cli) stopCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stop TARGET...",
		Short: "Stop apps; they stay in the list",
		Long:  "Stop apps and wait until they are down; they stay in the list. A target is " + targetHelp,
		Args:  needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endTargets(cmd, api.PathStop, args)
		},
	}
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

func (c *cli) killCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "kill",
		Short: "Stop all apps and the daemon",
		Long:  "Stop all apps, then the daemon. Nothing is left running when it returns.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.kill(cmd.Context())
		},
	}
}

func (c *cli) kill(ctx context.Context) error {
	var who api.Ping
	home := c.client.Home()
	err := c.client.Get(ctx, api.PathPing, nil, &who)
	if holder := home.Holder(); noDaemon(err) && holder > 0 {
		c.warn("daemon %d does not answer at its socket: ending it by signal", int(holder))
		return c.terminate(ctx, int(holder), int(home.Keeper()))
	}
	if noDaemon(err) && len(c.remains().alive) > 0 {
		if err = c.ensureDaemon(ctx); err == nil { // it takes them over, and knows how to stop them
			err = c.client.Get(ctx, api.PathPing, nil, &who)
		}
	}
	if keeper := home.Keeper(); noDaemon(err) && keeper > 0 {
		return c.terminate(ctx, int(keeper))
	}
	if noDaemon(err) {
		c.say("no daemon runs with the home %s", home.Dir)
		return nil
	}
	if err != nil {
		return err
	}
	ended := watchEnd(who.KeeperPid, who.Pid)
	var out api.Outcome
	if err := c.client.Post(ctx, api.PathKill, nil, &out); err != nil {
		return err
	}
	if err := ended(ctx); err != nil {
		return err
	}
	if n := len(out.Apps); n > 0 {
		var stopped []string
		for _, a := range out.Apps {
			stopped = append(stopped, a.Name)
		}
		c.say("stopped %s", abbreviate(stopped, 10))
	}
	c.say("daemon stopped; nothing is left running")
	return nil
}

// terminate asks a process of gopm that can't be talked to to end, and waits for it and
// for others that end with it.
func (c *cli) terminate(ctx context.Context, pid int, others ...int) error {
	ended := watchEnd(append(others, pid)...)
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		err = unix.PidfdSendSignal(fd, syscall.SIGTERM, nil, 0)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("cannot end process %d: %v", pid, err)
	}
	if err := ended(ctx); err != nil {
		return err
	}
	c.say("daemon stopped; nothing is left running")
	return nil
}

// watchEnd opens the processes now, so that the returned function waits for their
// end and not for a namesake's.
func watchEnd(pids ...int) func(context.Context) error {
	var fds []int
	for _, pid := range pids {
		if fd, err := unix.PidfdOpen(pid, 0); pid > 0 && err == nil {
			fds = append(fds, fd)
		}
	}
	return func(ctx context.Context) error {
		for _, fd := range fds {
			if err := awaitPidfd(ctx, fd); err != nil {
				return err
			}
		}
		return nil
	}
}

func awaitPidfd(ctx context.Context, fd int) error {
	defer unix.Close(fd)
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		const step = 100 // ms between two looks at ctx
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, step)
		if n > 0 {
			return nil
		}
		if err != nil && err != syscall.EINTR {
			return fmt.Errorf("cannot wait for the daemon's end: %v", err)
		}
	}
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
