package daemon

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

func TestStanding(t *testing.T) {
	run := supervise.Run{Pid: 7}
	killed := &supervise.Exit{Signal: syscall.SIGKILL, Uptime: 3 * time.Second}
	asked := &supervise.Exit{Requested: true}
	online := supervise.Snapshot{Status: supervise.StatusOnline, Run: run, Want: true}
	tests := []struct {
		name  string
		in    bearing
		state string // "" = not registered
		says  string
		leave bool
	}{
		{"online", bearing{Snapshot: online}, consul.Passing, "online, pid 7", false},
		{"healthy", bearing{Snapshot: online, health: &api.Health{State: api.HealthHealthy}}, consul.Passing, "online, pid 7, healthy", false},
		{"unhealthy", bearing{Snapshot: online, health: &api.Health{State: api.HealthUnhealthy, Error: "503"}}, consul.Critical, "online, pid 7, unhealthy: 503", false},
		{"not checked yet", bearing{Snapshot: online, health: &api.Health{State: api.HealthUnknown}}, consul.Warning, "online, pid 7, not checked yet", false},
		{"leaving", bearing{Snapshot: online, leaving: true}, consul.Warning, "leaving: it is going to be stopped", true},
		{"a spare", bearing{Snapshot: online, spare: true}, "", "", false},
		{"after a crash", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusOnline, Run: run, LastExit: killed}}, consul.Passing, "online, pid 7; the run before was ended by SIGKILL after 3s", false},
		{"after a restart", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusOnline, Run: run, LastExit: asked}}, consul.Passing, "online, pid 7; the run before was ended by command", false},
		{"after a reload that came after a crash", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusOnline, Run: run, Incarnation: 9, LastExit: killed}},
			consul.Passing, "online, pid 7; an earlier run was ended by SIGKILL after 3s", false},
		{"launching", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusLaunching, Want: true}}, consul.Critical, "launching", false},
		{"backoff", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusWaiting, Want: true, Unstable: 3, LastExit: killed}}, consul.Critical,
			"waits to be restarted (3 unstable exits in a row); the run before was ended by SIGKILL after 3s", false},
		{"errored", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusErrored, Want: true, Unstable: 16}}, consul.Critical, "errored after 16 unstable exits in a row", false},
		{"being stopped", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopping, Run: run}}, consul.Warning, "stopping", true},
		{"being restarted", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopping, Run: run, Want: true}}, consul.Warning, "being restarted", true},
		{"cured", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopping, Run: supervise.Run{Pid: 7}, Conduct: supervise.Conduct{Fault: "unhealthy: 503"}, Want: true}},
			consul.Critical, "being restarted: unhealthy: 503", false},
		{"stopped", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopped, LastExit: asked}}, "", "", false},
		{"ended well", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopped, Want: true, LastExit: &supervise.Exit{}}, ended: true}, "", "", false},
		{"ended badly for good", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopped, Want: true, LastExit: killed}}, consul.Critical, "stopped; the run before was ended by SIGKILL after 3s", false},
		{"down for a reload", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopped}, rested: restedForRoll}, consul.Critical, "its successor is being started", false},
		{"down for good", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopped}, rested: "shutdown"}, "", "", false},
		{"waits for another", bearing{Snapshot: supervise.Snapshot{Status: supervise.StatusStopped}, waits: "db (launching)"}, consul.Critical, "waits for db (launching)", false},
	}
	for _, test := range tests {
		h, is := test.in.standing()
		if is != (test.state != "") {
			t.Errorf("%s: registered: %v", test.name, is)
			continue
		}
		if is && (h.Status != test.state || h.Output != test.says || (h.Leaving != "") != test.leave) {
			t.Errorf("%s: got %+v", test.name, h)
		}
	}
}

// TestRank sees which of two lives of one instance its entry is about.
func TestRank(t *testing.T) {
	order := []consul.Health{{Status: consul.Passing}, {Status: consul.Warning}, {Status: consul.Warning, Leaving: "x"}, {Status: consul.Critical}}
	for i := 1; i < len(order); i++ {
		if rank(order[i-1]) <= rank(order[i]) {
			t.Errorf("%+v isn't before %+v", order[i-1], order[i])
		}
	}
}

func TestFirstPort(t *testing.T) {
	for want, from := range map[int][]int{80: {80, 90}, 90: {90}} {
		if got := firstPort(from, 0); got != want {
			t.Errorf("of %v: %d", from, got)
		}
	}
	if got := firstPort([]int{80, 90}, 90); got != 90 {
		t.Errorf("the declared one isn't taken: %d", got)
	}
	if most := lookForPort(24 * time.Hour); most > 5*time.Minute || lookForPort(0) < soonestLook {
		t.Errorf("looks after %v and %v", lookForPort(0), most)
	}
}

// TestEntryID sees that an entry's ID names host, app and instance.
func TestEntryID(t *testing.T) {
	if id := entryID("h", "web", 3); id != "gopm:h:web:3" || !strings.HasPrefix(id, "gopm:h:") {
		t.Errorf("it is %s", id)
	}
}

// TestAsOf shows that a time is given by the clock of now, as far from it as it is really.
func TestAsOf(t *testing.T) {
	began := time.Now()
	now := began.Add(12 * time.Second)
	got := asOf(now, began)
	if !got.Equal(began) || got != now.Round(0).Add(-12*time.Second) || strings.Contains(got.String(), "m=") {
		t.Errorf("%v is %v as of %v", began, got, now)
	}
	if !asOf(now, time.Time{}).IsZero() {
		t.Error("never is never")
	}
}
