package cmd_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

// events are those that gopm events --json shows.
func (g *gopm) events(args ...string) (all []api.Event) {
	g.Helper()
	return g.readEvents(g.run(append([]string{"events", "--nostream", "--json"}, args...)...))
}

func (g *gopm) readEvents(text string) (all []api.Event) {
	g.Helper()
	for line := range strings.Lines(text) {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			g.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// kinds are those of some events, in their order.
func kinds(all []api.Event) string {
	var words []string
	for _, e := range all {
		words = append(words, e.Kind)
	}
	return strings.Join(words, " ")
}

func (f *follower) saysTimes(want string, n int) {
	f.g.Helper()
	eventually(f.g.T, soon, func() error {
		if text := f.text(); strings.Count(text, want) != n {
			return fmt.Errorf("%v: not %d times %q:\n%s", f.cmd.Args[1:], n, want, text)
		}
		return nil
	})
}

// The life of an app is told in order, for people and for programs.
func TestEventsTellALife(t *testing.T) {
	g := newGopm(t)
	g.sleeper("web")
	g.sleeper("other")
	g.run("start", "./web", "./other", "--min-uptime", "100ms")
	first := g.app("web")
	g.killHard(first.Pid)
	g.await("web", "a new process", func(e entry) bool { return e.Env.Status == "online" && e.Pid != first.Pid })
	g.run("restart", "web")
	g.run("stop", "web")
	all := g.events("web", "--lines", "100")
	want := "start online exit restart start online stop exit restart start online stop exit stop"
	if kinds(all) != want {
		t.Errorf("the kinds are\n%s, want\n%s", kinds(all), want)
	}
	for i, e := range all {
		if e.App != "web" || e.EventOf == nil || e.ID != first.ID || e.Time.IsZero() || i > 0 && e.Seq <= all[i-1].Seq {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if exit := all[2]; exit.Pid != first.Pid || exit.Exit == nil || exit.Exit.Signal != "SIGKILL" {
		t.Errorf("the exit is told as %+v (%+v)", exit, exit.Exit)
	}
	out := g.run("events", "--kind", "exit", "--nostream", "web")
	if !regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  web:0 +exit +was ended by SIGKILL after `).MatchString(out) || strings.Count(out, "\n") != 3 {
		t.Errorf("gopm events prints\n%s", out)
	}
	if n := len(g.events("--lines", "2")); n != 2 {
		t.Errorf("--lines 2 shows %d", n)
	}
	if at := all[5].Time; len(g.events("web", "--since", at.Format(time.RFC3339Nano))) != len(all)-5 {
		t.Errorf("--since %v does not begin there", at)
	}
	contains(t, "of all", kinds(g.events("--lines", "100")), "daemon start")
	g.run("delete", "web")
	if got := kinds(g.events("web", "--lines", "100")); got != want {
		t.Errorf("of the deleted app there is\n%s, want\n%s", got, want)
	}
}

func TestEventsMistakes(t *testing.T) {
	g := newGopm(t)
	g.sleeper("web")
	g.fail(1, []string{"daemon"}, "events")
	g.run("start", "./web")
	g.fail(2, []string{"--kind", "exits", "exit, restart"}, "events", "--kind", "exits")
	g.fail(2, []string{"--lines"}, "events", "--lines", "-1")
	g.fail(2, []string{"--since", "yesterday"}, "events", "--since", "yesterday")
	g.fail(1, []string{`"wab"`, "web"}, "events", "wab")
	contains(t, "the note", g.try("events", "--nostream", "--lines", "900").err, "when this daemon began", "gopm.log")
}

// A follower goes on with the next daemon, and with what happens up to the end.
func TestEventsAreFollowed(t *testing.T) {
	g := newGopm(t)
	g.sleeper("web")
	g.run("start", "./web", "--min-uptime", "100ms")
	f := g.goesOn("events", "--json", "--lines", "1")
	some := g.goesOn("events", "--lines", "1", "--kind", "exit,online")
	f.says(`"online"`)
	some.says("online")
	g.run("restart", "web")
	f.saysTimes(`"kind":"online"`, 2) // what isn't told yet dies with the daemon
	some.saysTimes("  online  ", 2)
	daemon, _ := g.daemon()
	g.killHard(daemon)
	f.says("was killed by SIGKILL")
	g.run("restart", "web")
	f.saysTimes(`"kind":"online"`, 3)
	some.saysTimes("  online  ", 3)
	g.run("kill")
	_ = f.cmd.Wait()
	lines := strings.SplitAfter(f.text(), "\n")
	contains(t, "the end", f.text(), "kill: stopping all apps", "daemon has ended")
	all := g.readEvents(strings.Join(lines[:len(lines)-2], "")) // the last is for people
	if got, want := kinds(all), "online stop exit restart start online daemon daemon stop exit restart start online daemon stop exit stop"; got != want {
		t.Errorf("the kinds are\n%s, want\n%s", got, want)
	}
	for i, e := range all[1:] {
		if e.Seq <= all[i].Seq {
			t.Errorf("number %d comes after %d", e.Seq, all[i].Seq)
		}
	}
	_ = some.cmd.Wait()
	if text := some.text(); strings.Count(text, "  exit  ") != 3 || strings.Count(text, "  online  ") != 3 {
		t.Errorf("of three lives it shows\n%s", text)
	}
}
