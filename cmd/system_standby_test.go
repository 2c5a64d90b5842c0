package cmd_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopm/bench/load"
)

// flows starts an app of two instances that are told which of them is active, and
// returns where they listen.
func (g *gopm) flows(standby string) (url string) {
	g.Helper()
	text, err := os.ReadFile("testdata/flows.js")
	must(g.T, err)
	port := freePort(g.T)
	g.run("start", g.file("flows.json", fmt.Sprintf(`{"apps": [{"name": "flows", "script": %q, "args": "%d %s", "port": %d,
		"exec_mode": "cluster", "instances": 1, "spares": 1, "min_uptime": "100ms", "standby": %s}]}`,
		g.file("flows.js", string(text)), port, filepath.Join(g.dir, "refuse"), port, standby)))
	return fmt.Sprintf("http://127.0.0.1:%d/", port)
}

const flowState = `{"promote": {"http": {"url": "http://127.0.0.1:{port}/flows/state", "body": {"state": "start"}}, "timeout": "5s"},
	"demote": {"http": {"url": "http://127.0.0.1:{port}/flows/state", "body": {"state": "stop"}}}}`

// whoAnswers is the process that answers, and what it believes to be.
func whoAnswers(url string) (pid int, state string, err error) {
	client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, "", err
	}
	number, state, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err = strconv.Atoi(number)
	return pid, state, err
}

// awaitActive waits until another process than the old one is active.
func awaitActive(t *testing.T, url string, old int) (pid int) {
	t.Helper()
	eventually(t, 3*soon, func() error {
		now, state, err := whoAnswers(url)
		if err == nil && (now == old || state != "start") {
			err = fmt.Errorf("%d answers, %s; want another than %d, and started", now, state, old)
		}
		pid = now
		return err
	})
	return pid
}

// TestOneIsToldThatItIsActive: it gets all connections; the other runs, and is told when
// the first is dead.
func TestOneIsToldThatItIsActive(t *testing.T) {
	g := newGopm(t)
	url := g.flows(flowState)
	first := awaitActive(t, url, 0)
	g.awaitSpares("flows", 1, 1)
	contains(t, "info", g.run("info", "flows"), "standby: others get the connections")
	for range 10 {
		if pid, state, err := whoAnswers(url); err != nil || pid != first || state != "start" {
			t.Fatalf("%d answers, %s, %v, want %d", pid, state, err, first)
		}
	}
	g.killHard(first)
	second := awaitActive(t, url, first)
	g.awaitSpares("flows", 1, 1)

	g.run("reload", "flows")
	third := awaitActive(t, url, second)
	if third == first {
		t.Error("the reload has brought back the dead")
	}
	g.awaitSpares("flows", 1, 1)
	log := g.run("logs", "flows", "--nostream", "--lines", "50")
	if n := strings.Count(log, "start "); n < 3 {
		t.Errorf("%d were told to start, want 3:\n%s", n, log)
	}
	if n := strings.Count(log, "stop "); n != 1 {
		t.Errorf("%d were told to stop, want the one that was active at the reload:\n%s", n, log)
	}
	starts, stops := moments(log, "start "), moments(log, "stop ")
	if len(stops) != 1 || len(starts) != 3 || starts[1] > stops[0] || stops[0] > starts[2] {
		t.Errorf("told to start at %v and to stop at %v", starts, stops)
	}
	if n := strings.Count(g.log(), "is active: it was told within"); n != 3 {
		t.Errorf("the log says so %d times, want 3:\n%s", n, g.log())
	}
}

// TestTheActiveOneIsExchangedWithoutALoss: who connects meanwhile waits, and is answered by the next one.
func TestTheActiveOneIsExchangedWithoutALoss(t *testing.T) {
	g := newGopm(t)
	url := g.flows(flowState)
	first := awaitActive(t, url, 0)
	g.awaitSpares("flows", 1, 1)
	target := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")
	noneFailed(t, underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
		for range 2 {
			g.run("reload", "flows")
			first = awaitActive(t, url, first)
			g.awaitSpares("flows", 1, 1)
		}
	}))
}

