package daemon

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
)

func saidRows(app string, n int) (rows []api.Instance) {
	for i := range n {
		r := api.Instance{ID: 100 + i, Index: i, Name: app, Version: "1.2.3", Mode: "cluster", User: "deploy"}
		r.Process = api.Process{Status: "waiting restart", Pid: 4000000 + i, Restarts: 12 + i, Started: time.Unix(1795364642, 0), Unhealthy: i%2 == 0, Standby: i%3 == 0}
		rows = append(rows, r)
	}
	return rows
}

func TestFleetSaidAndHeard(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 7, 60, 400} {
		apps := []api.FleetApp{{Name: `we"b <ä>`, Fleet: true, Release: "17", Spec: "a1b2c3"}, {Name: "api"}}
		rows := append(saidRows(apps[0].Name, n), saidRows("api", 2)...)
		meta, unlisted := sayFleet(apps, rows)
		for key, value := range meta {
			if len(value) > maxSaid {
				t.Errorf("%d instances: %s has %d bytes", n, key, len(value))
			}
		}
		if unlisted != 0 || len(meta) > maxSaidApps {
			t.Fatalf("%d instances: %d pairs, %d without room", n, len(meta), unlisted)
		}
		m := heardMachine(consul.Entry{ID: "gopm:a", Status: consul.Passing, Meta: meta})
		if len(m.Apps) != 2 || m.Apps[0] != apps[0] || m.Host != "a" || m.Down != "" {
			t.Fatalf("%d instances: heard %+v", n, m)
		}
		if len(m.Instances) != len(rows) {
			t.Fatalf("said %d instances, heard %d", len(rows), len(m.Instances))
		}
		for i, r := range m.Instances {
			if got, want := fmt.Sprint(r.Name, r.ID, r.Index, r.Version, r.Mode, r.User, r.Process), fmt.Sprint(rows[i].Name, rows[i].ID, rows[i].Index, rows[i].Version, rows[i].Mode, rows[i].User, rows[i].Process); got != want {
				t.Fatalf("heard %s, want %s", got, want)
			}
		}
	}
}

func TestFleetSaidWithoutRoom(t *testing.T) {
	t.Parallel()
	var apps []api.FleetApp
	var rows []api.Instance
	for i := range 80 {
		name := fmt.Sprintf("%s%d", strings.Repeat("n", 120), i)
		apps, rows = append(apps, api.FleetApp{Name: name}), append(rows, saidRows(name, 3)...)
	}
	meta, unlisted := sayFleet(apps, rows)
	m := heardMachine(consul.Entry{ID: "gopm:a", Status: consul.Passing, Meta: meta})
	if len(meta) != maxSaidApps || unlisted == 0 || unlisted+len(m.Instances) != len(rows) {
		t.Errorf("%d pairs; %d of %d heard, %d said to be missing", len(meta), len(m.Instances), len(rows), unlisted)
	}
}

// FuzzHeardMachine is about what somebody else has written.
func FuzzHeardMachine(f *testing.F) {
	f.Add("a", `{"n":"web","i":["0 0 1 2 3 us online"]}`, "x")
	f.Add("\x1b[2J", `{"n":"\u001b[2J","v":"\u0000","i":["1 2 3 4 5 - \u001b[31m", "9999999999999999999 0 0 0 0 - x"]}`, "\n")
	f.Fuzz(func(t *testing.T, host, part, output string) {
		meta := map[string]string{saidHost: host, saidHome: host, saidSSH: host, saidVersion: host, saidUnlisted: host, saidApp + "00": part, saidApp + "01": part}
		before := maps.Clone(meta)
		m := heardMachine(consul.Entry{ID: "gopm:" + host, Status: consul.Critical, Output: output, Meta: meta, NodeIP: host})
		if !maps.Equal(before, meta) {
			t.Fatal("the entry was changed")
		}
		for _, a := range m.Apps {
			m.Down += a.Name + a.Release + a.Spec
		}
		for _, r := range m.Instances {
			m.Down += r.Name + r.Version + r.Mode + r.User + r.Process.Status
			if r.ID < 0 || r.Process.Pid < 0 || r.Process.Restarts < 0 {
				t.Fatalf("%+v", r)
			}
		}
		if text := m.Host + m.Home + m.SSH + m.Address + m.Version + m.Down; strings.ContainsAny(text, "\x1b\n\r\x00") {
			t.Fatalf("%q reaches the terminal", text)
		}
	})
}
