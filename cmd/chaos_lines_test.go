package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// flows are apps whose lines go all the ways that lines can go without entering the
// daemon's memory.
var flows = []struct {
	role
	batch int // lines per write
}{
	{role{"raw", "-every 1ms -err", ""}, 1},
	{role{"rotated", "-every 1ms -batch 10 -pad 40 -err", `"max_size": "100K", "retain": 0`}, 10},
	{role{"packed", "-every 2ms -batch 10 -pad 40", `"max_size": "300K", "retain": 0, "compress": true`}, 10},
	{role{"flood", "-batch 150 -burst 400 -every 400ms", `"max_size": "8M", "retain": 0`}, 150},
	{role{"flood2", "-batch 150 -burst 200 -every 300ms", `"retain": 0`}, 150},
}

// framed are apps whose lines pass through the daemon's memory: with each of its
// deaths a batch is at risk.
var framed = []role{
	{"timed", "-every 1ms", `"time": true, "max_size": "100K", "retain": 0`},
	{"buffered", "-every 1ms", `"log_buffered": true`},
}

// Lines flow while the daemon is killed again and again: nobody notices. The long
// form has at least 40 kills and two million lines.
func TestChaosLines(t *testing.T) {
	g := newGopm(t)
	span := spanOf(t, chaosSwitch, 8*time.Second)
	roles := slices.Clone(framed)
	for _, f := range flows {
		roles = append(roles, f.role)
	}
	g.cast(roles...)
	plan := planFaults(chaosSeed(t), span, [deeds]int{1})
	follower := g.followLines("rotated")
	slowest := g.killDaemons(plan)
	follower.end()
	if usual := g.slowestList(20); slowest > max(time.Second, 5*usual) {
		t.Errorf("gopm jlist took %v after a kill, want at most 1s (without one %v)", slowest, usual)
	}
	for _, e := range g.list() {
		if e.Env.Restarts != 0 || e.Env.Status != "online" {
			t.Errorf("after the kills: %v", e)
		}
	}
	g.run("kill")
	total := 0
	for _, f := range flows {
		out, err := g.wrote(f.name, 0)
		total += out + err
		for _, stderr := range []bool{false, true} {
			if err := g.complete(f.name, stderr, f.batch); err != nil {
				t.Error(err)
			}
		}
	}
	for _, r := range framed {
		g.fewGaps(r.name, len(plan))
	}
	t.Logf("%d kills, %d lines, slowest answer %v", len(plan), total, slowest)
	if span >= 40*time.Second && (len(plan) < 40 || total < 2_000_000) {
		t.Errorf("%d kills and %d lines, want 40 and two million", len(plan), total)
	}
}

// fewGaps reads an app's lines, which may have something before them: in order, none
// twice, and as many gaps as there were deaths at most.
func (g *gopm) fewGaps(name string, deaths int) {
	g.Helper()
	next, gaps, missing := 0, 0, 0
	for _, path := range g.logFiles(g.home + "/logs/" + name + "-out.log") {
		text, err := os.ReadFile(path)
		must(g.T, err)
		for line := range bytes.Lines(text) {
			_, n, ok := parseLine(line[max(0, bytes.Index(line, []byte(name))):], name)
			if !ok || n < next {
				g.Errorf("%s: %q where line %d was due", filepath.Base(path), line, next)
				return
			}
			if n > next {
				gaps++
				missing += n - next
			}
			next = n + 1
		}
	}
	if wrote, _ := g.wrote(name, 0); gaps > deaths || next < wrote {
		g.Errorf("%s: %d gaps with %d lines, %d deaths; the last of %d lines is %d", name, gaps, missing, deaths, wrote, next-1)
	}
	g.Logf("%s: %d of %d lines lost in %d gaps", name, missing, next, gaps)
}

// lineFollower is a gopm logs whose output goes into a file.
type lineFollower struct {
	g    *gopm
	name string
	cmd  *exec.Cmd
	out  *os.File
	err  locked
}

// followLines follows what an actor writes to stdout, from now on.
func (g *gopm) followLines(name string) *lineFollower {
	g.Helper()
	f := &lineFollower{g: g, name: name, cmd: g.command("logs", name, "--raw", "--out", "--lines", "1")}
	var err error
	f.out, err = os.Create(g.dir + "/followed")
	must(g.T, err)
	f.cmd.Stdout, f.cmd.Stderr = f.out, &f.err
	must(g.T, f.cmd.Start())
	g.Cleanup(func() {
		_ = f.cmd.Process.Kill() // has no effect after end
		_ = f.cmd.Wait()
		f.out.Close()
	})
	return f
}

// end waits for the line that is the newest now. All since the first must have been
// shown once and in order.
func (f *lineFollower) end() {
	f.g.Helper()
	newest, _ := f.g.wrote(f.name, 0)
	first, next := -1, 0
	eventually(f.g.T, soon, func() error {
		text, err := os.ReadFile(f.out.Name())
		must(f.g.T, err)
		first, next = -1, 0
		for line := range bytes.Lines(text) {
			run, n, ok := parseLine(line, f.name)
			if first < 0 {
				first, next = n, n
			}
			if !ok || run != 0 || n != next {
				f.g.Fatalf("gopm logs: %.80q where line %d was due; it said %s", line, next, f.err.String())
			}
			next++
		}
		if next < newest {
			return fmt.Errorf("gopm logs %s ended at line %d of %d; it said %s", f.name, next, newest, f.err.String())
		}
		return nil
	})
	f.g.Logf("gopm logs showed the lines %d to %d", first, next-1)
}

// slowestList is the longest of some lists, on a machine that may be busy.
func (g *gopm) slowestList(times int) (slowest time.Duration) {
	g.Helper()
	for range times {
		began := time.Now()
		g.list()
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}

// killDaemons kills one daemon after the other; each next one must know the same
// processes. It returns the longest time until a list was answered.
func (g *gopm) killDaemons(plan []fault) (slowest time.Duration) {
	g.Helper()
	pids := fmt.Sprint(g.pids())
	old := 0
	for i, f := range plan {
		<-time.After(f.after)
		old = g.another("daemon", g.daemonNow, old)
		strike(old)
		began := time.Now()
		now := fmt.Sprint(g.pids())
		slowest = max(slowest, time.Since(began))
		if now != pids {
			g.Fatalf("kill %d: pids %v, before %v", i, now, pids)
		}
	}
	return slowest
}
