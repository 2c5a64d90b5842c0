package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"gopm/daemon/api"
	"gopm/daemon/room"
	"gopm/ecosystem"
)

// readFile reads an ecosystem file, or standard input, and prints its warnings.
func (c *cli) readFile(ctx context.Context, target string) (*ecosystem.File, error) {
	var file *ecosystem.File
	var err error
	if target == "-" {
		file, err = ecosystem.ReadFrom(c.in, c.options())
	} else {
		file, err = ecosystem.Read(ctx, target, c.options())
	}
	var problems ecosystem.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, usageError{err.Error()} // it cannot be read at all
	}
	if err != nil {
		return nil, err
	}
	c.remark(file.Problems)
	return file, nil
}

// rememberedEnv is the --env that the apps of a file were last started with.
func (c *cli) rememberedEnv(ctx context.Context, origin string) string {
	rows, _ := c.instances(ctx) // an error: what nobody has started nobody remembers
	for _, r := range rows {
		if r.Origin == origin && r.EnvName != "" {
			c.say("using env_%s, as the last time (--env default goes back)", r.EnvName)
			return r.EnvName
		}
	}
	return ""
}

// targetNames replaces files among targets by the names of their apps.
func (c *cli) targetNames(ctx context.Context, targets []string) ([]string, error) {
	var all []string
	for _, target := range targets {
		if target != "-" && !ecosystem.IsFile(target) {
			all = append(all, target)
			continue
		}
		file, err := c.readFile(ctx, target)
		if err != nil {
			return nil, err
		}
		known, err := c.knownOf(ctx, file)
		if err != nil {
			return nil, err
		}
		all = append(all, known...)
	}
	return all, nil
}

// knownOf are the apps of a file that the daemon has; the others are named.
func (c *cli) knownOf(ctx context.Context, file *ecosystem.File) ([]string, error) {
	rows, err := c.instances(ctx)
	if len(rows) == 0 && err != nil {
		return nil, err
	}
	var known []string
	for _, name := range file.Names() {
		if slices.ContainsFunc(rows, func(r api.Instance) bool { return r.Name == name && r.Origin == file.Path }) {
			known = append(known, name)
		} else {
			c.warn("%s: not running from %s", name, file.Path)
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no app of %s is in the list", file.Path)
	}
	return known, nil
}

// remark prints warnings and notes of a file.
func (c *cli) remark(problems ecosystem.Problems) {
	for _, p := range problems {
		switch {
		case p.Severity == ecosystem.SeverityWarning:
			c.warn("warning: %s", p)
		case p.Severity == ecosystem.SeverityNote && !c.silent:
			c.warn("note: %s", p)
		}
	}
}

// options is the world of a file. Programs are started by the daemon and share its limits,
// which may be others than those of this command.
func (c *cli) options() ecosystem.Options {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/" // the folder was removed; relative paths will say so
	}
	have := room.Of(int(c.client.Home().Holder()))
	return ecosystem.Options{Environ: environ(), Dir: dir, CPUs: have.CPUs(), Memory: have.Bytes()}
}

func names(set map[string]string) string {
	var all []string
	for name := range set {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
