package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

func (c *cli) updateCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "update",
		Aliases: []string{"updatePM2"},
		Short:   "Replace gopm's daemon and keeper by the new binary; apps run on",
		Long: `Replace gopm's two processes by the binary that is now at the path the daemon was
started from. No app is stopped, no connection to one is cut, no line of a log is
lost. If the new binary does not come up, the old one goes on.

  install -m 755 gopm.new /usr/local/bin/gopm && gopm update`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.update(cmd.Context()) },
	}
}

func (c *cli) update(ctx context.Context) error {
	c.updating = true
	var was api.Ping
	if err := c.client.Get(ctx, api.PathPing, nil, &was); err != nil {
		return err
	}
	var up api.Update
	if err := c.client.Post(ctx, api.PathUpdate, nil, &up); err != nil {
		return err
	}
	now, err := c.successor(ctx, up.Pid)
	if err != nil {
		return fmt.Errorf("cannot follow the update to %s: %w", up.Binary, err)
	}
	if now.Refused != "" {
		return fmt.Errorf("%s was given up: %s; gopm %s goes on (daemon %d), and so do the apps", up.Binary, now.Refused, now.Version, now.Pid)
	}
	if c.json {
		return c.printJSON(now)
	}
	c.say("gopm %s (daemon %d) has handed over to %s (daemon %d) from %s; the apps ran on", was.Version, was.Pid, now.Version, now.Pid, up.Binary)
	return nil
}
