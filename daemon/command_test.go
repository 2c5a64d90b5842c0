package daemon

import (
	"slices"
	"strings"
	"testing"

	"gopm/ecosystem"
)

func TestBuildCommandEnvironment(t *testing.T) {
	t.Parallel()
	a := &app{spec: spec("web"), inherited: []string{"PATH=/bin", "name=shell", "A=shell", "broken"}}
	a.spec.Env.Vars = map[string]string{"A": "file", "pm_id": "77"}
	a.spec.Command.Args = []string{"x"}
	c := buildCommand(a, &instance{id: 5, index: 1}, account{}, "/home/x/.gopm")
	slices.Sort(c.Env)
	want := []string{"A=file", "GOPM_HOME=/home/x/.gopm", "GOPM_LIFE=0", "NODE_APP_INSTANCE=1", "PATH=/bin", "name=web", "namespace=default", "pm_id=5"}
	if !slices.Equal(c.Env, want) {
		t.Errorf("env %q\nwant %q", c.Env, want)
	}
	if !slices.Equal(c.Argv, []string{"/bin/web", "x"}) || c.Dir != "/" {
		t.Errorf("argv %q in %q", c.Argv, c.Dir)
	}
	for _, m := range c.Marker {
		if !slices.Contains(c.Env, m) {
			t.Errorf("marker %q is not in the environment", m)
		}
	}
}

// TestInstanceVariables: increment_var and port_step count from what the app says, else
// from what it inherited, else from 0; what tells an instance who it is comes last.
func TestInstanceVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		vars      map[string]string
		inherited []string
		scale     ecosystem.Scale
		want      []string
	}{
		{"port_step", map[string]string{"PORT": "3000"}, nil, ecosystem.Scale{PortStep: 10}, []string{"PORT=3020", "NODE_APP_INSTANCE=2"}},
		{"no step", map[string]string{"PORT": "3000"}, nil, ecosystem.Scale{}, []string{"PORT=3000", "NODE_APP_INSTANCE=2"}},
		{"increment_var", map[string]string{"N": "-5"}, []string{"N=7"}, ecosystem.Scale{IncrementVar: "N"}, []string{"N=-3"}},
		{"inherited", nil, []string{"N=7"}, ecosystem.Scale{IncrementVar: "N"}, []string{"N=9"}},
		{"from 0", nil, nil, ecosystem.Scale{IncrementVar: "N"}, []string{"N=2"}},
		{"no number inherited", nil, []string{"N=x"}, ecosystem.Scale{IncrementVar: "N"}, []string{"N=2"}},
		{"both", map[string]string{"PORT": "80", "N": "1"}, nil, ecosystem.Scale{IncrementVar: "N", PortStep: 1}, []string{"PORT=82", "N=3"}},
		{"identity", nil, nil, ecosystem.Scale{IncrementVar: "pm_id"}, []string{"pm_id=5"}},
	} {
		a := &app{spec: spec("web"), inherited: c.inherited}
		a.spec.Env.Vars = c.vars
		c.scale.InstanceVar = "NODE_APP_INSTANCE"
		a.spec.Scale = c.scale
		env := buildCommand(a, &instance{id: 5, index: 2}, account{}, "/home/x/.gopm").Env
		for _, want := range c.want {
			name, _, _ := strings.Cut(want, "=")
			got := slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return !strings.HasPrefix(entry, name+"=") })
			if !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %q, want %q", c.name, got, want)
			}
		}
	}
}
