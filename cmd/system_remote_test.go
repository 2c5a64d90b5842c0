package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// These tests reach a gopm by ssh as people do: with a real sshd, and an ssh whose
// configuration names the key.

// byName lets ssh of the near side reach the hosts as host1, host2, …; host0 is nobody's.
// ssh looks for its configuration in the folder of the user, not in $HOME: so the word
// leads to one with a file of ours. Each call is noted.
func (f *field) byName() {
	f.Helper()
	var text strings.Builder
	for i := range f.hosts {
		fmt.Fprintf(&text, "Host host%d\n HostName 127.0.0.%d\n Port %d\n", i+1, i+1, f.port)
	}
	fmt.Fprintf(&text, "Host host0\n HostName 127.0.0.1\n Port 1\nHost *\n IdentityFile %s/user\n IdentitiesOnly yes\n"+
		" StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n", f.keys)
	config := filepath.Join(f.keys, "config")
	must(f.T, os.WriteFile(config, []byte(text.String()), 0o600))
	path, err := exec.LookPath("ssh")
	must(f.T, err)
	f.script("bin/ssh", fmt.Sprintf("echo \"$*\" >>%s/calls\nexec %s -F %s \"$@\"", f.keys, path, config))
	f.env = append([]string{"PATH=" + filepath.Join(f.dir, "bin") + ":" + strings.TrimPrefix(f.env[0], "PATH=")}, f.env[1:]...)
}

func TestOnAnotherMachine(t *testing.T) {
	f := newField(t, 1)
	f.byName()
	there := f.hosts[0]
	there.script("run", "echo \"I am on $WHERE\"\nexec cat")
	there.file("eco.json", `{"apps": [{"name": "web", "script": "./run", "stdin": true, "min_uptime": "100ms", "env": {"WHERE": "one"}}]}`)

	f.run("-H", "ssh://host1", "start", there.dir+"/eco.json", "-s")
	there.awaitStatus("web", "online")
	contains(t, "ls there", f.run("-H", "ssh://host1", "ls"), "web", "online", "eco.json")
	lacks(t, "ls here", f.run("ls"), "web")

	// All kinds of commands: files, standard input, one JSON value, exit codes.
	contains(t, "logs", f.run("-H", "ssh://host1", "logs", "web", "--nostream"), "0|web | I am on one")
	lines := f.command("-H", "ssh://host1", "send", "web", "-")
	lines.Stdin = strings.NewReader("it's $a 'line'\n")
	if r := f.execute(lines); r.code != 0 {
		t.Error(r)
	}
	eventually(t, soon, func() error {
		if text := f.run("-H", "ssh://host1", "logs", "--raw", "--nostream"); !strings.Contains(text, "it's $a 'line'") {
			return fmt.Errorf("the logs are %s", text)
		}
		return nil
	})
	if text := f.run("-H", "ssh://host1", "ls", "--json"); !json.Valid([]byte(text)) {
		t.Errorf("ls --json: %s", text)
	}
	f.fail(1, []string{"nosuch"}, "-H", "ssh://host1", "stop", "nosuch")
	f.fail(2, []string{"--nosuch"}, "-H", "ssh://host1", "ls", "--nosuch")
	contains(t, "completion", f.run("__complete", "-H", "ssh://host1", "stop", "w"), "web")

	// A loop of a shell keeps its input.
	loop := f.command()
	loop.Path, loop.Args = "/bin/sh", []string{"sh", "-c", "while read id; do gopm -H ssh://host1 id $id; done"}
	loop.Stdin = strings.NewReader("web\nweb\nweb\n")
	if r := f.execute(loop); r.out != "[ 0 ]\n[ 0 ]\n[ 0 ]\n" && strings.Count(r.out, "0") != 3 {
		t.Errorf("three times by a loop: %v", r)
	}

	// The variable does the same; a second home is part of the address.
	f.env = append(f.env, "GOPM_HOST=ssh://host1"+there.dir+"/second")
	r := f.try("ls")
	if r.code != 0 || strings.Contains(r.out, "web") || !strings.Contains(r.out, there.dir+"/second") {
		t.Errorf("the second home: %v", r)
	}
	f.env[len(f.env)-1] = "GOPM_HOST=ssh://host1"
	contains(t, "by GOPM_HOST", f.run("ls"), "web")
	contains(t, "version here", f.run("--version"), "v0.0.0-test")
	f.file("here.json", "{}")
	f.fail(2, []string{"here.json was looked for on host1"}, "start", "here.json")
	f.run("kill")
	if pid := there.try("ping"); pid.code == 0 {
		t.Errorf("kill by GOPM_HOST has left the daemon: %v", pid)
	}
	f.env[len(f.env)-1] = "GOPM_HOST="
}

