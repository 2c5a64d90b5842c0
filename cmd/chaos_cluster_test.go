package cmd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// Chaos with clustered apps: whatever of gopm and of the apps is killed, stopped,
// reloaded, scaled or updated meanwhile, who connects is served. Only what a process
// had accepted ends with it.

// storm is one run.
type storm struct {
	*chaos
	binary  *installed
	newer   string
	current int // which binary is installed
	crowds  []*crowd
	died    time.Time // when gopm was killed last
	ballast time.Time // when the disk was filled; zero: it isn't
	orders  sync.WaitGroup
	diaries sync.Mutex
	done    [deeds]int
}

// say notes something in the diary; orders do that, too.
func (s *storm) say(format string, args ...any) {
	s.diaries.Lock()
	defer s.diaries.Unlock()
	s.note(format, args...)
}

func TestChaosCluster(t *testing.T) {
	g := newGopm(t)
	span := spanOf(t, chaosSwitch, 10*time.Second)
	weights := [deeds]int{killDaemon: 6, killKeeper: 2, killBoth: 1, killInstance: 10, stopInstance: 3, reloadApp: 4, reloadBad: 2, scaleApp: 3, updateBinary: 1}
	if os.Geteuid() == 0 { // who may make a small disk
		g.onSmallDisk(64)
		weights[fillDisk] = 1
	}
	newer, err := buildNewer()
	must(t, err)
	s := &storm{chaos: newChaos(g, nil), binary: ownBinary(g), newer: newer, crowds: chaosCrowds(t)}
	t.Cleanup(s.explain)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer s.orders.Wait()
	for _, c := range s.crowds {
		s.blame = append(s.blame, c.name)
		g.run("start", c.file(g, c.target))
	}
	s.calm()
	before := s.files()
	for _, c := range s.crowds {
		c.ask(ctx)
	}
	plan := planFaults(chaosSeed(t), span, weights)
	for _, f := range plan {
		<-time.After(f.after)
		s.strike(f)
		if t.Failed() {
			break
		}
	}
	s.orders.Wait()
	s.relieve()
	s.calm()
	s.rollAll()
	s.count()
	s.calm()
	s.sameFiles(before)
	t.Logf("%d faults: %v", len(plan), s.did())
	lacks(t, "gopm.log", g.log(), "panic:", "fatal error:", "goroutine ")
}

// did says how often each deed was done.
func (s *storm) did() (all []string) {
	for d := range deeds {
		if s.done[d] > 0 {
			all = append(all, fmt.Sprintf("%d %v", s.done[d], d))
		}
	}
	return all
}

// strike is one deed.
func (s *storm) strike(f fault) {
	s.Helper()
	c := s.crowds[f.victim%len(s.crowds)]
	pick := f.victim / len(s.crowds)
	if !s.ballast.IsZero() && time.Since(s.ballast) > time.Second {
		s.relieve()
	}
	s.done[f.deed]++
	switch f.deed {
	case killInstance:
		s.killInstance(c, pick)
	case stopInstance:
		s.stopInstance(s.crowds[1], pick)
	case reloadApp:
		s.order(c, "", "reload", c.name)
	case reloadBad:
		s.order(c, nowhere, "reload", filepath.Join(s.dir, c.name+".json"))
	case scaleApp:
		s.order(c, "", "scale", c.name, strconv.Itoa(2+pick%3))
	case updateBinary:
		s.update()
	case fillDisk:
		s.say("%v", f.deed)
		s.fill()
		s.ballast = time.Now()
	default:
		if f.deed == killBoth {
			s.relieve() // or nothing can be resurrected
		}
		s.heedDeaths(func() { s.do(f) })
		s.died = time.Now()
	}
}

// heedDeaths notes if neither keeper nor daemon is found to be there: killed at once, or
// the second one before the first had a successor.
func (s *storm) heedDeaths(do func()) {
	s.Helper()
	s.diaries.Lock()
	defer s.diaries.Unlock()
	before, died := s.nobody, time.Now()
	do()
	if s.nobody > before {
		if died.After(s.died) && !s.died.IsZero() {
			died = s.died
		}
		for _, c := range s.crowds {
			c.nobodyThere(died, time.Now().Add(comeBack))
		}
	}
}

