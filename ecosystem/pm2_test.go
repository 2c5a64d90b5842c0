package ecosystem

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// importWorld is a shell in which API_TOKEN is known and COMMON is not.
func importWorld() Options {
	return Options{Dir: "/srv/shop", CPUs: 4, Environ: []string{"HOME=/home/ann", "API_TOKEN=t0ken"}}
}

// TestImportPM2 imports what pm2 7.0.4 printed and saved (testdata/pm2, from fork,
// cluster, python, a command line, cron, watch, and options of the command line).
func TestImportPM2(t *testing.T) {
	t.Parallel()
	modules, err := os.ReadFile("testdata/pm2/modules.json")
	must(t, err)
	for _, name := range []string{"jlist", "dump"} {
		list, err := os.ReadFile("testdata/pm2/" + name + ".json")
		must(t, err)
		made, err := ImportPM2(list, modules, importWorld())
		must(t, err)
		got := string(made.Text)
		for _, note := range made.Notes {
			got += "// note: " + note + "\n"
			for _, secret := range []string{"s3cr3t", "t0ken", "mine"} {
				if strings.Contains(note, secret) {
					t.Errorf("%s: a note tells a value: %s", name, note)
				}
			}
		}
		path := "testdata/pm2/" + name + ".want.json"
		want, _ := os.ReadFile(path)
		if got != string(want) {
			if *update {
				must(t, os.WriteFile(path, []byte(got), 0o644))
				continue
			}
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		// What was made is read without errors about its form.
		r := &reader{name: "e.json", dir: "/srv/shop", world: newWorld(importWorld())}
		if _, err := r.file(r.json(made.Text), "e.json"); err != nil {
			for _, p := range err.(Problems) {
				if p.Severity == SeverityError && !strings.Contains(p.Text, "no such") {
					t.Errorf("%s: %v", name, p)
				}
			}
		}
	}
}

func TestImportPM2Form(t *testing.T) {
	t.Parallel()
	app := func(fields string) string {
		return `{"name": "a", "pm_exec_path": "/srv/shop/a.js", "pm_cwd": "/srv/shop", "exec_interpreter": "node", "exec_mode": "fork_mode"` + fields + `}`
	}
	tests := []struct{ name, list, has, lacks, note string }{
		{"noise before the list", "\x1b[32m[PM2] \x1b[39mIn-memory PM2 is out-of-date\n\n[" + app("") + "]", `"script": "a.js"`, "interpreter", ""},
		{"another interpreter", "[" + app(`, "exec_interpreter": "bun"`) + "]", `"interpreter": "bun"`, "", ""},
		{"two programs of one name", "[" + app("") + "," + app(`, "args": ["x"]`) + "]", `"name": "a-2"`, "instances", "a second app"},
		{"instances", "[" + app("") + "," + app("") + "]", `"instances": 2`, "", ""},
		{"one in cluster mode", "[" + app(`, "exec_mode": "cluster_mode"`) + "]", `"exec_mode": "cluster"`, "instances", ""},
		{"several in fork mode", "[" + app("") + "," + app("") + "]", `"exec_mode": "fork"`, "", ""},
		{"a name that is a number", "[" + app(`, "name": "7"`) + "]", `"name": "app-7"`, "", "a number means an id"},
		{"a module", "[" + app("") + "," + app(`, "name": "pm2-logrotate", "pmx_module": true`) + "]", "", "logrotate", "gopm rotates logs itself"},
		{"another folder", "[" + app(`, "pm_cwd": "/srv/other"`) + "]", `"cwd": "/srv/other"`, "", ""},
		{"other logs", "[" + app(`, "pm_id": 3, "pm_out_log_path": "/var/log/a-3.log", "pm_err_log_path": "/home/ann/.pm2/logs/a-error-3.log", "env": {"HOME": "/home/ann"}`) + "]",
			`"out_file": "/var/log/a.log"`, "error_file", ""},
		{"services of pm2", "[" + app(`, "vizion": false, "pmx": true, "trace": true`) + "]", "", "vizion", "vizion, trace"},
		{"a list as a variable", "[" + app(`, "env": {"A": [1], "a": "x"}`) + "," + app(`, "name": "b", "env": {"A": [1]}`) + "]", `"A": [1]`, "", ""},
		{"a terminal's codes", "[" + app(`, "env": {"A\u001b[2J": "1"}`) + "]", `"A\u001b[2J"`, "", "A?[2J"},
		{"of files", "[" + app(`, "watch": ["src"], "ignore_watch": ["*.tmp"], "watch_delay": 500, "cron_restart": "0 3 * * *", "wait_ready": true, "listen_timeout": 8000`) + "]",
			`"cron_restart": "0 3 * * *",
      "wait_ready": true,
      "listen_timeout": 8000,
      "watch": ["src"],
      "ignore_watch": ["*.tmp"],
      "watch_delay": 500`, "", ""},
		{"a pattern to watch", "[" + app(`, "watch": ["src/*.js"]`) + "]", `"a.js"`, "watch", "a: watch not carried over: [0]: a pattern can't be watched"},
		{"a regular expression", "[" + app(`, "watch": true, "watch_options": {"ignored": {}}`) + "]", `"watch": true`, "options", "a: watch_options not carried over: ignored: want a text or a list of texts"},
		{"a wrong schedule", "[" + app(`, "cron_restart": "99 * * * *"`) + "]", "", "cron", "a: cron_restart not carried over: want a schedule"},
		{"null", "[" + app(`, "env": null, "args": null, "watch": null, "max_restarts": null`) + "]", "", "null", ""},
	}
	for _, test := range tests {
		made, err := ImportPM2([]byte(test.list), nil, importWorld())
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		text, notes := string(made.Text), strings.Join(made.Notes, "\n")
		if !strings.Contains(text, test.has) || test.lacks != "" && strings.Contains(text, test.lacks) || !strings.Contains(notes, test.note) {
			t.Errorf("%s: want %q, not %q, note %q; got\n%s%s", test.name, test.has, test.lacks, test.note, text, notes)
		}
	}
	for list, want := range map[string]string{
		"":                       "not pm2's list",
		"{}":                     "not pm2's list",
		"[1]":                    "not pm2's list",
		"[]":                     "no apps",
		`[{"name": "a"}]`:        "entry 0",
		`[{"pm2_env": {}}]`:      "entry 0",
		strings.Repeat("[", 999): "nested",
	} {
		_, err := ImportPM2([]byte(list), nil, importWorld())
		mentions(t, err, want)
	}
}

func TestImportRotation(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		`{"max_size": "50M", "retain": "all", "compress": true}`: "[{max_size 50M} {retain 0} {compress true}] []",
		`{"max_size": "10M", "retain": 10, "compress": "false"}`: "[] []",
		`{"max_size": "much"}`:                                   `[] [pm2-logrotate: max_size not carried over: want bytes or a text like "200K", "300M", "1G", got "much"]`,
		`{"rotateInterval": "0 0 * * *"}`:                        "[{rotate_interval 0 0 * * *}] []",
		`{"TZ": "UTC", "rotateModule": "true"}`:                  "[] []",
		`{"TZ": "UTC", "rotateInterval": "0"}`:                   "[] []",
		`{"rotateInterval": "0 0 * * *", "TZ": "Europe/Berlin"}`: "[{rotate_interval CRON_TZ=Europe/Berlin 0 0 * * *}] []",
		`{"dateFormat": "YYYY"}`:                                 "[] [pm2-logrotate: dateFormat not carried over: the names of rotated files are fixed]",
	} {
		im := importer{}
		if got := fmt.Sprint(im.rotation([]byte(`{"pm2-logrotate": `+settings+`}`)), im.notes); got != want {
			t.Errorf("%s: %s, want %s", settings, got, want)
		}
	}
}

