package cmd

import (
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

// What each state of an instance counts for.
func TestFitness(t *testing.T) {
	t.Parallel()
	exit := func(code int) *api.Exit { return &api.Exit{Code: code, Expected: code == 0} }
	ill := func(state, why string) *api.Health { return &api.Health{State: state, Error: why} }
	for name, c := range map[string]struct {
		process api.Process
		health  *api.Health
		want    fitness
		why     string // a part of it
	}{
		"online":                         {api.Process{Status: "online"}, nil, isWell, ""},
		"online and healthy":             {api.Process{Status: "online"}, ill(api.HealthHealthy, ""), isWell, ""},
		"one failed check isn't the end": {api.Process{Status: "online"}, ill(api.HealthHealthy, "timeout"), isWell, ""},
		"unhealthy":                      {api.Process{Status: "online", Unhealthy: true}, ill(api.HealthUnhealthy, "status 503"), isIll, "web:2 is online (unhealthy), its health check says: status 503"},
		"not checked yet":                {api.Process{Status: "online"}, ill(api.HealthUnknown, ""), isIll, "no health check has passed yet"},
		"launching":                      {api.Process{Status: "launching"}, nil, isIll, "web:2 is launching"},
		"not ready":                      {api.Process{Status: "launching", Delay: api.Delay{NotReady: true}}, ill(api.HealthUnknown, "refused"), isIll, "refused"},
		"waits for another":              {api.Process{Status: "launching", Delay: api.Delay{Wait: api.Wait{WaitsOn: []string{"db"}}}}, nil, isIll, "waits for db"},
		"waiting restart":                {api.Process{Status: "waiting restart", LastExit: exit(3)}, nil, isIll, "(exit 3)"},
		"errored":                        {api.Process{Status: "errored", LastExit: exit(3)}, nil, isIll, "errored (exit 3)"},
		"stopping, to be restarted":      {api.Process{Status: "stopping"}, nil, isIll, "stopping"},
		"stopping":                       {api.Process{Status: "stopping", Delay: api.Delay{Off: true}}, nil, isOff, "stopping"},
		"stopped by a command":           {api.Process{Status: "stopped", LastExit: exit(1), Delay: api.Delay{Off: true}}, nil, isOff, "stopped"},
		"never started":                  {api.Process{Status: "stopped", Delay: api.Delay{Off: true}}, nil, isOff, "stopped"},
		"done":                           {api.Process{Status: "stopped", LastExit: exit(0)}, nil, isWell, ""},
		"failed, and not tried again":    {api.Process{Status: "stopped", LastExit: exit(1)}, nil, isIll, "stopped (exit 1)"},
		"ended unseen":                   {api.Process{Status: "stopped", LastExit: &api.Exit{Code: -1}}, nil, isIll, "(exit unknown)"},
		"at rest":                        {api.Process{Status: "stopped", LastExit: exit(0), Delay: api.Delay{Rested: "kill"}}, nil, isIll, "before kill"},
		"job between runs":               {api.Process{Status: "stopped", Timed: api.Timed{Job: true, Scheduled: true}}, nil, isWell, ""},
		"job whose last run failed":      {api.Process{Status: "errored", LastExit: exit(1), Timed: api.Timed{Job: true, Scheduled: true}}, nil, isWell, ""},
		"job that runs":                  {api.Process{Status: "online", Timed: api.Timed{Job: true, Scheduled: true}}, nil, isWell, ""},
		"job that was stopped":           {api.Process{Status: "stopped", Delay: api.Delay{Off: true}, Timed: api.Timed{Job: true}}, nil, isOff, ""},
		"spare":                          {api.Process{Status: "online", Standby: true}, nil, isSpare, ""},
		"another machine has the lock":   {api.Process{Status: api.StatusStandby, Delay: api.Delay{Lock: &api.Lock{Holder: "b"}}}, nil, isWell, ""},
		"nobody can be asked for a lock": {api.Process{Status: api.StatusStandby, Delay: api.Delay{Lock: &api.Lock{Why: "no agent"}}}, nil, isWell, ""},
		"it stands by, and runs":         {api.Process{Status: "online", Standby: true, Delay: api.Delay{Lock: &api.Lock{}}}, nil, isWell, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := api.Instance{Name: "web", Index: 2, Process: c.process, Repute: api.Repute{Health: c.health}}
			got, why := fitnessOf(r, time.Now())
			if got != c.want || !strings.Contains(why, c.why) || got == isIll && why == "" {
				t.Errorf("%s (%s), want %s (%s)", got, why, c.want, c.why)
			}
		})
	}
}

func TestExamine(t *testing.T) {
	t.Parallel()
	of := func(name, status string, isOff bool) api.Instance {
		return api.Instance{Name: name, Process: api.Process{Status: status, Delay: api.Delay{Off: isOff}}}
	}
	up, down, stopped := of("a", "online", false), of("a", "errored", false), of("b", "stopped", true)
	for name, c := range map[string]struct {
		rows          []api.Instance
		named, perApp bool
		why           string // "": healthy
	}{
		"all are well":                 {[]api.Instance{up, up}, false, false, ""},
		"one of two":                   {[]api.Instance{up, down}, false, false, "a:0 is errored"},
		"one of two, and one is asked": {[]api.Instance{up, down}, false, true, ""},
		"none of two":                  {[]api.Instance{down, down}, false, true, "a:0 is errored; and 1 more of 2"},
		"another app's":                {[]api.Instance{up, of("c", "launching", false)}, false, true, "c:0 is launching"},
		"a stopped one":                {[]api.Instance{up, stopped}, false, false, ""},
		"a stopped one, by name":       {[]api.Instance{stopped}, true, false, "b:0 is stopped"},
		"only stopped ones":            {[]api.Instance{stopped, stopped}, false, false, "all are stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := examine(c.rows, c.named, c.perApp, time.Now())
			if got.Healthy != (c.why == "") || !strings.Contains(got.Why, c.why) || len(got.Instances) != len(c.rows) {
				t.Errorf("%+v, want %q", got, c.why)
			}
		})
	}
}
