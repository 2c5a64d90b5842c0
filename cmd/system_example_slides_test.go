package cmd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopm/bench/load"
	"gopm/tools/agent"
)

// slides is examples/slides on ports of its own: what the old slides about pm2, Docker and
// Consul show. Its agent is an app of its file.
type slides struct {
	*gopm
	agent    *consulAgent
	app, api int // their ports
}

// slidesNode is what the machine is called in IDs.
const slidesNode = "n1"

// slidesPorts are those that the folder names: app, api, and Consul's.
var slidesPorts = []int{18200, 18201, 18202, 18203, 18204, 18205}

// withConsul has the commands find Consul's program.
func (g *gopm) withConsul() *gopm {
	g.Helper()
	consul, err := agent.Program()
	must(g.T, err)
	return g.with("PATH=" + filepath.Dir(g.binary) + ":" + filepath.Dir(consul) + ":" + os.Getenv("PATH"))
}

func newSlides(t *testing.T) *slides {
	g := newGopm(t)
	ports := g.whole("slides", slidesPorts...)
	at := agent.At(fmt.Sprintf("127.0.0.1:%d", ports[18202]), fmt.Sprintf("127.0.0.1:%d", ports[18203]))
	s := &slides{agent: &consulAgent{at, t}, app: ports[18200], api: ports[18201]}
	s.gopm = g.withConsul().with("GOPM_NODE=" + slidesNode)
	s.run("startOrRestart", "ecosystem.json")
	return s
}

// of is the same in a subtest.
func (s *slides) of(t *testing.T) *slides {
	own, g := *s, *s.gopm
	g.T = t
	own.gopm, own.agent = &g, &consulAgent{s.agent.Agent, t}
	return &own
}

// TestSlides starts the whole once, and then shows one slide after the other.
func TestSlides(t *testing.T) {
	s := newSlides(t)
	for _, slide := range []struct {
		name string
		show func(*slides)
	}{
		{"Picture", (*slides).picture},
		{"Logs", (*slides).apart},
		{"Crash", (*slides).crash},
		{"Configuration", (*slides).configuration},
		{"Absence", (*slides).absence},
		{"Again", (*slides).again},
	} {
		if !t.Run(slide.name, func(t *testing.T) { slide.show(s.of(t)) }) {
			return
		}
	}
}

// all is each instance of an app in a state.
func (s *slides) all(app string, n int, state string) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("gopm:%s:%s:%d", slidesNode, app, i)] = state
	}
	return all
}

// said is what an instance of api says, asked by that port.
func said(port int) (greeting string, err error) {
	text, err := get(port)
	if err != nil {
		return "", err
	}
	var answer struct{ Greeting string }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return "", fmt.Errorf("%v: %q", err, text)
	}
	return answer.Greeting, nil
}

// saysSoon waits until the port says that.
func saysSoon(t *testing.T, port int, want string) {
	t.Helper()
	eventually(t, 2*soon, func() error {
		got, err := said(port)
		if err == nil && got != want {
			err = fmt.Errorf("it says %q, want %q", got, want)
		}
		return err
	})
}

// picture: `1 passing` each, by HTTP and by DNS, and one service finds another.
func (s *slides) picture() {
	s.agent.awaitHealth("app", s.all("app", 2, "passing"))
	s.agent.awaitHealth("api", s.all("api", 4, "passing"))
	for app, port := range map[string]int{"app": s.app, "api": s.api} {
		entries, err := s.agent.Health(app)
		must(s.T, err)
		for _, e := range entries {
			own := maps.Clone(e.Checks)
			delete(own, "serfHealth") // the machine's
			if check := own[e.ID+":gopm"]; len(own) != 1 || check.Status != "passing" || e.Port != port {
				s.Errorf("%s: port %d, checks %v; want port %d and 1 passing", e.ID, e.Port, own, port)
			}
		}
		srv := answerOf(s.agent.dig(app+".service.consul", "SRV"))
		s.Logf("%d entries of %s with 1 passing each; dig: %s", len(entries), app, srv)
		contains(s.T, "dig", srv, fmt.Sprintf(" %d %s.node.", port, entries[0].Node))
	}
	contains(s.T, "dig by tag", s.agent.dig("i3.api.service.consul", "SRV"), fmt.Sprintf(" %d ", s.api))
	lacks(s.T, "dig by tag", s.agent.dig("i4.api.service.consul", "SRV"), fmt.Sprintf(" %d ", s.api))
	saysSoon(s.T, s.app, "hello")                        // through app, which asks DNS where api is
	if names := s.agent.catalog(); len(names) != 2+4+1 { // and gopm itself
		s.Errorf("the agent was told of %v", names)
	}
}

// answerOf is the answer to what was asked, without what dig says about it.
func answerOf(said string) string {
	_, answer, _ := strings.Cut(said, ";; ANSWER SECTION:\n")
	answer, _, _ = strings.Cut(answer, "\n\n")
	return strings.Join(strings.Fields(answer), " ")
}