// comeBack is how long apps take, at most, to serve again after the death of both: who
// was about to listen then can't, and is started again.
const comeBack = 4 * time.Second

func (s *storm) killInstance(c *crowd, pick int) {
	if all := c.processes(); len(all) > 0 {
		pid := all[pick%len(all)]
		over := c.hurt(fmt.Sprintf("kill of %d", pid))
		strike(pid)
		eventually(s.T, soon, ended(pid))
		over()
		s.say("kill %s, pid %d of %v", c.name, pid, all)
	}
}

// rarely is how often processes of one app may be stopped: three that hang one after
// the other on one queue have it given up.
const rarely = 15 * chaosHang

// stopInstance stops a process that serves.
func (s *storm) stopInstance(c *crowd, pick int) {
	c.mu.Lock()
	soonAgain := time.Since(c.stopped) < rarely
	c.mu.Unlock()
	all := slices.DeleteFunc(c.processes(), func(pid int) bool { return !serves(pid) })
	if soonAgain || len(all) == 0 {
		return
	}
	pid := all[pick%len(all)]
	c.mu.Lock()
	c.stopped = time.Now()
	c.mu.Unlock()
	over := c.hurt(fmt.Sprintf("stop of %d", pid))
	if syscall.Kill(pid, syscall.SIGSTOP) != nil {
		over()
		return
	}
	s.say("stop %s, pid %d of %v", c.name, pid, all)
	s.orders.Go(func() { // ends when it has been found out; waited for at the end of the storm
		defer over()
		if err := within(3*soon, gone(pid)); err != nil {
			s.Errorf("%s: pid %d was stopped and nobody has found out: %v", c.name, pid, err)
			strike(pid)
		}
		s.say("%s, pid %d, was found out", c.name, pid)
	})
}

// within waits like eventually, in any goroutine.
func within(limit time.Duration, check func() error) error {
	deadline := time.After(limit)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-deadline:
			return err
		case <-tick.C:
		}
	}
}

// order gives a command that changes an app, while everything else goes on. It may fail:
// the daemon may be killed under it. A bad version has to.
func (s *storm) order(c *crowd, address string, args ...string) {
	if !c.busy.TryLock() {
		return
	}
	bad := address != ""
	if bad {
		c.file(s.gopm, address)
	}
	cmd := s.command(args...)
	s.say("gopm %s begins", strings.Join(args, " "))
	s.orders.Go(func() { // ends with the command; waited for at the end of the storm
		defer c.busy.Unlock()
		r, err := s.finish(cmd)
		if err != nil || bad && r.code == 0 || strings.Contains(r.err, "panic:") {
			s.Errorf("gopm %s: %v, %v", strings.Join(args, " "), err, r)
		}
		if bad {
			c.file(s.gopm, c.target)
		}
		s.say("gopm %s: %d, %s", strings.Join(args, " "), r.code, strings.ReplaceAll(strings.TrimSpace(r.out+r.err), "\n", " | "))
	})
}

func (s *storm) update() {
	s.current = 1 - s.current
	s.binary.install([]string{s.binary.first, s.newer}[s.current], 0o755)
	daemon := birthOf(s.daemonNow())
	r := s.try("update")
	s.say("gopm update: %d, %s", r.code, strings.ReplaceAll(strings.TrimSpace(r.out+r.err), "\n", " | "))
	if r.code == 0 {
		s.struck[daemon] = true
	}
}

// relieve makes room on the disk again.
func (s *storm) relieve() {
	if !s.ballast.IsZero() {
		must(s.T, os.Remove(s.home+"/ballast"))
		s.ballast = time.Time{}
		s.say("there is room again")
	}
}

