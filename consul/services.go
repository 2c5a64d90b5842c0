package consul

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Service is an entry of the agent's as it is to be.
type Service struct {
	ID, Name        string
	Tags            []string
	Meta            map[string]string
	Address         string // "" = the agent's own
	Port            int    // PortUnknown: an entry that is there keeps its port, and one that isn't is not made
	Weights         Weights
	Checks          []Check // that Consul makes
	DeregisterAfter time.Duration
	Health

	ttl time.Duration
}

// Health is what the check says that is ours.
type Health struct {
	Status  string // Passing, Warning, Critical
	Output  string // for people; it must not change by itself
	Leaving string // why the service is in maintenance, which nobody is sent to; "": it is not

	since time.Time // that it has this status
}

// Weights are for balancers; 0 = 1.
type Weights struct{ Passing, Warning int }

// Check is one that Consul makes. {port} stands for the service's.
type Check struct {
	Name            string
	HTTP, TCP, GRPC string // one of them
	Method, Body    string
	Headers         map[string][]string
	Interval        time.Duration
	Timeout         time.Duration
	Insecure, TLS   bool
}

// What a check may say.
const (
	Passing  = api.HealthPassing
	Warning  = api.HealthWarning
	Critical = api.HealthCritical
)

// PortUnknown is for a service that isn't known to listen yet.
const PortUnknown = -1

// usualTTL is how long the agent believes what it was told last.
const usualTTL = 30 * time.Second

// Owner says which entries of an agent's are ours: those whose ID is the prefix or begins
// with it and a colon, and that have the mark. All others are never touched.
type Owner struct {
	Prefix string // "gopm:host"
	Mark   string // the home of the daemon

	ttl time.Duration // 0 = usualTTL
}

// What an entry is known by besides its ID.
const (
	metaHome = "gopm_home"
	metaForm = "gopm_form" // a hash of what the agent doesn't show of an entry
)

// CheckID is the ID of the check that is ours.
func CheckID(service string) string { return service + ":gopm" }

// entry is what an agent has of a service.
type entry struct {
	foreign bool   // it has our prefix, but not our mark
	whose   string // the mark that it has
	tags    []string
	meta    map[string]string
	Health       // Leaving is what we have said; "" also if somebody else has
	maint   bool // somebody has put it in maintenance
	name    string
	address string
	port    int
	weights Weights
	checks  int       // how many of ours there are
	last    int       // the greatest number of one that Consul makes for us
	silent  bool      // our check isn't there
	next    time.Time // when it is told again; the zero value: at once
}

// act is one thing that is to be done about a service.
type act struct {
	do deed
	id string
	Service
	surplus int // up to this number it has checks that are not wanted any more
}

type deed int

const (
	enter      deed = iota // and say how it is
	say                    // how it is
	leave                  // be in maintenance
	back                   // from maintenance
	deregister             // forget it
)

