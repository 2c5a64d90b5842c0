package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	"gopm/daemon/api"
)

// remains is what a daemon that does not answer has left: its list, and which of the
// programs in it still run.
type remains struct {
	state api.State
	alive map[int]int // pids by the id of the instance
	err   error       // why there is no state, if there should be one
}

// remains reads the state file; without one nothing is left.
func (c *cli) remains() remains {
	state, err := c.client.Home().LoadState()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return remains{state, state.Alive(), err}
}

// leftError says that no daemon runs and that something has to be done about it: apps
// live that nobody looks after, or nobody knows which there are.
type leftError struct {
	none error
	text string
}

func (e *leftError) Error() string { return e.text }
func (e *leftError) Unwrap() error { return e.none }

// explain is the error of a command that found no daemon.
func (r remains) explain(none error) error {
	var known *leftError
	if errors.As(none, &known) {
		return none
	}
	apps := 0
	for _, a := range r.state.Apps {
		for _, in := range a.Instances {
			if r.alive[in.ID] != 0 {
				apps++
				break
			}
		}
	}
	switch {
	case apps > 0:
		return &leftError{none, fmt.Sprintf("daemon not running, %s still alive: run gopm resurrect", counted(apps, "app"))}
	case r.err != nil:
		return &leftError{none, fmt.Sprintf("%v; %v", none, r.unusable())}
	}
	return none
}

// unusable is why there is no state, and what helps.
func (r remains) unusable() error {
	if damaged := new(api.DamagedError); errors.As(r.err, &damaged) {
		return fmt.Errorf("%w; mend it, or gopm start puts it aside and begins without apps", r.err)
	}
	return r.err
}

// absence ends a list that was made without a daemon: an error only if something has to
// be done. listed: there was something in it.
func (c *cli) absence(err error, listed bool) error {
	var left *leftError
	switch {
	case err == nil || errors.As(err, &left):
		return err
	case listed:
		c.warn("%v: gopm resurrect starts what should run", err)
	default:
		c.warn("%v", err)
	}
	return nil
}

// instances is the list of the daemon or, with an error for which noDaemon holds, of
// what it has left. No target means all.
func (c *cli) instances(ctx context.Context, targets ...string) ([]api.Instance, error) {
	rows, err := c.client.Instances(ctx, api.Targeted(targets...))
	if !noDaemon(err) {
		return rows, err
	}
	details, err := c.left(targets, err)
	for _, d := range details {
		rows = append(rows, d.Instance)
	}
	return rows, err
}

// details is the same with everything about each.
func (c *cli) details(ctx context.Context, query url.Values) ([]api.Detail, error) {
	var details []api.Detail
	if err := c.client.Get(ctx, api.PathDetails, query, &details); noDaemon(err) {
		return c.left(query["target"], err)
	} else if err != nil {
		return nil, err
	}
	return details, nil
}

// left is the targets in the list that the daemon has left, and why it is asked for.
func (c *cli) left(targets []string, none error) ([]api.Detail, error) {
	r := c.remains()
	all := r.details()
	if len(targets) == 0 || len(all) == 0 {
		return all, r.explain(none)
	}
	labels := make([]api.Label, len(all))
	for i, d := range all {
		labels[i] = api.Label{ID: d.ID, Name: d.Name, Namespace: d.Namespace}
	}
	positions, err := api.Select(labels, targets)
	if err != nil {
		return nil, err
	}
	picked := make([]api.Detail, len(positions))
	for i, at := range positions {
		picked[i] = all[at]
	}
	return picked, r.explain(none)
}

// details is the list as a daemon would show it, as far as the file knows it.
func (r remains) details() (all []api.Detail) {
	for _, a := range r.state.Apps {
		for _, in := range a.Instances {
			row := api.Instance{
				ID: in.ID, Name: a.Spec.Name, Namespace: a.Spec.Namespace, Version: a.Spec.Version,
				Mode: cmp.Or(a.Spec.Scale.ExecMode, "fork"), Index: in.Index, User: a.User, Origin: a.Origin, EnvName: a.Spec.Env.Selected,
				Process: r.process(in), Dropped: in.Out.Dropped + in.Err.Dropped,
			}
			if r.alive[in.ID] != 0 {
				row.Usage.Memory = residentMemory(row.Process.Pid)
			}
			all = append(all, api.Detail{
				Instance: row, App: a.Spec, Argv: a.Spec.Command.Argv(), Created: a.Created,
				Out: savedLog(in.Out), Err: savedLog(in.Err),
			})
		}
	}
	return all
}

func savedLog(l api.SavedLog) api.LogInfo {
	return api.LogInfo{Path: l.Path, Bytes: l.Bytes, Dropped: l.Dropped, Rotations: l.Rotations}
}

// process is what is known of an instance now: whatever the file says of a program that
// is gone, it is down, and nobody saw how it ended.
func (r remains) process(in api.SavedInstance) api.Process {
	p := in.Process
	if pid := r.alive[in.ID]; pid != 0 {
		if p.Pid != pid { // started just before the daemon died
			p.Pid, p.Status, p.Started = pid, "online", r.state.Written
		}
		return p
	}
	ran := p.Pid != 0
	p.Status, p.Pid, p.NextTry, p.Clearing, p.Killed = "stopped", 0, time.Time{}, false, false
	p.Timed = api.Timed{Job: in.Job} // nobody looks at the clock
	rested := cmp.Or(in.Rested, r.state.Ended)
	if r.state.Boot != api.BootID() {
		rested = cmp.Or(rested, "reboot")
	}
	switch {
	case in.Want && rested != "":
		p.Rested = rested
	case ran:
		p.LastExit = &api.Exit{Code: -1, Incarnation: p.Incarnation}
	}
	return p
}

// residentMemory is what a process takes, in bytes.
func residentMemory(pid int) (n int64) {
	_, _ = fmt.Sscan(wordAfter(fmt.Sprintf("/proc/%d/status", pid), "VmRSS:"), &n) // 0: it has just ended
	return n << 10
}
