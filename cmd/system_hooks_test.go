package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hooked is a file with one app, named run, which says what it does in its log.
func (g *gopm) hooked(fields ...string) string {
	g.Helper()
	name := g.eco("eco.json", `"name": "web", `+strings.Join(fields, ", "))
	g.script("run", `trap 'echo told to end; exit 0' TERM INT; echo runs; while :; do sleep 0.02; done`)
	return name
}

// said is what the app and its hooks have written to stdout.
func (g *gopm) said(want string) {
	g.Helper()
	g.fileSays(filepath.Join(g.home, "logs", "web-out.log"), want)
}

// Hooks run around the process in their order, write into its log, and know whose they are.
func TestHooksInOrder(t *testing.T) {
	g := newGopm(t)
	const say = `echo $GOPM_HOOK of $GOPM_APP:$GOPM_INSTANCE $GOPM_ID in ${PWD##*/} $ANIMAL`
	g.hooked(`"env": {"ANIMAL": "gnu"}`, `"pre_start": "`+say+`"`, `"post_start": "`+say+` $GOPM_PID"`, `"pre_stop": {"exec": "`+say+`", "timeout": "30s"}`)
	g.run("start", "eco.json")
	first := fmt.Sprintf("pre_start of web:0 0 in w gnu\nruns\npost_start of web:0 0 in w gnu %d\n", g.app("web").Pid)
	g.said(first)
	eventually(t, soon, func() error {
		if got, want := kinds(g.events("web")), "hook start online hook"; got != want {
			return fmt.Errorf("the events are %s, want %s", got, want)
		}
		return nil
	})
	g.run("stop", "web")
	g.said(first + "pre_stop of web:0 0 in w gnu\ntold to end\n")
	contains(t, "the events", g.run("events", "--kind", "hook", "--nostream"), "pre_start: done after", "post_start: done after", "pre_stop: done after")
}

// A pre_start that fails fails the start, as a crash: the program isn't run, and the
// on_errored is, once.
func TestPreStartFails(t *testing.T) {
	g := newGopm(t)
	g.script("tell", `printf '%s|%s|%s|%s|%s' "$GOPM_APP" "$GOPM_REASON" "$GOPM_EXIT_CODE" "$GOPM_SIGNAL" "$GOPM_LAST_LINES" >>told`)
	g.hooked(`"pre_start": "echo no database >&2; exit 3"`, `"max_restarts": 3`, `"exp_backoff_restart_delay": 10`, `"on_errored": "./tell"`)
	r := g.fail(1, []string{"web:0", "pre_start: exit code 3", "no database"}, "start", "eco.json")
	lacks(t, "start", r.out+r.err, "runs")
	e := g.awaitStatus("web", "errored")
	if e.Env.Unstable != 3 {
		t.Errorf("%v", e)
	}
	g.fileSays(filepath.Join(g.dir, "told"), "web|cannot be started: pre_start: exit code 3|||no database")
	contains(t, "ls", g.run("ls"), "errored (pre_start: exit code 3)")
	contains(t, "the events", kinds(g.events("web")), "hook exit restart hook exit restart hook exit errored hook")
	g.hooked(`"pre_start": "true"`)
	g.run("start", "eco.json")
	g.said("runs\n")
}

// on_errored knows how the program ended.
func TestOnErrored(t *testing.T) {
	g := newGopm(t)
	g.script("tell", `printf '%s|%s|%s|%s' "${GOPM_REASON%% after*}" "$GOPM_EXIT_CODE" "$GOPM_SIGNAL" "$GOPM_LAST_LINES" >told-$GOPM_APP`)
	g.script("code", `for i in 1 2 3; do echo bad $i >&2; done; exit 7`)
	g.script("signal", `kill -9 $$`)
	g.file("two.json", `{"apps": [
		{"name": "code", "script": "./code", "max_restarts": 1, "on_errored": "./tell"},
		{"name": "signal", "script": "./signal", "max_restarts": 1, "on_errored": "./tell"}]}`)
	g.try("start", "two.json")
	g.fileSays(filepath.Join(g.dir, "told-code"), "exited with code 7|7||bad 1\nbad 2\nbad 3")
	g.fileSays(filepath.Join(g.dir, "told-signal"), "was ended by SIGKILL||SIGKILL|")
}