// moments are the numbers that follow a word in a log, the smallest first.
func moments(log, word string) (all []int) {
	for line := range strings.Lines(log) {
		if _, after, is := strings.Cut(line, word); is {
			n, _ := strconv.Atoi(strings.TrimSpace(after)) // else 0, which is never between
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// TestTheActiveOneIsStopped: by hand, and then deleted; another is active each time.
func TestTheActiveOneIsStopped(t *testing.T) {
	g := newGopm(t)
	url := g.flows(flowState)
	first := awaitActive(t, url, 0)
	idOf := func(pid int) string {
		for _, in := range g.places("flows") {
			if in.Process.Pid == pid {
				return fmt.Sprint(in.ID)
			}
		}
		t.Fatalf("nobody is %d", pid)
		return ""
	}
	id := idOf(first)
	g.run("stop", id)
	second := awaitActive(t, url, first)
	g.run("start", id)
	g.awaitSpares("flows", 1, 1)
	if pid, _, err := whoAnswers(url); err != nil || pid != second {
		t.Errorf("%d answers, %v, want %d still", pid, err, second)
	}
	g.run("delete", idOf(second))
	awaitActive(t, url, second)
	g.run("stop", "flows")
	if _, _, err := whoAnswers(url); err == nil {
		t.Error("a stopped app answers")
	}
}

// TestOneRefusesToBeActive: the active one dies, the other refuses and is replaced, and
// the successor of the dead one is.
func TestOneRefusesToBeActive(t *testing.T) {
	g := newGopm(t)
	url := g.flows(flowState)
	first := awaitActive(t, url, 0)
	g.awaitSpares("flows", 1, 1)
	before := g.places("flows")
	dies, other := 0, 1
	if before[1].Process.Pid == first {
		dies, other = 1, 0
	}
	refuses := filepath.Join(g.dir, fmt.Sprint("refuse", other))
	must(t, os.WriteFile(refuses, nil, 0o644))
	g.killHard(first)
	second := awaitActive(t, url, first)
	if now := g.places("flows"); now[dies].Process.Pid != second {
		t.Errorf("%d is active, want the successor of %d: %+v", second, first, now)
	}
	contains(t, "log", g.log(), fmt.Sprintf("flows:%d (id %d) stopping: promote: ", other, before[other].ID), "500 Internal Server Error not now")
	must(t, os.Remove(refuses))
	g.awaitSpares("flows", 1, 1)
	if now := g.places("flows"); now[other].Process.Pid == before[other].Process.Pid {
		t.Errorf("who refused is still %d", now[other].Process.Pid)
	}
	g.killHard(second)
	third := awaitActive(t, url, second)
	if now := g.places("flows"); now[other].Process.Pid != third {
		t.Errorf("%d is active, want the one that refused before: %+v", third, now)
	}
}

// TestActiveByCommand: the hook is a command, which is told whom it is about.
func TestActiveByCommand(t *testing.T) {
	g := newGopm(t)
	told := filepath.Join(g.dir, "told")
	url := g.flows(fmt.Sprintf(`{"promote": {"exec": "echo $GOPM_INSTANCE $GOPM_PID $PORT >> %s"}}`, told))
	var first int
	eventually(t, 2*soon, func() error {
		text, err := os.ReadFile(told)
		if err != nil {
			return err
		}
		words := strings.Fields(string(text))
		if len(words) != 3 || !strings.Contains(url, ":"+words[2]+"/") {
			return fmt.Errorf("it was told %q", text)
		}
		first, err = strconv.Atoi(words[1])
		return err
	})
	eventually(t, soon, func() error {
		if pid, _, err := whoAnswers(url); err != nil || pid != first {
			return fmt.Errorf("%d answers, %v, want %d", pid, err, first)
		}
		return nil
	})
}

// TestTheActiveOneOutlivesTheDaemon, and nobody else is told meanwhile.
func TestTheActiveOneOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	url := g.flows(flowState)
	first := awaitActive(t, url, 0)
	g.awaitSpares("flows", 1, 1)
	daemon, _ := g.daemon()
	g.killHard(daemon)
	g.awaitSpares("flows", 1, 1)
	for began := time.Now(); time.Since(began) < 2*time.Second; {
		if pid, state, err := whoAnswers(url); err != nil || pid != first || state != "start" {
			t.Fatalf("%d answers, %s, %v, want %d", pid, state, err, first)
		}
	}
	log := g.run("logs", "flows", "--nostream", "--lines", "50")
	if n := strings.Count(log, "start "); n != 1 {
		t.Errorf("%d were told to start, want 1:\n%s", n, log)
	}
	g.killHard(first)
	awaitActive(t, url, first)
}

// TestTheDaemonDiesWhileItTells: the next one tells the same process once more, and
// nobody else.
func TestTheDaemonDiesWhileItTells(t *testing.T) {
	g := newGopm(t)
	told, goOn, hook := filepath.Join(g.dir, "told"), filepath.Join(g.dir, "go-on"), filepath.Join(g.dir, "hook")
	url := g.flows(fmt.Sprintf(`{"promote": {"exec": "echo $GOPM_INSTANCE $GOPM_PID >> %s; test -e %s || { echo $$ > %s; exec tail -f /dev/null; }", "timeout": "5s"}}`, told, goOn, hook))
	lines := func() []string {
		text, _ := os.ReadFile(told) // none yet: no lines
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	eventually(t, 2*soon, func() error {
		_, err := os.Stat(hook)
		return err
	})
	daemon, _ := g.daemon()
	must(t, os.WriteFile(goOn, nil, 0o644))
	g.killHard(daemon)
	eventually(t, 2*soon, func() error {
		if n := len(lines()); n < 2 {
			return fmt.Errorf("%d told: %q", n, lines())
		}
		return nil
	})
	g.awaitSpares("flows", 1, 1)
	if all := lines(); len(all) != 2 || all[0] != all[1] {
		t.Errorf("told: %q, want the same one twice", all)
	}
	eventually(t, soon, func() error {
		if pid, _, err := whoAnswers(url); err != nil || !strings.HasSuffix(lines()[0], fmt.Sprint(" ", pid)) {
			return fmt.Errorf("%d answers, %v; told: %q", pid, err, lines())
		}
		return nil
	})
	text, err := os.ReadFile(hook)
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	eventually(t, 2*soon, gone(pid)) // the command that nobody waits for any more
}

// TestNobodyIsStartedForNothing: the successor of a dead active one waits for the other to be active. An app that is
// stopped meanwhile has started none.
func TestNobodyIsStartedForNothing(t *testing.T) {
	g := newGopm(t)
	told, first := filepath.Join(g.dir, "told"), 0
	url := g.flows(fmt.Sprintf(`{"promote": {"exec": "echo $GOPM_PID >> %s; test $(wc -l < %s) = 1 || exec tail -f /dev/null", "timeout": "30s"}}`, told, told))
	eventually(t, 2*soon, func() (err error) {
		first, _, err = whoAnswers(url)
		return err
	})
	g.awaitSpares("flows", 1, 1)
	g.killHard(first)
	eventually(t, soon, func() error {
		if text, err := os.ReadFile(told); err != nil || strings.Count(string(text), "\n") < 2 {
			return fmt.Errorf("the other isn't being told: %q, %v", text, err)
		}
		return nil
	})
	g.run("stop", "flows")
	before, after, stopped := strings.Cut(g.log(), " stopping\n")
	if !stopped || strings.Contains(after, "launching, pid ") {
		t.Errorf("a process was started after the stop:\n%s", g.log())
	}
	if strings.Count(before, "launching, pid ") > 2 {
		t.Log("this machine is so slow that the successor didn't wait any more")
	}
}
