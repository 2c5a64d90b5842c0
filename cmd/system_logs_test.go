package cmd_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// follower is a gopm logs, or another command, that goes on.
type follower struct {
	g   *gopm
	cmd *exec.Cmd
	mu  sync.Mutex // guards out
	out bytes.Buffer
}

func (f *follower) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.Write(p)
}

func (f *follower) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.out.String()
}

func (g *gopm) follow(args ...string) *follower {
	g.Helper()
	return g.goesOn(append([]string{"logs"}, args...)...)
}

// goesOn begins a command that ends when it is told to.
func (g *gopm) goesOn(args ...string) *follower {
	g.Helper()
	f := &follower{g: g, cmd: g.command(args...)}
	f.cmd.Stdout, f.cmd.Stderr = f, f
	must(g.T, f.cmd.Start())
	g.Cleanup(func() {
		if f.cmd.ProcessState == nil { // the test failed before end
			f.cmd.Process.Kill()
			_ = f.cmd.Wait()
		}
	})
	return f
}

func (f *follower) says(want string) {
	f.g.Helper()
	eventually(f.g.T, soon, func() error {
		if text := f.text(); !strings.Contains(text, want) {
			return fmt.Errorf("%v: no %q in:\n%s", f.cmd.Args[1:], want, f.g.tail(text, 30))
		}
		return nil
	})
}

// end leaves as a person does, by Ctrl-C.
func (f *follower) end() {
	f.g.Helper()
	must(f.g.T, f.cmd.Process.Signal(syscall.SIGINT))
	if err := f.cmd.Wait(); err != nil {
		f.g.Errorf("gopm logs after Ctrl-C: %v\n%s", err, f.text())
	}
}

// talker starts an app that wrote five lines to each stream, and says a line more
// for each file that appears.
func talker(t *testing.T) *gopm {
	g := newGopm(t)
	g.script("talk", `for i in 1 2 3 4 5; do echo "out $i"; echo "err $i" >&2; done
n=1; while :; do [ -e say$n ] && { echo "said $n"; echo "moaned $n" >&2; n=$((n+1)); }; sleep 0.02; done`)
	g.run("start", "./talk", "--min-uptime", "100ms", "--name", "web")
	g.fileSays(g.app("web").Env.Err, "err 5")
	return g
}

