package cmd_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What gopm and programs say to one another besides signals, with a program of node and
// one of Python (testdata/talk*), and what of it outlives the death of the daemon.

// talker is the path of such a program.
func (g *gopm) talker(kind string) string {
	g.Helper()
	text, err := os.ReadFile("testdata/talk." + kind)
	must(g.T, err)
	path := g.file("talk."+kind, string(text))
	must(g.T, os.Chmod(path, 0o755))
	return path
}

// startTalker starts one as the app named, which can be told what to do.
func (g *gopm) startTalker(name, kind, fields string, options ...string) {
	g.Helper()
	file := g.file(name+".json", fmt.Sprintf(`{"apps": [{"name": %q, "script": %q, "stdin": true, %s, %s}]}`, name, g.talker(kind), quick, fields))
	g.run(append([]string{"start", file}, options...)...)
}

// says waits until an app has written a text.
func (g *gopm) says(name, want string) string {
	g.Helper()
	return g.fileSays(g.app(name).Env.Out, want)
}

const byMessage = `"wait_ready": true`

// awaiting starts an app that isn't ready until it is told to say so.
func (g *gopm) awaiting(name, kind, fields string) {
	g.Helper()
	g.startTalker(name, kind, byMessage+fields, "--wait", "0")
	g.says(name, "begins")
	if e := g.app(name); e.Env.Status != "launching" {
		g.Errorf("it is ready too early: %v", e)
	}
}

func TestReadyByMessage(t *testing.T) {
	for kind, word := range map[string]string{"js": "ready", "py": "READY=1"} {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			g.awaiting("talk", kind, "")
			g.run("send", "talk", word)
			g.awaitStatus("talk", "online")
			g.startTalker("early", kind, byMessage+`, "args": "-ready"`) // and start waits for it
			if e := g.app("early"); e.Env.Status != "online" {
				t.Error(e)
			}
		})
	}
}

// Who isn't ready in time is ended, however long that takes, and start says what it wrote.
func TestNotReadyInTime(t *testing.T) {
	g := newGopm(t)
	g.script("never", `echo "no such database" >&2; trap "" TERM; while :; do sleep 0.1; done`)
	file := g.file("eco.json", `{"apps": [{"name": "never", "script": "./never", `+quick+`, `+byMessage+`, "ready_timeout": "1s", "kill_timeout": "2s", "max_restarts": 1}]}`)
	g.fail(1, []string{"never:0 failed: not ready within 1s", "no such database"}, "start", file)
	g.awaitStatus("never", "errored") // what it has left behind is ended first
}

// What a program says while no daemon is there is heard by the next one.
func TestReadyWhileTheDaemonIsDead(t *testing.T) {
	for _, kind := range []string{"js", "py"} {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			g.awaiting("talk", kind, "")
			daemon, keeper := g.daemon()
			must(t, syscall.Kill(keeper, syscall.SIGSTOP))
			pid := g.app("talk").Pid
			must(t, syscall.Kill(daemon, syscall.SIGKILL))
			must(t, syscall.Kill(pid, syscall.SIGUSR2))
			g.fileSays(filepath.Join(g.dir, "told"), "ready")
			must(t, syscall.Kill(keeper, syscall.SIGCONT))
			if e := g.awaitStatus("talk", "online"); e.Pid != pid || e.Env.Restarts != 0 {
				t.Errorf("%v, was %d", e, pid)
			}
		})
	}
}

