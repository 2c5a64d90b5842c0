package cmd_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// logsConn asks the daemon for a stream of logs, as a program of somebody else would.
func (g *gopm) logsConn() net.Conn {
	g.Helper()
	conn, err := net.Dial("unix", g.home+"/gopm.sock")
	must(g.T, err)
	g.Cleanup(func() { conn.Close() })
	must(g.T, conn.SetDeadline(time.Now().Add(commandLimit)))
	_, err = io.WriteString(conn, "GET /v1/logs?follow=1 HTTP/1.1\r\nHost: gopm\r\n\r\n")
	must(g.T, err)
	return conn
}

// daemonFiles is how many files the daemon has open.
func (g *gopm) daemonFiles() int {
	g.Helper()
	pid := regexp.MustCompile(`daemon \S+, pid (\d+)`).FindStringSubmatch(g.run("ping"))
	if pid == nil {
		g.Fatal("ping names no pid")
	}
	entries, err := os.ReadDir("/proc/" + pid[1] + "/fd")
	must(g.T, err)
	return len(entries)
}

// logsStatus is how the daemon answers one more follower.
func (g *gopm) logsStatus(conn net.Conn) int {
	g.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(g.T, err)
	return resp.StatusCode
}

// Followers that read nothing of what they follow are bounded, and concern nobody else.
func TestLogsTooManyFollowers(t *testing.T) {
	g := talker(t)
	const limit = 1000
	before := g.daemonFiles()
	var all []net.Conn
	for i := range limit { // each is served before the next comes: those that aren't yet have a limit of their own
		conn := g.logsConn()
		all = append(all, conn)
		if code := g.logsStatus(conn); code != http.StatusOK {
			t.Errorf("follower %d: status %d", i, code)
		}
	}
	oneMore := func(want int) {
		t.Helper()
		eventually(t, soon, func() error { // the daemon accepts, and notices the end of, connections in its own time
			conn := g.logsConn()
			defer conn.Close()
			if code := g.logsStatus(conn); code != want {
				return fmt.Errorf("one more follower: status %d, want %d", code, want)
			}
			return nil
		})
	}
	oneMore(http.StatusServiceUnavailable)
	g.fail(1, []string{"too many followers", "1000"}, "logs")
	g.file("say1", "")
	g.fileSays(g.app("web").Env.Out, "said 1\n") // nobody waits for those who don't read
	contains(t, "logs", g.run("logs", "--nostream"), "said 1\n")
	all[0].Close()
	oneMore(http.StatusOK)
	for _, conn := range all {
		conn.Close()
	}
	eventually(t, soon, func() error {
		if n := g.daemonFiles(); n > before+5 {
			return fmt.Errorf("the daemon has %d files open, %d before", n, before)
		}
		return nil
	})
}

