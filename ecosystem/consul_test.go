package ecosystem

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// everyConsul is an app that says something about all of Fleet.
const everyConsul = `"name": "web", "standby": {"promote": {"exec": "true"}}, "consul": {
	"agent": {"address": "https://consul:8501", "token": "t0ken", "datacenter": "dc1", "namespace": "ns", "partition": "p", "ca_file": "ca", "ca_path": "cas", "cert_file": "cert", "key_file": "key", "server_name": "sn", "insecure": true},
	"service": "shop", "tags": ["a", "b"], "meta": {"m": "1"}, "address": "10.0.0.1", "port": 80, "weights": {"passing": 2, "warning": 0}, "deregister_after": "2m", "deregister_delay": "1s",
	"checks": [{"http": "http://x/{port}", "headers": {"a": "b"}, "method": "PUT", "body": "c", "interval": "9s", "timeout": "8s", "name": "n", "tls_skip_verify": true}, {"grpc": "x:1", "grpc_use_tls": true}],
	"env": "apps/web", "files": {"f": {"key": "k", "mode": "0640", "owner": "0", "group": "0"}}, "on_change": "nothing", "debounce": 0, "allow": ["PATH"], "fleet": true},
	"singleton": {"lock": "locks/x", "mode": "role", "on_lost": "keep", "ttl": "11s", "signal": "SIGHUP"}`

// TestFleetTravels: what the daemon gets is what the file says, and nothing of it is
// taken for missing there.
func TestFleetTravels(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, fields := range []string{everyConsul, `"consul": true`, `"consul": false`, `"singleton": "locks/x"`} {
		app := p.app(fields, "")
		b, err := json.Marshal(app)
		must(t, err)
		var back App
		must(t, json.Unmarshal(b, &back))
		if back.Complete(); !reflect.DeepEqual(app.Fleet, back.Fleet) {
			t.Errorf("%+v\nbecame\n%+v", app.Fleet, back.Fleet)
		}
		if changes := Diff(app, back); changes != nil {
			t.Errorf("changes %v", changes)
		}
	}
	// An app of an earlier release says nothing of it, and hasn't changed.
	b, err := json.Marshal(p.app(`"name": "web"`, ""))
	must(t, err)
	if strings.Contains(string(b), "consul") || strings.Contains(string(b), "singleton") {
		t.Errorf("%s", b)
	}
	// What a program says by the daemon's API needn't be complete.
	asked := App{Name: "my app", Fleet: Fleet{Consul: Consul{On: true}, Singleton: Singleton{Lock: "locks/x"}}}
	asked.Complete()
	want := usualConsul()
	want.Service.Name = "my-app"
	if !reflect.DeepEqual(asked.Consul, want) || asked.Singleton != (Singleton{"locks/x", SingletonCold, OnLostStop, 10 * time.Second, ""}) {
		t.Errorf("%+v", asked.Fleet)
	}
}

