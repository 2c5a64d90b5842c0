package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopm/ecosystem"
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

func TestTargets(t *testing.T) {
	t.Parallel()
	logs := func(f func(*ecosystem.Logs), n int) ecosystem.App {
		return spec("app", func(a *ecosystem.App) { a.Scale.Instances = n; f(&a.Logs) })
	}
	tests := []struct {
		name     string
		app      ecosystem.App
		index    int
		out, err string
	}{
		{"default", logs(func(*ecosystem.Logs) {}, 1), 0, "/l/app-out.log", "/l/app-error.log"},
		{"several", logs(func(*ecosystem.Logs) {}, 2), 1, "/l/app-out-1.log", "/l/app-error-1.log"},
		{"explicit, several", logs(func(l *ecosystem.Logs) { l.Out, l.Err = "/x/o.log", "/x/e.log" }, 2), 0, "/x/o-0.log", "/x/e-0.log"},
		{"shared by its name", logs(func(l *ecosystem.Logs) { l.Out, l.Err = "/x/o", "/dev/stderr" }, 2), 1, "/x/o", "/dev/stderr"},
		{"disabled", logs(func(l *ecosystem.Logs) { l.Disabled, l.Out = true, "/x" }, 1), 0, "", ""},
	}
	for _, tt := range tests {
		out, err := targets(tt.app, tt.index, account{}, "/l")
		if out.Path != tt.out || err.Path != tt.err {
			t.Errorf("%s: %q and %q, want %q and %q", tt.name, out.Path, err.Path, tt.out, tt.err)
		}
	}
}

func TestFileNameKeepsLogsInTheirFolder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../../etc/x", "a/b", "ü ö", "..", "a\nb"} {
		path := filepath.Join("/l", fileName(name)+"-out.log")
		if filepath.Dir(path) != "/l" || strings.ContainsAny(path, "\n ") {
			t.Errorf("%q becomes %q", name, path)
		}
	}
}

func TestFileNamesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"web", "日本", "中国", "a b", "a-b", "a/b", "../up", ".._up", "ü"} {
		if other, taken := seen[fileName(name)]; taken {
			t.Errorf("%q and %q share the file name %q", name, other, fileName(name))
		}
		seen[fileName(name)] = name
	}
	if got := fileName("my.app_1-x"); got != "my.app_1-x" {
		t.Errorf("a harmless name became %q", got)
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
