package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// floorOnly is a bench without managers to find.
func floorOnly(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{root: t.TempDir(), child: child(t), super: filepath.Join(dir, "supervisor"), server: filepath.Join(dir, "server.js"),
		options: options{size: size{calls: 2, volleys: 2, paceRounds: 1, pace: 100 * time.Millisecond, lines: 30_000, logRounds: 1, starts: 1, idleApps: 3,
			idle: time.Millisecond, serveRounds: 1, serve: 200 * time.Millisecond, reloads: 1, gap: 100 * time.Millisecond}}}
	if err := copyFile(b.child, b.super); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.server, serverSource, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.node, err = program("node"); err != nil {
		t.Fatal(err)
	}
	b.managers = []manager{floorManager{b.super, b.child}}
	return b
}

// TestScenariosWithTheFloor runs every scenario as small as it goes.
func TestScenariosWithTheFloor(t *testing.T) {
	t.Parallel()
	done := map[string]bool{}
	for _, s := range scenarios {
		s.apps = min(s.apps, 3)
		if done[s.id()] || slices.Contains([]string{"back", "health", "consul", "spare", "reload", "death", "orphan"}, s.name) { // where there is no floor beside gopm
			continue
		}
		done[s.id()] = true
		t.Run(s.id(), func(t *testing.T) {
			t.Parallel()
			b := floorOnly(t)
			if err := s.run(context.Background(), b, s.apps); err != nil {
				t.Fatal(err)
			}
			if len(b.report.failures) > 0 || len(b.report.figures) == 0 {
				t.Fatalf("failures %v, figures %v", b.report.failures, b.report.figures)
			}
			if v := b.report.figures[0].of(floorName); !(v > 0) && s.name != "storm" && s.name != "spread" { // whose best value is 0
				t.Errorf("%s: %v", b.report.figures[0].Name, v)
			}
			entries, err := os.ReadDir(b.root)
			if err != nil || len(entries) != 0 {
				t.Errorf("left behind: %v %v", entries, err)
			}
		})
	}
}

func TestAManagerThatStartsNothing(t *testing.T) {
	t.Parallel()
	b := floorOnly(t)
	b.managers = []manager{pm{label: gopmName, program: "/bin/false", homeVariable: "GOPM_HOME"}}
	if l := b.begin(context.Background(), b.managers[0], 1); l != nil {
		t.Error("it counts as started")
	}
	if b.report.code(false) != 1 {
		t.Error("it is no failure")
	}
}

func TestListingThatShowsTooFew(t *testing.T) {
	t.Parallel()
	b := floorOnly(t)
	m := pm{label: gopmName, program: "/bin/echo", homeVariable: "GOPM_HOME"}
	l, err := b.prepare(m, idle(2))
	if err != nil {
		t.Fatal(err)
	}
	if b.complete(l) || b.report.code(false) != 1 {
		t.Error("it counts as complete")
	}
}

func TestEcosystemFile(t *testing.T) {
	t.Parallel()
	b := &bench{root: t.TempDir(), child: "/bin/true"}
	for _, m := range []manager{gopmManager("gopm"), pm2Manager("pm2")} {
		l, err := b.prepare(m, writers(2, 5, "log"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(l.dir, "ecosystem.json"))
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Apps []map[string]any }
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		_, rotated := got.Apps[0]["max_size"]
		if len(got.Apps) != 2 || got.Apps[0]["out_file"] != l.apps[0].log || rotated != (m.name() == gopmName) {
			t.Errorf("%s: %s", m.name(), data)
		}
		if !slices.Contains(l.env, "BENCH_ID="+l.id) || !slices.Contains(l.env, "HOME="+l.dir) {
			t.Errorf("environment %v", l.env)
		}
	}
}

func TestCleanEnvironment(t *testing.T) {
	t.Parallel()
	got := cleanEnvironment([]string{"PATH=/bin", "HOME=/root", "GOPM_HOME=/x", "PM2_HOME=/y", "PM2X=1"})
	if !slices.Equal(got, []string{"PATH=/bin", "PM2X=1"}) {
		t.Errorf("%v", got)
	}
}

func TestOrderOfLogFiles(t *testing.T) {
	t.Parallel()
	got := order([]string{"/l/log0.log", "/l/log0-2026-01-02T00-00-00.002.log", "/l/log0-2026-01-02T00-00-00.001.log"}, "/l/log0.log")
	want := []string{"/l/log0-2026-01-02T00-00-00.001.log", "/l/log0-2026-01-02T00-00-00.002.log", "/l/log0.log"}
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestTurn(t *testing.T) {
	t.Parallel()
	a, z := floorManager{child: "a"}, floorManager{child: "z"}
	b := &bench{managers: []manager{a, z}}
	if got := b.turn(3); got[0] != manager(z) || got[1] != manager(a) {
		t.Errorf("%v", got)
	}
	if b.managers[0] != manager(a) {
		t.Error("the order itself has changed")
	}
}

// TestVolleyMissesASuccessor: a manager that starts one app too few again is found out.
func TestVolleyMissesASuccessor(t *testing.T) {
	t.Parallel()
	b := floorOnly(t)
	l := b.begin(context.Background(), b.managers[0], 3)
	if l == nil {
		t.Fatalf("%v", b.report.failures)
	}
	defer b.end(l)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if took, wrong := l.killAll(ctx, 6); wrong != "" || took <= 0 {
		t.Errorf("%v ms, %q", took, wrong)
	}
	l.own[0].Process.Kill() // nobody starts them any more
	if _, wrong := l.killAll(ctx, 9); wrong != "0 of 3 apps run" {
		t.Errorf("without a supervisor: %q", wrong)
	}
}
