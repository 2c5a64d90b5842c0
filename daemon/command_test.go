package daemon

import (
	"slices"
	"testing"
)

func TestBuildCommandEnvironment(t *testing.T) {
	t.Parallel()
	a := &app{spec: spec("web"), inherited: []string{"PATH=/bin", "name=shell", "A=shell", "broken"}}
	a.spec.Env.Vars = map[string]string{"A": "file", "pm_id": "77"}
	a.spec.Command.Args = []string{"x"}
	c := buildCommand(a, &instance{id: 5, index: 1}, account{}, "/home/x/.gopm")
	slices.Sort(c.Env)
	want := []string{"A=file", "GOPM_HOME=/home/x/.gopm", "NODE_APP_INSTANCE=1", "PATH=/bin", "name=web", "namespace=default", "pm_id=5"}
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
