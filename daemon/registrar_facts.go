package daemon

import (
	"slices"
	"strconv"
	"strings"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// What of an instance makes its entry in Consul. Nothing here changes anything.

// bearing is what there is to know of an instance for that.
type bearing struct {
	supervise.Snapshot
	health  *api.Health // nil: it isn't checked, or doesn't run
	spare   bool        // others have the connections, or the lock
	leaving bool        // it is going to be stopped, and still serves
	waits   string      // what has to be there before it is started
	rested  string
	ended   bool // the last run has ended as it should
}

// bearingOf is that of an instance that is no job.
func bearingOf(a *app, in *instance) bearing {
	b := bearing{Snapshot: in.proc.Snapshot(), health: healthOf(in), rested: in.restedBy(), spare: in.isHeld() || in.standsBy()}
	b.leaving = b.Pid != 0 && in.leaving.Load() == b.Incarnation
	if slot := in.slot.Load(); slot != nil && isTold(a.spec) && slot.View().Standby {
		b.spare = true
	}
	var p api.Process
	in.showWait(&p)
	b.waits = p.Waits
	if e := b.LastExit; e != nil {
		b.ended = e.Signal == 0 && e.Err == "" && e.Fault == "" && !e.OOM && (e.Code == 0 || slices.Contains(a.spec.Restart.StopExitCodes, e.Code))
	}
	return b
}

// What is said of an instance that nobody is to be sent to for a while.
const (
	leavingStop    = "it is going to be stopped"
	leavingRestart = "it is being restarted"
)

// standing is what Consul is told of an instance; not is: nothing, it is not registered.
// What is said must not change as long as nothing happens.
func (b bearing) standing() (h consul.Health, is bool) {
	switch {
	case b.spare:
		return h, false
	case b.leaving:
		return consul.Health{Status: consul.Warning, Output: "leaving: " + leavingStop, Leaving: leavingStop}, true
	case b.Status == supervise.StatusStopping && b.Pid != 0:
		return b.ending(), true
	case b.Pid == 0 && b.waits != "":
		return b.down("waits for " + b.waits), true
	}
	switch b.Status {
	case supervise.StatusOnline:
		return b.online(), true
	case supervise.StatusLaunching:
		return b.down("launching"), true
	case supervise.StatusWaiting:
		return b.down("waits to be restarted (" + unstableExits(b.Unstable) + ")"), true
	case supervise.StatusErrored:
		return b.down("errored after " + unstableExits(b.Unstable)), true
	case supervise.StatusStopping:
		return b.down("being restarted"), b.Want
	}
	if b.rested == restedForRoll {
		return b.down("its successor is being started"), true
	}
	return b.down("stopped"), b.Want && !b.ended
}

// online is one that runs and is ready.
func (b bearing) online() consul.Health {
	text := "online, pid " + strconv.Itoa(b.Pid)
	switch {
	case b.health == nil:
		return consul.Health{Status: consul.Passing, Output: b.after(text)}
	case b.health.State == api.HealthUnhealthy:
		return consul.Health{Status: consul.Critical, Output: b.after(text + ", unhealthy: " + b.health.Error)}
	case b.health.State == api.HealthHealthy:
		return consul.Health{Status: consul.Passing, Output: b.after(text + ", healthy")}
	}
	return consul.Health{Status: consul.Warning, Output: b.after(text + ", not checked yet")}
}

// ending is one that was told to end, or is about to be.
func (b bearing) ending() consul.Health {
	switch {
	case b.Fault != "" && b.Want:
		return consul.Health{Status: consul.Critical, Output: "being restarted: " + b.Fault}
	case b.Want:
		return consul.Health{Status: consul.Warning, Output: because("being restarted", b.RestartCause), Leaving: leavingRestart}
	}
	return consul.Health{Status: consul.Warning, Output: "stopping", Leaving: leavingStop}
}

func (b bearing) down(text string) consul.Health {
	return consul.Health{Status: consul.Critical, Output: b.after(text)}
}

// after adds how the run before has ended. What a reload has taken the place of has no
// end of its own: what is known then is of a run before that.
func (b bearing) after(text string) string {
	which := "the run before"
	if b.LastExit != nil && b.LastExit.Incarnation+1 < b.Incarnation {
		which = "an earlier run"
	}
	switch {
	case b.LastExit == nil:
		return text
	case b.LastExit.Requested:
		return text + "; " + which + " was ended by command"
	}
	return text + "; " + which + " " + exitText(*b.LastExit)
}

// absence says why an instance is not registered.
func (b bearing) absence() string {
	switch {
	case b.spare:
		return "it stands by"
	case b.ended:
		return "it has ended as it should"
	}
	return "it is stopped"
}

// rank orders the lives of one instance: while a reload exchanges it, its entry is about
// the one that is of most use.
func rank(h consul.Health) int {
	switch {
	case h.Leaving != "":
		return 1
	case h.Status == consul.Passing:
		return 3
	case h.Status == consul.Warning:
		return 2
	}
	return 0
}

// entryID is the ID of an instance's entry.
func entryID(host, app string, index int) string {
	return "gopm:" + host + ":" + app + ":" + strconv.Itoa(index)
}

// serviceOf is an instance's entry.
func serviceOf(spec ecosystem.ConsulService, in *instance, id string, port int, h consul.Health) consul.Service {
	name, index := in.name, in.index
	s := consul.Service{
		ID: id, Name: name, Meta: map[string]string{"gopm_app": name, "gopm_instance": strconv.Itoa(index)},
		Address: spec.Address, Port: port, Weights: consul.Weights{Passing: spec.WeightPassing, Warning: spec.WeightWarning},
		DeregisterAfter: spec.DeregisterAfter, Health: h,
	}
	if spec.Name != "" {
		s.Name = spec.Name
	}
	number := strings.NewReplacer("{instance}", strconv.Itoa(index))
	for _, tag := range spec.Tags {
		s.Tags = append(s.Tags, number.Replace(tag))
	}
	for key, value := range spec.Meta {
		s.Meta[key] = value
	}
	for _, c := range spec.Checks {
		s.Checks = append(s.Checks, consul.Check{Name: c.Name, HTTP: c.HTTP, TCP: c.TCP, GRPC: c.GRPC, Method: c.Method, Body: c.Body,
			Headers: c.Headers, Interval: c.Interval, Timeout: c.Timeout, Insecure: c.Insecure, TLS: c.TLS})
	}
	return s
}
