package cmd_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gopm/bench/load"
	"gopm/daemon/api"
	"gopm/tools/agent"
)

// What goes wrong with Consul is said with what to do, is tried again, and disturbs nobody.

// consulEvents are all that was told of Consul, a line each.
func (g *gopm) consulEvents() string {
	g.Helper()
	var lines []string
	for _, e := range g.events("--kind", api.EventConsul) {
		lines = append(lines, e.App+" "+e.Text)
	}
	return strings.Join(lines, "\n")
}

// undisturbed fails if an app's processes aren't those that they were, or were restarted.
func (g *gopm) undisturbed(before []entry) {
	g.Helper()
	now := g.list()
	if len(now) != len(before) {
		g.Fatalf("%v, before %v", now, before)
	}
	for i, e := range now {
		if b := before[i]; e.Pid != b.Pid || e.Env.Restarts != b.Env.Restarts || e.Env.Status != "online" {
			g.Errorf("%v, before %v", e, b)
		}
	}
}

// TestConsulWrong has one app for each way in which a connection can be wrong, and one that
// is right: each says what is wrong with its own, all run, and no secret is shown.
func TestConsulWrong(t *testing.T) {
	g := newGopm(t).with("GOPM_NODE=h")
	closed, secure := startConsul(t, agent.Options{ACL: true}), startConsul(t, agent.Options{TLS: true, Client: true})
	foreign, err := agent.NewCerts(t.TempDir())
	must(t, err)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	weak, err := closed.NewToken("weak", `key_prefix "" { policy = "write" }`)
	must(t, err)
	missing := filepath.Join(t.TempDir(), "ca.pem")
	wrong := []struct{ name, connection, words string }{
		{"notoken", fmt.Sprintf(`"address": %q`, closed.Address()), "it wants a token"},
		{"badtoken", fmt.Sprintf(`"address": %q, "token": "secret-of-mine"`, closed.Address()), "doesn't know the token"},
		{"weaktoken", fmt.Sprintf(`"address": %q, "token": %q`, closed.Address(), weak), "lacks permission 'service:write'"},
		{"nobody", fmt.Sprintf(`"address": "127.0.0.1:%d"`, freePort(t)), "connection refused: no agent listens there"},
		{"nohost", `"address": "consul.invalid:8500"`, "there is no host consul.invalid"},
		{"stranger", fmt.Sprintf(`"address": %q`, web.URL), "no agent of Consul answers there"},
		{"plain", fmt.Sprintf(`"address": %q`, secure.HostPort()), "it wants HTTPS"},
		{"tls", fmt.Sprintf(`"address": "https://%s"`, closed.HostPort()), "it speaks plain HTTP"},
		{"authority", fmt.Sprintf(`"address": %q, "ca_file": %q`, secure.Address(), foreign.CA), "signed by nobody who is known"},
		{"nocert", fmt.Sprintf(`"address": %q, "ca_file": %q`, secure.Address(), secure.Certs.CA), "doesn't accept our certificate"},
		{"nofile", fmt.Sprintf(`"address": %q, "ca_file": %q`, secure.Address(), missing), "open " + missing},
	}
	g.sleeper("run")
	apps := []string{fmt.Sprintf(`{"name": "right", "script": "./run", "consul": {"agent": {"address": %q, "token": %q}}}`, closed.Address(), closed.Token)}
	for _, w := range wrong {
		apps = append(apps, fmt.Sprintf(`{"name": %q, "script": "./run", "consul": {"agent": {%s}}}`, w.name, w.connection))
	}
	g.file("eco.json", `{"apps": [`+strings.Join(apps, ", ")+`]}`)
	g.run("start", "eco.json")
	before := g.list()
	closed.awaitHealth("right", map[string]string{"gopm:h:right:0": "passing"})
	var shown strings.Builder
	for _, w := range wrong {
		eventually(t, 2*soon, func() error {
			out := g.run("info", w.name)
			if !strings.Contains(out, w.words) {
				return fmt.Errorf("info of %s says nothing of %q:\n%s", w.name, w.words, out)
			}
			shown.WriteString(out)
			return nil
		})
	}
	list := g.with("COLUMNS=300").run("ls")
	for _, w := range wrong {
		contains(t, "ls, for "+w.name, list, w.words)
	}
	events := g.consulEvents()
	for _, w := range wrong {
		contains(t, "events, for "+w.name, events, w.words)
	}
	must(t, os.Rename(secure.Certs.CA, missing))
	eventually(t, 6*soon, func() error {
		if out := g.run("info", "nofile"); !strings.Contains(out, "doesn't accept our certificate") {
			return fmt.Errorf("the file is there now, and info says\n%s", out)
		}
		return nil
	})
	g.undisturbed(before)
	lacks(t, "what is shown", shown.String()+list+events+g.log()+g.run("jlist"), "secret-of-mine", weak, closed.Token)
}

