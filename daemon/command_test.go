package daemon

import (
	"os"
	"slices"
	"testing"
	"time"
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

func TestParseStatm(t *testing.T) {
	t.Parallel()
	if memory, ok := parseStatm([]byte("1000 300 200 5 0 80 0\n")); !ok || memory != 300*int64(os.Getpagesize()) {
		t.Errorf("parseStatm = %d, %v", memory, ok)
	}
	for _, bad := range []string{"", "1000", "1000 many"} {
		if _, ok := parseStatm([]byte(bad)); ok {
			t.Errorf("parseStatm accepts %q", bad)
		}
	}
}

func TestReadUsage(t *testing.T) {
	t.Parallel()
	before := time.Duration(0)
	for spun := time.Duration(0); spun < 20*time.Millisecond; { // our own processor time, as the kernel counts it
		cpu, memory, ok := readUsage(os.Getpid(), make([]byte, 256))
		if !ok || cpu < before || memory < 1<<20 {
			t.Fatalf("readUsage = %v, %d, %v", cpu, memory, ok)
		}
		if before > 0 {
			spun += cpu - before
		}
		before = cpu
	}
	if _, _, ok := readUsage(1<<30, make([]byte, 256)); ok {
		t.Error("a process that cannot be has a usage")
	}
}

func TestSamplerAverages(t *testing.T) {
	t.Parallel()
	s, in := newSampler(), &instance{}
	began := time.Unix(1000, 0)
	at := func(after, cpu time.Duration, incarnation uint64) look {
		return look{incarnation: incarnation, at: began.Add(after), cpu: cpu}
	}
	steps := []struct {
		name       string
		look       look
		cpu        float64
		sinceStart bool
	}{
		{"first: since the start", at(10*time.Second, time.Second, 1), 10, true},
		{"too soon: since the start", at(10*time.Second+100*time.Millisecond, time.Second, 1), 100 * 1 / 10.1, true},
		{"since the first look", at(12*time.Second, 2*time.Second, 1), 50, false},
		{"too long ago", at(100*time.Second, 10*time.Second, 1), 10, true},
		{"another run", at(102*time.Second, 51*time.Second, 2), 50, true},
	}
	for _, step := range steps {
		u := s.since(in, step.look, began)
		if diff := u.CPU - step.cpu; diff > 0.01 || diff < -0.01 || u.SinceStart != step.sinceStart {
			t.Errorf("%s: %.2f %% since start %v, want %.2f %v", step.name, u.CPU, u.SinceStart, step.cpu, step.sinceStart)
		}
	}
}
