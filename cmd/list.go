package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// listOptions are the options of ls.
type listOptions struct {
	sort  string // field[:asc|desc]
	mini  bool
	watch bool // again and again, on a terminal
}

func (c *cli) listCmd() *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "l", "ps", "status"},
		Short:   "List what runs",
		Long: `List the instances of all apps.

cpu is the average since the last look if that was 0.5 to 60 s ago, else since the
program's start, marked ~. mem is the resident memory of the main process.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.watch {
				return c.watchList(cmd.Context(), o)
			}
			return c.printList(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&o.sort, "sort", "", "sort by name, namespace, pid, id, cpu, memory, uptime or status[:desc]")
	cmd.Flags().BoolVarP(&o.mini, "mini-list", "m", false, "a block of lines per instance, without a table")
	cmd.Flags().BoolVar(&o.watch, "watch", false, "draw the list again every 0.9 s, on a terminal, until Ctrl-C")
	return cmd
}

func (c *cli) printList(ctx context.Context, o listOptions) error {
	if c.silent && !c.json {
		return nil
	}
	rows, err := c.instances(ctx)
	if err != nil && !noDaemon(err) {
		return err
	}
	if err := sortRows(rows, o.sort); err != nil {
		return err
	}
	switch {
	case c.json:
		if err := c.printJSON(append([]api.Instance{}, rows...)); err != nil {
			return err
		}
	case len(rows) == 0:
		return c.printEmpty(err)
	case o.mini:
		c.printMini(rows)
	default:
		if err := c.printTable(rows); err != nil {
			return err
		}
		c.printNotes(rows)
		c.printAgents(rows, time.Now())
	}
	return c.absence(err, len(rows) > 0)
}

// printEmpty says why there is nothing: no daemon, none of ours, or no apps.
func (c *cli) printEmpty(err error) error {
	var left *leftError
	switch {
	case errors.As(err, &left):
		return err
	case err != nil:
		c.say("no apps: %v", err)
	default:
		c.say("no apps (home %s)", c.client.Home().Dir)
	}
	for _, other := range otherDaemons(os.Geteuid()) {
		c.say("another gopm daemon runs: %s", other)
	}
	return nil
}

// printNotes adds what a row has no room for: where the apps come from, lost log bytes.
func (c *cli) printNotes(rows []api.Instance) {
	home := os.Getenv("HOME")
	var origins []string
	from := map[string][]string{}
	for _, r := range rows {
		if r.Dropped > 0 || r.LogStatus != "" {
			line := fmt.Sprintf("%d|%s log: %s, %s dropped", r.ID, r.Name, orElse(r.LogStatus, "fine now"), bytesText(r.Dropped))
			c.say("%s", c.paint(yellow, line))
		}
		if r.Origin == "" {
			continue
		}
		if from[r.Origin] == nil {
			origins = append(origins, r.Origin)
		}
		label := r.Name
		if r.EnvName != "" {
			label += " (env_" + r.EnvName + ")"
		}
		if !slices.Contains(from[r.Origin], label) {
			from[r.Origin] = append(from[r.Origin], label)
		}
	}
	for _, origin := range origins {
		line := fmt.Sprintf("from %s: %s", api.Contract(origin, home), abbreviate(from[origin], 6))
		c.say("%s", c.paint(dim, c.clipped(line)))
	}
}

func abbreviate(list []string, most int) string {
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(", … %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// sortRows sorts by name, then id, as pm2 does, or by another field.
func sortRows(rows []api.Instance, by string) error {
	field, order, _ := strings.Cut(by, ":")
	if order != "" && order != "asc" && order != "desc" {
		return usagef("--sort %s: the order is asc or desc", by)
	}
	less, ok := sortOrders[orElse(field, "name")]
	if !ok {
		return usagef("--sort %s: sort by name, namespace, pid, id, cpu, memory, uptime or status", by)
	}
	slices.SortStableFunc(rows, func(a, b api.Instance) int {
		n := less(a, b)
		if order == "desc" {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(a.ID, b.ID))
	})
	return nil
}

var sortOrders = map[string]func(a, b api.Instance) int{
	"name":      func(a, b api.Instance) int { return cmp.Compare(a.Name, b.Name) },
	"namespace": func(a, b api.Instance) int { return cmp.Compare(a.Namespace, b.Namespace) },
	"pid":       func(a, b api.Instance) int { return cmp.Compare(a.Process.Pid, b.Process.Pid) },
	"id":        func(a, b api.Instance) int { return cmp.Compare(a.ID, b.ID) },
	"cpu":       func(a, b api.Instance) int { return cmp.Compare(a.Usage.CPU, b.Usage.CPU) },
	"memory":    func(a, b api.Instance) int { return cmp.Compare(a.Usage.Memory, b.Usage.Memory) },
	"uptime":    func(a, b api.Instance) int { return b.Process.Started.Compare(a.Process.Started) },
	"status":    func(a, b api.Instance) int { return cmp.Compare(a.Process.Status, b.Process.Status) },
}

// printMini prints blocks of lines, for screens without room for a table.
func (c *cli) printMini(rows []api.Instance) {
	for _, r := range rows {
		c.say("+--- %s", r.Name)
		for _, f := range [][2]string{
			{"namespace", r.Namespace}, {"version", orElse(r.Version, "N/A")}, {"pid", pidText(r)},
			{"id", fmt.Sprint(r.ID)}, {"status", statusText(r.Process, time.Now())}, {"mode", r.Mode},
			{"restarted", fmt.Sprint(r.Process.Restarts)}, {"uptime", uptimeText(r)}, {"memory usage", bytesText(r.Usage.Memory)},
		} {
			c.say("%s : %s", f[0], f[1])
		}
	}
}
