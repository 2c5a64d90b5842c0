package cmd_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/tools/agent"
)

// pair is two gopms that are two machines to Consul, with the same singleton. Its program
// takes a lock of the file system, too: whoever doesn't get that has seen another.
type pair struct {
	*testing.T
	consul *consulAgent
	a, b   *gopm
	dir    string // that both write to
}

func newPair(t *testing.T, fields string) *pair {
	t.Helper()
	p := emptyPair(t)
	for _, g := range []*gopm{p.a, p.b} {
		program := g.file("one.sh", `exec 9>"$1/alone"
flock -n 9 || echo "$$ is not alone" >> "$1/two"
echo "$GOPM_HOME $$ $GOPM_FENCE $GOPM_ROLE" >> "$1/terms"
while :; do sleep 0.05 9>&-; done
`)
		g.file("one.json", fmt.Sprintf(`{"apps": [{"name": "one", "script": %q, "args": %q, "interpreter": "bash", "min_uptime": "100ms", "kill_timeout": "1s",
			"singleton": {"lock": "locks/one"%s}}]}`, program, p.dir, fields))
	}
	return p
}

// emptyPair is one with nothing to start.
func emptyPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{T: t, a: newGopm(t), consul: startConsul(t, agent.Options{}), dir: t.TempDir()}
	b := *p.a
	dir := filepath.Join(filepath.Dir(b.dir), "b")
	b.dir, b.home = filepath.Join(dir, "w"), filepath.Join(dir, "h")
	must(t, os.MkdirAll(b.dir, 0o755))
	p.a = p.a.uses(p.consul).with("GOPM_NODE=a")
	p.b = b.uses(p.consul).with("GOPM_NODE=b")
	t.Cleanup(p.b.close)
	t.Cleanup(p.neverTwo)
	return p
}

func (p *pair) neverTwo() {
	if text, err := os.ReadFile(filepath.Join(p.dir, "two")); err == nil {
		p.Errorf("two were active at once: %s", text)
	}
}

// terms are who was active, in order: home and pid.
func (p *pair) terms() (all [][]string) {
	text, _ := os.ReadFile(filepath.Join(p.dir, "terms")) // nobody was
	for line := range strings.Lines(string(text)) {
		all = append(all, strings.Fields(line))
	}
	return all
}

// leads waits until the program of one is active and the other's stands by.
func (p *pair) leads(g *gopm) api.Instance {
	p.Helper()
	p.standsBy(p.other(g))
	return p.active(g)
}

func (p *pair) other(g *gopm) *gopm {
	if g == p.a {
		return p.b
	}
	return p.a
}

func (p *pair) active(g *gopm) (row api.Instance) {
	p.Helper()
	eventually(p.T, 3*soon, func() error {
		row = g.row("one", 0)
		if row.Process.Status != "online" || row.Process.Lock == nil || !row.Process.Lock.Leads {
			return fmt.Errorf("it is %s, %+v", row.Process.Status, row.Process.Lock)
		}
		return nil
	})
	return row
}

func (p *pair) standsBy(g *gopm) {
	p.Helper()
	eventually(p.T, 3*soon, func() error {
		if row := g.row("one", 0); row.Process.Status != api.StatusStandby || row.Process.Lock.Holder == "" {
			return fmt.Errorf("it is %s, %+v", row.Process.Status, row.Process.Lock)
		}
		return nil
	})
}

// follows waits for the next term, and says how long after began that was.
func (p *pair) follows(n int, began time.Time) (home string) {
	p.Helper()
	eventually(p.T, 3*soon, func() error {
		if have := len(p.terms()); have <= n {
			return fmt.Errorf("there were %d terms", have)
		}
		return nil
	})
	p.Logf("active again after %v", time.Since(began).Round(time.Millisecond))
	return p.terms()[n][0]
}

