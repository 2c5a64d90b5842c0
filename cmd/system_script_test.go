package cmd_test

import (
	"os"
	"strings"
	"testing"
)

// Starting programs without a file.

func TestStartScriptWithShebang(t *testing.T) {
	g := newGopm(t)
	g.script("tick", `echo "$0 ran as $(cat /proc/$$/comm)"; exec sleep 1000`)
	contains(t, "start", g.run("start", "./tick", "--min-uptime", "100ms"), "App [tick] launched")
	e := g.app("tick")
	contains(t, "its output", g.fileSays(e.Env.Out, "ran as"), "ran as tick")
}

func TestStartCommandLine(t *testing.T) {
	g := newGopm(t)
	g.run("start", "echo one two | tr a-z A-Z; sleep 1000", "--name", "line", "--min-uptime", "100ms")
	g.fileSays(g.app("line").Env.Out, "ONE TWO")
}

func TestStartProgramOnPath(t *testing.T) {
	g := newGopm(t)
	g.run("start", "sleep", "--min-uptime", "100ms", "--", "1000")
	if e := g.app("sleep"); e.Env.Status != "online" {
		t.Error(e)
	}
}

func TestStartPassesArguments(t *testing.T) {
	g := newGopm(t)
	g.script("args", `for a in "$@"; do echo "<$a>"; done; exec sleep 1000`)
	g.run("start", "./args", "--min-uptime", "100ms", "--", "--name", "x", "two words", "", "$HOME", "-v")
	g.fileSays(g.app("args").Env.Out, "<--name>\n<x>\n<two words>\n<>\n<$HOME>\n<-v>\n")
}

func TestStartSeveralScripts(t *testing.T) {
	g := newGopm(t)
	g.script("a.sh", "exec sleep 1000")
	g.script("b.sh", "exec sleep 1000")
	g.run("start", "a.sh", "b.sh", "--min-uptime", "100ms")
	if pids := g.pids(); len(pids) != 2 || pids["a:0"] == 0 || pids["b:0"] == 0 {
		t.Errorf("want a and b: %v", pids)
	}
}

// One wrong argument of several starts nothing.
func TestStartSeveralScriptsOneWrong(t *testing.T) {
	g := newGopm(t)
	g.sleeper("a.sh")
	g.fail(2, []string{"nofile.sh"}, "start", "a.sh", "nofile.sh", "--min-uptime", "100ms")
	if all := g.list(); len(all) != 0 {
		t.Errorf("it started %v", all)
	}
}

func TestStartScriptAgain(t *testing.T) {
	g := newGopm(t)
	g.sleeper("a.sh")
	g.run("start", "a.sh", "--min-uptime", "100ms")
	pid := g.app("a").Pid
	r := g.try("start", "a.sh", "--min-uptime", "100ms")
	if r.code != 0 || g.app("a").Pid != pid {
		t.Errorf("want it left alone: %v", r)
	}
	contains(t, "start again", r.out, "gopm restart a")
	g.run("start", "a.sh", "--min-uptime", "100ms", "--name", "b")
	if len(g.list()) != 2 {
		t.Errorf("want a second app: %v", g.list())
	}
}

func TestStartFlags(t *testing.T) {
	g := newGopm(t)
	g.script("run", "pwd; exec sleep 1000")
	must(t, os.Mkdir(g.dir+"/sub", 0o755))
	g.run("start", "./run", "-n", "web", "--namespace", "shop", "--cwd", "sub", "--max-restarts", "3",
		"-k", "2s", "--restart-delay", "300", "--no-autorestart", "--stop-exit-codes", "0,7",
		"--max-memory-restart", "200M", "-o", "o.txt", "-e", "e.txt", "--min-uptime", "100ms")
	contains(t, "info", g.run("info", "web"), "shop", g.dir+"/sub", "SIGKILL after 2s", "300ms", "0 7", "200.0mb",
		g.dir+"/sub/o.txt", g.dir+"/sub/e.txt", "command line")
	g.fileSays(g.dir+"/sub/o.txt", g.dir+"/sub\n")
}

func TestStartFlagsAreChecked(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	for flag, words := range map[string][]string{
		"--max-memory-restart=10Q": {"max-memory-restart", `"10Q"`},
		"--kill-timeout=5x":        {"kill-timeout", `"5x"`},
		"--instances=many":         {"instances", `"many"`},
		"--name=all":               {`"all"`},
		"--interpreter=nosuch":     {"nosuch"},
		"--cwd=nowhere":            {"nowhere"},
		"--uid=no-such-user":       {"no-such-user"},
		"--stop-exit-codes=300":    {"300"},
	} {
		g.fail(2, words, "start", "./run", flag)
	}
	if all := g.list(); len(all) != 0 {
		t.Errorf("it started %v", all)
	}
}

func TestFieldFlagsWithFileAreRefused(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.fail(2, []string{"eco.json"}, "start", "eco.json", "--max-restarts", "3")
}

func TestExecutableTextWithoutShebangIsNotGuessed(t *testing.T) {
	g := newGopm(t)
	path := g.file("notes", "just words\n")
	g.fail(2, []string{"notes", "interpreter"}, "start", "./notes")
	must(t, os.Chmod(path, 0o755))
	g.fail(2, []string{"notes", "interpreter"}, "start", "./notes")
}

func TestShebangWithoutExecuteBit(t *testing.T) {
	g := newGopm(t)
	g.file("tool", "#!/bin/sh\nexec sleep 1000\n")
	g.fail(2, []string{"tool", "chmod +x"}, "start", "./tool")
	g.file("known.sh", "exec sleep 1000\n")
	g.run("start", "known.sh", "--min-uptime", "100ms")
}

func TestInterpreterByExtension(t *testing.T) {
	g := newGopm(t)
	g.file("a.py", "import time, sys\nprint('python', sys.version_info[0], flush=True)\ntime.sleep(1000)\n")
	g.file("b.js", "console.log('node', process.argv.length); setInterval(() => {}, 1e6)\n")
	g.run("start", "a.py", "b.js")
	g.fileSays(g.app("a").Env.Out, "python 3")
	g.fileSays(g.app("b").Env.Out, "node 2")
}

func TestNodeArgs(t *testing.T) {
	g := newGopm(t)
	g.file("b.js", "console.log(process.execArgv.join(' ')); setInterval(() => {}, 1e6)\n")
	g.run("start", "b.js", "--node-args", "--max-old-space-size=64 --no-warnings")
	g.fileSays(g.app("b").Env.Out, "--max-old-space-size=64 --no-warnings")
}

// pm2 starts a file ecosystem.js as an app; nobody wants that.
func TestEcosystemModuleByAnotherNameIsNotRun(t *testing.T) {
	g := newGopm(t)
	g.file("ecosystem.js", "module.exports = {apps: [{name: 'a', script: 'x'}]}\n")
	g.fail(2, []string{"ecosystem.config.js"}, "start", "ecosystem.js")
}

func TestDirectoryGoesToNode(t *testing.T) {
	g := newGopm(t)
	g.file("app/index.js", "console.log('index'); setInterval(() => {}, 1e6)\n")
	g.run("start", "./app")
	g.fileSays(g.app("app").Env.Out, "index")
}

func TestSilent(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	for _, command := range []string{"start eco.json", "start eco.json", "restart a", "ls", "stop a", "delete a"} {
		if out := g.run(append(strings.Fields(command), "-s")...); out != "" {
			t.Errorf("%s -s: %q", command, out)
		}
	}
}