// A hook is ended at its timeout, with all that it has started; and so is what one leaves
// that ends in time.
func TestHooksAreEndedWithTheirGroup(t *testing.T) {
	g := newGopm(t)
	g.script("slow", `sleep 1000 & echo $! >child; exec sleep 1000`)
	g.script("leaves", `sleep 1000 & echo $! >left`)
	g.hooked(`"pre_start": {"exec": "./leaves", "timeout": "30s"}`, `"post_start": {"exec": "./slow", "timeout": "300ms"}`)
	g.run("start", "eco.json")
	for _, name := range []string{"left", "child"} {
		eventually(t, soon, gone(g.pidIn(name)))
	}
	eventually(t, soon, func() error {
		if out := g.run("events", "--kind", "hook", "--nostream"); !strings.Contains(out, "post_start: not done within 300ms: it was ended") {
			return fmt.Errorf("the events say\n%s", out)
		}
		return nil
	})
	if e := g.app("web"); e.Env.Status != "online" || e.Env.Restarts != 0 {
		t.Errorf("after its post_start failed: %v", e)
	}
}

// Whoever stops or restarts an app during its pre_start doesn't wait for that.
func TestStopDuringPreStart(t *testing.T) {
	g := newGopm(t)
	g.script("slow", `echo $$ >hook-$((1+$(ls hook-* 2>/dev/null | wc -l))); exec sleep 1000`)
	g.hooked(`"pre_start": {"exec": "./slow", "timeout": "1000s"}`)
	g.run("start", "eco.json", "--no-wait")
	first := g.pidIn("hook-1")
	contains(t, "ls", g.run("ls"), "launching (pre_start)")
	g.run("restart", "web", "--no-wait")
	second := g.pidIn("hook-2")
	eventually(t, soon, gone(first))
	g.run("stop", "web")
	eventually(t, soon, gone(second))
	if e := g.app("web"); e.Env.Status != "stopped" || e.Env.Unstable != 0 {
		t.Errorf("after the stop: %v", e)
	}
	contains(t, "the events", g.run("events", "--kind", "hook", "--nostream"), "pre_start: broken off")
}

// The daemon dies during a pre_start: the next one ends that, and runs it again; nothing
// is taken for the program that isn't.
func TestTheDaemonDiesDuringPreStart(t *testing.T) {
	g := newGopm(t)
	g.script("slow", `echo $$ >hook-$((1+$(ls hook-* 2>/dev/null | wc -l))); [ -e go ] || exec sleep 1000`)
	g.hooked(`"pre_start": {"exec": "./slow", "timeout": "1000s"}`)
	g.run("start", "eco.json", "--no-wait")
	first := g.pidIn("hook-1")
	daemon, _ := g.daemon()
	g.file("go", "")
	g.killHard(daemon)
	eventually(t, soon, gone(first))
	e := g.awaitStatus("web", "online")
	if e.Env.Restarts != 0 || e.Env.Unstable != 0 {
		t.Errorf("%v", e)
	}
	g.said("runs\n")
	if again := g.pidIn("hook-2"); again == first {
		t.Error("the hook was not run again")
	}
	if _, err := os.Stat(filepath.Join(g.dir, "hook-3")); err == nil {
		t.Error("the hook was run three times")
	}
	contains(t, "the events", g.run("events", "--kind", "hook", "--nostream"), "pre_start of id 0 was broken off: the daemon has died")
}

// The daemon dies during a pre_stop: the next one goes on with the signal.
func TestTheDaemonDiesDuringPreStop(t *testing.T) {
	g := newGopm(t)
	g.script("slow", `echo $$ >hook; exec sleep 1000`)
	g.hooked(`"pre_stop": {"exec": "./slow", "timeout": "1000s"}`)
	g.run("start", "eco.json")
	stop := g.goesOn("stop", "web")
	hook := g.pidIn("hook")
	contains(t, "ls", g.run("ls"), "stopping (pre_stop)")
	daemon, _ := g.daemon()
	g.killHard(daemon)
	g.awaitStatus("web", "stopped")
	_ = stop.cmd.Wait() // it says that the daemon was restarted
	eventually(t, soon, gone(hook))
	g.said("runs\ntold to end\n")
}

// Daemon and keeper die during hooks: whoever takes over ends them, and their children.
func TestBothDieDuringAHook(t *testing.T) {
	g := newGopm(t)
	g.script("slow", `echo $$ >hook-$((1+$(ls hook-* 2>/dev/null | wc -l))); [ -e go ] || exec sleep 1000`)
	g.hooked(`"pre_start": {"exec": "./slow", "timeout": "1000s"}`)
	g.run("start", "eco.json", "--no-wait")
	first := g.pidIn("hook-1")
	daemon, keeper := g.daemon()
	g.file("go", "")
	g.killHard(keeper)
	g.killHard(daemon)
	eventually(t, soon, gone(daemon))
	g.try("resurrect")
	eventually(t, soon, gone(first))
	g.awaitStatus("web", "online")
	g.said("runs\n")
}