// TestFleetDiff: a change of any part is seen, under the part's name, and takes no more
// than it needs; what may hold a password is not shown.
func TestFleetDiff(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	old := p.app(everyConsul, "")
	for change, field := range map[string]string{
		`"https://consul:8501">"https://consul:8502"`: "consul.agent", `t0ken>secret`: "consul.agent.token", `"dc1">"dc2"`: "consul.agent", `"ns">"n"`: "consul.agent",
		`"partition": "p">"partition": "q"`: "consul.agent", `"ca">"cb"`: "consul.agent", `"cas">"cbs"`: "consul.agent", `"cert">"c"`: "consul.agent", `"key_file": "key">"key_file": "k"`: "consul.agent",
		`"sn">"s"`: "consul.agent", `"insecure": true>"insecure": false`: "consul.agent",
		`"shop">"store"`: "consul.service", `"shop">false`: "consul.service", `["a", "b"]>["b", "a"]`: "consul.tags", `"m": "1">"m": "2"`: "consul.meta", `10.0.0.1>10.0.0.2`: "consul.address",
		`"port": 80>"port": 81`: "consul.port", `"passing": 2>"passing": 3`: "consul.weights", `"warning": 0>"warning": 1`: "consul.weights", `"2m">"3m"`: "consul.deregister_after",
		`"deregister_delay": "1s">"deregister_delay": "2s"`: "consul.deregister_delay",
		`http://x>https://x`: "consul.checks", `"a": "b">"a": "secret"`: "consul.checks", `"PUT">"GET"`: "consul.checks", `"body": "c">"body": "d"`: "consul.checks", `"9s">"8s"`: "consul.checks",
		`"timeout": "8s">"timeout": "7s"`: "consul.checks", `"n">"o"`: "consul.checks", `"tls_skip_verify": true>"tls_skip_verify": false`: "consul.checks", `"x:1">"x:2"`: "consul.checks",
		`"grpc_use_tls": true>"grpc_use_tls": false`: "consul.checks",
		`apps/web>apps/w`: "consul.env", `"f": {>"g": {`: "consul.files", `"key": "k">"key": "l"`: "consul.files", `0640>0600`: "consul.files", `"owner": "0">"owner": "1"`: "consul.files", `"group": "0">"group": "1"`: "consul.files",
		`"nothing">"SIGHUP"`: "consul.on_change", `"debounce": 0>"debounce": 1`: "consul.debounce", `["PATH"]>["HOME"]`: "consul.allow", `"fleet": true>"fleet": false`: "consul.fleet",
		`locks/x>locks/y`: "singleton", `"role">"cold"`: "singleton", `"keep">"stop"`: "singleton", `"11s">"12s"`: "singleton", `SIGHUP>SIGUSR1`: "singleton",
	} {
		before, after, _ := strings.Cut(change, ">")
		if !strings.Contains(everyConsul, before) {
			t.Fatalf("no %s", before)
		}
		fields := strings.Replace(everyConsul, before, after, 1)
		if after == "false" { // and nothing else about the registration
			start, end := strings.Index(fields, `"tags"`), strings.Index(fields, `"env"`)
			fields = fields[:start] + fields[end:]
		}
		changes := Diff(old, p.app(fields, ""))
		if after == "false" {
			changes = slices.DeleteFunc(changes, func(c Change) bool { return c.Field != field })
		}
		if len(changes) != 1 || changes[0].Field != field {
			t.Errorf("%s: %v, want one of %s", change, changes, field)
		}
		if text := changes[0].Old + changes[0].New; strings.Contains(text, "secret") || strings.Contains(text, "t0ken") {
			t.Errorf("%s: %s is shown", change, text)
		}
		want := EffortApply
		if slices.Contains([]string{"consul.env", "consul.files", "singleton"}, field) {
			want = EffortRestart
		}
		if got := changes.Effort(); got != want {
			t.Errorf("%s: effort %d, want %d", change, got, want)
		}
	}
	if changes := Diff(p.app(`"name": "web"`, ""), p.app(`"name": "web", "consul": true`, "")); changes.Effort() != EffortApply {
		t.Errorf("to be registered takes %v", changes)
	}
}