// At a terminal the other side has one, too: width, colours, keys.
func TestOnAnotherMachineAtATerminal(t *testing.T) {
	f := newField(t, 1)
	f.byName()
	there := f.hosts[0]
	there.sleeper("run")
	there.run("start", "./run", "--name", "web", "--min-uptime", "100ms", "-s")
	list := newScreen(f.gopm, 60, "gopm -H ssh://host1 ls; gopm -H ssh://host1 stop nosuch; echo code $?; NO_COLOR=1 gopm -H ssh://host1 ls")
	list.mustNotWrap()
	text := list.capture()
	contains(t, "ls there, on 60 columns", text, "on host1 (-H):", "web", "nosuch", "code 1", "┘")
	lacks(t, "ls there, on 60 columns", text, "version", "Connection to")
	coloured, plain, _ := strings.Cut(list.capture("-e"), "code 1")
	if !strings.Contains(coloured, "\x1b[3") || strings.Contains(plain, "\x1b[3") {
		t.Errorf("want colours first, and none with NO_COLOR:\n%q\n%q", coloured, plain)
	}
	s := dashboard(f.gopm, 80, 24, "GOPM_HOST=ssh://host1")
	s.awaits("1 instances, 1 online")
	before := there.app("web").Pid
	s.keys("r")
	s.awaits("web:0 (id 0): restarted")
	if now := there.awaitStatus("web", "online"); now.Pid == before {
		t.Error("it was not restarted")
	}
	s.keys("q")
	s.awaits("DONE 0")
}

func TestOnAnotherMachineFails(t *testing.T) {
	f := newField(t, 1)
	f.byName()
	f.fail(2, []string{"web1", "want ssh://"}, "-H", "web1", "ls")
	f.fail(2, []string{"begin with -"}, "-H", "ssh://-oProxyCommand", "ls")
	f.fail(2, []string{"-H comes before the command"}, "ls", "-H", "ssh://host1")
	f.fail(2, []string{"the files of this machine"}, "-H", "ssh://host1", "deploy", "x", "y")
	f.fail(1, []string{"Connection refused", "ssh://host0", "try: ssh host0 true"}, "-H", "ssh://host0", "ls")
	f.fail(1, []string{"Permission denied", "ssh has failed"}, "-H", "ssh://nobody-at-all@host1", "ls")
	f.env = append([]string{"PATH=" + t.TempDir()}, f.env[1:]...)
	f.fail(1, []string{"cannot run ssh"}, "-H", "ssh://host1", "ls")
}

// dial-stdio is the API on standard input and output.
func TestDialStdio(t *testing.T) {
	f := newField(t, 1)
	f.byName()
	there := f.hosts[0]
	f.fail(1, []string{"daemon not running"}, "dial-stdio")
	there.sleeper("run")
	there.run("start", "./run", "--min-uptime", "100ms", "-s")
	ask := f.command("-H", "ssh://host1", "dial-stdio")
	ask.Stdin = strings.NewReader("GET /v1/ping HTTP/1.0\r\n\r\n")
	r := f.execute(ask)
	if r.code != 0 || !strings.Contains(r.out, "200 OK") || !strings.Contains(r.out, `"version":"v0.0.0-test"`) {
		t.Errorf("ping: %v", r)
	}
	// What follows for ever ends when nobody is there any more, on both sides.
	follow := f.command("-H", "ssh://host1", "logs", "--raw")
	out := &output{}
	follow.Stdout, follow.SysProcAttr = out, &syscall.SysProcAttr{Setpgid: true}
	must(t, follow.Start())
	eventually(t, soon, func() error {
		if n := len(calledThere("logs", there.home)); n != 1 {
			return fmt.Errorf("%d processes of gopm logs", n)
		}
		return nil
	})
	must(t, syscall.Kill(-follow.Process.Pid, syscall.SIGINT)) // as a terminal does: gopm and ssh
	_ = follow.Wait()                                          // by a signal
	if code := follow.ProcessState.ExitCode(); code != 130 {
		t.Errorf("interrupted: exit code %d", code)
	}
	eventually(t, soon, func() error {
		if n := len(calledThere("logs", there.home)); n != 0 {
			return fmt.Errorf("%d processes of gopm logs are left", n)
		}
		return nil
	})
}

// calledThere are the processes of the test's gopm that run with that word, for a home.
func calledThere(word, home string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		args := strings.Split(string(text), "\x00")
		if !strings.HasSuffix(args[0], "/gopm") || len(args) < 2 || args[1] != word {
			continue
		}
		env, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && strings.Contains(string(env), "GOPM_HOME="+home+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endCalls ends them hard.
func (f *field) endCalls(word, home string) {
	f.Helper()
	pids := calledThere(word, home)
	if len(pids) == 0 {
		f.Errorf("there is no gopm %s", word)
	}
	for _, pid := range pids {
		must(f.T, syscall.Kill(pid, syscall.SIGKILL))
	}
}
