package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"gopm/daemon/api"
)

// Keeping the file that a balancer includes as it should be.

// followRender writes the file now, and whenever something happens that changes it. It
// ends with the daemon.
func (c *cli) followRender(ctx context.Context, o renderOptions) error {
	query := url.Values{"lines": {"0"}, "follow": {"1"}}
	err := api.Stream(ctx, c.client, api.PathEvents, query, func(api.Events, bool) error {
		// The first part comes at once. What happens while this is at work comes with the next.
		text, e, err := c.rendered(ctx, o)
		if err != nil {
			return err
		}
		return c.putRendered(ctx, o, text, e)
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// putRendered makes the file's content that, in one step, and executes the command, if
// it is another one. A command that fails is told, for the file is right: who reads it
// the next time sees it.
func (c *cli) putRendered(ctx context.Context, o renderOptions, text string, e api.Endpoints) error {
	old, err := os.ReadFile(o.output)
	if err == nil && string(old) == text {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := replaceFile(o.output, text); err != nil {
		return fmt.Errorf("cannot write %s: %v", o.output, err)
	}
	c.say("%s: %d of %d instances of %s", o.output, len(e.Passing), len(e.Passing)+e.Others, e.Service)
	if o.exec == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", o.exec)
	cmd.Stdout, cmd.Stderr = c.out, c.err
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		c.warn("gopm: %s is written, but %s: %v", o.output, o.exec, err)
	}
	return nil
}

// replaceFile makes a file's content another one; who reads it sees the old one or the new one.
func replaceFile(path, text string) error {
	next, err := os.CreateTemp(filepath.Dir(path), ".gopm-*")
	if err != nil {
		return err
	}
	_, err = next.WriteString(text)
	err = errors.Join(err, next.Chmod(0o644), next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		_ = os.Remove(next.Name())
	}
	return err
}
