package cmd

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

func (c *cli) killCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "kill",
		Short: "Stop all apps and the daemon",
		Long:  "Stop all apps, then the daemon. When it returns, nothing that gopm knows of is left running; what has left its\nprocess group, its parents and its environment behind cannot be found, unless its app has limits.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			err := c.kill(ctx)
			for range 2 { // the daemon may hang, and then the keeper
				if hung := new(api.HungError); !errors.As(err, &hung) || !c.strikeDown(ctx) {
					return err
				}
				err = c.kill(ctx)
			}
			return err
		},
	}
}

// strikeDown kills the one of gopm's two that has to answer and doesn't: another can
// then take the apps over, and stop them.
func (c *cli) strikeDown(ctx context.Context) bool {
	home := c.client.Home()
	who, pid := "daemon", home.Holder()
	if pid == 0 {
		who, pid = "keeper", home.Keeper()
	}
	if pid == 0 {
		return false
	}
	c.warn("the %s%s does not answer: killing it; the next one stops the apps", who, pid.Text())
	return c.signalAndWait(ctx, syscall.SIGKILL, int(pid)) == nil
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
	if r := c.remains(); noDaemon(err) && r.err != nil {
		return r.explain(err) // who knows what lives
	}
	if noDaemon(err) {
		c.say("no daemon runs with the home %s", home.Dir)
		return nil
	}
	if err != nil {
		return err
	}
	daemon, keeper := watchEnd(who.Pid), watchEnd(who.KeeperPid)
	var out api.Outcome
	if err := c.client.Post(ctx, api.PathKill, nil, &out); err != nil {
		return err
	}
	if err := c.ended(ctx, daemon); err != nil {
		return err
	}
	if err := c.farewell(ctx, keeper); err != nil {
		return err
	}
	if n := len(out.Apps); n > 0 {
		var stopped []string
		for _, a := range out.Apps {
			stopped = append(stopped, a.Name)
		}
		c.say("stopped %s", abbreviate(stopped, 10))
	}
	c.say("daemon stopped; nothing that gopm knows of is left running")
	return nil
}

// farewell waits for the keeper, which has nothing left to do. One that doesn't see
// that hangs.
func (c *cli) farewell(ctx context.Context, keeper watched) error {
	const enough = 5 * time.Second
	bounded, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	err := c.ended(bounded, keeper)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		c.warn("the keeper (pid %d) does not answer: killing it", keeper.pid)
		return c.signalAndWait(ctx, syscall.SIGKILL, keeper.pid)
	}
	return err
}

// terminate asks a process of gopm that can't be talked to to end, and waits for it and
// for others that end with it.
func (c *cli) terminate(ctx context.Context, pid int, others ...int) error {
	if err := c.signalAndWait(ctx, syscall.SIGTERM, append([]int{pid}, others...)...); err != nil {
		return err
	}
	c.say("daemon stopped; nothing that gopm knows of is left running")
	return nil
}

// signalAndWait sends a signal to the first, and waits for all.
func (c *cli) signalAndWait(ctx context.Context, sig syscall.Signal, pids ...int) error {
	var all []watched
	for _, pid := range pids {
		all = append(all, watchEnd(pid))
	}
	if first := all[0]; first.fd >= 0 {
		if err := unix.PidfdSendSignal(first.fd, sig, nil, 0); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("cannot end process %d: %v", first.pid, err)
		}
	}
	for _, w := range all {
		if err := c.ended(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// watched is a process whose end can be waited for, and not a namesake's.
type watched struct{ pid, fd int }

// watchEnd opens a process; one that is gone, or 0, has ended.
func watchEnd(pid int) watched {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		fd = -1
	}
	return watched{pid, fd}
}

// ended waits until a process has, and says so when that takes long.
func (c *cli) ended(ctx context.Context, w watched) error {
	if w.fd < 0 {
		return nil
	}
	defer unix.Close(w.fd)
	const long = 10 * time.Second
	word := time.Now().Add(long)
	for {
		const step = 100 // ms between two looks at ctx
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, step)
		switch {
		case n > 0:
			return nil
		case err != nil && err != syscall.EINTR:
			return fmt.Errorf("cannot wait for the end of process %d: %v", w.pid, err)
		case ctx.Err() != nil:
			return ctx.Err()
		case !word.IsZero() && time.Now().After(word):
			word = time.Time{}
			c.warn("still waiting for the end of process %d; the last lines of %s may tell why it takes so long", w.pid, c.client.Home().Log())
		}
	}
}