// apart: stdout and stderr are, and info says what the slide says, and more.
func (s *slides) apart() {
	eventually(s.T, soon, func() error {
		out := s.run("logs", "app", "--nostream")
		if !strings.Contains(out, "|app | send response\n") || !strings.Contains(out, "|app | (err) fake error\n") {
			return fmt.Errorf("out and err are not both there:\n%s", out)
		}
		return nil
	})
	info := strings.Join(strings.Fields(s.run("info", "app")), " ")
	contains(s.T, "info", info, "│ status │ online │", "│ exec mode │ cluster_mode │", "│ instance │ 1 of 2 │", s.dir+"/app.js",
		"app-error-1.log", "app-out-1.log", fmt.Sprintf("registered as app (gopm:%s:app:1), passing, port %d", slidesNode, s.app))
}

// crash: an instance that is killed is critical in the catalog at once, the others stay,
// and its successor is passing.
func (s *slides) crash() {
	passing := s.all("api", 4, "passing")
	s.agent.awaitHealth("api", passing)
	const victim = "gopm:" + slidesNode + ":api:2"
	pid := s.pids()["api:2"]
	begun, others := time.Now(), 0
	s.killHard(pid)
	var critical time.Duration
	for state := ""; state != "critical"; { // it may be so for the time of a start only
		if critical = time.Since(begun); critical > 2*soon {
			s.Fatalf("%s is %s in the catalog after %v", victim, state, critical)
		}
		states := s.agent.health("api")
		state = states[victim]
		delete(states, victim)
		for id, other := range states {
			if other != "passing" {
				others++
				s.Errorf("%s is %s", id, other)
			}
		}
	}
	s.agent.awaitHealth("api", passing)
	s.figure("slides", "kill -9 of one of api: critical after %d ms, passing again after %d ms, others critical: %d",
		critical.Milliseconds(), time.Since(begun).Milliseconds(), others)
	if s.pids()["api:2"] == pid {
		s.Error("it is the same process")
	}
}

// configuration: a key that is changed is served soon, and no request fails.
func (s *slides) configuration() {
	saysSoon(s.T, s.api, "hello")
	before := s.pids()
	var first, last time.Duration
	r := underLoad(s.T, load.Plan{Target: fmt.Sprintf("127.0.0.1:%d", s.api), Rate: 100}, func() {
		for _, greeting := range []string{"good morning", "good night"} {
			begun := time.Now()
			s.agent.put("apps/api/env/GREETING", greeting)
			saysSoon(s.T, s.api, greeting)
			first = time.Since(begun)
			s.allSay(greeting)
			last = time.Since(begun)
		}
	})
	noneFailed(s.T, r)
	s.figure("slides", "a key is changed: the first new answer after %d ms, only new ones after %d ms, requests lost: %d of %d",
		first.Milliseconds(), last.Milliseconds(), r.Failed(), r.OK+r.Failed())
	saysSoon(s.T, s.app, "good night")
	s.agent.awaitHealth("api", s.all("api", 4, "passing"))
	for name, pid := range s.pids() {
		if isNew := pid != before[name]; isNew != strings.HasPrefix(name, "api:") {
			s.Errorf("%s had pid %d and has %d: only api has another configuration", name, before[name], pid)
		}
	}
}

// allSay waits until no instance says anything else: each has the new value in its
// environment.
func (s *slides) allSay(want string) {
	s.Helper()
	eventually(s.T, 4*soon, func() error {
		for name, pid := range s.pids() {
			if !strings.HasPrefix(name, "api:") {
				continue
			}
			env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
			if err != nil {
				return err
			}
			if !strings.Contains(string(env), "GREETING="+want+"\x00") {
				return fmt.Errorf("%s has another greeting than %q", name, want)
			}
		}
		return nil
	})
}

// absence: who isn't there isn't found, and is again when it is back.
func (s *slides) absence() {
	s.run("stop", "api")
	s.agent.awaitHealth("api", map[string]string{})
	target := fmt.Sprintf("127.0.0.1:%d", s.app)
	r := load.Run(context.Background(), load.Plan{Target: target, Count: 1, Timeout: soon})
	if text, err := get(s.app); r.OK > 0 || err != nil || !strings.Contains(text, "api.service.consul") {
		s.Errorf("app answers %q (%v), %s", text, err, r.Text())
	}
	s.run("start", "api")
	s.agent.awaitHealth("api", s.all("api", 4, "passing"))
	saysSoon(s.T, s.app, "good night")
}

// again: startOrRestart of what runs restarts it, and Consul, whose memory that was, is
// told all anew.
func (s *slides) again() {
	before := s.pids()
	s.run("startOrRestart", "ecosystem.json")
	for name, pid := range s.pids() {
		if pid == before[name] {
			s.Errorf("%s is the same process", name)
		}
	}
	s.agent.awaitHealth("app", s.all("app", 2, "passing"))
	s.agent.awaitHealth("api", s.all("api", 4, "passing"))
}
