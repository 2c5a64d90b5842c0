package cmd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// The commands about all machines that run gopm. Consul knows them; the daemon here asks
// it, at the address that the variables of Consul's tools name, or that its apps use.

func (c *cli) fleetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Look at and act on all machines that run gopm",
		Long: `All machines that run gopm and have apps with "consul" in their file, by way of Consul.

  gopm fleet ls                    what runs where
  gopm fleet info web              an app on each machine: release, address, rollout
  gopm fleet reload web --max 2    the first machine alone, then two at a time; stops at a failure
  gopm fleet status web            what has become of that; continue and abort go on from there
  gopm fleet logs web -f           what it writes on all of them, merged by time
  gopm fleet render nginx web      an upstream block of the instances that pass their checks

CONSUL_HTTP_ADDR and the like say which agent is asked; else it is the one that the apps here use.
Rollouts are for apps with "fleet": true in their "consul". docs/consul.md has more.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("fleet has no command %q; see gopm fleet --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.fleetLsCmd(), c.fleetInfoCmd(), c.fleetStatusCmd(), c.fleetContinueCmd(), c.fleetAbortCmd(), c.fleetRenderCmd(), c.fleetLogsCmd())
	for _, verb := range []string{api.VerbReload, api.VerbRestart, api.VerbStart, api.VerbStop} {
		cmd.AddCommand(c.fleetVerbCmd(verb))
	}
	for _, sub := range cmd.Commands() {
		if sub.Name() == "render" {
			continue
		}
		sub.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			words, _ := c.completeTargets(cmd, args, word)
			return words, cobra.ShellCompDirectiveNoFileComp
		}
	}
	return cmd
}

// fleetView are the options of the commands that look.
type fleetView struct {
	hosts []string
	live  bool // the machines themselves are asked, too
}

func (c *cli) takeFleetFlags(cmd *cobra.Command, o *fleetView) {
	cmd.Flags().StringSliceVar(&o.hosts, "host", nil, "these `HOSTS` only")
	cmd.Flags().BoolVar(&o.live, "live", false, "ask the machines by ssh how their instances are now: cpu and memory, too")
	c.takeJSON(cmd)
}

func (c *cli) takeJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.json, "json", false, "print the result as JSON (docs/commands.md)")
}

func (c *cli) fleetLsCmd() *cobra.Command {
	var o fleetView
	cmd := &cobra.Command{
		Use:     "ls [APP]",
		Aliases: []string{"list"},
		Short:   "List what runs on all machines",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("fleet ls takes one app, got %q", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			app := strings.Join(args, "")
			f, err := c.machines(cmd.Context(), app, o)
			switch {
			case err != nil:
				return err
			case app != "" && len(f.Machines) == 0 && !c.json:
				return nobodyHas(app)
			}
			return c.printFleet(f)
		},
	}
	c.takeFleetFlags(cmd, &o)
	return cmd
}

func (c *cli) fleetInfoCmd() *cobra.Command {
	var o fleetView
	cmd := &cobra.Command{
		Use:   "info APP",
		Short: "Tell what each machine has of an app",
		Args:  oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := c.machines(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(f)
			}
			return c.printFleetInfo(cmd.Context(), f, args[0])
		},
	}
	c.takeFleetFlags(cmd, &o)
	return cmd
}

// oneApp is for commands about one app.
func oneApp(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usagef("fleet %s wants one app, by its name, got %q", cmd.Name(), args)
	}
	return nil
}

// consulEnviron are the user's variables that say how to reach Consul.
func consulEnviron() (all []string) {
	for _, entry := range os.Environ() {
		if strings.HasPrefix(entry, "CONSUL_") {
			all = append(all, entry)
		}
	}
	return all
}

// machines asks for the fleet.
func (c *cli) machines(ctx context.Context, app string, o fleetView) (f api.Fleet, err error) {
	err = c.client.Post(ctx, api.PathFleet, api.FleetQuery{App: app, Hosts: o.hosts, Environ: consulEnviron()}, &f)
	if err == nil && o.live {
		askLive(ctx, &f, app)
	}
	return f, err
}

// printFleet prints the list, with a column of the hosts.
func (c *cli) printFleet(f api.Fleet) error {
	if c.json {
		return c.printJSON(f)
	}
	if len(f.Machines) == 0 {
		c.say(`no machines: no gopm has told Consul at %s of apps with "consul" in their file`, f.Consul)
		return nil
	}
	cols, cells, rows := fleetTable(f, time.Now())
	if width, ok := terminalSize(c.out); ok && width > 0 {
		cols, cells = fit(cols, cells, width)
	}
	if err := draw(c.out, cols, cells, c.painter(rows)); err != nil {
		return err
	}
	for _, m := range f.Machines {
		if m.Down != "" && !m.Live {
			c.say("%s", c.paint(red, c.clipped(fmt.Sprintf("%s is down: %s", m.Host, m.Down))))
		}
		if m.LiveError != "" {
			c.say("%s", c.paint(yellow, c.clipped(fmt.Sprintf("%s: %s", m.Host, m.LiveError))))
		}
		if m.Unlisted > 0 {
			c.say("%s has %d instances more than Consul has room for: gopm -H ssh://%s ls", m.Host, m.Unlisted, m.SSH)
		}
	}
	return nil
}

// fleetTitles are the columns of ls that Consul knows; the last two only the machines.
var fleetTitles = []string{"id", "name", "version", "mode", "pid", "uptime", "↺", "status", "user", "cpu", "mem"}

// fleetTable is the list as text. A machine without instances has a row, too.
func fleetTable(f api.Fleet, now time.Time) (cols []column, cells [][]string, rows []api.Instance) {
	live := slices.ContainsFunc(f.Machines, func(m api.FleetMachine) bool { return m.Live })
	for _, col := range columns(now) {
		if slices.Contains(fleetTitles, col.title) && (live || col.title != "cpu" && col.title != "mem") {
			cols = append(cols, col)
		}
	}
	var hosts []string
	var asked []bool
	for _, m := range f.Machines {
		own := m.Instances
		if len(own) == 0 {
			own = []api.Instance{{ID: -1, Process: api.Process{Status: "no apps"}}}
		}
		for _, r := range own {
			if m.Down != "" && !m.Live {
				r.Process = api.Process{Status: "host down", Restarts: r.Process.Restarts}
			}
			rows, hosts, asked = append(rows, r), append(hosts, m.Host), append(asked, m.Live)
		}
	}
	cells = layout(cols, rows)
	for i, r := range rows {
		for j := range cells[i] {
			switch title := cols[j].title; {
			case r.ID < 0 && title != "status": // it stands for a machine
				cells[i][j] = ""
			case !asked[i] && (title == "cpu" || title == "mem"):
				cells[i][j] = "-"
			}
		}
		cells[i] = append([]string{hosts[i]}, cells[i]...)
	}
	return append([]column{{title: "host"}}, cols...), cells, rows
}

func nobodyHas(app string) error {
	return fmt.Errorf("no machine has an app %s; gopm fleet ls shows what there is", app)
}

// printFleetInfo prints what each machine has of an app, and the app's last rollout.
func (c *cli) printFleetInfo(ctx context.Context, f api.Fleet, app string) error {
	if len(f.Machines) == 0 {
		return nobodyHas(app)
	}
	if err := c.printFleet(f); err != nil {
		return err
	}
	cells := [][]string{{"host", "gopm", "address", "ssh", "home", "release", "file", "rollouts"}}
	specs := map[string]bool{}
	for _, m := range f.Machines {
		a := m.Apps[0]
		specs[a.Spec] = true
		cells = append(cells, []string{m.Host, m.Version, m.Address, m.SSH, m.Home, orElse(a.Release, "-"), orElse(a.Spec, "-"), map[bool]string{true: "yes", false: "no"}[a.Fleet]})
	}
	if err := render(c.out, cells); err != nil {
		return fmt.Errorf("cannot print: %v", err)
	}
	if len(specs) > 1 {
		c.say("%s", c.paint(yellow, "its file is not the same on all machines"))
	}
	r, err := c.rollout(ctx, app, 0)
	switch {
	case asNotFound(err):
		return nil
	case err != nil:
		return err
	}
	c.printRollout(r)
	return nil
}
