package cmd_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gopm/daemon/api"
	"gopm/tools/agent"
)

// What can be wrong with the agent behind a lock. Two are never active at once: newPair
// sees to that.

// TestSingletonInTrouble has faults between one machine and its agent. As long as the lock
// is held the program goes on; when it can't be, the program is dead before the other's is started.
func TestSingletonInTrouble(t *testing.T) {
	p := newPair(t, "")
	proxy, err := agent.NewProxy(p.consul.Address())
	must(t, err)
	t.Cleanup(proxy.Close)
	p.a = p.a.with("CONSUL_HTTP_ADDR=" + proxy.Address())
	p.a.run("start", "one.json")
	first := p.active(p.a)
	p.b.run("start", "one.json")
	p.leads(p.a)
	for _, fault := range []agent.Fault{agent.Fail, agent.Stranger, agent.Cut} {
		proxy.Set(fault, "/v1/session")
		eventually(t, soon, func() error {
			if out := p.a.run("ls"); !strings.Contains(out, "online (lock lost in ") {
				return fmt.Errorf("with fault %d ls says\n%s", fault, out)
			}
			return nil
		})
		contains(t, "info", p.a.run("info", "one"), "lock trouble", "consul at "+proxy.Address())
		proxy.Set(agent.Pass, "")
		eventually(t, soon, func() error {
			if out := p.a.run("ls"); strings.Contains(out, "lock lost in") {
				return fmt.Errorf("after fault %d ls says\n%s", fault, out)
			}
			return nil
		})
		if now := p.leads(p.a); now.Process.Pid != first.Process.Pid {
			t.Fatalf("fault %d, which was over in time, has ended it: pid %d, then %d", fault, first.Process.Pid, now.Process.Pid)
		}
	}
	proxy.Set(agent.Silent, "")
	p.active(p.b)
	if alive(first.Process.Pid) {
		t.Error("the program lives whose agent says nothing")
	}
	eventually(t, 3*soon, func() error {
		row := p.a.row("one", 0)
		if row.Process.Status != api.StatusStandby || !strings.Contains(row.Process.Lock.Why, "no answer within") {
			return fmt.Errorf("it is %s, %+v", row.Process.Status, row.Process.Lock)
		}
		return nil
	})
	contains(t, "info", p.a.run("info", "one"), "no answer within")
	proxy.Set(agent.Pass, "")
	p.leads(p.b)
}

// TestSingletonSession has a session ended by somebody else, who thereby gives the lock to
// the other: the program ends as soon as that is heard.
func TestSingletonSession(t *testing.T) {
	p := newPair(t, "")
	p.a.run("start", "one.json")
	first := p.active(p.a)
	var key []struct{ Session string }
	must(t, p.consul.Ask(http.MethodGet, "/v1/kv/locks/one", nil, &key))
	must(t, p.consul.Ask(http.MethodPut, "/v1/session/destroy/"+key[0].Session, nil, nil))
	eventually(t, 2*soon, gone(first.Process.Pid))
	if second := p.active(p.a); second.Process.Lock.Fence <= first.Process.Lock.Fence {
		t.Errorf("its lock was %+v, then %+v", first.Process.Lock, second.Process.Lock)
	}
}

// TestSingletonKeyDeleted takes the key away under a session that is well: who hears of that
// ends, and only then somebody else begins.
func TestSingletonKeyDeleted(t *testing.T) {
	p := newPair(t, "")
	p.a.run("start", "one.json")
	first := p.active(p.a)
	p.b.run("start", "one.json")
	p.leads(p.a)
	p.consul.put("locks/one", "somebody writes here") // it stays locked
	p.consul.remove("locks/one")
	eventually(t, 2*soon, gone(first.Process.Pid))
	eventually(t, 4*soon, func() error {
		a, b := p.a.row("one", 0).Process, p.b.row("one", 0).Process
		if (a.Status == "online") == (b.Status == "online") {
			return fmt.Errorf("one is %s, the other %s", a.Status, b.Status)
		}
		return nil
	})
	contains(t, "events", p.a.consulEvents(), "its key was deleted, or unlocked, by somebody")
}

// TestSingletonToken begins without the right to a session, gets it, and loses it again.
func TestSingletonToken(t *testing.T) {
	g := newGopm(t).with("GOPM_NODE=h")
	c := startConsul(t, agent.Options{ACL: true})
	weak, err := c.NewToken("weak", `node_prefix "" { policy = "read" }`)
	must(t, err)
	right, err := c.NewToken("right", `key_prefix "locks/" { policy = "write" } session_prefix "" { policy = "write" } node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }`)
	must(t, err)
	file := filepath.Join(g.dir, "token")
	give := func(token string) {
		t.Helper()
		must(t, os.WriteFile(file, []byte(token), 0o600))
	}
	give(weak)
	g.sleeper("run")
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "beside", "script": "./run"},
		{"name": "one", "script": "./run", "singleton": {"lock": "locks/one"}, "consul": {"service": false, "agent": {"address": %q, "token_file": "token"}}}]}`, c.Address()))
	g.run("start", "eco.json")
	says := func(command, words string) {
		t.Helper()
		eventually(t, 4*soon, func() error {
			if out := g.with("COLUMNS=300").run(strings.Fields(command)...); !strings.Contains(out, words) {
				return fmt.Errorf("%s says nothing of %q:\n%s", command, words, out)
			}
			return nil
		})
	}
	beside := g.app("beside").Pid
	says("ls", "standby")
	says("info one", "lacks permission 'session:write'")
	give(right)
	pid := g.awaitStatus("one", "online").Pid
	var self struct{ AccessorID string }
	must(t, c.As(right).Ask(http.MethodGet, "/v1/acl/token/self", nil, &self))
	must(t, c.Ask(http.MethodDelete, "/v1/acl/token/"+self.AccessorID, nil, nil))
	says("ls", "lock lost in ")
	eventually(t, 4*soon, gone(pid))
	says("info one", "doesn't know the token")
	must(t, syscall.Kill(beside, 0))
	if e := g.app("beside"); e.Pid != beside || e.Env.Restarts > 0 {
		t.Errorf("the app beside it has pid %d, before %d", e.Pid, beside)
	}
	lacks(t, "what is shown", g.run("info", "one")+g.consulEvents()+g.log(), weak, right)
}
