package ecosystem

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// everyField is an app that says something about all of cluster mode.
const everyField = `"name": "web", "instances": 2, "spares": 1, "port": 80, "port_step": 2, "increment_var": "N", "cluster_ports": [81, 3000], "share": true,
	"balance": "source", "backlog": 7, "hold_timeout": 0, "hang_timeout": "1s", "listen": [":443", "unix:x", {"address": "tcp://[::1]:3000", "name": "a"}],
	"reload": {"surge": 0, "unavailable": 1, "canary": "1s"}, "listen_timeout": "1s", "drain": {"mode": "off", "timeout": 0, "idle": 0},
	"standby": {"promote": {"http": {"url": "http://x/{port}", "headers": {"a": "b"}}}}`

// TestComplete: an app that was written before there was cluster mode doesn't differ
// from its file, and what was said is never overruled.
func TestComplete(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	app := p.app(`"name": "web", "env": {"A": 1}, "exec_mode": "cluster", "port": 3000`, "")
	b, err := json.Marshal(app)
	must(t, err)
	var fields map[string]any
	must(t, json.Unmarshal(b, &fields))
	for _, name := range []string{"cluster", "reload", "drain", "standby", "ready"} {
		if _, there := fields[name]; !there {
			t.Fatalf("an app has no %s", name)
		}
		delete(fields, name)
	}
	b, err = json.Marshal(fields)
	must(t, err)
	var old App
	must(t, json.Unmarshal(b, &old))
	if changes := Diff(old, app); changes != nil {
		t.Errorf("changes = %v", changes)
	}
	if old.Complete(); !reflect.DeepEqual(old, app) {
		t.Errorf("%+v\nwant\n%+v", old, app)
	}

	every := p.app(everyField, "")
	b, err = json.Marshal(every)
	must(t, err)
	var back App
	must(t, json.Unmarshal(b, &back))
	if back.Complete(); !reflect.DeepEqual(every, back) {
		t.Errorf("%+v\nbecame\n%+v", every, back)
	}
}

// TestEffort: a change takes no more than it needs, several the most of all.
func TestEffort(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	const base = `"name": "web", "instances": 2`
	old := p.app(base, "")
	for fields, want := range map[string]Effort{
		base: EffortNone,
		base + `, "drain": "off", "reload": {"surge": 2}, "hold_timeout": 1, "hang_timeout": "1s", "balance": "random", "listen_timeout": "1s", "standby": {"demote": {"exec": "x"}}`: EffortApply,
		base + `, "spares": 1`:                      EffortScale,
		`"name": "web", "instances": 3`:             EffortScale,
		base + `, "spares": 1, "drain": "off"`:      EffortScale,
		base + `, "spares": 1, "args": "x"`:         EffortRestart,
		base + `, "env": {"drain": "x"}`:            EffortRestart,
		base + `, "backlog": 5`:                     EffortRestart,
		base + `, "share": true`:                    EffortRestart,
		base + `, "cluster_ports": 80`:              EffortRestart,
		base + `, "listen": ":80"`:                  EffortRestart,
		base + `, "increment_var": "N"`:             EffortRestart,
		`"name": "web", "instances": 1`:             EffortRestart, // fork mode from then on
		base + `, "exec_mode": "fork"`:              EffortRestart,
		base + `, "kill_timeout": 1, "drain":"off"`: EffortRestart,
	} {
		changes := Diff(old, p.app(fields, ""))
		if got := changes.Effort(); got != want {
			t.Errorf("%s: effort %d of %v, want %d", fields, got, changes, want)
		}
	}
}

// TestDiffOfParts: a change of any part of a field is seen, under the field's name;
// what may hold a password is not shown.
func TestDiffOfParts(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	old := p.app(everyField, "")
	for part, field := range map[string]string{
		`"surge": 0>"surge": 1`: "reload", `"unavailable": 1>"unavailable": 2`: "reload", `"canary": "1s">"canary": true`: "reload",
		`"listen_timeout": "1s">"listen_timeout": "2s"`: "listen_timeout",
		`"mode": "off">"mode": "signal"`:                "drain", `"timeout": 0>"timeout": 1`: "drain", `"idle": 0>"idle": 1`: "drain",
		`":443">":444"`: "listen", `"a"}]>"b"}]`: "listen", `":443", "unix:x">"unix:x", ":443"`: "listen",
		`"a": "b">"a": "secret"`: "standby", `http://x>https://x`: "standby", `"promote">"demote"`: "standby",
	} {
		before, after, _ := strings.Cut(part, ">")
		if !strings.Contains(everyField, before) {
			t.Fatalf("no %s", before)
		}
		changes := Diff(old, p.app(strings.Replace(everyField, before, after, 1), ""))
		if len(changes) != 1 || changes[0].Field != field || strings.Contains(changes[0].New, "secret") {
			t.Errorf("%s: %v, want one of %s", part, changes, field)
		}
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, c := range []struct {
		fields string
		third  int // port of instance 2
		named  []int
	}{
		{`"port": 3000`, 3000, []int{3000}},
		{`"env": {"PORT": "http"}`, 0, nil},
		{`"args": "x"`, 0, nil},
		{`"port": 0`, 0, nil},
		{`"instances": 2, "port": 3000, "port_step": 10`, 3020, []int{3000, 3010}},
		{`"instances": 2, "env": {"PORT": 80}, "increment_var": "PORT", "spares": 1`, 82, []int{80, 81, 82}},
		{`"port": 65534, "port_step": 1`, 0, []int{65534}},
		{everyField, 84, []int{80, 81, 82, 84, 443, 3000}},
	} {
		a := p.app(c.fields, "")
		if port, named := a.Port(2), a.NamedPorts(); port != c.third || !slices.Equal(named, c.named) {
			t.Errorf("%s: port %d, named %v; want %+v", c.fields, port, named, c)
		}
	}
}

// TestOverrideCluster: options of an app that exists are checked as those of a file,
// and leave the rest as it is.
func TestOverrideCluster(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	base := p.app(everyField, "")
	a, problems, err := Override(base, map[string]string{"listen_timeout": "20s"}, p.options())
	must(t, err)
	want := p.app(everyField, "")
	want.Reload.Ready = 20 * time.Second
	if !reflect.DeepEqual(a, want) || len(problems) != 0 {
		t.Errorf("%+v, %v\nwant\n%+v", a, problems, want)
	}
	for _, c := range []struct{ field, value, want string }{
		{"listen_timeout", "1", "--listen-timeout: want at least 100ms, got 1ms"},
		{"spares", "4095", "--spares: want 0 to 4094, got 4095"},
		{"port", "65534", "port_step: instance 1 would get port 65536"},
		{"port", "0", "port_step: it needs the port of the first instance"},
		{"drain", "inside", `drain: want "outside"`},
		{"reload", "fast", `reload: want an object`},
	} {
		_, _, err := Override(base, map[string]string{c.field: c.value}, p.options())
		mentions(t, err, c.want)
	}
	fork := p.app(`"name": "web"`, "")
	_, problems, err = Override(fork, map[string]string{"spares": "1"}, p.options())
	if err != nil || len(problems) != 1 || !strings.Contains(problems[0].String(), "--spares: no effect in fork mode") {
		t.Errorf("%v, %v", problems, err)
	}
	if a, _, err := Override(fork, map[string]string{"drain": "true"}, p.options()); err != nil || a.Drain != defaults().Drain {
		t.Errorf("%+v, %v", a.Drain, err)
	}
}
