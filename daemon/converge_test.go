package daemon

import (
	"errors"
	"slices"
	"testing"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

func spec(name string, change ...func(*ecosystem.App)) ecosystem.App {
	a := ecosystem.App{Name: name, Namespace: "default", Autostart: true,
		Command: ecosystem.Command{Script: "/bin/" + name, Cwd: "/"},
		Env:     ecosystem.Env{Inherit: ecosystem.Inherit{All: true}},
		Scale:   ecosystem.Scale{Instances: 1, ExecMode: "fork", InstanceVar: "NODE_APP_INSTANCE"}}
	for _, f := range change {
		f(&a)
	}
	return a
}

func have(origin string, specs ...ecosystem.App) *table {
	t := &table{}
	for _, s := range specs {
		t.apps = append(t.apps, &app{spec: s, origin: origin})
	}
	return t
}

func TestPlan(t *testing.T) {
	t.Parallel()
	args := func(a *ecosystem.App) { a.Command.Args = []string{"-v"} }
	two := func(a *ecosystem.App) { a.Scale.Instances = 2 }
	manual := func(a *ecosystem.App) { a.Autostart = false }
	job := func(a *ecosystem.App) { a.Times.Schedule = "0 3 * * *" }
	tests := []struct {
		name    string
		have    *table
		want    ecosystem.App
		req     api.Apply
		running bool
		did     string
		restart bool
		changes []string
	}{
		{"new", have("/f"), spec("a"), api.Apply{}, false, api.DidStart, false, nil},
		{"new, not to be started", have("/f"), spec("a", manual), api.Apply{}, false, api.IsNotStarted, false, nil},
		{"unchanged", have("/f", spec("a")), spec("a"), api.Apply{}, true, api.DidNothing, false, nil},
		{"unchanged but asked for", have("/f", spec("a")), spec("a"), api.Apply{Act: true}, true, api.DidRestart, true, nil},
		{"unchanged with a new environment", have("/f", spec("a")), spec("a"), api.Apply{Update: true}, true, api.DidRestart, true, nil},
		{"stopped", have("/f", spec("a")), spec("a"), api.Apply{}, false, api.DidStart, false, nil},
		{"stopped by hand, not started by itself", have("/f", spec("a", manual)), spec("a", manual), api.Apply{}, false, api.IsNotStarted, false, nil},
		{"restart starts what is down", have("/f", spec("a", manual)), spec("a", manual), api.Apply{Act: true}, false, api.DidStart, false, nil},
		{"changed", have("/f", spec("a")), spec("a", args), api.Apply{}, true, api.DidRestart, true, []string{"args"}},
		{"changed and stopped", have("/f", spec("a")), spec("a", args), api.Apply{}, false, api.DidStart, false, []string{"args"}},
		{"more instances", have("/f", spec("a")), spec("a", two), api.Apply{}, true, api.DidScale, false, []string{"instances"}},
		{"more instances and changed", have("/f", spec("a")), spec("a", two, args), api.Apply{}, true, api.DidRestart, true, []string{"args", "instances"}},
		{"started by hand, now in a file", have("", spec("a")), spec("a"), api.Apply{}, true, api.DidNothing, false, nil},
		{"a new job", have("/f"), spec("a", job), api.Apply{}, false, api.DidSchedule, false, nil},
		{"a new job that is not to be started", have("/f"), spec("a", job, manual), api.Apply{}, false, api.IsNotStarted, false, nil},
		{"a job that is scheduled", have("/f", spec("a", job)), spec("a", job), api.Apply{}, true, api.DidNothing, false, nil},
		{"a job that is scheduled, and asked for", have("/f", spec("a", job)), spec("a", job), api.Apply{Act: true}, true, api.DidSchedule, false, nil},
		{"a job that is stopped", have("/f", spec("a", job)), spec("a", job), api.Apply{}, false, api.DidSchedule, false, nil},
		{"a job that is changed", have("/f", spec("a", job)), spec("a", job, args), api.Apply{}, true, api.DidSchedule, false, []string{"args"}},
		{"an app that becomes a job", have("/f", spec("a")), spec("a", job), api.Apply{}, true, api.DidSchedule, true, []string{"schedule"}},
		{"a job that becomes an app", have("/f", spec("a", job)), spec("a"), api.Apply{}, true, api.DidRestart, true, []string{"schedule"}},
		{"of another file, taken over", have("/g", spec("a")), spec("a"), api.Apply{Takeover: true}, true, api.DidNothing, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.req.Apps, tt.req.Origin = []ecosystem.App{tt.want}, "/f"
			todo, err := plan(tt.have, tt.req, func(*app) bool { return tt.running })
			if err != nil {
				t.Fatal(err)
			}
			got := todo[0]
			slices.Sort(got.changes)
			if got.did != tt.did || got.restart != tt.restart || !slices.Equal(got.changes, tt.changes) {
				t.Errorf("plan = %q restart=%v changes=%q, want %q restart=%v changes=%q",
					got.did, got.restart, got.changes, tt.did, tt.restart, tt.changes)
			}
		})
	}
}

func TestPlanRefusesAForeignName(t *testing.T) {
	t.Parallel()
	req := api.Apply{Origin: "/f", Apps: []ecosystem.App{spec("a")}}
	_, err := plan(have("/g", spec("a")), req, func(*app) bool { return true })
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.KindConflict {
		t.Fatalf("plan = %v, want a conflict", err)
	}
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	table := have("/f", spec("a"), spec("b"), spec("c"))
	table.apps[2].origin = "/g"
	names := func(req api.Apply) (all []string) {
		for _, a := range orphans(table, req) {
			all = append(all, a.spec.Name)
		}
		return all
	}
	if got := names(api.Apply{Origin: "/f", Names: []string{"a"}}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("orphans = %q, want only b: c is of another file", got)
	}
	if got := names(api.Apply{Names: []string{"a"}}); got != nil {
		t.Errorf("orphans of a command line = %q, want none", got)
	}
}