func TestLogs(t *testing.T) {
	g := talker(t)
	out := g.run("logs", "web", "--nostream")
	contains(t, "logs", out, "[TAILING] Tailing last 15 lines for [web]")
	lacks(t, "logs in a pipe", out, "\x1b")
	for i := 1; i <= 5; i++ {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^0\|web +\| out %d$`, i)).MatchString(out) ||
			!regexp.MustCompile(fmt.Sprintf(`(?m)^0\|web +\| \(err\) err %d$`, i)).MatchString(out) {
			t.Errorf("line %d is missing or unmarked:\n%s", i, out)
		}
	}
}

func TestLogsOptions(t *testing.T) {
	g := talker(t)
	for _, tt := range []struct{ options, want string }{
		{"--raw --out", "out 1\nout 2\nout 3\nout 4\nout 5\n"},
		{"--raw --err --lines 2", "err 4\nerr 5\n"},
		{"--raw --out --lines 1", "out 5\n"},
		{"--raw --lines 0", ""},
	} {
		if out := g.run(append(strings.Fields("logs web --nostream"), strings.Fields(tt.options)...)...); out != tt.want {
			t.Errorf("logs %s: %q, want %q", tt.options, out, tt.want)
		}
	}
	g.fail(2, []string{"--err", "--out"}, "logs", "--err", "--out")
	g.fail(2, []string{"--lines"}, "logs", "--lines", "-3")
	g.fail(1, []string{`"nosuch"`, "web"}, "logs", "nosuch", "--nostream")
	g.fail(1, []string{`"nosuch"`}, "logs", "nosuch")
}

// The options that search, over files that were rotated and compressed before the
// daemon was there.
func TestLogsSearch(t *testing.T) {
	g := newGopm(t)
	g.script("talk", `echo "new line"; echo '{"message":"a \"b\"","timestamp":"2026-01-02T03:04:05.678Z","type":"out","process_id":9,"app_name":"x"}'; while ! [ -e go ]; do sleep 0.02; done; echo "newer line"; echo other; exec sleep 1000`)
	old := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	g.oldLog("web-out", old.Add(-time.Hour), "ancient line\n")
	g.oldLog("web-out", old, "old line\nold word\n")
	g.run("start", "./talk", "--name", "web", "--min-uptime", "100ms")
	g.fileSays(g.app("web").Env.Out, "app_name")
	json := `{"message":"a \"b\"","timestamp":"2026-01-02T03:04:05.678Z","type":"out","process_id":9,"app_name":"x"}` + "\n"
	stamp := old.Local().Format("2006-01-02-15:04:05")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--raw"}, "ancient line\nold line\nold word\nnew line\n" + json},
		{[]string{"--raw", "--since", "2h45m"}, "old line\nold word\nnew line\n" + json},
		{[]string{"--raw", "--since", "10m", "--lines", "1"}, json},
		{[]string{"--raw", "--since", "1w", "--until", "1h"}, "ancient line\nold line\nold word\n"},
		{[]string{"--raw", "--grep", "line$"}, "ancient line\nold line\nnew line\n"},
		{[]string{"--raw", "--grep", "(?i)LINE", "--lines", "2"}, "old line\nnew line\n"},
		{[]string{"--raw", "--since", "2h45m", "--grep", "^old"}, "old line\nold word\n"},
		{[]string{"--json", "--grep", "^old w"}, `{"message":"old word","timestamp":"` + old.UTC().Format("2006-01-02T15:04:05.000Z") + `","type":"out","process_id":0,"app_name":"web"}` + "\n"},
		{[]string{"--json", "--grep", "message"}, json},
		{[]string{"--raw", "--timestamp", "--grep", "old w"}, stamp + " old word\n"},
		{[]string{"--raw", "--timestamp=[at] HH:mm", "--grep", "old w"}, "at " + stamp[11:16] + " old word\n"},
		{[]string{"--format", "--grep", "old w"}, "timestamp=" + stamp + old.Local().Format("-0700") + " app=web id=0 type=out message=old word\n"},
		{[]string{"--raw", "--highlight", "old", "--grep", "old w"}, "old word\n"}, // this is no terminal
	} {
		if r := g.try(append([]string{"logs", "web", "--nostream"}, tt.args...)...); r.code != 0 || r.out != tt.want || r.err != "" {
			t.Errorf("logs %q: want\n%s\ngot %v", tt.args, tt.want, r)
		}
	}
	contains(t, "header", g.run("logs", "--nostream", "--since", "1h"), "[TAILING] Tailing all lines since 20")
	f := g.follow("--raw", "--lines", "1", "--grep", "line")
	f.says("new line\n")
	g.file("go", "")
	f.says("newer line\n")
	f.end()
	lacks(t, "logs --grep", f.text(), "other")
}

// oldLog makes a compressed file of a log that was rotated at a time.
func (g *gopm) oldLog(name string, at time.Time, text string) {
	g.Helper()
	dir := filepath.Join(g.home, "logs")
	must(g.T, os.MkdirAll(dir, 0o700))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	must(g.T, err)
	must(g.T, z.Close())
	path := filepath.Join(dir, name+"-"+at.UTC().Format("2006-01-02T15-04-05.000")+".log.gz")
	must(g.T, os.WriteFile(path, b.Bytes(), 0o600))
	must(g.T, os.Chtimes(path, at, at))
}

func TestLogsMistakes(t *testing.T) {
	g := talker(t)
	for _, tt := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--since", "yesterdayish"}, []string{"--since", "yesterdayish", "10m"}},
		{[]string{"--until", ""}, nil},
		{[]string{"--since", "10m", "--until", "1h"}, []string{"--until 1h is before --since 10m"}},
		{[]string{"--grep", "a("}, []string{"--grep", "a(", "missing closing )"}},
		{[]string{"--raw", "--json"}, []string{"--raw", "--json"}},
		{[]string{"--json", "--format"}, []string{"--json", "--format"}},
		{[]string{"--json", "--timestamp"}, []string{"--json", "--timestamp"}},
		{[]string{"--timestamp", "HH:mm:ss"}, []string{"--timestamp=HH:mm:ss"}},
	} {
		code := 2
		if tt.words == nil {
			code = 0
		}
		g.fail(code, tt.words, append([]string{"logs", "--nostream"}, tt.args...)...)
	}
}

// One log that can't be read is named once, the others are shown, and a script sees it.
func TestLogsNamesWhatItCannotRead(t *testing.T) {
	g := talker(t)
	bad := filepath.Join(g.home, "logs", "web-out-2026-01-01T00-00-00.000.log.gz")
	must(t, os.WriteFile(bad, []byte("no gzip"), 0o600))
	r := g.fail(1, []string{bad, "damaged"}, "logs", "web", "--nostream", "--raw", "--out")
	if r.out != "out 1\nout 2\nout 3\nout 4\nout 5\n" || strings.Count(r.err, "\n") != 1 {
		t.Errorf("%v", r)
	}
	g.run("logs", "web", "--nostream", "--lines", "2") // which needs nothing of it
}

func TestLogsFollow(t *testing.T) {
	g := talker(t)
	all, errOnly := g.follow(), g.follow("web", "--err", "--lines", "1", "--raw")
	all.says("err 5")
	errOnly.says("err 5")
	g.file("say1", "")
	all.says("| said 1\n")
	all.says("| (err) moaned 1\n")
	errOnly.says("moaned 1\n")
	g.file("say2", "")
	errOnly.says("moaned 2\n")
	all.end()
	errOnly.end()
	if text := errOnly.text(); text != "err 5\nmoaned 1\nmoaned 2\n" {
		t.Errorf("--err --lines 1 --raw: %q", text)
	}
	if n := strings.Count(all.text(), "said 1\n"); n != 1 {
		t.Errorf("a line came %d times:\n%s", n, all.text())
	}
}

func TestLogsMergesByTime(t *testing.T) {
	g := newGopm(t)
	g.script("say", `while :; do [ -e go-$name ] && { rm go-$name; echo "$name speaks"; }; sleep 0.02; done`)
	g.run("start", "./say", "--min-uptime", "100ms", "--name", "a")
	g.run("start", "./say", "--min-uptime", "100ms", "--name", "b")
	var want []string
	for i, name := range strings.Fields("a b a b b a") {
		g.file("go-"+name, "")
		want = append(want, name+" speaks")
		eventually(t, soon, func() error {
			if n := strings.Count(g.run("logs", "--nostream"), "speaks"); n != i+1 {
				return fmt.Errorf("%d lines, want %d", n, i+1)
			}
			return nil
		})
	}
	if got := g.run("logs", "--nostream", "--raw"); got != strings.Join(want, "\n")+"\n" {
		t.Errorf("not in the order of time:\n%s", got)
	}
}

func TestLogsShowsANewcomer(t *testing.T) {
	g := talker(t)
	all, one := g.follow(), g.follow("web")
	all.says("out 5")
	one.says("out 5")
	g.script("late", "echo late words; exec sleep 1000")
	g.run("start", "./late", "--min-uptime", "100ms")
	all.says("1|late | late words\n")
	g.run("restart", "web")
	eventually(t, soon, func() error {
		if n := strings.Count(one.text(), "out 5"); n != 2 {
			return fmt.Errorf("want the lines of both runs:\n%s", one.text())
		}
		return nil
	})
	all.end()
	one.end()
	lacks(t, "logs web", one.text(), "late words")
}

func TestLogsIntoHeadEndsQuietly(t *testing.T) {
	g := newGopm(t)
	g.script("tick", `while :; do echo tick; sleep 0.02; done`)
	g.run("start", "./tick", "--min-uptime", "100ms")
	g.fileSays(g.app("tick").Env.Out, "tick\ntick\ntick\n")
	sh := g.command()
	sh.Path, sh.Args = "/bin/bash", []string{"bash", "-c", g.binary + ` logs | head -2; echo "${PIPESTATUS[*]}"`}
	r := g.execute(sh)
	if r.err != "" || strings.Count(r.out, "\n") != 3 {
		t.Errorf("%v", r)
	}
	if !strings.HasSuffix(r.out, "\n0 0\n") && !strings.HasSuffix(r.out, "\n141 0\n") { // 141: SIGPIPE, as with any tool
		t.Errorf("it did not end quietly: %v", r)
	}
}

// A program that is gone keeps its log.
func TestLogsOfAStoppedApp(t *testing.T) {
	g := talker(t)
	g.run("stop", "web")
	contains(t, "logs", g.run("logs", "web", "--nostream"), "out 5", "err 5")
}

func TestLogsEndsWithTheDaemon(t *testing.T) {
	g := talker(t)
	f := g.follow()
	f.says("out 5")
	g.run("kill")
	err := f.cmd.Wait()
	if code := f.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("%v: %s", err, f.text())
	}
	contains(t, "logs", f.text(), "daemon has ended")
}

func TestLogsTargets(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "web", "namespace": "front"`, `"name": "api"`)
	g.script("run", `echo "I am $name"; exec sleep 1000`)
	g.run("start", "eco.json")
	g.fileSays(g.app("web").Env.Out, "I am web")
	g.fileSays(g.app("api").Env.Out, "I am api")
	for target, want := range map[string]string{
		"front": "I am web\n", "0": "I am web\n", "/^a/": "I am api\n", "api": "I am api\n", "eco.json": "I am api\nI am web\n",
	} {
		r := g.try("logs", target, "--nostream", "--raw")
		lines := strings.SplitAfter(r.out, "\n")
		if strings.Contains(r.out, "web\n") && strings.Contains(r.out, "api\n") {
			lines = []string{"I am api\n", "I am web\n"} // in either order
		}
		if got := strings.Join(lines, ""); r.code != 0 || got != want {
			t.Errorf("logs %s: %v", target, r)
		}
	}
}