// plan is what makes an agent have what is wanted. Others are services that somebody else
// of the same owner sees to.
func plan(want map[string]Service, have map[string]entry, spared func(id string) bool, now time.Time) (acts []act) {
	for _, id := range slices.Sorted(maps.Keys(want)) {
		w := want[id]
		h, is := have[id]
		switch {
		case is && h.foreign:
			continue
		case !is && (w.Port == PortUnknown || w.outlived(now)):
			continue
		case is && w.Port == PortUnknown:
			w.Port = h.port
		}
		switch {
		case !is || h.silent || !h.shows(w):
			acts = append(acts, act{enter, id, w, h.last})
		case h.Status != w.Status || h.Output != w.Output || !h.next.After(now):
			acts = append(acts, act{say, id, w, 0})
		}
		switch {
		case w.Leaving != "" && !(is && h.maint):
			acts = append(acts, act{leave, id, w, 0})
		case w.Leaving == "" && is && h.Leaving != "":
			acts = append(acts, act{back, id, w, 0})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if _, is := want[id]; !is && !have[id].foreign && !spared(id) {
			acts = append(acts, act{do: deregister, id: id})
		}
	}
	return acts
}

// shows says whether an entry is as the service is to be, less its health.
func (e entry) shows(s Service) bool {
	return e.name == s.Name && e.address == s.Address && e.port == s.Port && e.weights == s.weights() &&
		e.checks == len(s.Checks)+1 && e.last == len(s.Checks) && slices.Equal(e.tags, s.Tags) && maps.Equal(e.meta, s.Meta)
}

// outlived says that the agent has forgotten the service as it was asked to: it is to come
// back when it is well.
func (s Service) outlived(now time.Time) bool {
	return s.Status == Critical && s.DeregisterAfter > 0 && !s.since.IsZero() && now.Sub(s.since) > s.DeregisterAfter
}

func (s Service) weights() Weights {
	return Weights{cmp.Or(s.Weights.Passing, 1), cmp.Or(s.Weights.Warning, 1)}
}

// marked is the service with what makes it ours.
func (s Service) marked(o Owner) Service {
	meta := maps.Clone(s.Meta)
	if meta == nil {
		meta = map[string]string{}
	}
	s.Meta, s.ttl = meta, cmp.Or(o.ttl, usualTTL)
	meta[metaHome], meta[metaForm] = o.Mark, s.form()
	return s
}

// form is a short hash of what the agent doesn't show.
func (s Service) form() string {
	text, _ := json.Marshal([]any{s.Checks, s.DeregisterAfter, s.ttl}) // these can always be written
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// before is what a new check says until it is told how the service is. It is something else
// than that, because an agent may take minutes to pass a text on whose state is the same.
func (s Service) before() string {
	if s.Status == Critical {
		return Warning
	}
	return Critical
}

// registration is what the agent is told of a service. It forgets that only by our check: who
// fails another is there all the same, and would be registered anew.
func (s Service) registration() *api.AgentServiceRegistration {
	after := ""
	if s.DeregisterAfter > 0 {
		after = s.DeregisterAfter.String()
	}
	w := s.weights()
	r := &api.AgentServiceRegistration{
		ID: s.ID, Name: s.Name, Tags: s.Tags, Meta: s.Meta, Address: s.Address, Port: s.Port,
		Weights: &api.AgentWeights{Passing: w.Passing, Warning: w.Warning},
		Checks: api.AgentServiceChecks{{
			CheckID: CheckID(s.ID), Name: "gopm", Notes: "what gopm knows of the process", TTL: s.ttl.String(), Status: s.before(), DeregisterCriticalServiceAfter: after,
		}},
	}
	port := strings.NewReplacer("{port}", strconv.Itoa(s.Port))
	for i, c := range s.Checks {
		r.Checks = append(r.Checks, &api.AgentServiceCheck{
			CheckID: numbered(s.ID, i+1), Name: cmp.Or(c.Name, c.kind()+" check"),
			HTTP: port.Replace(c.HTTP), TCP: port.Replace(c.TCP), GRPC: port.Replace(c.GRPC), Method: c.Method, Body: c.Body, Header: c.Headers,
			Interval: spell(c.Interval), Timeout: spell(c.Timeout), TLSSkipVerify: c.Insecure, GRPCUseTLS: c.TLS,
		})
	}
	return r
}

// numbered is the ID of a check that Consul makes.
func numbered(service string, n int) string { return fmt.Sprintf("%s:%d", service, n) }

func (c Check) kind() string {
	switch {
	case c.HTTP != "":
		return "HTTP"
	case c.TCP != "":
		return "TCP"
	}
	return "gRPC"
}

func spell(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.String()
}

// leavingMark begins the reason of a maintenance that is ours: one that somebody else has
// asked for is theirs to end.
const leavingMark = "gopm: "

// entries is what an agent shows of those with our prefix.
func entries(o Owner, services map[string]*api.AgentService, checks map[string]*api.AgentCheck) map[string]entry {
	have := map[string]entry{}
	for id, s := range services {
		if s == nil || id != o.Prefix && !strings.HasPrefix(id, o.Prefix+":") {
			continue
		}
		e := entry{name: s.Service, tags: s.Tags, meta: s.Meta, address: s.Address, port: s.Port, silent: true,
			weights: Weights{s.Weights.Passing, s.Weights.Warning}}
		e.whose = s.Meta[metaHome]
		e.foreign = e.whose != o.Mark
		have[id] = e
	}
	for id, c := range checks {
		if c == nil {
			continue
		}
		e, is := have[c.ServiceID]
		if !is {
			continue
		}
		switch {
		case id == CheckID(c.ServiceID):
			e.silent, e.Status, e.Output = false, c.Status, c.Output
			e.checks++
		case strings.HasPrefix(id, api.ServiceMaintPrefix):
			e.maint = true
			if strings.HasPrefix(c.Notes, leavingMark) {
				e.Leaving = strings.TrimPrefix(c.Notes, leavingMark)
			}
		default:
			if n, err := strconv.Atoi(strings.TrimPrefix(id, c.ServiceID+":")); err == nil && id == numbered(c.ServiceID, n) { // else it is somebody else's
				e.checks++
				e.last = max(e.last, n)
			}
		}
		have[c.ServiceID] = e
	}
	return have
}
