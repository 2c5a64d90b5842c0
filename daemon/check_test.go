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