// calm waits until everything is as the configurations say: so many processes of each
// app, those that gopm knows, and all that are no spares are reached.
func (s *storm) calm() {
	s.Helper()
	s.heedDeaths(func() { s.present() })
	for _, c := range s.crowds {
		eventually(s.T, 3*soon, func() error {
			r := s.try("start", c.file(s.gopm, c.target))
			if r.code != 0 {
				return fmt.Errorf("start of %s: %v", c.name, r)
			}
			return nil
		})
		active := s.awaitSpares(c.name, c.instances, c.spares)
		eventually(s.T, 3*soon, func() error {
			var known []int
			for _, in := range s.places(c.name) {
				known = append(known, in.Process.Pid)
			}
			slices.Sort(known)
			running := c.processes()
			slices.Sort(running)
			if !slices.Equal(known, running) {
				return fmt.Errorf("%s: there run %v, gopm knows %v", c.name, running, known)
			}
			return nil
		})
		eventually(s.T, 2*soon, func() error { return c.reaches(active) })
	}
}

// rollAll reloads every app once more, in peace: who gets connections that aren't meant
// for it can't be drained.
func (s *storm) rollAll() {
	s.Helper()
	for _, c := range s.crowds {
		out := s.run("reload", c.name)
		if strings.Contains(out, " cut") && !c.kept { // clients that are never quiet for long are cut off in the end
			s.Errorf("in peace a reload cuts requests: %s", out)
		}
	}
}

// count ends the loads and judges what was lost.
func (s *storm) count() {
	s.Helper()
	for _, c := range s.crowds {
		for _, a := range c.loads {
			a.driver.Stop()
		}
	}
	for _, c := range s.crowds {
		for _, a := range c.loads {
			r := a.driver.Wait()
			s.judge(c, a, r)
			log := s.accountOf(c)
			done, err := r.Audit(strings.NewReader(log))
			must(s.T, err)
			s.Logf("%s: %s; %s", c.name, r.Text(), done.Text())
			if len(done.Twice) > 0 {
				s.Errorf("%s: executed twice: %v", c.name, done.Twice)
			}
		}
	}
}

// accountOf is what all instances of an app have written, also those that are gone.
func (s *storm) accountOf(c *crowd) string {
	s.Helper()
	var text strings.Builder
	paths, err := filepath.Glob(s.home + "/logs/" + c.name + "-out*")
	must(s.T, err)
	for _, path := range paths {
		log, err := os.ReadFile(path)
		must(s.T, err)
		text.Write(log)
	}
	return text.String()
}

// judge holds each loss against the harm that was done.
func (s *storm) judge(c *crowd, a *asking, r load.Result) {
	s.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	late := 2 + r.IdleClosed/50 // requests that crossed the end of a connection that was kept
	var bad []string
	for _, f := range r.Failures {
		at := a.began.Add(f.After)
		excuse := c.excuse(at, f.Kind)
		s.say("%s: at %.3f %v (%s)", c.name, at.Sub(s.began).Seconds(), f, excuse)
		if excuse != "" {
			continue
		}
		if strings.Contains(f.Kind, "reused") {
			if late--; late >= 0 {
				continue
			}
		}
		bad = append(bad, fmt.Sprintf("at %.3f %v", at.Sub(s.began).Seconds(), f))
	}
	if n := len(bad); n > 0 {
		s.Errorf("%s: %d were lost though nobody had harmed a process:\n%s", c.name, n, strings.Join(bad[:min(n, 10)], "\n"))
	}
}

// files are the numbers of descriptors of daemon and keeper.
func (s *storm) files() (all [2][]string) {
	s.Helper()
	for i, pid := range []int{s.present(), s.keeper()} {
		all[i] = openFiles(s.T, pid)
	}
	return all
}

// sameFiles compares them with those at the beginning: as many of each kind, give or take
// a few that come and go.
func (s *storm) sameFiles(before [2][]string) {
	s.Helper()
	const comeAndGo = 6
	var now [2][]string
	err := within(soon, func() error {
		now = s.files()
		for i, name := range []string{"daemon", "keeper"} {
			if more := len(now[i]) - len(before[i]); more > comeAndGo {
				return fmt.Errorf("the %s has %d descriptors more than at the start", name, more)
			}
		}
		return nil
	})
	if err != nil {
		s.Errorf("%v\nnow: %v\nbefore: %v", err, now, before)
	}
	s.Logf("descriptors: %d and %d, at the start %d and %d", len(now[0]), len(now[1]), len(before[0]), len(before[1]))
}