// The daemon is killed, and replaced: no program notices it, and all goes on as before.
func TestTalkOutlivesTheDaemon(t *testing.T) {
	g := newGopm(t)
	g.startTalker("node", "js", `"shutdown_with_message": true`)
	g.startTalker("python", "py", `"kill_timeout": "1s"`)
	before := g.pids()
	for i, dies := range []func(){
		g.killDaemon,
		func() { g.run("update") },
		g.killDaemon,
		func() { // the keeper, and then the daemon: the new keeper has everything
			daemon, keeper := g.daemon()
			g.killHard(keeper)
			g.fileSays(filepath.Join(g.home, "gopm.log"), "has everything")
			g.killHard(daemon)
		},
	} {
		dies()
		for _, name := range []string{"node", "python"} {
			line := fmt.Sprintf("after %d", i)
			g.run("send", name, line)
			g.says(name, "line "+line)
		}
	}
	for name, pid := range g.pids() {
		if pid != before[name] {
			t.Errorf("%s was %d, is %d", name, before[name], pid)
		}
	}
	g.run("send", "python", "STATUS=all is well")
	eventually(t, soon, func() error {
		if out := g.run("info", "python"); !strings.Contains(out, "all is well") {
			return fmt.Errorf("not in info: %s", out)
		}
		return nil
	})
	g.says("node", "begins true true")
	g.run("stop", "all")
	text := g.says("node", "message shutdown")
	text += g.says("python", "begins None None True")
	lacks(t, "what they wrote", text, "disconnected", "end of input", "interrupted")
}

// Daemon and keeper die at once: pipes and channels break, the socket has its name again,
// and the next run has everything.
func TestTalkAfterTheDeathOfBoth(t *testing.T) {
	g := newGopm(t)
	g.awaiting("talk", "py", "")
	pid := g.app("talk").Pid
	g.killBoth()
	g.run("resurrect")
	g.says("talk", "end of input")
	g.fail(1, []string{"talk (id 0)", "gopm restart"}, "send", "talk", "x")
	must(t, syscall.Kill(pid, syscall.SIGUSR2))
	if e := g.awaitStatus("talk", "online"); e.Pid != pid {
		t.Errorf("%v, was %d", e, pid)
	}
	g.run("restart", "talk", "--no-wait")
	g.await("talk", "another", func(e entry) bool { return e.Pid != pid && e.Pid != 0 })
	g.run("send", "talk", "READY=1")
	g.awaitStatus("talk", "online")
}

// Without a channel, or when it is closed, the signal asks.
func TestAskedToEndByASignalInstead(t *testing.T) {
	g := newGopm(t)
	g.startTalker("usual", "js", `"args": ""`)
	g.startTalker("left", "js", `"shutdown_with_message": true`)
	g.run("send", "left", "leave")
	g.says("left", "disconnected")
	g.run("stop", "all")
	for _, name := range []string{"usual", "left"} {
		lacks(t, name, g.says(name, "interrupted"), "message shutdown")
	}
}

func TestWhoHasAChannel(t *testing.T) {
	g := newGopm(t)
	g.talker("js")
	g.file("eco.json", `{"apps": [
		{"name": "file", "script": "talk.js", `+quick+`},
		{"name": "program", "script": "./talk.js", "interpreter": "none", `+quick+`},
		{"name": "line", "script": "node talk.js", `+quick+`},
		{"name": "sockets", "script": "talk.js", "listen": [{"name": "a", "address": "127.0.0.1:`+fmt.Sprint(freePort(t))+`"}], `+quick+`},
		{"name": "cluster", "script": "talk.js", "exec_mode": "cluster", `+quick+`},
		{"name": "masked", "script": "talk.js", "umask": "022", `+quick+`},
		{"name": "shell", "script": "env; exec sleep 1000", `+quick+`}]}`)
	g.with("NODE_CHANNEL_FD=77", "NOTIFY_SOCKET=/run/somebody", "WATCHDOG_USEC=1").run("start", "eco.json")
	for _, name := range []string{"file", "program", "line", "sockets", "cluster", "masked"} {
		g.says(name, "begins true true")
	}
	text := g.says("shell", "NOTIFY_SOCKET=@gopm/")
	lacks(t, "a shell's environment", text, "NODE_CHANNEL_FD", "WATCHDOG_USEC")
}

