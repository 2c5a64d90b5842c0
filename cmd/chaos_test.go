package cmd_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

// Chaos: twenty apps, and everything of gopm and the apps themselves killed at random.

// chaosCast is the twenty apps. Apps that die by themselves, and those that may be
// killed, keep accounts of their runs; web is left alone and must serve all the time.
func chaosCast(port int) (all []role, victims []string) {
	add := func(victim bool, count int, name, flags, fields string) {
		for i := range count {
			r := role{name, flags, fields}
			if count > 1 {
				r.name = fmt.Sprintf("%s%d", name, i)
			}
			if all = append(all, r); victim {
				victims = append(victims, r.name)
			}
		}
	}
	add(false, 1, "web", fmt.Sprintf("-port %d -every 20ms -err", port), "")
	add(true, 6, "logger", "-every 5ms -err", "")
	add(true, 3, "rotated", "-every 5ms -batch 10 -pad 60 -err", `"max_size": "50K", "retain": 0`)
	add(true, 1, "packed", "-every 5ms -batch 10 -pad 60", `"max_size": "100K", "retain": 0, "compress": true`)
	add(true, 1, "flood", "-batch 10 -burst 300 -every 500ms", `"max_size": "1M", "retain": 0`)
	add(true, 1, "slow", "-slow 300ms -every 5ms", `"min_uptime": "500ms"`)
	add(true, 1, "stubborn", "-stubborn -every 20ms", `"kill_timeout": "500ms"`)
	add(false, 2, "crash", "-every 5ms -life 400ms -end 3", "")
	add(false, 1, "abort", "-every 5ms -life 300ms -end KILL", "")
	add(false, 1, "loop", "-end 7 -life 1ms", "")
	add(true, 2, "quiet", "-every 1s -err", "")
	return all, victims
}

// chaosClients are the commands that die at a random moment. What they ask for may
// happen or not; an app is there once all the same.
var chaosClients = []string{
	"ls", "jlist", "info web", "logs --lines 5", "logs logger0 --raw", "restart quiet0", "restart quiet1",
	"restart slow", "start cast.json", "scale logger2 1", "ls --json", "restart stubborn",
}

// diers end by themselves.
var diers = []string{"crash0", "crash1", "abort", "loop"}

const mostBatch = 10 // lines per write of any of them

// chaos is one run.
type chaos struct {
	*gopm
	victims []string
	began   time.Time
	diary   []string
	alone   time.Time            // when the daemon's keeper was killed last
	lives   int                  // daemons killed
	nobody  int                  // how often neither keeper nor daemon was there
	blame   []string             // apps that something is wrong with
	killed  map[string]int       // runs of apps, by us
	asked   map[string]int       // commands that end a run, which may not have noted yet that it began
	hurt    map[string]time.Time // when an app was last made to end
	unsaid  map[string]int       // ends so shortly before the death of both that the disk may not know of them
	unseen  map[string]int       // runs of diers that nobody counts any more
	struck  map[birth]bool       // keepers and daemons that may still be ending
}