// A reload runs the pre_start of each new process and the pre_stop of each old one.
func TestHooksInAReload(t *testing.T) {
	g := newGopm(t)
	g.served("node", "", `"instances": 2, "min_uptime": "300ms", "pre_start": "sleep 0.2; echo pre_start $GOPM_INSTANCE >>hooks", "pre_stop": "echo pre_stop $GOPM_INSTANCE >>hooks"`)
	g.run("reload", "web")
	text, err := os.ReadFile(filepath.Join(g.dir, "hooks"))
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	slices.Sort(lines[:2])
	want := "pre_start 0,pre_start 1,pre_start 0,pre_stop 0,pre_start 1,pre_stop 1"
	if got := strings.Join(lines, ","); got != want {
		t.Errorf("the hooks ran as %s, want %s", got, want)
	}
}

// What pre_start takes is not the time in which a new process has to listen.
func TestASlowPreStartInAReload(t *testing.T) {
	g := newGopm(t)
	g.served("node", "", `"exec_mode": "cluster", "min_uptime": "100ms", "listen_timeout": "2s", "pre_start": "sleep 3"`)
	before := g.app("web").Pid
	g.run("reload", "web")
	if e := g.app("web"); e.Pid == before || e.Env.Status != "online" {
		t.Errorf("after the reload: %v", e)
	}
}

// An update breaks off a pre_start, which the next daemon begins again, and leaves a
// post_start to itself. Who follows events goes on.
func TestAnUpdateDuringHooks(t *testing.T) {
	g := newGopm(t)
	g.script("run", `echo runs; exec sleep 1000`)
	g.script("before", `echo $$ >before-$((1+$(ls before-* 2>/dev/null | wc -l))); until [ -e go ]; do sleep 0.02; done`)
	g.script("after", `echo $$ >after-$((1+$(ls after-* 2>/dev/null | wc -l))); until [ -e go ]; do sleep 0.02; done; echo after`)
	g.file("two.json", `{"apps": [
		{"name": "after", "script": "./run", "min_uptime": "100ms", "post_start": {"exec": "./after", "timeout": "1000s"}},
		{"name": "before", "script": "./run", "min_uptime": "100ms", "pre_start": {"exec": "./before", "timeout": "1000s"}}]}`)
	g.run("start", "two.json", "--no-wait")
	after, before := g.pidIn("after-1"), g.pidIn("before-1")
	f := g.goesOn("events", "--lines", "100")
	f.says("online")
	daemon, _ := g.daemon()
	g.run("update")
	if now, _ := g.daemon(); now == daemon {
		t.Error("the daemon is the same")
	}
	eventually(t, soon, gone(before))
	g.pidIn("before-2")
	if !alive(after) {
		t.Error("the post_start was ended")
	}
	f.says("post_start of id 0 was begun by the daemon before")
	g.file("go", "")
	g.awaitStatus("before", "online")
	g.fileSays(filepath.Join(g.home, "logs", "after-out.log"), "runs\nafter\n")
	for _, name := range []string{"before-3", "after-2"} {
		if _, err := os.Stat(filepath.Join(g.dir, name)); err == nil {
			t.Errorf("%s: a hook ran too often", name)
		}
	}
	f.saysTimes("  online  ", 2)
	f.end()
}

// A hook is run as the app's user.
func TestHooksOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can: an app of one's own user has its hooks run as that anyway")
		return
	}
	g := newGopm(t)
	must(t, os.Chmod(g.dir, 0o777))
	g.hooked(`"user": "nobody"`, `"umask": "027"`, `"pre_start": "id -un; umask"`)
	g.run("start", "eco.json")
	g.said("nobody\n0027\nruns\n")
}

// What a pre_start says is not what its program says: it makes nothing ready, not for the
// next daemon either.
func TestWordsOfAPreStart(t *testing.T) {
	g := newGopm(t)
	g.hooked(`"pre_start": "echo now it listens"`, `"ready": {"log": "it listens"}`)
	g.script("run", `until [ -e go ]; do sleep 0.02; done; echo it listens; exec sleep 1000`)
	g.run("start", "eco.json", "--no-wait")
	e := g.await("web", "alive", func(e entry) bool { return e.Pid != 0 })
	notReady := func() error {
		if now := g.app("web"); now.Env.Status != "launching" || now.Pid != e.Pid {
			return fmt.Errorf("%v", now)
		}
		return nil
	}
	steadily(t, 500*time.Millisecond, notReady)
	daemon, _ := g.daemon()
	g.killHard(daemon)
	steadily(t, 500*time.Millisecond, notReady)
	g.file("go", "")
	if now := g.awaitStatus("web", "online"); now.Pid != e.Pid {
		t.Errorf("%v, was %v", now, e)
	}
	g.said("now it listens\nit listens\n")
}
