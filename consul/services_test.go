package consul

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

var owner = Owner{Prefix: "gopm:h", Mark: "/home/a"}

// web is a service as it is wanted.
func web(h Health, more ...func(*Service)) Service {
	s := Service{ID: "gopm:h:web:0", Name: "web", Port: 80, Tags: []string{"v1"}, DeregisterAfter: 10 * time.Minute, Health: h}
	for _, m := range more {
		m(&s)
	}
	return s.marked(owner)
}

// shown is what an agent has after it was told all that of a service.
func shown(s Service, next time.Time) entry {
	return entry{name: s.Name, tags: s.Tags, meta: s.Meta, address: s.Address, port: s.Port, weights: s.weights(), checks: len(s.Checks) + 1, last: len(s.Checks),
		Health: Health{Status: s.Status, Output: s.Output, Leaving: s.Leaving}, maint: s.Leaving != "", next: next}
}

func TestPlan(t *testing.T) {
	now := time.Now()
	later := now.Add(time.Minute)
	well := web(Health{Status: Passing, Output: "online"})
	ill := web(Health{Status: Critical, Output: "errored"})
	leaving := web(Health{Status: Warning, Output: "stopping", Leaving: "why"})
	somewhere := web(well.Health, func(s *Service) { s.Port = PortUnknown })
	old := web(well.Health, func(s *Service) { s.Tags = []string{"v0"} })
	checked := web(well.Health, func(s *Service) { s.Checks = []Check{{TCP: "127.0.0.1:{port}"}} })
	foreign := shown(well, later)
	foreign.foreign = true
	silent := shown(well, later)
	silent.silent = true
	gone := ill
	gone.since = now.Add(-time.Hour)
	elsewhere := shown(well, later)
	elsewhere.maint = true // somebody else has put it there
	tests := []struct {
		name string
		want *Service
		have *entry
		acts string
	}{
		{"new", &well, nil, "register"},
		{"as it is to be", &well, of(shown(well, later)), ""},
		{"to be renewed", &well, of(shown(well, now)), "say"},
		{"never told by us", &well, of(shown(well, time.Time{})), "say"},
		{"another state", &ill, of(shown(well, later)), "say"},
		{"another tag", &well, of(shown(old, later)), "register"},
		{"another check, which isn't shown", &checked, of(shown(well, later)), "register"},
		{"a check that was removed", &checked, of(func() entry { e := shown(checked, later); e.checks--; return e }()), "register"},
		{"a check too many", &well, of(func() entry { e := shown(well, later); e.checks, e.last = 2, 1; return e }()), "register"},
		{"without our check", &well, of(silent), "register"},
		{"no port yet, not there", &somewhere, nil, ""},
		{"no port yet, there", &somewhere, of(shown(well, later)), ""},
		{"leaves", &leaving, of(shown(well, later)), "say leave"},
		{"leaves still", &leaving, of(shown(leaving, later)), ""},
		{"back", &well, of(shown(leaving, later)), "say back"},
		{"in maintenance by somebody else", &well, of(elsewhere), ""},
		{"somebody else's", &well, of(foreign), ""},
		{"not wanted", nil, of(shown(well, later)), "deregister"},
		{"not wanted, somebody else's", nil, of(foreign), ""},
		{"forgotten as it was asked to", &gone, nil, ""},
		{"critical for long, and still there", &gone, of(shown(ill, later)), ""},
	}
	names := map[deed]string{enter: "register", say: "say", leave: "leave", back: "back", deregister: "deregister"}
	for _, test := range tests {
		want, have := map[string]Service{}, map[string]entry{}
		if test.want != nil {
			want[well.ID] = *test.want
		}
		if test.have != nil {
			have[well.ID] = *test.have
		}
		var did []string
		for _, a := range plan(want, have, func(string) bool { return false }, now) {
			did = append(did, names[a.do])
			if a.do != deregister && a.Port != 80 {
				t.Errorf("%s: port %d", test.name, a.Port)
			}
		}
		if got := strings.Join(did, " "); got != test.acts {
			t.Errorf("%s: want %q, got %q", test.name, test.acts, got)
		}
	}
	if acts := plan(nil, map[string]entry{well.ID: shown(well, later)}, func(string) bool { return true }, now); len(acts) > 0 {
		t.Errorf("what somebody else sees to: %v", acts)
	}
}