// TestSingleton: one of two machines runs it, the other when that has crashed, was stopped,
// or has ended.
func TestSingleton(t *testing.T) {
	p := newPair(t, "")
	p.a.run("start", "one.json")
	first := p.active(p.a)
	contains(t, "start where another has the lock", p.b.run("start", "one.json"), "standby")
	p.leads(p.a)
	contains(t, "ls", p.b.run("ls"), "standby (locks/one: held by a:one)")
	contains(t, "info", p.b.run("info", "one"), "a:one")
	contains(t, "info", p.a.run("info", "one"), "(this instance)")

	began := time.Now()
	p.a.killHard(first.Process.Pid)
	if home := p.follows(1, began); home != p.b.home {
		t.Errorf("after a crash %s is active", home)
	}
	p.leads(p.b)
	began = time.Now()
	p.b.run("stop", "one")
	if home := p.follows(2, began); home != p.a.home {
		t.Errorf("after a stop %s is active", home)
	}
	p.b.run("start", "one")
	p.leads(p.a)
	p.b.run("stop", "one") // it stands by
	p.b.awaitStatus("one", "stopped")
	p.b.run("start", "one")
	p.leads(p.a)
	p.a.run("restart", "one")
	p.leads(p.b)
	began = time.Now()
	p.b.run("kill")
	if home := p.follows(4, began); home != p.a.home {
		t.Errorf("after gopm kill %s is active", home)
	}
	p.a.run("delete", "one")
	if holder := p.consul.value("locks/one"); holder != "" {
		t.Errorf("the lock says %q", holder)
	}
	last := "0"
	for _, term := range p.terms() {
		if fence := term[2]; len(fence) < len(last) || len(fence) == len(last) && fence <= last || term[3] != "leader" {
			t.Errorf("the terms were %v", p.terms())
		}
		last = term[2]
	}
}

// TestSingletonOutlivesItsDaemon: the next daemon goes on with the lock, and the program
// with its work.
func TestSingletonOutlivesItsDaemon(t *testing.T) {
	p := newPair(t, "")
	p.a.run("start", "one.json")
	p.b.run("start", "one.json")
	first := p.leads(p.a)
	p.a.killDaemon()
	second := p.active(p.a)
	if second.Process.Pid != first.Process.Pid || second.Process.Lock.Fence != first.Process.Lock.Fence {
		t.Errorf("before it was %+v, now %+v", first.Process, second.Process)
	}
	p.standsBy(p.b)
	p.a.run("update")
	third := p.leads(p.a)
	if third.Process.Pid != first.Process.Pid {
		t.Errorf("after an update it has the pid %d, before %d", third.Process.Pid, first.Process.Pid)
	}
	if n := len(p.terms()); n != 1 {
		t.Errorf("there were %d terms", n)
	}
	began := time.Now()
	p.a.killHard(first.Process.Pid)
	if home := p.follows(1, began); home != p.b.home {
		t.Errorf("after a crash %s is active", home)
	}
}

// TestSingletonWithoutConsul: when the agent is gone it is killed in time, and comes back
// with it.
func TestSingletonWithoutConsul(t *testing.T) {
	p := newPair(t, "")
	p.a.run("start", "one.json")
	first := p.active(p.a)
	p.consul.Kill()
	eventually(t, soon, func() error {
		if out := p.a.run("ls"); !strings.Contains(out, "online (lock lost in ") {
			return fmt.Errorf("ls says %s", out)
		}
		return nil
	})
	var row api.Instance
	eventually(t, 3*soon, func() error {
		if row = p.a.row("one", 0); row.Process.Status != api.StatusStandby || row.Process.Lock.Why == "" {
			return fmt.Errorf("it is %s, %+v", row.Process.Status, row.Process.Lock)
		}
		return nil
	})
	if row.Process.Unstable != 0 {
		t.Errorf("it counts as a crash: %+v", row.Process)
	}
	must(t, p.consul.BeginEmpty())
	if second := p.active(p.a); second.Process.Pid == first.Process.Pid {
		t.Error("it was not ended")
	}
}