func (c *chaos) note(format string, args ...any) {
	c.diary = append(c.diary, fmt.Sprintf("%7.3f ", time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
}

func newChaos(g *gopm, victims []string) *chaos {
	return &chaos{gopm: g, victims: victims, began: time.Now(), killed: map[string]int{}, asked: map[string]int{},
		hurt: map[string]time.Time{}, unsaid: map[string]int{}, unseen: map[string]int{}, struck: map[birth]bool{}}
}

func TestChaos(t *testing.T) {
	g := newGopm(t)
	span := spanOf(t, chaosSwitch, 15*time.Second)
	port := freePort(t)
	roles, victims := chaosCast(port)
	c := newChaos(g, victims)
	t.Cleanup(c.explain)
	g.run("start", g.castFile(roles...), "--no-wait")
	load := newAskers(t, port)
	plan := planFaults(chaosSeed(t), span, [deeds]int{killDaemon: 5, killKeeper: 2, killBoth: 1, killApp: 8, killClient: 4})
	for _, f := range plan {
		<-time.After(f.after)
		c.do(f)
		c.nobodyTwice()
		if t.Failed() {
			break
		}
	}
	c.settle(roles)
	load.end(t)
	c.account(roles)
	t.Logf("%d faults, %d daemons killed", len(plan), c.lives)
	lacks(t, "gopm.log", g.log(), "panic:", "fatal error:", "goroutine ")
}

// explain tells of a failed run what was done and what gopm.log says of it.
func (c *chaos) explain() {
	if !c.Failed() {
		return
	}
	c.Logf("what was done:\n%s", strings.Join(c.diary, "\n"))
	var told strings.Builder
	for line := range strings.Lines(c.log()) {
		about := func(name string) bool { return strings.Contains(line, "Z "+name+":") }
		if slices.ContainsFunc(c.blame, about) || !strings.Contains(line, "(id ") {
			told.WriteString(line)
		}
	}
	c.Logf("gopm.log of %v:\n%s", c.blame, told.String())
}

// wrong is an error with an app.
func (c *chaos) wrong(name, format string, args ...any) {
	c.Helper()
	c.blame = append(c.blame, name)
	c.Errorf(format, args...)
}

// do is one deed.
func (c *chaos) do(f fault) {
	c.Helper()
	switch f.deed {
	case killApp:
		name := c.victims[f.victim%len(c.victims)]
		if runs := c.starts(name); len(runs) > 0 && slices.Contains(c.actorsNow()[name], runs[len(runs)-1].pid) {
			strike(runs[len(runs)-1].pid)
			c.killed[name]++
			c.hurt[name] = time.Now()
			c.note("%v %s, pid %d", f.deed, name, runs[len(runs)-1].pid)
		}
	case killClient:
		c.killClient(chaosClients[f.victim%len(chaosClients)], f.delay)
	case killKeeper:
		keeper := c.keeper()
		c.alone, c.struck[birthOf(keeper)] = time.Now(), true
		strike(keeper)
		c.note("%v %d", f.deed, keeper)
	case killDaemon:
		daemon := c.present()
		c.struck[birthOf(daemon)] = true
		strike(daemon)
		c.lives++
		c.note("%v %d", f.deed, daemon)
	case killBoth:
		keeper, daemon := c.keeper(), c.present()
		c.strikeTwo(keeper, daemon)
		c.lives++
		c.note("%v, keeper %d, daemon %d", f.deed, keeper, daemon)
		c.resurrect()
	}
}

// present is the daemon, waited for. When keeper and daemon were killed within an
// instant of one another nobody starts the next one, and that is a user's to do.
func (c *chaos) present() int {
	c.Helper()
	var daemon int
	eventually(c.T, soon, func() error {
		if daemon = c.daemonNow(); daemon != 0 && !c.struck[birthOf(daemon)] {
			return nil
		}
		if daemon == 0 && c.keeperNow() == 0 && time.Since(c.alone) < 3*time.Second {
			c.note("no keeper and no daemon")
			c.resurrect()
		}
		lock, _ := os.ReadFile(c.home + "/gopm.lock") // whatever is there
		return fmt.Errorf("no daemon; keeper %d; gopm.lock has %q; there run %v", c.keeperNow(), lock, belongingTo(c.home))
	})
	return daemon
}

// keeper is the keeper, waited for.
func (c *chaos) keeper() int {
	c.Helper()
	var keeper int
	eventually(c.T, soon, func() error {
		c.present() // it may turn out that its death comes just after that of the keeper
		if keeper = c.keeperNow(); keeper == 0 || c.struck[birthOf(keeper)] {
			return fmt.Errorf("no keeper; the last was %d", keeper)
		}
		return nil
	})
	return keeper
}

func (c *chaos) resurrect() {
	c.Helper()
	c.nobody++
	for name, at := range c.hurt {
		if time.Since(at) < time.Second {
			c.unsaid[name]++
		}
	}
	c.compareWithDisk()
	if r := c.try("resurrect"); r.code != 0 {
		c.Errorf("resurrect: %v", r)
	}
}

// staleState is how old the state on disk may be on a busy machine.
const staleState = 2 * time.Second

// compareWithDisk looks, while neither keeper nor daemon is there, which runs of diers the
// state on disk does not have: those that have begun just before, and will never be counted.
func (c *chaos) compareWithDisk() {
	c.Helper()
	state, err := api.Home{Dir: c.home}.LoadState()
	must(c.T, err)
	for _, a := range state.Apps {
		name := a.Spec.Name
		if !slices.Contains(diers, name) {
			continue
		}
		eventually(c.T, soon, func() error { // who was just being started
			for _, pid := range c.actorsNow()[name] {
				if !slices.ContainsFunc(c.starts(name), func(b begun) bool { return b.pid == pid }) {
					return fmt.Errorf("%s, pid %d, has not begun its account", name, pid)
				}
			}
			return nil
		})
		runs := c.starts(name)
		unseen := len(runs) - 1 - a.Instances[0].Process.Restarts
		if late := unseen - c.unseen[name]; late > 1 {
			if age := runs[len(runs)-1].at.Sub(runs[len(runs)-late].at); age > staleState {
				c.wrong(name, "%s: the state on disk lacks the last %d runs, of %v", name, late, age)
			}
		}
		c.unseen[name] = max(unseen, 0)
	}
}

func (c *chaos) killClient(line string, after time.Duration) {
	c.Helper()
	if name, is := strings.CutPrefix(line, "restart "); is {
		c.asked[name]++
		c.hurt[name] = time.Now()
	}
	cmd := c.command(strings.Fields(line)...)
	must(c.T, cmd.Start())
	<-time.After(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	c.note("%v: gopm %s after %v: %v", killClient, line, after, cmd.ProcessState)
}

// nobodyTwice fails when an app runs twice now.
func (c *chaos) nobodyTwice() {
	c.Helper()
	for name, pids := range c.actorsNow() {
		if len(pids) > 1 {
			c.wrong(name, "%s runs as %v; its runs: %v", name, pids, c.starts(name))
		}
	}
}

// settle waits until every app is where it should be: all online but the one that
// can't stay, and those that die by themselves stopped.
func (c *chaos) settle(roles []role) {
	c.Helper()
	c.present()
	for _, name := range []string{"crash0", "crash1", "abort"} {
		c.run("stop", name)
		c.asked[name]++
	}
	eventually(c.T, 3*soon, func() error {
		running := c.actorsNow()
		for _, e := range c.list() {
			want := "online"
			switch e.Name {
			case "crash0", "crash1", "abort":
				want = "stopped"
			case "loop":
				continue
			}
			pids, runs := running[e.Name], c.starts(e.Name)
			if want == "online" && (len(runs) == 0 || runs[len(runs)-1].pid != e.Pid) {
				return fmt.Errorf("%v has not begun its account", e)
			}
			if e.Env.Status != want || want == "online" && (len(pids) != 1 || pids[0] != e.Pid) || want == "stopped" && len(pids) > 0 {
				return fmt.Errorf("want it %s: %v; there run %v", want, e, pids)
			}
		}
		return nil
	})
	if all := c.list(); len(all) != len(roles) {
		c.Errorf("%d apps, want %d: %v", len(all), len(roles), all)
	}
}

// account compares what gopm says with the accounts, the state file and the files.
func (c *chaos) account(roles []role) {
	c.Helper()
	c.run("stop", "loop")
	c.asked["loop"]++
	all := c.list()
	for _, e := range all {
		runs := len(c.starts(e.Name))
		unseen := c.unsaid[e.Name] // runs that began and ended between the last word on disk and the death of both
		if slices.Contains(diers, e.Name) {
			unseen = max(c.nobody, c.unseen[e.Name])
		}
		if more := e.Env.Restarts + 1 - runs; more < -unseen || more > c.asked[e.Name] {
			c.wrong(e.Name, "%v: it ran %d times", e, runs)
		}
		deaths := c.killed[e.Name]
		if more := runs - 1 - deaths; !slices.Contains(diers, e.Name) && (more < 0 || more > c.asked[e.Name]) {
			c.wrong(e.Name, "%v: it ran %d times, was killed %d times and told to restart %d times", e, runs, deaths, c.asked[e.Name])
		}
	}
	eventually(c.T, soon, func() error { return c.stateIs(all) })
	c.run("kill")
	if left := belongingTo(c.home); len(left) > 0 {
		c.Errorf("left by gopm kill: %v", left)
	}
	for _, r := range roles {
		for _, stderr := range []bool{false, true} {
			cut, err := c.cutRuns(r.name, stderr, mostBatch)
			if err != nil {
				c.wrong(r.name, "%v", err)
			}
			if len(cut) > c.nobody {
				c.wrong(r.name, "%d times nobody was there: %s", c.nobody, strings.Join(cut, "; "))
			}
		}
	}
}

// stateIs compares the state file with what the daemon tells.
func (g *gopm) stateIs(all []entry) error {
	state, err := api.ReadState(g.home + "/state.json")
	if err != nil {
		return err
	}
	saved, told := map[string]string{}, map[string]string{}
	for _, a := range state.Apps {
		for _, in := range a.Instances {
			saved[a.Spec.Name] = fmt.Sprintf("%d %s pid %d restarts %d", in.ID, in.Process.Status, in.Process.Pid, in.Process.Restarts)
		}
	}
	for _, e := range all {
		told[e.Name] = fmt.Sprintf("%d %s pid %d restarts %d", e.ID, e.Env.Status, e.Pid, e.Env.Restarts)
	}
	if !maps.Equal(saved, told) {
		return fmt.Errorf("state.json: %v\ntold: %v", saved, told)
	}
	return nil
}
