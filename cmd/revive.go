package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// alive says whether requests are taken at the socket: by a daemon, or by the next one
// that the keeper is about to start.
func (c *cli) alive() bool {
	conn, err := c.client.Home().Dial()
	if err != nil {
		return false
	}
	conn.Close()
	home := c.client.Home()
	keeper, daemon := int(home.Keeper()), int(home.Holder())
	if keeper == 0 && daemon == 0 { // those who had the socket are just dying
		return false
	}
	if lives(keeper) || lives(daemon) {
		return true
	}
	// A program that they were starting when they died has socket and locks for an instant more; or
	// they can't be seen from here, as those of a container.
	return c.client.Get(context.Background(), api.PathPing, nil, nil) == nil
}

// lives says whether there is such a process that hasn't ended.
func lives(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n == 0
}

// revive goes before a command that gives orders: where no daemon runs but apps do, or
// the keeper of one, it starts a daemon, which takes them over. With nothing alive the
// command itself says that no daemon runs.
func (c *cli) revive(cmd *cobra.Command, _ []string) error {
	if c.alive() || c.client.Home().Keeper() == 0 && len(c.remains().alive) == 0 {
		return nil
	}
	return c.ensureDaemon(cmd.Context())
}

// wakeKeeper has a keeper that was left without a daemon start one again, and waits for
// it; false: there is no keeper. One gives up when several daemons in a row have ended
// in their first second.
func (c *cli) wakeKeeper(ctx context.Context) (woken bool, err error) {
	home := c.client.Home()
	keeper := home.Keeper()
	if keeper == 0 {
		return false, nil
	}
	fd, err := unix.PidfdOpen(int(keeper), 0)
	if err != nil || home.Keeper() != keeper { // it has just ended; the pid may be another's
		return false, nil
	}
	defer unix.Close(fd)
	if _, err := os.Lstat(home.Socket()); errors.Is(err, fs.ErrNotExist) && home.Holder() != 0 {
		return false, fmt.Errorf("another gopm daemon%s runs with the home %s, but its socket was removed; kill -TERM it to end it with its apps", home.Holder().Text(), home.Dir)
	}
	if err := unix.PidfdSendSignal(fd, syscall.SIGUSR1, nil, 0); err != nil {
		return false, fmt.Errorf("cannot wake the keeper %d: %v", int(keeper), err)
	}
	const limit = 10 * time.Second // several daemons may fail before
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if c.alive() {
			return true, nil
		}
		const pause = 20 // ms
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, pause); n > 0 {
			return false, nil // it has ended, too
		}
	}
	return false, fmt.Errorf("cannot start the daemon: its keeper (pid %d) has tried for %s; the last lines of %s may tell why", int(keeper), duration(limit), home.Log())
}

// successor waits for a daemon other than that with the pid, which is being replaced.
func (c *cli) successor(ctx context.Context, pid int) (now api.Ping, err error) {
	const limit, pause = 30 * time.Second, 20 * time.Millisecond
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		err := c.client.Get(bounded, api.PathPing, nil, &now)
		switch {
		case ctx.Err() != nil:
			return now, ctx.Err()
		case bounded.Err() != nil:
			return now, fmt.Errorf("no other daemon has answered for %s; the last lines of %s may tell why", duration(limit), c.client.Home().Log())
		case err != nil || now.Pid != pid:
			return now, err
		}
		select {
		case <-bounded.Done():
		case <-tick.C:
		}
	}
}
