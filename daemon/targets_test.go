package daemon

import (
	"path/filepath"
	"strings"
	"testing"

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
		out, err := targets(tt.app, &instance{index: tt.index}, account{}, logPlace{dir: "/l"})
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
	if _, got := targets(app, &instance{index: 1, id: 7}, account{}, logPlace{dir: "/l"}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	app.Logs.Type, app.Logs.Merge, app.Logs.Combined = "json", true, "/x/all.log"
	want.Path, want.Also = "/l/app-error.log", "/x/all.log"
	want.Format = logs.Format{Layout: "HH:mm", JSON: true, App: "app", ID: 7, Err: true}
	if _, got := targets(app, &instance{index: 1, id: 7}, account{}, logPlace{dir: "/l"}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