func of(e entry) *entry { return &e }

// TestEntries sees whose entries are ours, and what is said of them.
func TestEntries(t *testing.T) {
	services, checks := map[string]*api.AgentService{}, map[string]*api.AgentCheck{}
	add := func(id, mark string) {
		services[id] = &api.AgentService{ID: id, Service: "web", Meta: map[string]string{"gopm_home": mark}}
		checks[CheckID(id)] = &api.AgentCheck{CheckID: CheckID(id), ServiceID: id, Status: Passing, Output: "online"}
	}
	add("gopm:h", "/home/a")
	add("gopm:h:web:0", "/home/a")
	add("gopm:h:web:1", "/home/b")
	add("gopm:h2:web:0", "/home/a")
	add("gopm:h:web:3", "/home/a")
	delete(checks, CheckID("gopm:h:web:3"))
	checks["_service_maintenance:gopm:h:web:0"] = &api.AgentCheck{ServiceID: "gopm:h:web:0", Notes: "gopm: why"}
	checks["gopm:h:web:0:2"] = &api.AgentCheck{ServiceID: "gopm:h:web:0"}
	checks["theirs"] = &api.AgentCheck{ServiceID: "gopm:h:web:0"}
	checks["_service_maintenance:gopm:h"] = &api.AgentCheck{ServiceID: "gopm:h", Notes: "by hand"}
	var got []string
	for id, e := range entries(owner, services, checks) {
		got = append(got, fmt.Sprintf("%s foreign=%v silent=%v maint=%v leaving=%q checks=%d", id, e.foreign, e.silent, e.maint, e.Leaving, e.checks))
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{
		`gopm:h foreign=false silent=false maint=true leaving="" checks=1`,
		`gopm:h:web:0 foreign=false silent=false maint=true leaving="why" checks=2`,
		`gopm:h:web:1 foreign=true silent=false maint=false leaving="" checks=1`,
		`gopm:h:web:3 foreign=false silent=true maint=false leaving="" checks=0`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("want %s in\n%s", want, all)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d entries:\n%s", len(got), all)
	}
}

func TestPause(t *testing.T) {
	for failures, most := range map[int]time.Duration{0: time.Second, 1: time.Second, 3: 4 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second} {
		for range 100 {
			if p := Pause(failures); p > most || p < most/2 {
				t.Errorf("after %d failures: %v", failures, p)
			}
		}
	}
}

// TestRegistrationOfChecks sees what the agent is told of checks.
func TestRegistrationOfChecks(t *testing.T) {
	s := web(Health{Status: Passing}, func(s *Service) {
		s.Checks = []Check{{HTTP: "http://127.0.0.1:{port}/x", Interval: time.Second}, {TCP: "127.0.0.1:{port}", Name: "mine"}}
	})
	r := s.registration()
	if len(r.Checks) != 3 {
		t.Fatalf("%d checks", len(r.Checks))
	}
	own, first, second := r.Checks[0], r.Checks[1], r.Checks[2]
	if own.CheckID != "gopm:h:web:0:gopm" || own.TTL != "30s" || own.DeregisterCriticalServiceAfter != "10m0s" || own.Status == Passing {
		t.Errorf("ours: %+v", own)
	}
	if first.CheckID != "gopm:h:web:0:1" || first.HTTP != "http://127.0.0.1:80/x" || first.Name != "HTTP check" || first.Interval != "1s" || first.DeregisterCriticalServiceAfter != "" {
		t.Errorf("the first: %+v", first)
	}
	if second.TCP != "127.0.0.1:80" || second.Name != "mine" {
		t.Errorf("the second: %+v", second)
	}
}