// Two lives of one instance each have their own.
func TestTalkInAReload(t *testing.T) {
	g := newGopm(t)
	g.startTalker("talk", "js", `"exec_mode": "cluster", "shutdown_with_message": true, "args": "-ready", `+byMessage)
	for i := range 2 {
		old := g.app("talk").Pid
		g.run("reload", "talk")
		if now := g.app("talk"); now.Pid == old || now.Env.Status != "online" {
			t.Errorf("was %d, is %v", old, now)
		}
		g.killDaemon()
		line := fmt.Sprintf("to number %d", i)
		g.run("send", "talk", line)
		g.says("talk", "line "+line)
	}
	text := g.says("talk", "message shutdown")
	lacks(t, "what they wrote", text, "disconnected", "end of input", "interrupted")
	if n := strings.Count(text, "message shutdown"); n != 2 {
		t.Errorf("%d were asked by a message, want 2:\n%s", n, text)
	}
}

// Long messages, many of them, and sockets hold up nobody, and take no memory.
func TestMuchTalk(t *testing.T) {
	const long = 64 << 20
	g := newGopm(t)
	g.awaiting("talk", "js", "")
	daemon, _ := g.daemon()
	before := resident(t, daemon)
	g.run("send", "talk", fmt.Sprintf("big %d", long))
	g.says("talk", fmt.Sprintf("sent %d", long))
	g.run("send", "talk", "many 20000")
	g.run("send", "talk", "socket")
	g.awaitStatus("talk", "online")
	if grown := resident(t, daemon) - before; grown > long/4 {
		t.Errorf("the daemon has grown by %d KB", grown>>10)
	}
	if n := strings.Count(g.log(), "messages of more than"); n != 1 {
		t.Errorf("said %d times:\n%s", n, g.log())
	}
}

// resident is what a process has in memory, in bytes.
func resident(t *testing.T, pid int) (bytes int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	must(t, err)
	var size, pages int64
	_, err = fmt.Sscan(string(text), &size, &pages)
	must(t, err)
	return pages * int64(os.Getpagesize())
}

// notifyName is the name of the socket of sd_notify.
func (g *gopm) notifyName() string {
	g.Helper()
	var st unix.Stat_t
	must(g.T, unix.Stat(g.home, &st))
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", g.home, st.Dev, st.Ino))
	return "@gopm/" + hex.EncodeToString(sum[:8]) + "/notify"
}

// notifyAs sends a message to the socket as this test, which is nobody's process.
func (g *gopm) notifyAs(text string) {
	g.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(g.T, err)
	defer unix.Close(fd)
	must(g.T, unix.Sendto(fd, []byte(text), 0, &unix.SockaddrUnix{Name: g.notifyName()}))
}

// Only an instance's own processes are believed, of whatever user they are.
func TestFakedNotify(t *testing.T) {
	g := newGopm(t)
	g.awaiting("talk", "py", "")
	g.startTalker("other", "py", `"health": {"watchdog": "1h"}`)
	for range 20 {
		g.notifyAs("READY=1\nSTATUS=faked")
	}
	g.notifyAs("WATCHDOG=trigger")
	g.run("send", "other", "READY=1")
	g.run("send", "other", "below STATUS=below")
	eventually(t, soon, func() error {
		if text := g.log(); !strings.Contains(text, "somebody else") || !strings.Contains(text, "other:0 (id 1) says: below") {
			return fmt.Errorf("log: %s", text)
		}
		return nil
	})
	if n := strings.Count(g.log(), "somebody else"); n != 1 {
		t.Errorf("said %d times:\n%s", n, g.log())
	}
	if e := g.app("talk"); e.Env.Status != "launching" || e.Env.Restarts != 0 {
		t.Error(e)
	}
	lacks(t, "info", g.run("info", "talk", "other"), "faked")
	g.run("send", "talk", "below READY=1")
	g.awaitStatus("talk", "online")
}

