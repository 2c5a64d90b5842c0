package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gopm/bench/load"
	"gopm/daemon/api"
	"gopm/tools/agent"
)

// Apps that are configured by keys in Consul, against a real agent.

// tellEnv is a web server that answers with the variables of its process that have T_ in
// front. It ends with code 3 if T_BAD is set.
const tellEnv = `
const own = Object.keys(process.env).filter(k => k.startsWith("T_")).sort().map(k => k.slice(2) + "=" + process.env[k]).join(" ")
if (process.env.T_BAD) { console.error("cannot live with T_BAD"); process.exit(3) }
require("http").createServer((_, r) => r.end(own)).listen(process.env.PORT)
`

// configured is a gopm with an agent, and an app web that is told by keys under apps/web.
type configured struct {
	*gopm
	*consulAgent
	port int
}

func newConfigured(t *testing.T, o agent.Options) *configured {
	t.Helper()
	g := newGopm(t)
	c := startConsul(t, o)
	return &configured{g.uses(c), c, freePort(t)}
}

// begin writes the app's file, with more fields for it and for its consul, and starts it.
func (c *configured) begin(fields, consul string) string {
	c.gopm.Helper()
	c.file("web.js", tellEnv)
	if fields != "" {
		fields = ", " + fields
	}
	if !strings.Contains(fields, "min_uptime") {
		fields += `, "min_uptime": "300ms"`
	}
	if consul != "" {
		consul = ", " + consul
	}
	return c.run("start", c.file("eco.json", fmt.Sprintf(
		`{"apps": [{"name": "web", "script": "web.js", "env": {"PORT": "%d", "T_A": "file"}, "consul": {"service": false, "env": "apps/web/env"%s}%s}]}`, c.port, consul, fields)))
}

const twoClustered = `"exec_mode": "cluster", "instances": 2`

// says waits until the app answers that, each time for some times.
func (c *configured) says(want string) {
	c.gopm.Helper()
	const times = 5
	eventually(c.gopm.T, 3*soon, func() error {
		for range times {
			if have, err := getText(fmt.Sprintf("http://127.0.0.1:%d/", c.port)); err != nil || have != want {
				return fmt.Errorf("it says %q (%v), want %q", have, err, want)
			}
		}
		return nil
	})
}

// shown is what gopm config has of the app.
func (c *configured) shown() (one api.Config) {
	c.gopm.Helper()
	var all []api.Config
	must(c.gopm.T, json.Unmarshal([]byte(c.run("config", "web", "--json")), &all))
	if len(all) != 1 {
		c.gopm.Fatalf("%d apps", len(all))
	}
	return all[0]
}

func (c *configured) eventuallyShown(check func(api.Config) error) {
	c.gopm.Helper()
	eventually(c.gopm.T, 3*soon, func() error { return check(c.shown()) })
}

