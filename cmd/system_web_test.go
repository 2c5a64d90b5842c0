package cmd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gopm/bench/load"
)

// The test servers (testdata/web*): the same one as a static program, for node and for Python. They answer with who
// they are, and keep an account of what they have executed when started with -account.

// webKinds are all there are.
var webKinds = []string{"go", "node", "python"}

// buildWeb builds the static one into the toolbox, once.
var buildWeb = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(toolbox, "web")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "gopm/cmd/testdata/web")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return binary, nil
})

// web is the path of a test server that every user may run.
func (g *gopm) web(kind string) string {
	g.Helper()
	var source string
	switch kind {
	case "go":
		binary, err := buildWeb()
		must(g.T, err)
		return binary
	case "node":
		source = "web.js"
	case "python":
		source = "web.py"
	default:
		g.Fatalf("no test server %q", kind)
	}
	text, err := os.ReadFile("testdata/" + source)
	must(g.T, err)
	return g.file(source, string(text))
}

// webApp is the JSON of an app that is a test server; fields are those beside name, script and args.
func (g *gopm) webApp(name, kind, args, fields string) string {
	g.Helper()
	text := fmt.Sprintf(`"name": %q, "script": %q, "args": %q`, name, g.web(kind), args)
	if fields != "" {
		text += ", " + fields
	}
	return "{" + text + "}"
}

// startWeb starts one app that is a test server, and waits until it answers.
func (g *gopm) startWeb(name, kind, args, fields string) {
	g.Helper()
	g.run("start", g.file(name+".json", `{"apps": [`+g.webApp(name, kind, args, fields)+`]}`))
}

// answering waits for a good answer from a target, and is who gave it.
func answering(t *testing.T, target string) (pid string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*soon)
	defer cancel()
	a, _, err := load.First(ctx, target, "/", soon)
	must(t, err)
	return a.Pid
}

// underLoad runs what happens under a load, from the load's first good answers on, and returns the load's result
// after it; happens has to end within the limits of a test.
func underLoad(t *testing.T, p load.Plan, happens func()) load.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	d := load.Start(ctx, p)
	defer d.Stop()
	answersMore(t, d, 50)
	happens()
	answersMore(t, d, 50)
	d.Stop()
	r := d.Wait()
	t.Log(r.Text())
	return r
}

// answersMore waits until a load has had so many more good answers.
func answersMore(t *testing.T, d *load.Driver, n int) {
	t.Helper()
	before := d.Answers()
	eventually(t, 2*soon, func() error {
		if now := d.Answers(); now < before+n {
			return fmt.Errorf("%d good answers, want %d", now, before+n)
		}
		return nil
	})
}

// death is the time in which a process was killed and its sockets were closed.
type death struct{ from, to time.Time }

// slay kills a process and waits until it is gone.
func (g *gopm) slay(pid int) death {
	g.Helper()
	from := time.Now()
	g.killHard(pid)
	eventually(g.T, soon, gone(pid))
	return death{from, time.Now()}
}

// unexplained are the failures that are nobody's death: what a process had accepted when it was killed was begun
// before it was gone, and is cut off. A connection that waits for a successor is not.
func unexplained(r load.Result, deaths []death) (all []load.Failure) {
	cutOff := func(f load.Failure) bool {
		return slices.ContainsFunc(deaths, func(d death) bool { return f.Begun.Before(d.to) && f.Ended.After(d.from) })
	}
	for _, f := range r.Failures {
		if !strings.HasPrefix(f.Kind, "reset") && !strings.HasPrefix(f.Kind, "cut") || !cutOff(f) {
			all = append(all, f)
		}
	}
	return all
}

// audit holds a load's result against the account in the app's log, when it is complete.
func (g *gopm) audit(r load.Result, app string) load.Audit {
	g.Helper()
	var last load.Audit
	eventually(g.T, soon, func() (err error) {
		if last, err = g.account(r, app); err == nil && !last.Clean() {
			err = fmt.Errorf("%s", last.Text())
		}
		return err
	})
	return last
}

// account is what the app's log says by now of a load's requests.
func (g *gopm) account(r load.Result, app string) (load.Audit, error) {
	g.Helper()
	var text strings.Builder
	for _, e := range g.list() {
		if e.Name == app {
			log, err := os.ReadFile(e.Env.Out)
			must(g.T, err)
			text.Write(log)
		}
	}
	return r.Audit(strings.NewReader(text.String()))
}

