package daemon

import (
	"context"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// reset sets the targets' counters of restarts to zero.
func (d *Daemon) reset(ctx context.Context, req api.Targets) (api.Outcome, error) {
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	out := gather(picked, func(in *instance) (api.Started, string) {
		in.proc.Reset()
		return api.Started{ID: in.id}, api.DidReset
	})
	return out, d.keepWishes(ctx, picked)
}

// signal sends a signal to the targets' main processes.
func (d *Daemon) signal(_ context.Context, req api.Signal) (api.Outcome, error) {
	sig, ok := parseSignal(req.Signal)
	if !ok {
		return api.Outcome{}, api.Errorf(api.KindInvalid, "unknown signal: %s", req.Signal)
	}
	picked, err := d.table.Load().selection(req.Targets)
	if err != nil {
		return api.Outcome{}, err
	}
	return gather(picked, func(in *instance) (api.Started, string) {
		if err := in.proc.Signal(sig); err != nil {
			return api.Started{ID: in.id}, api.IsDown
		}
		d.log("%s:%d (id %d) was sent %s by command", in.name, in.index, in.id, signalName(sig))
		return api.Started{ID: in.id}, api.DidSignal
	}), nil
}

// parseSignal knows "SIGUSR2", "usr2" and "12".
func parseSignal(s string) (syscall.Signal, bool) {
	const highest = 64
	if n, err := strconv.Atoi(s); err == nil {
		return syscall.Signal(n), n > 0 && n <= highest
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	return sig, sig != 0
}

// scale changes the number of an app's instances; the others go on.
func (d *Daemon) scale(ctx context.Context, req api.Scale) (api.Outcome, error) {
	end, err := d.begin(ctx)
	if err != nil {
		return api.Outcome{}, err
	}
	defer end()
	a := d.table.Load().app(req.Name)
	if a == nil {
		return api.Outcome{}, api.Errorf(api.KindNotFound, "no app named %q%s", req.Name, d.table.Load().known())
	}
	if err := d.rolls.refusal(req.Name); err != nil {
		return api.Outcome{}, err
	}
	want, have := req.Count, a.spec.Scale.Instances
	if req.Relative {
		want += have
	}
	switch {
	case want < 1:
		return api.Outcome{}, api.Errorf(api.KindInvalid, "%s has %d instances: want at least 1 left; gopm stop or delete ends the app", req.Name, have)
	case want > maxInstances:
		return api.Outcome{}, api.Errorf(api.KindInvalid, "%s: at most %d instances", req.Name, maxInstances)
	case want == have:
		return api.Outcome{}, api.Errorf(api.KindInvalid, "%s has %d instances already", req.Name, have)
	}
	spec := a.spec
	spec.Scale.Instances = want
	return d.converge(api.Apply{Apps: []ecosystem.App{spec}, Origin: a.origin})
}