// A user who can't look into the home reaches the socket.
func TestNotifyOfAnotherUser(t *testing.T) {
	g := newGopm(t)
	userIDs(t, "nobody")
	if os.Geteuid() != 0 {
		t.Skip("only root can start apps as somebody else")
	}
	g.startTalker("talk", "py", byMessage+`, "args": "-ready", "uid": "nobody", "interpreter": "/usr/bin/python3"`)
	if e := g.app("talk"); e.Env.Status != "online" {
		t.Error(e)
	}
}

func TestWatchdog(t *testing.T) {
	g := newGopm(t)
	g.startTalker("talk", "py", `"health": {"watchdog": "2s"}`)
	g.says("talk", "begins None 2000000 True")
	was := g.app("talk").Pid
	g.killDaemon() // the next one begins a period of its own
	now := g.await("talk", "a successor", func(e entry) bool { return e.Pid != was && e.Pid != 0 })
	contains(t, "log", g.log(), "watchdog: silent for 2s")
	g.says("talk", "begins")
	g.await("talk", "online", func(e entry) bool { return e.Env.Status == "online" })
	g.run("send", "talk", "WATCHDOG=trigger")
	g.await("talk", "a successor", func(e entry) bool { return e.Pid != now.Pid && e.Pid != 0 })
	contains(t, "log", g.log(), "watchdog: stuck, as it says itself")
}

// The name may be somebody else's: all but that goes on.
func TestNotifyNameIsTaken(t *testing.T) {
	g := newGopm(t)
	must(t, os.Mkdir(g.home, 0o700))
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: g.notifyName(), Net: "unixgram"})
	must(t, err)
	defer l.Close()
	g.startTalker("talk", "js", `"args": ""`)
	g.says("talk", "begins true false")
	contains(t, "log", g.log(), "apps cannot tell gopm by sd_notify how they are", g.notifyName(), "ss -xlp")
}

func TestSend(t *testing.T) {
	g := newGopm(t)
	g.startTalker("talk", "py", `"kill_timeout": "1s"`)
	g.startTalker("two", "py", `"instances": 2, "exec_mode": "fork"`)
	g.sleeper("deaf")
	g.run("start", "deaf", "--min-uptime", "100ms")
	g.file("mute.json", `{"apps": [{"name": "mute", "script": "./deaf", "stdin": true, `+quick+`}]}`)
	g.run("start", "mute.json")

	contains(t, "send", g.run("send", "talk", "hello", "there"), "sent 1 line to talk (id 0)")
	g.says("talk", "line hello there")
	cmd := g.command("send", "talk", "-")
	cmd.Stdin = strings.NewReader("first\nsecond " + strings.Repeat("x", 60000) + "\nthird")
	contains(t, "send -", g.execute(cmd).out, "sent 3 lines to talk")
	g.says("talk", "line third")
	g.run("send", "2", "for the second")
	g.fileSays(filepath.Join(g.home, "logs", "two-out-1.log"), "line for the second")

	g.fail(2, []string{"two is 2 instances", "1, 2"}, "send", "two", "x")
	g.fail(2, []string{"deaf (id 3)", "/dev/null", "stdin: true"}, "send", "deaf", "x")
	g.fail(1, []string{"nosuch"}, "send", "nosuch", "x")
	g.fail(2, []string{"wants an app and a line"}, "send", "talk")
	g.fail(2, []string{"more than one line"}, "send", "talk", "a\nb")
	g.fail(2, []string{"a line may have", "bytes"}, "send", "talk", strings.Repeat("x", 100000))
	g.run("send", "mute", strings.Repeat("x", 60000))
	g.fail(1, []string{"mute (id 4)", "does not read its standard input"}, "send", "mute", strings.Repeat("y", 60000))
	g.run("stop", "talk")
	g.fail(1, []string{"talk (id 0)", "not running"}, "send", "talk", "x")
	cmd = g.command("send", "mute", "-")
	if r := g.execute(cmd); r.code != 2 || !strings.Contains(r.err, "no line") {
		t.Error(r)
	}
}
