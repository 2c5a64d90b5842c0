package cmd

import (
	"context"
	"encoding/json"
	"slices"

	"gopm/daemon/api"
)

// With --json a command prints one JSON value on standard output and nothing else:
// what is for people goes to stderr, and the exit code is the same. docs/commands.md
// describes the values.

// printJSON prints a value, indented: people look at it, too.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// result is what a command that does something prints: what was done, and the
// instances of those apps afterwards.
type result struct {
	Apps      []api.AppOutcome `json:"apps"`
	Instances []api.Instance   `json:"instances"`
	Warnings  []string         `json:"warnings,omitempty"`
	Rolls     []api.RollStep   `json:"rolls,omitempty"` // the steps of reloads, and of what was drained
}

// printResult ends a command that did something: the list, or with --json the result.
func (c *cli) printResult(ctx context.Context) error {
	if !c.json {
		return c.printList(ctx, listOptions{})
	}
	rows, err := c.client.Instances(ctx, nil)
	if err != nil {
		return err
	}
	r := result{Apps: []api.AppOutcome{}, Instances: []api.Instance{}, Warnings: c.done.Warnings, Rolls: c.done.Rolls}
	r.Apps = append(r.Apps, c.done.Apps...)
	for _, row := range rows {
		if slices.ContainsFunc(r.Apps, func(a api.AppOutcome) bool { return a.Name == row.Name }) {
			r.Instances = append(r.Instances, row)
		}
	}
	return c.printJSON(r)
}
