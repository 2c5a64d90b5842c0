package cmd_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopm/bench/load"
	"gopm/daemon/api"
	"gopm/tools/agent"
)

// What can be wrong with the keys that configure an app, or with whom they are asked of. The
// app goes on with what it had, and `gopm config` says what is wrong.

// configSays waits until `gopm config` has all of the words.
func (c *configured) configSays(words ...string) {
	c.gopm.Helper()
	eventually(c.gopm.T, 6*soon, func() error {
		out := c.run("config", "web")
		for _, w := range words {
			if !strings.Contains(out, w) {
				return fmt.Errorf("config says nothing of %q:\n%s", w, out)
			}
		}
		return nil
	})
}

// settled waits until all that runs has what the app has.
func (c *configured) settled() {
	c.gopm.Helper()
	c.eventuallyShown(func(shown api.Config) error {
		for _, r := range shown.Running {
			if r.Number != shown.Number {
				return fmt.Errorf("%+v", shown.Running)
			}
		}
		return nil
	})
}

// TestConfigWrong writes keys that can't be used, and takes away those that were. What is
// right beside them is used.
func TestConfigWrong(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("apps/web/env/T_A", "one")
	c.put("apps/web/env/T_TOKEN", "sesame")
	c.put("files/conf", "first")
	c.begin(`"instances": 1`, `"files": {"conf": "files/conf", "never": "files/never"}`)
	c.says("A=one TOKEN=sesame")
	c.configSays("files/never isn't there", "not there yet, from files/never")
	c.put("apps/web/env/T_TOKEN", "\xff\xfe\x00")
	c.put("apps/web/env/T_B", "two")
	c.put("apps/web/env/NODE_OPTIONS", "--require=/tmp/x.js")
	c.put("apps/web/env/bad name", "x")
	c.says("A=one B=two TOKEN=sesame")
	c.settled()
	c.configSays("T_TOKEN is not used", "no text", "its value of index", "NODE_OPTIONS is not used", "bad name is not used")
	contains(t, "events", c.consulEvents(), "T_TOKEN", "no text")
	before := c.list()
	c.remove("files/conf")
	c.remove("apps/web/env/")
	c.configSays("files/conf isn't there", "apps/web/env isn't there", "T_B=two")
	contains(t, "events", c.consulEvents(), "files/conf", "apps/web/env")
	c.undisturbed(before)
	text, err := os.ReadFile(filepath.Join(c.dir, "conf"))
	if err != nil || string(text) != "first" {
		t.Errorf("the file of the key that is gone has %q (%v)", text, err)
	}
	c.says("A=one B=two TOKEN=sesame")
	lacks(t, "what is shown", c.run("config", "web")+c.consulEvents()+c.log(), "sesame")
}

// TestConfigOfWrongText has one key with a text that can't be read, then with one that can.
func TestConfigOfWrongText(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	c.put("apps/web/env", `{"T_A": "one"}`)
	c.begin(`"instances": 1`, "")
	c.says("A=one")
	before := c.list()
	for text, words := range map[string]string{`{"T_A": "sesame"`: "apps/web/env", "\xff\xfe": "apps/web/env"} {
		c.put("apps/web/env", text)
		eventually(t, 3*soon, func() error {
			if shown := c.shown(); !strings.Contains(shown.Trouble, words) {
				return fmt.Errorf("for %q config says %+v", text, shown)
			}
			return nil
		})
		contains(t, "info", c.run("info", "web"), "trouble with it")
		c.put("apps/web/env", `{"T_A": "one"}`)
		c.eventuallyShown(func(shown api.Config) error {
			if shown.Trouble != "" {
				return fmt.Errorf("after %q it still says %+v", text, shown)
			}
			return nil
		})
	}
	c.undisturbed(before)
	lacks(t, "what is told", c.consulEvents()+c.log(), "sesame")
	c.put("apps/web/env", "T_A=dotenv\n")
	c.says("A=dotenv")
}

// TestConfigDenied takes the right to read away, and gives it again.
func TestConfigDenied(t *testing.T) {
	c := newConfigured(t, agent.Options{ACL: true})
	c.put("apps/web/env/T_A", "one")
	token, err := c.NewToken("web", `key_prefix "apps/web/" { policy = "read" }`)
	must(t, err)
	c.gopm = c.with("CONSUL_HTTP_TOKEN=" + token)
	c.begin(`"instances": 1`, "")
	c.says("A=one")
	var policy struct{ ID string }
	must(t, c.Ask(http.MethodGet, "/v1/acl/policy/name/web", nil, &policy))
	rules := func(text string) {
		t.Helper()
		must(t, c.Ask(http.MethodPut, "/v1/acl/policy/"+policy.ID, map[string]string{"ID": policy.ID, "Name": "web", "Rules": text}, nil))
	}
	rules(`key_prefix "apps/other/" { policy = "read" }`)
	n := 0
	eventually(t, 6*soon, func() error { // a question that is open was allowed when it was asked
		n++
		c.put("apps/web/env/T_A", fmt.Sprint("change-", n))
		if shown := c.shown(); !shown.Stale || !strings.Contains(shown.Trouble, "Permission denied") {
			return fmt.Errorf("after change %d config says %+v", n, shown)
		}
		return nil
	})
	c.settled()
	before := c.list()
	c.put("apps/web/env/T_A", "two")
	c.configSays("Permission denied", "stale")
	c.undisturbed(before)
	contains(t, "info", c.run("info", "web"), "Permission denied")
	lacks(t, "what is shown", c.run("config", "web")+c.consulEvents()+c.log(), token)
	rules(`key_prefix "apps/web/" { policy = "read" }`)
	c.says("A=two")
}

// TestConfigInTrouble edits a key behind an agent that answers 500, breaks off, or says
// nothing: what runs is asked all the while, and has the edit when the agent is well.
func TestConfigInTrouble(t *testing.T) {
	c := newConfigured(t, agent.Options{})
	p, err := agent.NewProxy(c.Address())
	must(t, err)
	t.Cleanup(p.Close)
	c.gopm = c.with("CONSUL_HTTP_ADDR=" + p.Address())
	c.put("apps/web/env/T_A", "0")
	c.begin(twoClustered, "")
	c.says("A=0")
	noneFailed(t, underLoad(t, load.Plan{Target: fmt.Sprintf("127.0.0.1:%d", c.port), Rate: 50}, func() {
		for i, f := range []struct {
			fault agent.Fault
			words string
		}{
			{agent.Fail, "500 No cluster leader"}, {agent.Cut, "in the middle of an answer"}, {agent.Silent, "no answer within"},
		} {
			p.Set(f.fault, "")
			c.put("apps/web/env/T_A", fmt.Sprint(i+1))
			c.settled()
			before := c.list()
			c.configSays("stale", f.words)
			c.undisturbed(before)
			p.Set(agent.Pass, "")
			eventually(t, 6*soon, func() error {
				if shown := c.shown(); shown.Stale {
					return fmt.Errorf("%+v", shown)
				}
				return nil
			})
			c.says(fmt.Sprintf("A=%d", i+1))
		}
	}))
}
