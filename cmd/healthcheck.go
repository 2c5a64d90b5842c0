package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

func (c *cli) healthcheckCmd() *cobra.Command {
	perApp := false
	cmd := &cobra.Command{
		Use:   "healthcheck [TARGET...]",
		Short: "Say by the exit code whether all apps are ready and well, as Docker's HEALTHCHECK",
		Long: `Ask whether all apps, or those that are named, are ready and well. The exit code is 0 if
they are, else 1, whatever the reason; one line says which is not, and why.

  HEALTHCHECK --interval=10s --start-period=30s CMD ["gopm", "healthcheck"]

Well is what is online and, if it has a health check, has passed it; jobs between their
runs, spares, those that stand by for a lock, and programs that have ended as they should.
Not well is what is being started or restarted, waits, is unhealthy, or has failed. What a
command has stopped doesn't count, unless it is named; if nothing is left, that is not well.
A target is ` + targetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.healthcheck(cmd.Context(), args, perApp)
		},
	}
	cmd.Flags().BoolVar(&perApp, "any", false, "an app is well if one of its instances is")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { // 2 is reserved by Docker
		return fmt.Errorf("%s (see gopm healthcheck --help)", withoutParser(err.Error()))
	})
	return cmd
}

// checkup is what the command prints with --json.
type checkup struct {
	Healthy   bool       `json:"healthy"`
	Why       string     `json:"why,omitempty"`
	Instances []examined `json:"instances"`
}

// examined is one instance and what was found.
type examined struct {
	ID     int     `json:"id"`
	Name   string  `json:"name"`
	Index  int     `json:"index,omitempty"`
	Status string  `json:"status"`
	State  fitness `json:"state"`
	Why    string  `json:"why,omitempty"`
}

// fitness is what an instance counts for.
type fitness string

const (
	isWell  fitness = "well"
	isIll   fitness = "not well"
	isSpare fitness = "spare" // well, but it serves nobody
	isOff   fitness = "off"   // it isn't to run
)

func (c *cli) healthcheck(ctx context.Context, args []string, perApp bool) error {
	rows, err := c.examinees(ctx, args)
	var result checkup
	if err != nil {
		result.Why = err.Error()
	} else {
		result = examine(rows, len(args) > 0, perApp, time.Now())
	}
	switch {
	case c.json:
		result.Instances = append([]examined{}, result.Instances...)
		if err := c.printJSON(result); err != nil {
			return err
		}
	case result.Healthy:
		c.say("healthy: %s", counted(result.running(), "instance"))
	default:
		c.say("not healthy: %s", printable(result.Why))
	}
	if !result.Healthy {
		return quiet{exitFailed}
	}
	return nil
}

// examinees are the rows of the targets, or of all.
func (c *cli) examinees(ctx context.Context, args []string) ([]api.Instance, error) {
	targets, err := c.targetNames(ctx, args)
	if err != nil {
		return nil, err
	}
	rows, err := c.client.Instances(ctx, api.Targeted(targets...))
	if noDaemon(err) {
		err = c.remains().explain(err)
	}
	if err == nil && len(rows) == 0 {
		err = errors.New("no apps")
	}
	return rows, err
}

// examine says whether instances are as they should be, and of the first that isn't why.
// named: they were asked for by name.
func examine(rows []api.Instance, named, perApp bool, now time.Time) (all checkup) {
	alive := map[string]bool{} // apps with an instance that is well
	for _, r := range rows {
		e := examined{ID: r.ID, Name: r.Name, Index: r.Index, Status: r.Process.Status}
		e.State, e.Why = fitnessOf(r, now)
		if e.State == isOff && named {
			e.State = isIll
		}
		alive[r.Name] = alive[r.Name] || e.State == isWell
		all.Instances = append(all.Instances, e)
	}
	ill := slices.DeleteFunc(slices.Clone(all.Instances), func(e examined) bool {
		return e.State != isIll || perApp && alive[e.Name]
	})
	switch {
	case len(ill) == 1:
		all.Why = ill[0].Why
	case len(ill) > 1:
		all.Why = fmt.Sprintf("%s; and %d more of %d", ill[0].Why, len(ill)-1, len(rows))
	case all.running() == 0:
		all.Why = "nothing is to run: all are stopped"
	}
	all.Healthy = all.Why == ""
	return all
}

// running is how many of those that are to run are well.
func (c checkup) running() (n int) {
	for _, e := range c.Instances {
		if e.State == isWell || e.State == isSpare {
			n++
		}
	}
	return n
}

// fitnessOf is what one instance counts for; why is for one that isn't well.
func fitnessOf(r api.Instance, now time.Time) (f fitness, why string) {
	p := r.Process
	switch {
	case p.Job && p.Scheduled: // whatever came of the last run
		return isWell, ""
	case p.Status == api.StatusStandby:
		return isWell, ""
	case p.Standby && p.Lock == nil && !p.Unhealthy:
		return isSpare, ""
	case (p.Status == "online" || p.Status == "launching" && p.Proven) && (r.Health == nil || r.Health.State == api.HealthHealthy):
		return isWell, ""
	case p.Status == "stopped" && !p.Off && p.Rested == "" && p.LastExit != nil && p.LastExit.Expected:
		return isWell, "" // it has done its work
	}
	why = fmt.Sprintf("%s:%d is %s", r.Name, r.Index, statusText(p, now))
	switch h := r.Health; {
	case p.Off:
		return isOff, why
	case h != nil && h.Error != "":
		why += ", its health check says: " + h.Error
	case h != nil && h.State == api.HealthUnknown:
		why += ", and no health check has passed yet"
	}
	return isIll, why
}
