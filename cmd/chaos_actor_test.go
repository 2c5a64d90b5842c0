package cmd_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The actors of the chaos tests (testdata/actor) and the accounts they keep: what
// gopm says and what stands in log files is held against these.

// buildActor builds the program of the actors into the toolbox, once.
var buildActor = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(toolbox, "actor")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "gopm/cmd/testdata/actor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return binary, nil
})

// role is an app whose program is an actor.
type role struct {
	name   string
	flags  string // of the actor
	fields string // of the app, beside name, script and args
}

// cast starts an app for each role, and waits until each has begun its account: to be
// online is only to have lived for min_uptime, which a busy machine may need for an exec.
func (g *gopm) cast(roles ...role) {
	g.Helper()
	g.run("start", g.castFile(roles...))
	for _, r := range roles {
		g.awaitStarts(r.name, 1)
	}
}

// castFile writes the ecosystem file of the roles.
func (g *gopm) castFile(roles ...role) string {
	g.Helper()
	binary, err := buildActor()
	must(g.T, err)
	must(g.T, os.MkdirAll(g.dir+"/account", 0o755))
	var apps []string
	for _, r := range roles {
		fields := r.fields
		if !strings.Contains(fields, "min_uptime") {
			fields = strings.TrimPrefix(fields+", "+quick, ", ")
		}
		args := fmt.Sprintf("-dir %s/account -tag %s %s", g.dir, r.name, r.flags)
		apps = append(apps, fmt.Sprintf(`{"name": %q, "script": %q, "args": %q, %s}`, r.name, binary, args, fields))
	}
	return g.file("cast.json", "["+strings.Join(apps, ",\n")+"]")
}

// begun is a run of an actor, by its own account.
type begun struct {
	pid int
	at  time.Time
}

// starts are all runs of an actor.
func (g *gopm) starts(name string) []begun {
	text, _ := os.ReadFile(g.dir + "/account/" + name + ".starts") // none before its first run
	var all []begun
	for line := range strings.Lines(string(text)) {
		var b begun
		var ns int64
		if _, err := fmt.Sscan(line, &b.pid, &ns); err != nil {
			g.Errorf("account of %s: %v", name, err)
		}
		b.at = time.Unix(0, ns)
		all = append(all, b)
	}
	return all
}

// awaitStarts waits until an actor has been started n times.
func (g *gopm) awaitStarts(name string, n int) []begun {
	g.Helper()
	var all []begun
	eventually(g.T, soon, func() error {
		if all = g.starts(name); len(all) < n {
			return fmt.Errorf("%s was started %d times, want %d", name, len(all), n)
		}
		return nil
	})
	return all
}

// wrote is how many lines a run has written to stdout and stderr.
func (g *gopm) wrote(name string, run int) (out, err int) {
	data, _ := os.ReadFile(fmt.Sprintf("%s/account/%s.%d", g.dir, name, run))
	if len(data) < 16 { // it died before it wrote
		return 0, 0
	}
	return int(binary.LittleEndian.Uint64(data)), int(binary.LittleEndian.Uint64(data[8:]))
}

// actorsNow are the live processes of actors of this test, by name.
func (g *gopm) actorsNow() map[string][]int {
	all := map[string][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(dir + "/cmdline") // it may be gone
		args := strings.Split(string(cmdline), "\x00")
		if len(args) < 5 || args[1] != "-dir" || args[2] != g.dir+"/account" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && alive(pid) {
			all[args[4]] = append(all[args[4]], pid)
		}
	}
	return all
}

// complete says whether a stream's files hold every line of every run exactly once
// and in order. A run that was killed between a write and its note of it may have
// written up to a batch more than it says.
func (g *gopm) complete(name string, stderr bool, batch int) error {
	cut, err := g.cutRuns(name, stderr, batch)
	if err == nil && len(cut) > 0 {
		err = errors.New(strings.Join(cut, "; "))
	}
	return err
}

// cutRuns does the same, and names the runs whose last lines are missing. Those of a
// program that ends while neither keeper nor daemon is there go with its pipe: in one
// piece, the end of a run and, if that had just ended, the whole of the next one.
func (g *gopm) cutRuns(name string, stderr bool, batch int) (cut []string, err error) {
	if torn, err := os.ReadFile(g.dir + "/account/" + name + ".torn"); err == nil {
		return nil, fmt.Errorf("%s could not write: %s", name, torn)
	}
	runs := len(g.starts(name))
	tag, file := name, g.home+"/logs/"+name+"-out.log"
	if stderr {
		tag, file = name+"!", g.home+"/logs/"+name+"-error.log"
	}
	got, err := countLines(g.logFiles(file), tag, runs)
	if err != nil {
		return nil, err
	}
	last := -2 // run that was cut
	for run := range runs {
		want, onErr := g.wrote(name, run)
		if stderr {
			want = onErr
		}
		switch more := got[run] - want; {
		case more > batch:
			return nil, fmt.Errorf("%s: run %d wrote %d lines and %d are in the files", tag, run, want, got[run])
		case more < 0:
			text := fmt.Sprintf("%s: run %d wrote %d lines and only %d are in the files", tag, run, want, got[run])
			if last == run-1 && got[run] == 0 {
				cut[len(cut)-1] += ", " + text
			} else {
				cut = append(cut, text)
			}
			last = run
		}
	}
	return cut, nil
}
