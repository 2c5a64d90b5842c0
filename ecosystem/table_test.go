package ecosystem

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sample is a valid value of each kind, as JSON, and the same as a text.
func sample(f *field) (value, text string) {
	switch f.name {
	case "script":
		return `"api.js"`, "api.js"
	case "interpreter":
		return `"python3"`, "python3"
	case "uid", "gid":
		return `0`, "0"
	case "cwd":
		return `"sub/.."`, "sub/.."
	case "env_file":
		return `"vars"`, "vars"
	case "increment_var":
		return `"METRICS"`, "METRICS"
	case "port_step":
		return `0`, "0"
	case "watch_options":
		return `{"usePolling": true}`, ""
	}
	switch f.kind {
	case boolValue:
		return `true`, "true"
	case countValue, instancesValue:
		return `3`, "3"
	case durationValue:
		return `1500`, "1.5s"
	case sizeValue, shareValue:
		return `2097152`, "2M"
	case codesValue:
		return `[0, 2]`, "0,2"
	case modeValue:
		return `"fork"`, "fork_mode"
	case signalValue:
		return `"SIGQUIT"`, "quit"
	case umaskValue:
		return `"022"`, "0022"
	case portValue:
		return `80`, "80"
	case wordsValue:
		return `["a", "b c"]`, "a 'b c'"
	case textsValue, filterValue:
		return `["x"]`, "x"
	case inheritValue:
		return `false`, "false"
	case varsValue:
		return `{"A": "1"}`, ""
	case logTypeValue:
		return `"json"`, "json"
	case scheduleValue:
		return `"@daily"`, "@daily"
	case portsValue:
		return `[3001, 3000]`, "3000, 3001"
	case balanceValue:
		return `"source"`, "source"
	case listenValue:
		return `[{"address": 3000}]`, ":3000"
	case reloadValue:
		return `{"surge": 2}`, ""
	case drainValue:
		return `{"mode": "signal"}`, "signal"
	case standbyValue:
		return `{"promote": {"exec": "true"}}`, ""
	case readyValue:
		return `"message"`, "message"
	case healthValue:
		return `{"tcp": 3000}`, "3000"
	case dependsValue:
		return `["db"]`, "db"
	case onExitValue:
		return `"stop"`, "stop"
	case commandValue:
		return `{"exec": "true"}`, "true"
	case jobValue:
		return `{"at": "@daily"}`, "@daily"
	case watchValue:
		return `["app.js"]`, "app.js"
	case consulValue:
		return `true`, "true"
	case singletonValue:
		return `{"lock": "locks/cron"}`, "locks/cron"
	case rlimitsValue:
		return `{"core": 0}`, ""
	case niceValue:
		return `5`, "5"
	case limitsValue:
		return `{"pids": 100}`, ""
	}
	return `"x"`, "x"
}

// TestTable walks every row: each name of a field reaches the same place, its
// values can be texts too, and its documentation is complete.
func TestTable(t *testing.T) {
	t.Parallel()
	owner := map[string]string{}
	for i := range table {
		f := &table[i]
		for _, name := range f.names() {
			if other, taken := owner[name]; taken {
				t.Errorf("%s is a name of %s and of %s", name, other, f.name)
			}
			owner[name] = f.name
		}
		if f.doc == "" || strings.HasSuffix(f.doc, ".") || strings.Contains(f.doc, "\n") {
			t.Errorf("%s: doc %q, want one line without a full stop", f.name, f.doc)
		}
		if now := f.raw != nil || f.at != nil; now != (f.stage == stageNow) || now == (f.kind == anyValue) {
			t.Errorf("%s: a field of this version, and only that, has a place and a kind", f.name)
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.file("vars", "FILE=1\n")
			value, text := sample(f)
			want := p.field(f.name, value)
			if f.stage == stageNow && reflect.DeepEqual(want, p.field("x-nothing", "1")) {
				switch f.name {
				case "cwd", "exec_mode", "append_env_to_name", "autostart", "autorestart", "treekill", "port_step":
					// the sample is the default, or does nothing by itself
				default:
					t.Errorf("%s: %s changes nothing", f.name, value)
				}
			}
			for _, name := range f.names() {
				if got := p.field(name, value); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %s gives\n%+v, want\n%+v", name, value, got, want)
				}
			}
			if text != "" {
				if got := p.field(f.name, jsonString(text)); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %q gives\n%+v, want\n%+v", f.name, text, got, want)
				}
			}
		})
	}
}