// TestHotSingleton: the other machine's is booted, and held back until it has the lock.
func TestHotSingleton(t *testing.T) {
	for name, fields := range map[string]string{
		"held": "",
		"told": `, "standby": {"promote": {"exec": "touch told.$GOPM_ROLE.$GOPM_PID"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			p := emptyPair(t)
			port := freePort(t)
			url := map[*gopm]string{p.a: fmt.Sprintf("http://127.0.0.1:%d/", port), p.b: fmt.Sprintf("http://127.0.0.2:%d/", port)}
			for i, g := range []*gopm{p.a, p.b} {
				g.file("one.js", fmt.Sprintf(`require("http").createServer((_, r) => r.end(process.pid + " " + process.env.GOPM_HOME)).listen(%d, "127.0.0.%d")`, port, i+1))
				g.file("one.json", fmt.Sprintf(`{"apps": [{"name": "one", "script": "one.js", "exec_mode": "cluster", "instances": 1, "min_uptime": "100ms",
					"singleton": {"lock": "locks/one", "mode": "hot"}%s}]}`, fields))
			}
			answers := func(g *gopm, old int) (pid int) {
				t.Helper()
				eventually(t, 3*soon, func() error {
					now, home, err := whoAnswers(url[g])
					if err == nil && (now == old || home != g.home) {
						err = fmt.Errorf("%d of %s answers; it is %+v, and the lock says %q", now, home, g.row("one", 0).Process.Lock, p.consul.value("locks/one"))
					}
					pid = now
					return err
				})
				return pid
			}
			held := func(g *gopm) (pid int) {
				t.Helper()
				eventually(t, 3*soon, func() error {
					row := g.row("one", 0)
					if pid = row.Process.Pid; pid == 0 || !row.Process.Standby || row.Process.Lock.Leads {
						return fmt.Errorf("it is %+v", row.Process)
					}
					return nil
				})
				return pid
			}
			p.a.run("start", "one.json")
			first := answers(p.a, 0)
			p.b.run("start", "one.json")
			second := held(p.b)
			if c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.2:%d", port), 300*time.Millisecond); err == nil {
				c.Close()
				t.Error("it can be connected to before it has the lock")
			}
			began := time.Now()
			p.a.killHard(first)
			if pid := answers(p.b, first); pid != second {
				t.Errorf("%d answers, not %d, which was booted", pid, second)
			}
			t.Logf("the other answers %v after the crash", time.Since(began).Round(time.Millisecond))
			third := held(p.a)
			p.a.killDaemon()
			p.b.killDaemon()
			if pid := answers(p.b, 0); pid != second || held(p.a) != third {
				t.Error("the daemons' death has changed who is active")
			}
			began = time.Now()
			p.b.run("stop", "one")
			if pid := answers(p.a, second); pid != third {
				t.Errorf("%d answers, not %d", pid, third)
			}
			t.Logf("the first answers %v after the stop", time.Since(began).Round(time.Millisecond))
			p.consul.remove("locks/one")
			if pid := answers(p.a, third); pid == third {
				t.Error("who has lost the lock goes on")
			}
		})
	}
}

// TestRoleSingleton: both run, one leads, and knows it.
func TestRoleSingleton(t *testing.T) {
	p := emptyPair(t)
	for _, g := range []*gopm{p.a, p.b} {
		program := g.file("one.sh", `trap 'echo "$GOPM_HOME $$ $(cat $GOPM_ROLE_FILE)" >> "$1/terms"' USR1
echo "$GOPM_HOME $$ $GOPM_ROLE" >> "$1/begun"
while :; do sleep 0.05; done
`)
		g.file("one.json", fmt.Sprintf(`{"apps": [{"name": "one", "script": %q, "args": %q, "interpreter": "bash", "min_uptime": "100ms",
			"singleton": {"lock": "locks/one", "mode": "role", "signal": "SIGUSR1"}}]}`, program, p.dir))
	}
	p.a.run("start", "one.json")
	first := p.active(p.a)
	p.follows(0, time.Now())
	p.b.run("start", "one.json")
	if row := p.b.row("one", 0); row.Process.Status != "online" || row.Process.Lock.Leads {
		t.Errorf("the other is %+v, %+v", row.Process, row.Process.Lock)
	}
	p.a.killDaemon()
	p.active(p.a)
	began := time.Now()
	p.a.killHard(first.Process.Pid)
	if home := p.follows(1, began); home != p.b.home {
		t.Errorf("%s leads", home)
	}
	p.consul.remove("locks/one") // who has it is killed, and either may have it next
	p.follows(2, time.Now())
	for _, term := range p.terms() {
		if len(term) != 4 || term[2] != "leader" {
			t.Errorf("the terms were %v", p.terms())
		}
	}
}

// TestSingletonJob: when it is due one machine runs it, the other skips it.
func TestSingletonJob(t *testing.T) {
	p := emptyPair(t)
	for _, g := range []*gopm{p.a, p.b} {
		program := g.file("one.sh", `echo "$GOPM_HOME $$ $GOPM_FENCE $GOPM_ROLE" >> "$1/terms"`)
		g.file("one.json", fmt.Sprintf(`{"apps": [{"name": "one", "script": %q, "args": %q, "interpreter": "bash", "schedule": "* * * * * *",
			"singleton": "locks/one"}]}`, program, p.dir))
	}
	p.a.run("start", "one.json")
	eventually(t, 2*soon, func() error {
		if len(p.terms()) < 1 {
			return fmt.Errorf("it has not run")
		}
		return nil
	})
	p.b.run("start", "one.json")
	p.b.logSays("is due, and skipped: a:one has the lock locks/one")
	if r := p.b.try("run", "one"); r.code == 0 || !strings.Contains(r.out+r.err, "a:one has the lock locks/one") {
		t.Errorf("it is run where the lock isn't: %s", r)
	}
	p.a.run("stop", "one")
	for _, term := range p.terms() {
		if term[0] != p.a.home || term[3] != "leader" {
			t.Errorf("the runs were %v", p.terms())
		}
	}
	eventually(t, 2*soon, func() error {
		if all := p.terms(); all[len(all)-1][0] != p.b.home {
			return fmt.Errorf("the runs were %v", all)
		}
		return nil
	})
}

// TestSingletonKeeps: with on_lost keep it runs on without its lock, and leads again when
// Consul is back. Then it changes its lock, which starts it again.
func TestSingletonKeeps(t *testing.T) {
	p := newPair(t, `, "on_lost": "keep"`)
	p.a.run("start", "one.json")
	first := p.active(p.a).Process.Pid
	p.consul.Kill()
	eventually(t, 3*soon, func() error {
		if row := p.a.row("one", 0); row.Process.Lock.Leads || row.Process.Pid != first || row.Process.Status != "online" {
			return fmt.Errorf("it is %+v, %+v", row.Process, row.Process.Lock)
		}
		return nil
	})
	must(t, p.consul.BeginEmpty())
	if row := p.active(p.a); row.Process.Pid != first {
		t.Errorf("it was started again: %+v", row.Process)
	}
	if have := p.consul.value("locks/one"); have != "a:one" {
		t.Errorf("the lock says %q", have)
	}
	p.a.edit2("one.json", "locks/one", "locks/two")
	p.a.run("start", "one.json")
	if row := p.active(p.a); row.Process.Pid == first || row.Process.Lock.Key != "locks/two" {
		t.Errorf("it is %+v, %+v", row.Process, row.Process.Lock)
	}
	eventually(t, soon, func() error {
		if have := p.consul.value("locks/one") + p.consul.value("locks/two"); have != "a:one" {
			return fmt.Errorf("the locks say %q", have)
		}
		return nil
	})
}
