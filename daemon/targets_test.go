package daemon

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopm/ecosystem"
	"gopm/logs"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	with := func(f func(*ecosystem.Logs), n int) ecosystem.App {
		return spec("app", func(a *ecosystem.App) { a.Scale.Instances = n; f(&a.Logs) })
	}
	tests := []struct {
		name     string
		app      ecosystem.App
		index    int
		out, err string
	}{
		{"default", with(func(*ecosystem.Logs) {}, 1), 0, "/l/app-out.log", "/l/app-error.log"},
		{"several", with(func(*ecosystem.Logs) {}, 2), 1, "/l/app-out-1.log", "/l/app-error-1.log"},
		{"explicit, several", with(func(l *ecosystem.Logs) { l.Out, l.Err = "/x/o.log", "/x/e.log" }, 2), 0, "/x/o-0.log", "/x/e-0.log"},
		{"shared by its name", with(func(l *ecosystem.Logs) { l.Out, l.Err = "/x/o", "/dev/stderr" }, 2), 1, "/x/o", "/dev/stderr"},
		{"merged", with(func(l *ecosystem.Logs) { l.Merge = true }, 2), 1, "/l/app-out.log", "/l/app-error.log"},
		{"nowhere", with(func(l *ecosystem.Logs) { l.Out = "/dev/null" }, 2), 1, "", "/l/app-error-1.log"},
		{"disabled", with(func(l *ecosystem.Logs) { l.Disabled, l.Out = true, "/x" }, 1), 0, "", ""},
	}
	for _, tt := range tests {
		out, err := targets(tt.app, &instance{index: tt.index}, account{}, "/l")
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

func TestTargetsOfLogOptions(t *testing.T) {
	t.Parallel()
	app := spec("app", func(a *ecosystem.App) {
		a.Scale.Instances = 2
		a.Logs = ecosystem.Logs{Combined: ecosystem.DefaultLog, DateFormat: "HH:mm", MaxSize: 5, Retain: 3, Compress: true, Buffered: true}
	})
	want := logs.Target{
		Key: "7/err", Path: "/l/app-error-1.log", Also: "/l/app-1.log", Format: logs.Format{Layout: "HH:mm"},
		Rotation: logs.Rotation{MaxSize: 5, Retain: 3, Compress: true}, Buffered: true, UID: -1, GID: -1,
	}
	if _, got := targets(app, &instance{index: 1, id: 7}, account{}, "/l"); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	app.Logs.Type, app.Logs.Merge, app.Logs.Combined = "json", true, "/x/all.log"
	want.Path, want.Also = "/l/app-error.log", "/x/all.log"
	want.Format = logs.Format{Layout: "HH:mm", JSON: true, App: "app", ID: 7, Err: true}
	if _, got := targets(app, &instance{index: 1, id: 7}, account{}, "/l"); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAgenda(t *testing.T) {
	t.Parallel()
	hourly := &app{spec: spec("h", func(a *ecosystem.App) { a.Logs.RotateInterval = "0 * * * *" })}
	never := &app{spec: spec("n", func(*ecosystem.App) {})}
	apps := []*app{hourly, never}
	at := func(hour, minute, second int) time.Time {
		return time.Date(2026, 1, 1, hour, minute, second, 0, time.UTC)
	}
	g := agenda{}
	steps := []struct {
		now  time.Time
		due  int
		next time.Duration
	}{
		{at(1, 59, 30), 0, 30 * time.Second}, // the first look only plans
		{at(1, 59, 59), 0, time.Second},
		{at(2, 0, 0), 1, janitorNap},
		{at(2, 0, 0), 0, janitorNap},  // once
		{at(9, 30, 0), 1, janitorNap}, // seven were missed: once
		{at(9, 59, 50), 0, 10 * time.Second},
	}
	for _, s := range steps {
		if due, next := g.due(apps, s.now); len(due) != s.due || next != s.next {
			t.Errorf("at %v: %d due, next in %v; want %d, %v", s.now, len(due), next, s.due, s.next)
		}
	}
	hourly.spec.Logs.RotateInterval = "30 * * * *" // another time: planned anew
	if due, _ := g.due(apps, at(10, 0, 0)); len(due) != 0 {
		t.Error("a changed schedule is due at once")
	}
	if due, _ := g.due(apps, at(10, 30, 0)); len(due) != 1 {
		t.Error("a changed schedule is not kept")
	}
	// An app that was deleted and comes again much later is planned anew, too.
	g.due(nil, at(10, 40, 0))
	if due, _ := g.due(apps, at(23, 0, 0)); len(due) != 0 || len(g) != 1 {
		t.Errorf("an app that came again is due at once; %d are planned", len(g))
	}
}
