package daemon

import (
	"slices"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// row is what the list shows of an instance. Its mode is what it runs as, whatever
// its file asks for.
func row(a *app, in *instance, usage api.Usage) api.Instance {
	s := in.proc.Snapshot()
	out, err := in.out.Stats(), in.err.Stats()
	i := api.Instance{
		ID: in.id, Name: a.spec.Name, Namespace: a.spec.Namespace, Version: a.spec.Version,
		Mode: modeOf(a, in), Index: in.index, User: a.user,
		Watch: isWatching(a.spec), Origin: a.origin, EnvName: a.spec.Env.Selected,
		Process: process(s), Usage: usage,
		LogStatus: firstOf(logTrouble(out), logTrouble(err)), Dropped: out.Dropped + err.Dropped,
	}
	i.Process.Rested, i.Process.Off = in.restedBy(), !in.isWanted(s)
	i.Process.Standby = in.isHeld()
	i.Process.Proven = s.Pid != 0 && in.proven.Load() == s.Incarnation
	i.Process.Hook = in.waitsForHook()
	i.Process.Timed = in.times()
	i.Health = healthOf(in)
	i.Process.Unhealthy = i.Health != nil && i.Health.State == api.HealthUnhealthy
	in.showWait(&i.Process)
	i.Consul = in.registration()
	in.showLock(&i.Process)
	if e := i.Process.LastExit; e != nil && e.Signal == "" && e.Error == "" {
		e.Expected = e.Code == 0 || slices.Contains(a.spec.Restart.StopExitCodes, e.Code)
	}
	return i
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func process(s supervise.Snapshot) api.Process {
	p := api.Process{
		Status: string(s.Status), Pid: s.Pid, Incarnation: s.Incarnation, Started: s.Started,
		Restarts: s.Restarts, Unstable: s.Unstable, NextTry: s.NextTry,
		Clearing: s.Clearing, Killed: s.Killed, Cause: s.RestartCause,
		Delay: api.Delay{NotReady: s.Pid != 0 && s.Ready == supervise.Awaited},
	}
	if e := s.LastExit; e != nil {
		p.LastExit = exitOf(e)
	}
	return p
}

func exitOf(e *supervise.Exit) *api.Exit {
	x := &api.Exit{
		At: e.At, Code: e.Code, Core: e.CoreDump, OOM: e.OOM, Hang: e.Hang, Fault: e.Fault, Error: e.Err,
		UptimeMS: e.Uptime.Milliseconds(), Requested: e.Requested, Incarnation: e.Incarnation,
	}
	if e.Signal != 0 {
		x.Signal = signalName(e.Signal)
	}
	return x
}

func (d *Daemon) detail(a *app, in *instance, usage api.Usage) api.Detail {
	place := placeOf(in)
	if place != nil {
		place.Roll = d.rollOf(in)
	}
	return api.Detail{
		Instance: row(a, in, usage), App: a.spec, Place: place, Says: in.saying(), Argv: a.spec.Command.Argv(),
		Files: d.watching(a.spec), Created: a.created, Out: logInfo(in.out), Err: logInfo(in.err),
		Order: d.table.Load().orderOf(a.spec), Config: d.configOf(a), Limited: d.limitedBy(a, in),
	}
}

func logInfo(s *logs.Stream) api.LogInfo {
	st := s.Stats()
	return api.LogInfo{Path: st.Path, Also: st.Also, Bytes: st.Bytes, Dropped: st.Dropped, Error: logTrouble(st), Rotations: st.Rotations}
}

// logTrouble is what is wrong with a log now.
func logTrouble(st logs.Stats) string {
	if !st.Stalled.IsZero() {
		return "stalled: a write has not come back since " + st.Stalled.Local().Format(time.TimeOnly)
	}
	return st.Error
}