// What a program writes must not drive the terminal of who looks at its failure.
func TestControlCharactersOfAProgramAreHarmless(t *testing.T) {
	g := newGopm(t)
	g.script("evil", `printf 'a\033]0;title\007b\n' >&2; exit 1`)
	r := g.try(crashes("start", "./evil")...)
	lacks(t, "start", r.err, "\x1b", "\x07")
	lacks(t, "info", g.run("info", "evil"), "\x1b", "\x07")
}

// The reader of an app that says nothing may be gone, too.
func TestLogsOfAnIdleAppIntoHead(t *testing.T) {
	g := talker(t)
	sh := g.command()
	sh.Path, sh.Args = "/bin/bash", []string{"bash", "-c", "timeout 5 " + g.binary + ` logs | head -2 >/dev/null; echo "${PIPESTATUS[0]}"`}
	if r := g.execute(sh); r.out == "124\n" || r.err != "" {
		t.Errorf("it did not see that its reader is gone: %v", r)
	}
}

// Somebody deletes or truncates a log: what comes later is there.
func TestLogsDeletedOrTruncatedBySomebody(t *testing.T) {
	g := talker(t)
	out := g.app("web").Env.Out
	f := g.follow("web", "--raw", "--out")
	f.says("out 5")
	must(t, os.Truncate(out, 0))
	g.file("say1", "")
	g.fileSays(out, "said 1\n")
	f.says("said 1\n")
	must(t, os.Remove(out))
	g.file("say2", "")
	g.file("say3", "")
	g.fileSays(out, "said 3\n")
	f.says("said 3\n")
	f.end()
	if text, err := os.ReadFile(g.home + "/logs/web-out.log"); err != nil || strings.ContainsRune(string(text), 0) {
		t.Errorf("%q, %v", text, err)
	}
}