// TestConsulTop: what the file's top says is the default of all apps, whose own words win
// one by one.
func TestConsulTop(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	read := func(top, own string) Consul {
		t.Helper()
		f, err := p.read("sub/eco.json", `{"consul": `+top+`, "apps": [{"name": "web", "cwd": "..", "script": "app.js"`+own+`}]}`)
		must(t, err)
		apps, _, err := f.Select("", nil)
		must(t, err)
		return apps[0].Consul
	}
	usual := usualConsul()
	usual.Service.Name = "web"
	with := func(change func(*Consul)) Consul {
		c := usual
		change(&c)
		return c
	}
	for _, c := range []struct {
		top, own string
		want     Consul
	}{
		{`true`, ``, usual},
		{`{}`, ``, usual},
		{`false`, ``, Consul{}},
		{`null`, ``, Consul{}},
		{`true`, `, "consul": false`, Consul{}},
		{`false`, `, "consul": true`, usual},
		{`false`, `, "consul": {"port": 1}`, with(func(c *Consul) { c.Service.Port = 1 })},
		{`{"tags": "a", "port": 1}`, `, "consul": true`, with(func(c *Consul) { c.Service.Tags, c.Service.Port = []string{"a"}, 1 })},
		{`{"tags": "a", "port": 1}`, `, "consul": null`, with(func(c *Consul) { c.Service.Tags, c.Service.Port = []string{"a"}, 1 })},
		{`{"tags": "a", "port": 1}`, `, "consul": {"tags": "b"}`, with(func(c *Consul) { c.Service.Tags, c.Service.Port = []string{"b"}, 1 })},
		{`{"service": false}`, `, "consul": {"service": true}`, usual},
		{`{"service": "shop"}`, ``, with(func(c *Consul) { c.Service.Name = "shop" })},
		{`{"service": "shop"}`, `, "consul": {"service": true}`, usual},
		{`{"agent": {"ca_file": "ca", "token": "x"}}`, ``, with(func(c *Consul) { c.Agent = ConsulAgent{CAFile: p.dir + "/sub/ca", Token: "x"} })},
		{`{"agent": {"token": "x"}}`, `, "consul": {"agent": {"ca_file": "ca"}}`, with(func(c *Consul) { c.Agent = ConsulAgent{CAFile: p.dir + "/ca"} })},
		{`{"files": {"a": "b"}}`, ``, with(func(c *Consul) { c.Config.Files = []ConsulFile{{Path: p.dir + "/a", Key: "b"}} })},
		{`{"agent": {"token": "x"}}`, `, "consul": false, "singleton": "locks/x"`, Consul{Agent: ConsulAgent{Token: "x"}}},
	} {
		if got := read(c.top, c.own); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s with%s:\n%+v, want\n%+v", c.top, c.own, got, c.want)
		}
	}
	// One mistake at the top is one, however many apps there are.
	_, err := p.read("eco.json", `{"consul": {"tag": 1}, "apps": [{"script": "app.js"}, {"script": "api.js"}]}`)
	mentions(t, err, `eco.json:1:13: consul.tag: unknown name, did you mean "tags"?`)
	if n := strings.Count(err.Error(), "\n"); n != 0 {
		t.Errorf("%d lines more: %v", n, err)
	}
}

// TestServiceName: a service's name follows its app's, if nobody said another.
func TestServiceName(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for name, want := range map[string]string{"web": "web", "my_app": "my-app", "Shop API (v2)": "Shop-API-v2", "-": "", "日本": "", "a日b": "a-b",
		strings.Repeat("x", 62) + "-y": strings.Repeat("x", 62)} {
		got := serviceName(name)
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if got != "" {
			must(t, checkServiceName(got))
		}
	}
	f, err := p.read("eco.json", `{"apps": [{"script": "app.js", "consul": true, "append_env_to_name": true, "env_qa": {}}]}`)
	must(t, err)
	apps, _, err := f.Select("qa", nil)
	must(t, err)
	if got := apps[0].Consul.Service.Name; got != "app-qa" {
		t.Errorf("service %q", got)
	}
	for fields, want := range map[string]string{`"name": "web", "consul": true`: "api", `"name": "web", "consul": {"service": "shop"}`: "shop"} {
		a, _, err := Override(p.app(fields, ""), map[string]string{"name": "api"}, p.options())
		must(t, err)
		if a.Consul.Service.Name != want {
			t.Errorf("%s: service %q, want %q", fields, a.Consul.Service.Name, want)
		}
	}
	every := p.app(everyConsul, "")
	if a, _, err := Override(every, map[string]string{"max_restarts": "3"}, p.options()); err != nil || !reflect.DeepEqual(a.Fleet, every.Fleet) {
		t.Errorf("%v, %+v", err, a.Fleet)
	}
}
