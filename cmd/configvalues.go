package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

func (c *cli) configCmd() *cobra.Command {
	var show, retry bool
	cmd := &cobra.Command{
		Use:   "config TARGET...",
		Short: "Show what Consul configures an app with",
		Long: `Show the variables and files that an app has from keys in Consul (consul.env and
consul.files): each with its key, the index of its last change, and what it is laid over;
how old that is; what is not used, and why; and what the running processes were begun with.

Values that look like secrets are hidden, as by gopm env; --show-secrets shows them. What is in
files is never shown.

Values that an app has failed with are not given to it again before the keys change; with
--retry they are, if what was wrong was something else. A target is ` + targetHelp,
		Args: needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := c.targetNames(cmd.Context(), args)
			if err != nil {
				return err
			}
			if retry {
				return c.retryConfig(cmd.Context(), targets)
			}
			var all []api.Config
			if err := c.client.Get(cmd.Context(), api.PathConfig, api.Targeted(targets...), &all); err != nil {
				return err
			}
			return c.printConfigs(all, args, show)
		},
	}
	showFlags(cmd, &show)
	cmd.Flags().BoolVar(&show, "show", false, "the same as --show-secrets")
	cmd.Flags().BoolVar(&retry, "retry", false, "give apps the values again that they have failed with")
	return cmd
}

func (c *cli) retryConfig(ctx context.Context, targets []string) error {
	var out api.Outcome
	if err := c.client.Post(ctx, api.PathConfig, api.Targets{Targets: targets}, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	for _, a := range out.Apps {
		if a.Did == api.DidNothing {
			c.say("%s: has failed with no values", a.Name)
			continue
		}
		c.say("%s: %s; gopm config %s says what comes of it", a.Name, a.Did, a.Name)
	}
	return nil
}

func (c *cli) printConfigs(all []api.Config, asked []string, show bool) error {
	if !show {
		for _, a := range all {
			veil := ecosystem.Hiding(a.Secrets)
			for i, v := range a.Vars {
				a.Vars[i].Value = veil.Var(v.Name, v.Value)
				if v.Over != nil {
					*v.Over = veil.Var(v.Name, *v.Over)
				}
			}
		}
	}
	if c.json {
		return c.printJSON(all)
	}
	if len(all) == 0 {
		return fmt.Errorf("nothing of %s is configured by Consul: its file has neither consul.env nor consul.files", strings.Join(asked, " "))
	}
	for i, a := range all {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		c.printConfig(a, time.Now())
	}
	return nil
}

func (c *cli) printConfig(a api.Config, now time.Time) {
	fmt.Fprintf(c.out, "%s: %s\n", a.App, configText(a.ConfigNow, now))
	if a.Failed != nil {
		fmt.Fprintf(c.out, "  with the values of index %d it failed, %s ago: %s; it is given them again when the keys change, or by gopm config %s --retry\n", a.Failed.Number, uptime(now.Sub(a.Failed.At)), a.Failed.Why, a.App)
	}
	if a.Trouble != "" {
		fmt.Fprintf(c.out, "  %s\n", printable(a.Trouble))
	}
	for _, key := range a.Missing {
		fmt.Fprintf(c.out, "  %s isn't there in consul at %s\n", key, a.Agent)
	}
	var cells [][2]string
	for _, v := range a.Vars {
		from := fmt.Sprintf("from %s (index %d)", v.Key, v.Index)
		if v.Over != nil {
			from += ", over the file's " + oneLine(*v.Over)
		}
		cells = append(cells, [2]string{v.Name + "=" + oneLine(v.Value), from})
	}
	for _, f := range a.Files {
		from := fmt.Sprintf("%s from %s (index %d)", bytesText(int64(f.Bytes)), f.Key, f.Index)
		if f.Index == 0 {
			from = "not there yet, from " + f.Key
		}
		cells = append(cells, [2]string{f.Path, from})
	}
	for _, r := range a.Refused {
		cells = append(cells, [2]string{r.Name + " is not used", fmt.Sprintf("from %s: %s", r.Key, r.Why)})
	}
	c.printPairs(cells)
	for _, line := range runningText(a) {
		fmt.Fprintf(c.out, "  %s\n", line)
	}
}

// printPairs prints what is there, and where it is from, below each other.
func (c *cli) printPairs(cells [][2]string) {
	const most, longest = 40, 120
	width := 0
	for _, cell := range cells {
		width = max(width, min(len(cell[0]), most))
	}
	for _, cell := range cells {
		fmt.Fprintf(c.out, "  %-*s  %s\n", width, cutText(printable(cell[0]), longest), printable(cell[1]))
	}
}

// configText is how it is with the values of an app.
func configText(n api.ConfigNow, now time.Time) string {
	if n.Number == 0 {
		return "nothing is known yet"
	}
	text := fmt.Sprintf("values of index %d, since %s", n.Number, n.Read.Local().Format(time.DateTime))
	switch {
	case n.Stale && n.Never:
		text += "; stale: consul has not answered since gopm began"
	case n.Stale && n.Mute.IsZero():
		text += "; stale: consul is being asked"
	case n.Stale:
		text += fmt.Sprintf("; stale for %s: consul does not answer", uptime(now.Sub(n.Mute)))
	}
	if n.Pending > 0 {
		text += fmt.Sprintf("; those of index %d follow", n.Pending)
	}
	return text
}

// configRows is what `info` shows of it.
func configRows(d api.Detail, now time.Time) []infoRow {
	if d.Config == nil {
		return nil
	}
	where := d.App.Consul.Config.Env
	for _, f := range d.App.Consul.Config.Files {
		where = strings.TrimPrefix(where+", "+f.Key, ", ")
	}
	rows := []infoRow{{"configured by", fmt.Sprintf("consul, %s (gopm config %s); on a change: %s", where, d.Name, d.App.Consul.Config.OnChange)}, {"configuration", configText(*d.Config, now)}}
	if f := d.Config.Failed; f != nil {
		rows[1][1] += fmt.Sprintf("; it failed with those of index %d: %s", f.Number, f.Why)
	}
	return append(rows, infoRow{"trouble with it", d.Config.Trouble})
}

// runningText says with which values the processes run that have others than the app.
func runningText(a api.Config) (lines []string) {
	if len(a.Running) == 0 {
		return []string{"nothing of it runs"}
	}
	for _, r := range a.Running {
		if r.Number != a.Number {
			lines = append(lines, fmt.Sprintf("%s:%d (id %d) runs with the values of index %d", a.App, r.Index, r.ID, r.Number))
		}
	}
	if lines == nil {
		lines = []string{"all that runs has them"}
	}
	return lines
}
