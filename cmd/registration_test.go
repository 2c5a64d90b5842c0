package cmd

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

func TestRegistrationText(t *testing.T) {
	now := time.Now()
	there := api.Registration{Agent: "127.0.0.1:8500", Service: "web", ID: "gopm:h:web:0", Status: "passing", Port: 80}
	none, spare := there, api.Registration{Service: "web", Absence: "it stands by"}
	none.Port = 0
	leaves, down, bad := there, there, api.Registration{Service: "web", Trouble: "403: the token may not do that"}
	leaves.Status, leaves.Leaving = "warning", true
	down.Down, down.Error, down.NextTry = now.Add(-12*time.Second), "connection refused", now.Add(3*time.Second)
	for want, r := range map[string]*api.Registration{
		"": nil,
		"registered as web (gopm:h:web:0), passing, without a port: it listens on none":                                             &none,
		"not registered as web: it stands by":                                                                                       &spare,
		"registered as web (gopm:h:web:0), passing, port 80":                                                                        &there,
		"registered as web (gopm:h:web:0), warning, in maintenance, port 80":                                                        &leaves,
		"not registered as web: 403: the token may not do that":                                                                     &bad,
		"down 12s (127.0.0.1:8500): connection refused, next try in 3s; before: registered as web (gopm:h:web:0), passing, port 80": &down,
	} {
		if got := registrationText(r, now); got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

func TestMaskConsul(t *testing.T) {
	const secret = "hush"
	shown := ecosystem.Consul{Agent: ecosystem.ConsulAgent{Address: "http://me:" + secret + "@127.0.0.1:8500", Token: secret}, Service: ecosystem.ConsulService{
		Checks: []ecosystem.ConsulCheck{{HTTP: "http://me:" + secret + "@127.0.0.1/", Body: secret, Headers: map[string][]string{"X-Any": {secret}}}},
	}}
	text, err := json.Marshal(maskConsul(shown))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), secret) || !strings.Contains(string(text), "X-Any") {
		t.Errorf("it shows %s", text)
	}
	if shown.Service.Checks[0].Body != secret || shown.Service.Checks[0].Headers["X-Any"][0] != secret {
		t.Error("the original was changed")
	}
}

// TestLockTroubleIsShown: who looked at a machine that had lost its lock because of Consul
// read that it was held, and by whom it had been.
func TestLockTroubleIsShown(t *testing.T) {
	var out strings.Builder
	c := &cli{out: &out}
	row := api.Instance{ID: 3, Name: "cron", Process: api.Process{Status: api.StatusStandby, Delay: api.Delay{Lock: &api.Lock{Key: "locks/cron", Holder: "b:cron"}}}}
	c.printAgents([]api.Instance{row}, time.Now())
	if out.String() != "" {
		t.Errorf("all is well, and it says: %s", out.String())
	}
	row.Process.Lock.Why = "no answer within 10s"
	c.printAgents([]api.Instance{row}, time.Now())
	if out.String() != "3|cron lock locks/cron: no answer within 10s\n" {
		t.Errorf("it says: %s", out.String())
	}
}
