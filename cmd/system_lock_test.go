package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopm/tools/agent"
)

// gopm lock: a command that runs on one machine at a time, whatever dies.

// locker is a gopm with an agent, and a script "work" that leaves its pid, and that of a
// child which has left its group and session, in the files named by its argument.
func locker(t *testing.T) (*gopm, *consulAgent) {
	t.Helper()
	g := newGopm(t)
	c := startConsul(t, agent.Options{})
	g.script("work", `setsid sleep 1000 & echo $! > $1.child
echo $GOPM_FENCE > $1.fence; echo $$ > $1.new; mv $1.new $1.main
while [ ! -e $1.go ]; do sleep 0.02; done; exit 5`)
	g.script("check", `for pid in $(cat *.main *.child); do grep -q '^State:.[^ZX]' /proc/$pid/status 2>/dev/null && echo "$pid lives"; done; echo "fence $GOPM_FENCE"`)
	return g.uses(c), c
}

// number waits for a file with one.
func (g *gopm) number(name string) (n int) {
	g.Helper()
	eventually(g.T, soon, func() error {
		text, err := os.ReadFile(filepath.Join(g.dir, name))
		if err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	return n
}

// crew is the script's main process and its child.
func (g *gopm) crew(name string) []int {
	g.Helper()
	return []int{g.number(name + ".main"), g.number(name + ".child")}
}

// next says that the lock is had by another, and that nothing of those before lives then.
func (g *gopm) next(wait string) {
	g.Helper()
	r := g.try("lock", "locks/x", "--wait", wait, "--", "./check")
	if r.code != 0 || !strings.HasPrefix(r.out, "fence ") {
		g.Errorf("the next holder: %v", r)
	}
}

func TestLock(t *testing.T) {
	g, c := locker(t)
	g.fail(2, []string{"lock wants a name, two dashes and a command"}, "lock")
	g.fail(2, []string{"two dashes"}, "lock", "locks/x", "true")
	g.fail(2, []string{"one name before the two dashes, not a b"}, "lock", "a", "b", "--", "true")
	g.fail(2, []string{"a command after the two dashes"}, "lock", "a", "--")
	g.fail(2, []string{"a key of Consul", `"" is none`}, "lock", "", "--", "true")
	g.fail(2, []string{"--ttl 5s: Consul wants something from 10s to 24h"}, "lock", "a", "--ttl", "5s", "--", "true")
	g.fail(1, []string{"cannot run ./nothing: ", "no such file"}, "lock", "a", "--", "./nothing")

	cmd := g.command("lock", "locks/x", "--", "sh", "-c", `read line; echo "$GOPM_LOCK $line"; echo moan >&2; exit 7`)
	cmd.Stdin = strings.NewReader("from stdin\n")
	if r := g.execute(cmd); r.code != 7 || r.out != "locks/x from stdin\n" || r.err != "moan\n" {
		t.Errorf("%v", r)
	}
	if r := g.try("lock", "locks/x", "--", "sh", "-c", "kill -9 $$"); r.code != 137 {
		t.Errorf("%v", r)
	}
	if value := c.value("locks/x"); value != "" {
		t.Errorf("the key has %q though nobody has the lock", value)
	}

	first := g.goesOn("lock", "locks/x", "--", "./work", "one")
	crew := g.crew("one")
	held := "held by n1:gopm lock (pid " + strconv.Itoa(first.cmd.Process.Pid) + " of "
	if name, _ := os.Hostname(); name != "" {
		held = strings.Replace(held, "n1", name, 1)
	}
	g.fail(75, []string{"locks/x is not to be had: ", held}, "lock", "locks/x", "--wait", "0", "--", "./check")
	g.fail(75, []string{"waiting for locks/x: ", "not to be had within 300ms: ", held}, "lock", "locks/x", "--wait", "300ms", "--", "./check")
	waiting := g.goesOn("lock", "locks/x", "--", "sleep", "1000")
	waiting.says("waiting for locks/x")
	must(t, waiting.cmd.Process.Signal(syscall.SIGINT))
	if code := waiting.ends(); code != 130 {
		t.Errorf("Ctrl-C while it waits: exit code %d, %s", code, waiting.text())
	}
	second := g.goesOn("lock", "locks/x", "--", "./check")
	second.says("waiting for locks/x")
	g.file("one.go", "")
	if code := first.ends(); code != 5 || !strings.Contains(first.text(), "a process that the command had left running was ended") {
		t.Errorf("exit code %d, %s", code, first.text())
	}
	if code := second.ends(); code != 0 || strings.Contains(second.text(), "lives") {
		t.Errorf("exit code %d, %s; %v should be dead", code, second.text(), crew)
	}
	if fence := g.number("one.fence"); !strings.Contains(second.text(), "fence ") || strings.Contains(second.text(), fmt.Sprintf("fence %d\n", fence)) {
		t.Errorf("the fence was %d, then %s", fence, second.text())
	}
}

// What is started by gopm under a lock is gopm's, and not the lock's.
func TestLockDoesNotEndApps(t *testing.T) {
	g, _ := locker(t)
	g.sleeper("web")
	for _, order := range [][]string{{"start", "./web"}, {"restart", "web", "--update-env"}} {
		if r := g.try(append([]string{"lock", "locks/x", "--", g.binary}, order...)...); r.code != 0 || strings.Contains(r.err, "left running") {
			t.Errorf("%v", r)
		}
		pid := g.awaitStatus("web", "online").Pid
		g.run("lock", "locks/x", "--", "true")
		if !alive(pid) {
			t.Errorf("after %v under the lock it was ended with that", order)
		}
		for name := range environOf(t, pid) {
			if strings.HasPrefix(name, "GOPM_LOCK") || name == "GOPM_FENCE" {
				t.Errorf("it has %s of the lock", name)
			}
		}
	}
}

// Whoever of gopm dies, the command goes on, unless the one that was called does.
func TestLockAndTheDeathOfGopm(t *testing.T) {
	g, _ := locker(t)
	f := g.goesOn("lock", "locks/x", "--", "./work", "one")
	crew := g.crew("one")
	for range 2 {
		g.killDaemon()
		g.fail(75, []string{"held by"}, "lock", "locks/x", "--wait", "0", "--", "./check")
	}
	for _, pid := range crew {
		if !alive(pid) {
			t.Errorf("%d has not survived: %s", pid, f.text())
		}
	}
	g.file("one.go", "")
	if code := f.ends(); code != 5 {
		t.Errorf("exit code %d, %s", code, f.text())
	}
	g.next("10s")

	f = g.goesOn("lock", "locks/x", "--", "./work", "two")
	crew = g.crew("two")
	must(t, f.cmd.Process.Kill())
	began := time.Now()
	g.next("10s")
	t.Logf("another had the lock %v after the command line was killed", time.Since(began))
	for _, pid := range crew {
		eventually(t, soon, gone(pid))
	}
	f.ends()

	f = g.goesOn("lock", "locks/x", "--", "sh", "-c", "trap 'exit 3' TERM; touch three; while :; do sleep 0.02; done")
	eventually(t, soon, func() error { _, err := os.Stat(filepath.Join(g.dir, "three")); return err })
	must(t, f.cmd.Process.Signal(syscall.SIGTERM))
	if code := f.ends(); code != 3 {
		t.Errorf("after SIGTERM: exit code %d, %s", code, f.text())
	}

	f = g.goesOn("lock", "locks/x", "--", "./work", "four")
	g.crew("four")
	g.run("kill")
	if code := f.ends(); code != 76 || !strings.Contains(f.text(), "the lock locks/x is lost: the daemon is ending; the command was killed") {
		t.Errorf("after gopm kill: exit code %d, %s", code, f.text())
	}
	g.next("10s")
}

// A lock that is lost is lost for the command first.
func TestLockIsLost(t *testing.T) {
	for name, lose := range map[string]func(g *gopm, c *consulAgent) (undo func()){
		"the session is destroyed": func(_ *gopm, c *consulAgent) func() {
			var pair []struct{ Session string }
			must(c.t, c.Ask("GET", "/v1/kv/locks/x", nil, &pair))
			must(c.t, c.Ask("PUT", "/v1/session/destroy/"+pair[0].Session, nil, nil))
			return func() {}
		},
		"the agent is gone": func(_ *gopm, c *consulAgent) func() {
			c.Kill()
			return c.begin
		},
		"the agent hangs": func(_ *gopm, c *consulAgent) func() {
			c.Pause()
			return c.Continue
		},
		"the daemon is stopped": func(g *gopm, _ *consulAgent) func() {
			pid, _ := g.daemon()
			must(g.T, syscall.Kill(pid, syscall.SIGSTOP))
			return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, c := locker(t)
			f := g.goesOn("lock", "locks/x", "--ttl", "10s", "--", "./work", "one")
			crew := g.crew("one")
			began := time.Now()
			undo := sync.OnceFunc(lose(g, c))
			defer undo()
			for _, pid := range crew {
				eventually(t, 2*soon, gone(pid))
			}
			t.Logf("all dead %v later", time.Since(began))
			if code := f.ends(); code != 76 || !strings.Contains(f.text(), "the lock locks/x is lost: ") {
				t.Errorf("exit code %d, %s", code, f.text())
			}
			undo()
			g.next("30s")
		})
	}
}