// What all cluster tests stand on: the three servers answer alike, and say what they did.
func TestWebServersAnswerAlike(t *testing.T) {
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			first, second := freePort(t), freePort(t)
			unix := g.dir + "/sock"
			g.startWeb("web", kind, fmt.Sprintf("-account -boot-ms 100 127.0.0.1:%d [::1]:%d %s", first, second, unix), "")
			pid := fmt.Sprint(g.awaitStatus("web", "online").Pid)
			for _, target := range []string{fmt.Sprintf("127.0.0.1:%d", first), fmt.Sprintf("[::1]:%d", second), unix} {
				if got := answering(t, target); got != pid {
					t.Errorf("%s is answered by %s, not by %s", target, got, pid)
				}
				for _, keep := range []bool{true, false} {
					r := load.Run(context.Background(), load.Plan{Target: target, KeepAlive: keep, Clients: 4, Count: 40,
						SlowPath: "/pause?ms=20", SlowShare: 0.25})
					if r.OK != 40 || r.Servers[pid] != 40 {
						t.Errorf("%s, kept %v: %s", target, keep, r.Text())
					}
					if a := g.audit(r, "web"); a.Executed != 40 {
						t.Errorf("%s: %s", target, a.Text())
					}
				}
			}
			target := fmt.Sprintf("127.0.0.1:%d", first)
			if _, err := load.Get(target, "/slow?ms=50", soon); err != nil {
				t.Error(err)
			}
			for range 2 { // the second one can't even be read
				if a, err := load.Get(target, "/hang", 300*time.Millisecond); err == nil {
					t.Errorf("/hang answers %q", a.Body)
				}
			}
			if _, err := load.Get(target, "/", 300*time.Millisecond); err == nil {
				t.Error("it answers although it hangs")
			}
			e := g.app("web")
			g.killHard(e.Pid)
			if next := answering(t, target); next == pid {
				t.Error("the dead one answers")
			}
		})
	}
}

func TestWebServersEndGracefully(t *testing.T) {
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			g.startWeb("web", kind, "-account -graceful "+target, "")
			answering(t, target)
			d := load.Start(context.Background(), load.Plan{Target: target, Path: "/slow?ms=1000", Count: 1})
			log := g.app("web").Env.Out
			eventually(t, soon, func() error { // the first was answering's
				text, err := os.ReadFile(log)
				if n := strings.Count(string(text), " begin\n"); n < 2 {
					return fmt.Errorf("%d requests begun: %v", n, err)
				}
				return nil
			})
			g.run("stop", "web")
			r := d.Wait()
			if r.OK != 1 {
				t.Error(r.Text())
			}
			if e := g.app("web"); e.Env.ExitCode == nil || *e.Env.ExitCode != 0 {
				t.Error(e)
			}
		})
	}
}

// The client must see what is lost: one process without a successor can't be restarted unseen.
func TestTheLoadSeesWhatARestartLoses(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "go", "-account -boot-ms 200 "+target, `"exec_mode": "fork"`)
	before := answering(t, target)
	r := underLoad(t, load.Plan{Target: target, Rate: 200, SlowPath: "/slow?ms=300", SlowShare: 0.1}, func() { g.run("restart", "web") })
	if r.Refused == 0 || r.Reset == 0 || r.Wrong+r.Local+r.TimedOut+r.ResetReused+r.Cut > 0 {
		t.Errorf("a restart under load: %s", r.Text())
	}
	if r.Servers[before] == 0 || len(r.Servers) != 2 {
		t.Errorf("answered by %v", r.Servers)
	}
	var half load.Audit
	eventually(t, soon, func() error {
		text, err := os.ReadFile(g.app("web").Env.Out)
		must(t, err)
		half, err = r.Audit(strings.NewReader(string(text)))
		if err == nil && half.Executed < r.OK {
			err = fmt.Errorf("%s", half.Text())
		}
		return err
	})
	// A request that waited to be accepted was lost, too, and never begun.
	if len(half.Half) == 0 || len(half.Half) > r.Reset || len(half.Twice)+len(half.Missing) > 0 {
		t.Errorf("%s; %s", half.Text(), r.Text())
	}
}
