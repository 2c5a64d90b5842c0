package cmd_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// unitLine is what a unit says after a word, as systemd would call it with sh.
func unitLine(t *testing.T, unit, word string) string {
	t.Helper()
	for line := range strings.Lines(unit) {
		if rest, ok := strings.CutPrefix(line, word+"="); ok {
			return strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(rest), "$$", "$"), "%%", "%")
		}
	}
	t.Fatalf("no %s in\n%s", word, unit)
	return ""
}

// What systemd does with the unit: start, a death of the keeper and of everything of
// gopm (it calls start again, some versions stop without a main process before), stop.
func TestUnitThroughAllDeaths(t *testing.T) {
	g := newGopm(t)
	unit := g.run("startup", "--dry-run")
	pidFile := unitLine(t, unit, "PIDFile")
	call := func(word, main string) result {
		g.Helper()
		cmd := exec.Command("sh", "-c", unitLine(t, unit, word))
		cmd.Env = []string{"GOPM_HOME=" + unitLine(t, unit, "Environment=GOPM_HOME"), "PATH=/usr/bin:/bin", "HOME=" + g.dir}
		if main != "" {
			cmd.Env = append(cmd.Env, "MAINPID="+main)
		}
		return g.execute(cmd)
	}
	start := func() (daemon, keeper int) {
		g.Helper()
		eventually(t, soon, func() error { // Restart=always: as often as it takes
			if r := call("ExecStart", ""); r.code != 0 {
				return fmt.Errorf("ExecStart: %v", r)
			}
			return nil
		})
		daemon, keeper = g.daemon()
		if told := strings.TrimSpace(g.fileSays(pidFile, "\n")); told != strconv.Itoa(keeper) {
			t.Errorf("systemd is told the pid %s, the keeper is %d", told, keeper)
		}
		return daemon, keeper
	}
	daemon, keeper := start() // no app yet, but it has to be in the unit
	g.sleeper("run")
	g.run("start", "./run", "--min-uptime", "100ms", "-s")
	g.run("start", "./run", "-n", "resting", "--min-uptime", "100ms", "-s")
	g.run("stop", "resting", "-s")
	app := g.app("run").Pid
	unhurt := func(after string) {
		g.Helper()
		if now := g.app("run"); now.Pid != app || now.Env.Restarts != 0 {
			t.Errorf("after %s: %v, want pid %d", after, now, app)
		}
	}
	if d, k := start(); d != daemon || k != keeper {
		t.Errorf("a second start has made daemon %d and keeper %d of %d and %d", d, k, daemon, keeper)
	}

	g.killHard(keeper)
	eventually(t, soon, func() error {
		if _, k := g.daemon(); k == keeper || k == 0 {
			return fmt.Errorf("the keeper is %d", k)
		}
		return nil
	})
	call("ExecStop", "")
	if d, _ := start(); d != daemon {
		t.Errorf("the daemon was %d, is %d", daemon, d)
	}
	unhurt("the keeper's death")

	_, keeper = g.daemon()
	g.killHard(keeper)
	g.killHard(daemon)
	eventually(t, soon, gone(daemon))
	call("ExecStop", "")
	daemon, keeper = start()
	unhurt("the death of both")

	call("ExecStop", strconv.Itoa(keeper))
	for _, pid := range []int{daemon, keeper, app} {
		eventually(t, soon, gone(pid))
	}
	start()
	g.awaitStatus("run", "online")
	if now := g.app("resting"); now.Env.Status != "stopped" {
		t.Errorf("what was stopped is %v", now)
	}
}