// FuzzImportPM2: whatever pm2 says, an import ends with an error or with a file
// whose form is right.
func FuzzImportPM2(f *testing.F) {
	f.Add([]byte(`[PM2] x
[{"pm2_env": {"name": "web", "pm_exec_path": "/a/web.js", "pm_cwd": "/a", "exec_interpreter": "node", "exec_mode": "cluster_mode", "watch": ["src"],
"pm_out_log_path": "/l/o-0.log", "pm_id": 0, "env": {"A": "1", "PORT": 3, "web": {}}, "env_production": {"B": null}}}]`), []byte(`{"pm2-logrotate": {"retain": "5"}}`))
	f.Add([]byte(`[{"name":"a","pm_exec_path":"/a","pm_cwd":"/","args":["-c",{}],"env":{"A":[{}],"":1},"env_x":{"=":1}}]`), []byte(`{`))
	f.Fuzz(func(t *testing.T, list, modules []byte) {
		made, err := ImportPM2(list, modules, importWorld())
		if err != nil {
			return
		}
		if notes := strings.Join(made.Notes, ""); !isPrintable(notes) {
			t.Errorf("notes %q", notes)
		}
		r := &reader{name: "e.json", dir: "/nowhere", world: newWorld(Options{Dir: "/", CPUs: 2})}
		if root := r.json(made.Text); root == nil {
			t.Fatalf("%v\n%s", r.problems, made.Text)
		}
	})
}
