package daemon

import (
	"strings"
	"testing"

	"gopm/ecosystem"
)

func TestCheckApps(t *testing.T) {
	t.Parallel()
	good := func() ecosystem.App {
		return ecosystem.App{Name: "a", Command: ecosystem.Command{Script: "/x", Cwd: "/"}, Scale: ecosystem.Scale{Instances: 1}}
	}
	if err := checkApps([]ecosystem.App{good()}); err != nil {
		t.Error(err)
	}
	if err := checkApps([]ecosystem.App{good(), good()}); err == nil || !strings.Contains(err.Error(), "two apps") {
		t.Errorf("twice: %v", err)
	}
	for words, spoil := range map[string]func(*ecosystem.App){
		"no name":              func(a *ecosystem.App) { a.Name = "" },
		"no script":            func(a *ecosystem.App) { a.Command.Script = "" },
		"cwd":                  func(a *ecosystem.App) { a.Command.Cwd = "x" },
		"got 0":                func(a *ecosystem.App) { a.Scale.Instances = 0 },
		"got 5000":             func(a *ecosystem.App) { a.Scale.Instances = 5000 },
		`"x.pid" is not absol`: func(a *ecosystem.App) { a.PidFile = "x.pid" },
	} {
		a := good()
		spoil(&a)
		if err := checkApps([]ecosystem.App{a}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %q", err, words)
		}
	}
}

func TestCheckScale(t *testing.T) {
	t.Parallel()
	with := func(s ecosystem.Scale, port string) ecosystem.App {
		return ecosystem.App{Name: "web", Scale: s, Env: ecosystem.Env{Vars: map[string]string{"PORT": port}}}
	}
	for _, good := range []ecosystem.App{
		with(ecosystem.Scale{Instances: 1}, "70000"),
		with(ecosystem.Scale{Instances: 3, PortStep: 1}, "65533"),
		with(ecosystem.Scale{Instances: 3, PortStep: 1}, "pipe"),
		with(ecosystem.Scale{Instances: 4095, Spares: 1}, ""),
	} {
		if err := checkScale(good); err != nil {
			t.Errorf("%+v: %v", good.Scale, err)
		}
	}
	for words, bad := range map[string]ecosystem.App{
		"with 4 instances the last would get a port above 65535":    with(ecosystem.Scale{Instances: 4, PortStep: 1}, "65533"),
		"with 3 instances the last would get a port above 65535":    with(ecosystem.Scale{Instances: 3, IncrementVar: "PORT"}, "65534"),
		"want 0 to 4094 spares, got 4095":                           with(ecosystem.Scale{Instances: 2, Spares: 4095}, ""),
		"want 0 to 4094 spares, got -1":                             with(ecosystem.Scale{Instances: 2, Spares: -1}, ""),
		"want a port_step from 0 to 65535, got 9223372036854775807": with(ecosystem.Scale{Instances: 2, PortStep: 1<<63 - 1}, "1"),
	} {
		if err := checkScale(bad); err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "web") {
			t.Errorf("%v, want %q", err, words)
		}
	}
}

// TestOldAppIsCompleted: an app that a gopm without cluster mode has written gets what
// it lacks when it is taken over.
func TestOldAppIsCompleted(t *testing.T) {
	t.Parallel()
	d := &Daemon{}
	r, err := d.prepare(&app{spec: spec("web", func(a *ecosystem.App) { a.Stop.Signal = "SIGTERM" })})
	if err != nil {
		t.Fatal(err)
	}
	got := r.app.spec
	if got.Cluster.Balance != ecosystem.BalanceEven || got.Cluster.Hold == 0 || got.Cluster.Backlog == 0 || got.Reload.Surge != 1 || got.Reload.Ready == 0 || got.Drain.Mode != ecosystem.DrainOutside || got.Drain.Timeout == 0 {
		t.Errorf("%+v %+v %+v", got.Cluster, got.Reload, got.Drain)
	}
}