// TestConfigChange: an edit is served by all instances, and no request fails meanwhile.
func TestConfigChange(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("apps/web/env/T_A", "one")
	c.put("apps/web/env/T_TOKEN", "sesame")
	c.put("apps/web/env/LD_PRELOAD", "/tmp/x.so")
	c.begin(twoClustered, "")
	c.says("A=one TOKEN=sesame")
	out := c.run("config", "web")
	contains(t, "config", out, "T_A=one", "from apps/web/env/T_A", "over the file's file", "T_TOKEN=********", "LD_PRELOAD is not used", "consul.allow", "all that runs has them")
	lacks(t, "config", out, "sesame")
	contains(t, "config --show", c.run("config", "web", "--show"), "T_TOKEN=sesame")
	contains(t, "env", c.run("env", "web", "--origin"), "consul     T_A=one", "T_TOKEN=********")
	r := underLoad(t, load.Plan{Target: fmt.Sprintf("127.0.0.1:%d", c.port), Rate: 100}, func() {
		c.put("apps/web/env/T_A", "two")
		c.says("A=two TOKEN=sesame")
	})
	if r.Failed() > 0 {
		t.Error(r.Text())
	}
	c.remove("apps/web/env/T_A")
	c.says("A=file TOKEN=sesame")
	for _, text := range []string{c.log(), c.run("events", "--nostream"), c.run("info", "web", "--json"), c.run("ls", "--json")} {
		lacks(t, "what gopm tells", text, "sesame")
	}
	info, err := os.Stat(filepath.Join(c.home, "consul", "web.json"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("what is kept has mode %v", info.Mode())
	}
	c.run("delete", "web")
	eventually(t, soon, func() error {
		if _, err := os.Stat(filepath.Join(c.home, "consul", "web.json")); err == nil {
			return fmt.Errorf("the values of an app that is gone are still kept")
		}
		return nil
	})
}

// TestConfigRollback: values that an app fails with are taken back, whether it is reloaded
// or restarted, and are not tried again before the keys change.
func TestConfigRollback(t *testing.T) {
	for name, fields := range map[string][2]string{
		"reload":  {twoClustered, ""},
		"restart": {`"instances": 1, "min_uptime": "3s"`, `"on_change": "restart"`}, // it ends before it has lived so long
	} {
		t.Run(name, func(t *testing.T) {
			c := newConfigured(t, agent.Options{})
			c.put("apps/web/env/T_A", "one")
			c.begin(fields[0], fields[1])
			c.says("A=one")
			c.put("apps/web/env/T_BAD", "1")
			c.eventuallyShown(func(s api.Config) error {
				if s.Failed == nil || s.Number == s.Failed.Number || !strings.Contains(s.Failed.Why, "exited with code 3") || len(s.Running) == 0 || s.Running[0].Number != s.Number {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			c.says("A=one")
			contains(t, "config", c.run("config", "web"), "it failed", "exited with code 3")
			contains(t, "info", c.run("info", "web"), "it failed with those of index")
			contains(t, "events", c.run("events", "--nostream"), "with the values of index")
			c.killDaemon() // the next one knows
			c.eventuallyShown(func(s api.Config) error {
				if s.Stale || s.Failed == nil {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			c.says("A=one")
			c.put("apps/web/env/T_A", "two")
			c.remove("apps/web/env/T_BAD")
			c.says("A=two")
			c.eventuallyShown(func(s api.Config) error {
				if s.Failed != nil {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
		})
	}
}

// TestConfigWithoutConsul: who has never had values waits for them; who has had some goes
// on with these, also after a reboot.
func TestConfigWithoutConsul(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("apps/web/env/T_A", "one")
	c.Kill()
	c.begin(`"instances": 1`, "")
	eventually(t, soon, func() error {
		if p := c.waits("web"); !strings.Contains(p, "apps/web/env: consul at") || !strings.Contains(p, "connection refused") {
			return fmt.Errorf("it waits for %q", p)
		}
		return nil
	})
	contains(t, "ls", c.run("ls"), "waits for consul")
	contains(t, "info", c.run("info", "web"), "apps/web/env", "connection refused")
	if pid := c.pids()["web:0"]; pid != 0 {
		t.Errorf("it was started without its values: pid %d", pid)
	}
	must(t, c.BeginEmpty())
	c.put("apps/web/env/T_A", "two")
	c.says("A=two")
	c.Kill()
	c.eventuallyShown(func(s api.Config) error {
		if !s.Stale {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	must(t, syscall.Kill(c.awaitStatus("web", "online").Pid, syscall.SIGKILL))
	c.says("A=two")
	c.killBoth()
	c.run("resurrect")
	c.says("A=two")
	contains(t, "config", c.run("config", "web"), "stale: consul has not answered since gopm began", "T_A=two")
	must(t, c.BeginEmpty())
	c.put("apps/web/env/T_A", "three")
	c.says("A=three")
}

// TestConfigDaemonDies: a daemon that dies between a change and the end of what follows it
// leaves that to the next one.
func TestConfigDaemonDies(t *testing.T) {
	for how, fields := range map[string]string{"reload": twoClustered, "restart": `"instances": 1`} {
		t.Run(how, func(t *testing.T) {
			c := newConfigured(t, agent.Options{})
			c.put("apps/web/env/T_A", "0")
			c.begin(fields+`, "listen_timeout": "20s"`, `"debounce": "200ms", "on_change": "`+how+`"`)
			c.says("A=0")
			for round := 1; round <= 4; round++ { // a fifth death in so short a time, and the keeper gives up
				c.put("apps/web/env/T_A", fmt.Sprint(round))
				if round%2 == 0 { // it is being done
					eventually(t, soon, func() error {
						if n := strings.Count(c.log(), "changed: T_A"); n < round/2 {
							return fmt.Errorf("%d changes were told", n)
						}
						return nil
					})
				}
				c.killDaemon()
				c.says(fmt.Sprintf("A=%d", round))
				c.settled()
			}
		})
	}
}

// waits is what the app's first instance waits for.
func (c *configured) waits(app string) string {
	c.gopm.Helper()
	var all []api.Detail
	must(c.gopm.T, json.Unmarshal([]byte(c.run("info", app, "--json")), &all))
	return all[0].Process.Waits
}

// told waits until the daemon's log has a text.
func (c *configured) told(text string) {
	c.gopm.Helper()
	eventually(c.gopm.T, 2*soon, func() error {
		if !strings.Contains(c.log(), text) {
			return fmt.Errorf("the log doesn't say %q", text)
		}
		return nil
	})
}

// TestConfigBadKeys: what can't be used changes nothing that runs, and is said.
func TestConfigBadKeys(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.begin(`"instances": 1`, "") // there is nothing at all
	c.says("A=file")
	contains(t, "config", c.run("config", "web"), "apps/web/env isn't there in consul at")
	c.put("apps/web/env/T_A", "one")
	c.put("apps/web/env/T_B", "two")
	c.says("A=one B=two")
	pid := c.pids()["web:0"]
	c.put("apps/web/env/T_B", "sesame\xff\xfe")
	c.told("T_B (apps/web/env/T_B) is not used: its value is no text")
	c.put("apps/web/env/T_HUGE", strings.Repeat("sesame", 80<<10))
	c.told("T_HUGE (apps/web/env/T_HUGE) is not used: it has 491520 bytes")
	c.put("apps/web/env/sub/T_C", "sesame")
	c.told("sub/T_C (apps/web/env/sub/T_C) is not used: it can't be the name of a variable")
	for _, key := range []string{"T_A", "T_B", "T_HUGE", "sub/T_C"} {
		c.put("apps/web/env2/"+key, "kept away") // a neighbour
	}
	c.put("apps/web/env", "{sesame")
	c.told("apps/web/env: 1:2: it is no valid JSON; what it was before stays")
	c.put("apps/web/env", "")
	for _, key := range []string{"", "/T_A", "/T_B", "/T_HUGE", "/sub/T_C"} {
		c.remove("apps/web/env" + key)
	}
	c.told("apps/web/env isn't there in consul")
	if now := c.pids()["web:0"]; now != pid {
		t.Errorf("it was restarted: pid %d, %d before", now, pid)
	}
	c.says("A=one B=two")
	lacks(t, "the log", c.log(), "sesame")
	c.put("apps/web/env", `{"T_A": 3, "T_LIST": ["x"]}`)
	c.says(`A=3 LIST=["x"]`)
}

// TestConfigFiles: they are there before the program is, change in one piece, and a signal
// says so.
func TestConfigFiles(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	conf := filepath.Join(c.dir, "app.conf")
	c.put("apps/web/conf", "one\n")
	c.file("web.js", `
const fs = require("fs"), read = () => fs.readFileSync("app.conf", "utf8").trim()
let told = read() + " at start"
process.on("SIGHUP", () => told = read() + " by SIGHUP")
require("http").createServer((_, r) => r.end(told)).listen(process.env.PORT)`)
	c.run("start", c.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "web.js", "env": {"PORT": "%d"},
		"consul": {"service": false, "on_change": "SIGHUP", "files": {"app.conf": {"key": "apps/web/conf", "mode": "0640"}}}}]}`, c.port)))
	c.says("one at start")
	pid := c.pids()["web:0"]
	c.put("apps/web/conf", "two\xff\x00")
	c.says("two\ufffd\x00 by SIGHUP")
	info, err := os.Stat(conf)
	must(t, err)
	if text, _ := os.ReadFile(conf); string(text) != "two\xff\x00" || info.Mode().Perm() != 0o640 {
		t.Errorf("%q, mode %v", text, info.Mode())
	}
	if now := c.pids()["web:0"]; now != pid {
		t.Errorf("it was restarted: pid %d, %d before", now, pid)
	}
	c.remove("apps/web/conf")
	c.told("apps/web/conf isn't there in consul")
	c.run("restart", "web")
	c.says("two\ufffd\x00 at start")
	contains(t, "config", c.run("config", "web"), "app.conf", "5b from apps/web/conf")
	must(t, os.Remove(conf))
	must(t, os.Mkdir(conf, 0o755))
	c.put("apps/web/conf", "three")
	c.told("cannot write " + conf + ": is a directory; it is tried again")
	must(t, os.Remove(conf))
	c.says("three by SIGHUP")
}

// TestConfigNothing: a change without consequences is there at the next start.
func TestConfigNothing(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("apps/web/env/T_A", "one")
	c.begin(`"instances": 1`, `"on_change": "nothing"`)
	c.says("A=one")
	pid := c.pids()["web:0"]
	c.put("apps/web/env/T_A", "two")
	c.eventuallyShown(func(s api.Config) error {
		if s.Vars[0].Value != "two" || s.Running[0].Number == s.Number {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if now := c.pids()["web:0"]; now != pid {
		t.Errorf("it was restarted: pid %d, %d before", now, pid)
	}
	contains(t, "config", c.run("config", "web"), "web:0 (id 0) runs with the values of index")
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	c.says("A=two")
}

// TestConfigIsAdded: an app that runs without Consul is reloaded to a version that asks for
// values, and then to one that asks for others.
func TestConfigIsAdded(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("one/T_A", "one")
	c.put("two/T_A", "two")
	c.file("web.js", tellEnv)
	version := func(consul string) string {
		return c.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "web.js", "exec_mode": "cluster", "instances": 2, "min_uptime": "200ms",
			"env": {"PORT": "%d", "T_A": "file"}%s}]}`, c.port, consul))
	}
	c.run("start", version(""))
	c.says("A=file")
	r := underLoad(t, load.Plan{Target: fmt.Sprintf("127.0.0.1:%d", c.port), Rate: 100}, func() {
		c.run("reload", version(`, "consul": {"service": false, "env": "one"}`))
		c.says("A=one")
		c.run("reload", version(`, "consul": {"service": false, "env": "two"}`))
		c.says("A=two")
		c.put("two/T_A", "three")
		c.says("A=three")
	})
	if r.Failed() > 0 {
		t.Error(r.Text())
	}
	c.killBoth() // it was kept, too
	c.Kill()
	c.run("resurrect")
	c.says("A=three")
}

// TestConfigRetry: values that an app failed with are tried again when somebody asks for
// that.
func TestConfigRetry(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("apps/web/env/T_A", "one")
	c.begin(twoClustered, "")
	c.says("A=one")
	c.put("apps/web/env/T_BAD", "1")
	c.eventuallyShown(func(s api.Config) error {
		if s.Failed == nil {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	c.file("web.js", strings.Replace(tellEnv, "process.exit(3)", "0", 1))
	contains(t, "retry", c.run("config", "web", "--retry"), "given the newest values again")
	c.says("A=one BAD=1")
	contains(t, "retry", c.run("config", "web", "--retry"), "has failed with no values")
}

// TestConfigPoorToken: a token that may not read the keys is named, and when it may they are
// used.
func TestConfigPoorToken(t *testing.T) {
	c := newConfigured(t, agent.Options{ACL: true})
	c.put("apps/web/env/T_A", "one")
	token, err := c.NewToken("poor", `key_prefix "other/" { policy = "read" }`)
	must(t, err)
	poor := *c
	poor.gopm = c.with("CONSUL_HTTP_TOKEN=" + token)
	poor.begin(`"instances": 1`, "")
	poor.told("the token may not do that")
	contains(t, "info", poor.run("info", "web"), "the token may not do that")
	lacks(t, "the log", poor.log(), token)
	c.run("restart", "web", "--update-env")
	c.says("A=one")
}

// TestConfigInTurn: machines that take turns don't change at the same time, and what the
// first one fails with is not tried by the next.
func TestConfigInTurn(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("apps/web/env/T_A", "one")
	var both []*configured
	for i := range 2 {
		g := *c.gopm
		g.home, g.dir = fmt.Sprintf("%s%d", c.home, i), filepath.Join(c.dir, fmt.Sprint(i))
		must(t, os.Mkdir(g.dir, 0o755))
		m := &configured{g.with(fmt.Sprintf("GOPM_NODE=m%d", i)), c.consulAgent, freePort(t)}
		t.Cleanup(m.close)
		m.begin(`"exec_mode": "cluster", "instances": 1`, `"fleet": true`)
		m.says("A=one")
		both = append(both, m)
	}
	c.put("apps/web/env/T_A", "two")
	for _, m := range both {
		m.says("A=two")
	}
	c.put("apps/web/env/T_BAD", "1")
	tried := 0
	for _, m := range both {
		m.eventuallyShown(func(s api.Config) error {
			if s.Failed == nil {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		m.says("A=two")
		tried += strings.Count(m.log(), "changed: T_BAD")
	}
	if tried != 1 {
		t.Errorf("%d machines have tried what the first one failed with", tried)
	}
	c.remove("apps/web/env/T_BAD")
	c.put("apps/web/env/T_A", "three")
	for _, m := range both {
		m.says("A=three")
	}
}