// field is the app that has one field, with its folders hidden, and the texts of
// the problems.
func (p *project) field(name, value string) []string {
	p.t.Helper()
	fields := `"script": "app.js", "` + name + `": ` + value
	if f := byName()[name]; f != nil && f.name == "script" {
		fields = `"` + name + `": ` + value
	}
	f, err := p.read("e.json", "[{"+fields+"}]")
	if err != nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	apps, _, err := f.Select("", nil)
	must(p.t, err)
	b, err := json.Marshal(apps[0])
	must(p.t, err)
	out := []string{p.hide(string(b))}
	for _, x := range f.Problems {
		_, text, _ := strings.Cut(x.Text, ": ")
		out = append(out, text)
	}
	return out
}

// TestTypes: no field of this version takes a value of a wrong type in silence.
func TestTypes(t *testing.T) {
	t.Parallel()
	for i := range table {
		f := &table[i]
		if f.stage != stageNow {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			for _, wrong := range []string{`{"a": {"b": 1}}`, `[{}]`, `[[1]]`} {
				if (f.kind == varsValue || f.kind == watchOptionsValue) && wrong[0] == '{' {
					continue // other names are taken
				}
				fields := `"script": "app.js", `
				if f.name == "script" {
					fields = ""
				}
				_, err := p.read("e.json", `[{`+fields+`"`+f.name+`": `+wrong+`}]`)
				mentions(t, err, "e.json:1:", "[0]."+f.name+wrongPart(f.kind, wrong)+": ")
			}
			if _, err := p.read("e.json", `[{"script": "app.js", "`+f.name+`": null}]`); f.name != "script" {
				must(t, err)
			}
		})
	}
}

// wrongPart is the part of a value of TestTypes that is complained about.
func wrongPart(k valueKind, wrong string) string {
	isGroup := slices.Contains([]valueKind{listenValue, reloadValue, drainValue, standbyValue, readyValue, healthValue, dependsValue, commandValue, jobValue, watchValue, consulValue, singletonValue, rlimitsValue, limitsValue}, k)
	switch {
	case isGroup && wrong[0] == '{':
		return ".a"
	case slices.Contains([]valueKind{listenValue, portsValue, dependsValue, watchValue}, k) && wrong[0] == '[':
		return "[0]"
	}
	return ""
}

func TestFlags(t *testing.T) {
	t.Parallel()
	names, shorts := map[string]bool{}, map[string]bool{}
	p := newProject(t)
	p.file("vars", "FILE=1\n")
	for _, f := range Flags() {
		if names[f.Name] || f.Shorthand != "" && shorts[f.Shorthand] {
			t.Errorf("--%s -%s is there twice", f.Name, f.Shorthand)
		}
		names[f.Name], shorts[f.Shorthand] = true, true
		if byName()[f.Field] == nil || f.Usage == "" || f.Bool != (f.NoValue != "") {
			t.Errorf("%+v", f)
		}
		// What an option sets is taken by FromCommand.
		value := f.NoValue
		if !f.Bool {
			_, value = sample(byName()[f.Field])
		}
		_, problems, err := FromCommand("app.js", nil, map[string]string{f.Field: value}, p.options())
		if err != nil {
			t.Errorf("--%s %s: %v", f.Name, value, err)
		}
		unused := byName()[f.Field].stage != stageNow
		if unused && (len(problems) != 1 || !strings.HasPrefix(problems[0].String(), "--")) {
			t.Errorf("--%s: problems %v, want one about the option", f.Name, problems)
		}
	}
	for _, reserved := range []string{"update-env", "env", "only", "force", "wait", "prune", "no-daemon", "silent", "help", "version"} {
		if names[reserved] {
			t.Errorf("--%s belongs to the commands", reserved)
		}
	}
	for _, want := range strings.Fields("name namespace cwd interpreter interpreter-args node-args instances output error disable-logs " +
		"max-memory-restart restart-delay exp-backoff-restart-delay max-restarts min-uptime kill-timeout kill-signal no-autorestart " +
		"no-autostart stop-exit-codes no-treekill uid gid max-size retain port watch cron time wait-ready listen-timeout merge-logs log log-date-format log-type") {
		if !names[want] {
			t.Errorf("--%s is missing", want)
		}
	}
}