// A terminal that was stopped (Ctrl-S) holds up its gopm logs and nobody else, and
// shows everything when it goes on.
func TestLogsIntoAFullPipe(t *testing.T) {
	g := newGopm(t)
	g.script("flood", `echo ready; while ! [ -e go ]; do sleep 0.02; done; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i"; done; echo end; exec sleep 1000`)
	g.run("start", "./flood", "--min-uptime", "100ms")
	g.fileSays(g.app("flood").Env.Out, "ready")
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	cmd := g.command("logs", "flood", "--raw")
	cmd.Stdout = w
	must(t, cmd.Start())
	w.Close()
	defer func() {
		cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	must(t, r.SetReadDeadline(time.Now().Add(commandLimit)))
	lines := bufio.NewScanner(r)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("got %q (%v)", lines.Text(), lines.Err())
	}
	g.file("go", "")
	g.fileSays(g.app("flood").Env.Out, "\nend\n")
	g.run("ls")
	for i := 1; i <= 20000; i++ {
		if want := fmt.Sprintf("line %d", i); !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
}

// Who follows an app that is deleted is told, and what it said last is shown; who
// follows all goes on.
func TestLogsOfADeletedApp(t *testing.T) {
	g := talker(t)
	g.script("polite", `trap 'echo goodbye; exit 0' TERM INT; echo hello; while :; do sleep 0.02; done`)
	g.run("start", "./polite", "--min-uptime", "100ms")
	one, all := g.follow("polite", "--raw"), g.follow("--raw")
	one.says("hello\n")
	all.says("hello\n")
	g.run("delete", "polite")
	if err := one.cmd.Wait(); err != nil {
		t.Errorf("logs of the deleted app: %v\n%s", err, one.text())
	}
	contains(t, "logs of the deleted app", one.text(), "goodbye\n", "polite", "deleted")
	all.says("goodbye\n")
	g.file("say1", "")
	all.says("said 1\n")
	all.end()
	lacks(t, "logs of all", all.text(), "deleted")
	g.fail(1, []string{`"polite"`, "web"}, "logs", "polite")
}

// What apps say while gopm kill stops them is shown.
func TestLogsShowsTheLastWords(t *testing.T) {
	g := newGopm(t)
	g.script("polite", `trap 'echo goodbye; exit 0' TERM INT; echo hello; while :; do sleep 0.02; done`)
	g.run("start", "./polite", "--min-uptime", "100ms")
	f := g.follow("--raw")
	f.says("hello\n")
	g.run("kill")
	_ = f.cmd.Wait()
	contains(t, "logs", f.text(), "goodbye\n", "daemon has ended")
}

// The folder of a log vanishes, or somebody puts something else in the file's place:
// the follower goes on with what is a log.
func TestLogsOfAFolderThatVanishes(t *testing.T) {
	g := newGopm(t)
	g.script("tick", `while :; do cat word; sleep 0.02; done`)
	g.file("word", "first\n")
	g.run("start", "./tick", "--min-uptime", "100ms")
	out := g.app("tick").Env.Out
	f := g.follow("tick", "--raw", "--out")
	f.says("first\n")
	g.file("word", "second\n")
	gone := filepath.Dir(out) + ".gone" // at once: what is removed file by file may be made again meanwhile
	must(t, os.Rename(filepath.Dir(out), gone))
	must(t, os.RemoveAll(gone))
	f.says("second\n")
	g.file("other", "other text\n")
	for _, replace := range []func() error{
		func() error { return os.Mkdir(out, 0o700) },
		func() error { return os.Symlink(filepath.Join(g.dir, "other"), out) },
	} {
		eventually(t, soon, func() error { // the daemon may be quicker to make the file again
			must(t, os.RemoveAll(out))
			return replace()
		})
		g.run("ls")
	}
	f.says("other text\n")
	must(t, os.Remove(out))
	g.file("word", "third\n")
	f.says("third\n")
	f.end()
}

// Instances that share a file: lines were shown only when the first instance wrote,
// too, and those that came by scale made every line come twice.
func TestLogsFollowsAFileOfSeveralInstances(t *testing.T) {
	g := newGopm(t)
	g.script("say", `i=$NODE_APP_INSTANCE; echo "$i ready"; while :; do [ -e go$i ] && { rm go$i; echo "$i out"; echo "$i err" >&2; }; sleep 0.02; done`)
	g.file("eco.json", `{"name": "a", "script": "./say", "instances": 2, "exec_mode": "fork", "merge_logs": true, `+quick+`}`)
	g.run("start", "eco.json")
	f := g.follow("--raw")
	f.says("0 ready\n")
	f.says("1 ready\n")
	g.file("go1", "")
	f.says("1 out\n")
	f.says("1 err\n")
	g.run("scale", "a", "3")
	f.says("2 ready\n")
	for _, i := range []string{"0", "2"} {
		g.file("go"+i, "")
		f.says(i + " out\n")
		f.says(i + " err\n")
	}
	f.end()
	for _, line := range []string{"0 ready", "1 ready", "2 ready", "1 out", "1 err", "0 out", "0 err", "2 out", "2 err"} {
		if n := strings.Count(f.text(), line+"\n"); n != 1 {
			t.Errorf("%q came %d times:\n%s", line, n, f.text())
		}
	}
}

// An app that is given other log files goes on being followed.
func TestLogsFollowsAnAppToOtherFiles(t *testing.T) {
	g := newGopm(t)
	g.script("tick", `echo "$WORD begins"; while :; do echo $WORD; sleep 0.02; done`)
	eco := func(word, file string) {
		g.file("eco.json", `{"name": "a", "script": "./tick", "out_file": "`+file+`", "env": {"WORD": "`+word+`"}, `+quick+`}`)
		g.run("start", "eco.json")
	}
	eco("one", "1.log")
	f := g.follow("a", "--raw", "--lines", "1000")
	f.says("one\n")
	eco("two", "2.log")
	f.says("two begins\n")
	f.says("two\n")
	eco("three", "1.log")
	f.says("three begins\n")
	f.end()
}

// An app that has only a log_file was taken to have left it whenever its state changed:
// what it had written was shown again.
func TestLogsFollowsALogFile(t *testing.T) {
	g := newGopm(t)
	g.script("say", `n=$(cat runs | wc -l); echo >> runs; echo "out $n"; echo "err $n" >&2; exec sleep 1000`)
	g.file("runs", "")
	g.file("eco.json", `{"name": "a", "script": "./say", "out_file": "/dev/null", "log_file": "all.log", `+quick+`}`)
	g.run("start", "eco.json")
	f := g.follow("a", "--raw")
	f.says("out 0\n")
	f.says("err 0\n")
	for _, run := range []string{"1", "2"} {
		g.run("restart", "a")
		f.says("out " + run + "\n")
		f.says("err " + run + "\n")
	}
	f.end()
	for _, line := range []string{"out 0", "err 0", "out 1", "err 1", "out 2", "err 2"} {
		if n := strings.Count(f.text(), line+"\n"); n != 1 {
			t.Errorf("%q came %d times:\n%s", line, n, f.text())
		}
	}
}