// TestConsulTokenMended has a token that is taken away, and another put into its file.
func TestConsulTokenMended(t *testing.T) {
	g := newGopm(t).with("GOPM_NODE=h")
	c := startConsul(t, agent.Options{ACL: true})
	rules := `service_prefix "" { policy = "write" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }`
	first, err := c.NewToken("first", rules)
	must(t, err)
	file := filepath.Join(g.dir, "token")
	must(t, os.WriteFile(file, []byte(first), 0o600))
	g.sleeper("run")
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "app", "script": "./run", "consul": {"agent": {"address": %q, "token_file": "token"}}}]}`, c.Address()))
	g.run("start", "eco.json")
	before := g.list()
	passing := map[string]string{"gopm:h:app:0": "passing"}
	c.awaitHealth("app", passing)
	var self struct{ AccessorID string }
	must(t, c.As(first).Ask(http.MethodGet, "/v1/acl/token/self", nil, &self))
	must(t, c.Ask(http.MethodDelete, "/v1/acl/token/"+self.AccessorID, nil, nil))
	eventually(t, 4*soon, func() error {
		if out := g.run("info", "app"); !strings.Contains(out, "doesn't know the token") {
			return fmt.Errorf("info says nothing of the token that is gone:\n%s", out)
		}
		return nil
	})
	second, err := c.NewToken("second", rules)
	must(t, err)
	must(t, c.Ask(http.MethodPut, "/v1/agent/service/deregister/gopm:h:app:0", nil, nil))
	must(t, os.WriteFile(file, []byte(second), 0o600))
	eventually(t, 6*soon, func() error {
		if have := c.health("app"); have["gopm:h:app:0"] != "passing" {
			return fmt.Errorf("with the new token the catalog has %v", have)
		}
		return nil
	})
	g.undisturbed(before)
}

// TestConsulInTrouble has a load while the agent behind a program's entry answers 500,
// breaks off, is slow, says nothing, and is stopped: no request fails, each fault is told,
// and after each all is as it was.
func TestConsulInTrouble(t *testing.T) {
	g := newGopm(t)
	c := startConsul(t, agent.Options{})
	p, err := agent.NewProxy(c.Address())
	must(t, err)
	t.Cleanup(p.Close)
	g = g.with("GOPM_NODE=h", "CONSUL_HTTP_ADDR="+p.Address())
	target := g.served("node", "", `"instances": 2, "consul": true`)
	both := map[string]string{"gopm:h:web:0": "passing", "gopm:h:web:1": "passing"}
	c.awaitHealth("web", both)
	before := g.list()
	says := func(words string) {
		t.Helper()
		eventually(t, 4*soon, func() error {
			if out := g.run("info", "0"); !strings.Contains(out, words) {
				return fmt.Errorf("info says nothing of %q:\n%s", words, out)
			}
			return nil
		})
		contains(t, "ls", g.run("ls"), "consul: down")
	}
	noneFailed(t, underLoad(t, load.Plan{Target: target, Rate: 50}, func() {
		for _, f := range []struct {
			fault agent.Fault
			words string
		}{
			{agent.Fail, "500 No cluster leader"}, {agent.Cut, "in the middle of an answer"}, {agent.Silent, "no answer within"},
		} {
			p.Set(f.fault, "")
			says(f.words)
			p.Set(agent.Pass, "")
			eventually(t, 6*soon, func() error {
				if out := g.run("ls"); strings.Contains(out, "consul: down") {
					return fmt.Errorf("it is back, and ls says\n%s", out)
				}
				return nil
			})
			c.awaitHealth("web", both)
		}
		g.undisturbed(before)
		c.Pause()
		says("no answer within")
		c.Continue()
		c.awaitHealth("web", both)
	}))
	g.undisturbed(before)
	contains(t, "events", g.consulEvents(), "500 No cluster leader; what runs goes on", "answers")
}

// TestConsulIsNotWaitedFor gives each command to a gopm whose agent takes everything and
// says nothing: a command that asked it would need the 10 s after which a question is given up, or more.
func TestConsulIsNotWaitedFor(t *testing.T) {
	g := newGopm(t)
	c := startConsul(t, agent.Options{})
	c.Pause()
	g = g.uses(c)
	g.sleeper("run")
	g.file("eco.json", `{"apps": [{"name": "app", "script": "./run", "instances": 2, "consul": {"deregister_delay": "500ms"}}]}`)
	for _, words := range []string{"start eco.json", "ls", "info app", "restart app", "reload app", "scale app 3", "stop app", "start app", "save", "update", "delete app", "start eco.json", "kill"} {
		ended := make(chan result, 1)
		go func() {
			r, err := g.finish(g.command(strings.Fields(words)...))
			if err != nil {
				r.err += err.Error()
			}
			ended <- r
		}()
		eventually(t, soon, func() error {
			select {
			case r := <-ended:
				if r.code != 0 {
					t.Errorf("gopm %s: %v", words, r)
				}
				return nil
			default:
				return fmt.Errorf("gopm %s still runs", words)
			}
		})
	}
}

// goroutines asks a daemon for them: it dies of it.
func (g *gopm) goroutines() string {
	g.Helper()
	before := len(g.log())
	daemon, _ := g.daemon()
	must(g.T, syscall.Kill(daemon, syscall.SIGQUIT))
	var dump string
	eventually(g.T, soon, func() error {
		if dump = g.log()[before:]; !strings.Contains(dump, "goroutine 1 ") {
			return fmt.Errorf("no goroutines in the log: %s", dump)
		}
		return nil
	})
	eventually(g.T, soon, gone(daemon))
	return g.log()[before:]
}

// TestConsulCostsNothing looks at the goroutines of a daemon before there is an app with
// Consul, and while there is one.
func TestConsulCostsNothing(t *testing.T) {
	g := newGopm(t)
	g.run("start", g.sleeper("run"), "--name", "app")
	pid := g.app("app").Pid
	workers := []string{"gopm/consul.", "(*registrar)", "(*tuner)", "(*singletons)", "(*rollouts)"}
	lacks(t, "the goroutines", g.goroutines(), append(workers, "hashicorp")...)
	g.awaitStatus("app", "online")
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "other", "script": "./run", "singleton": {"lock": "locks/other"},
		"consul": {"agent": "127.0.0.1:%d", "env": "apps/other/", "fleet": true}}]}`, freePort(t)))
	g.run("start", "eco.json")
	contains(t, "the goroutines", g.goroutines(), workers...)
	if now := g.app("app").Pid; now != pid {
		t.Errorf("the app has pid %d, before %d", now, pid)
	}
}
