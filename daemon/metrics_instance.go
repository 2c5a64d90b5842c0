package daemon

import (
	"strconv"

	dto "github.com/prometheus/client_model/go"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// instanceStates are the states that an instance can be in, as `gopm ls` names them.
var instanceStates = [...]string{
	string(supervise.StatusOnline), string(supervise.StatusLaunching), string(supervise.StatusStopping), string(supervise.StatusStopped),
	string(supervise.StatusWaiting), string(supervise.StatusErrored), api.StatusStandby,
}

// instance adds all that is known of one. Its labels are its app and its number: what is
// another one after each restart would make a new series each time. "instance" is a label that
// Prometheus gives itself, for whom it has asked.
func (x *exposition) instance(a *app, in *instance) {
	r := row(a, in, api.Usage{})
	who := []*dto.LabelPair{label("app", r.Name), label("index", strconv.Itoa(r.Index))}
	set := func(m metric, value float64, more ...*dto.LabelPair) {
		x.set(m, value, append(who[:len(who):len(who)], more...)...)
	}
	set(instanceInfo, 1, label("id", strconv.Itoa(r.ID)), label("namespace", r.Namespace), label("version", r.Version), label("mode", r.Mode), label("user", r.User))
	s := in.proc.Snapshot()
	p := r.Process
	state := p.Status
	if p.Standby && state == string(supervise.StatusOnline) {
		state = api.StatusStandby
	}
	for _, name := range instanceStates {
		set(instanceState, oneIf(name == state), label("state", name))
	}
	set(instanceUp, oneIf(state == string(supervise.StatusOnline)))
	set(instanceWanted, oneIf(in.isWanted(s)))
	set(instanceReady, oneIf(s.Pid != 0 && p.Status == string(supervise.StatusOnline) && !p.NotReady))
	set(instanceUnstable, float64(p.Unstable))
	if e := p.LastExit; e != nil {
		set(instanceLastExit, seconds(e.At))
		set(instanceLastExitOK, oneIf(e.Requested || e.Expected))
	}
	counts := in.tally.all()
	for _, reason := range restartReasons {
		set(instanceRestarts, float64(counts[reason]), label("reason", reason))
	}
	for _, result := range exitResults {
		set(instanceExits, float64(counts[exitPrefix+result]), label("result", result))
	}
	if s.Pid != 0 {
		set(instanceStart, seconds(s.Started))
		x.use(s, set)
	}
	if h := r.Health; h != nil {
		if h.State != api.HealthUnknown {
			set(instanceHealthy, oneIf(h.State == api.HealthHealthy))
		}
		set(instanceChecks, float64(h.Checks))
		set(instanceCheckFailures, float64(h.Failures))
	}
	if c := r.Consul; c != nil {
		set(instanceRegistered, oneIf(c.Status != ""))
		if c.Agent != "" {
			x.agents[c.Agent] = c.Down.IsZero()
		}
	}
	if l := p.Lock; l != nil {
		set(instanceLeader, oneIf(l.Leads))
	}
	traffic(in, set)
	logged(in, set)
}

// use is what the processes of an instance take.
func (x *exposition) use(s supervise.Snapshot, set func(metric, float64, ...*dto.LabelPair)) {
	u, is := x.all.tree(s.Pid, s.StartTime)
	if !is {
		return // it has just ended
	}
	set(instanceCPU, u.cpu.Seconds())
	set(instanceMemory, float64(u.memory))
	set(instanceThreads, float64(u.threads))
	set(instanceProcesses, float64(u.processes))
	if u.files > 0 {
		set(instanceFiles, float64(u.files))
	}
}

// traffic is what comes to an instance in cluster mode.
func traffic(in *instance, set func(metric, float64, ...*dto.LabelPair)) {
	slot := in.slot.Load()
	if slot == nil {
		return
	}
	t, is := slot.Traffic()
	if !is {
		return
	}
	set(instanceQueue, float64(t.Waiting))
	set(instanceQueueRoom, float64(t.Room))
	if t.Counted {
		set(instanceConnections, float64(t.Connections))
	}
}

// logged is what has become of what an instance wrote.
func logged(in *instance, set func(metric, float64, ...*dto.LabelPair)) {
	for _, s := range []struct {
		name   string
		stream *logs.Stream
	}{{"stdout", in.out}, {"stderr", in.err}} {
		st, which := s.stream.Stats(), label("stream", s.name)
		set(instanceLogBytes, float64(st.Bytes), which)
		set(instanceLogDropped, float64(st.Dropped), which)
		set(instanceLogRotations, float64(st.Rotations), which)
		set(instanceLogTrouble, oneIf(logTrouble(st) != ""), which)
	}
}
