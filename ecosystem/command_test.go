package ecosystem

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	elf, text, sh := "\x7fELF\x02\x00\x00", "hello\n", "#!/bin/sh\n"
	for _, c := range []struct {
		file     string
		can      bool
		head     string
		wantArgs bool
		want     string // interpreters, "itself", or part of the problem
	}{
		{"a.js", false, text, false, "node"},
		{"a.js", true, text, false, "node"},
		{"a.js", true, "#!/usr/bin/env node\n", false, "itself"},
		{"a.js", true, "#!/usr/bin/env node\n", true, "node"},
		{"a.js", false, "#!/usr/bin/env node\n", false, "node"},
		{"a.js", false, "", false, "node"},
		{"a.mjs", false, text, false, "node"},
		{"a.ts", false, text, false, "bun node"},
		{"a.py", false, text, false, "python3 python"},
		{"a.sh", false, sh, false, "bash sh"},
		{"a.rb", false, text, false, "ruby"},
		{"a", true, sh, false, "itself"},
		{"a", true, sh, true, "itself"},
		{"a", true, elf, false, "itself"},
		{"a", false, elf, false, "a binary that is not executable; chmod +x it"},
		{"a", false, sh, false, "not executable; chmod +x it"},
		{"a", true, text, false, "cannot tell what runs it: set interpreter"},
		{"a", false, text, false, "cannot tell what runs it: set interpreter"},
		{"a.txt", false, text, false, "cannot tell what runs it: set interpreter"},
		{"a.jar", false, "PK\x03\x04\x00", false, "a binary that is not executable; chmod +x it, or set interpreter"},
	} {
		names, problem := detect(c.file, c.can, []byte(c.head), c.wantArgs)
		got := strings.Join(names, " ")
		if problem != "" {
			got = problem
		} else if names == nil {
			got = "itself"
		}
		if got != c.want && (problem == "" || !strings.Contains(problem, c.want)) {
			t.Errorf("%s (x %v, %q): %q, want %q", c.file, c.can, c.head, got, c.want)
		}
	}
	// A program that may be executed but not read.
	if names, problem := detect("a", true, nil, false); names != nil || problem != "" {
		t.Errorf("unreadable: %v %q", names, problem)
	}
}

func TestShebang(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]string{
		"#!/bin/sh\n": "sh", "#! /usr/bin/env node\nx": "node", "#!/usr/bin/env -S FOO=1 python3 -u\n": "python3", "#!/bin/sh": "sh",
		"#!\n": "", "#!": "", "x": "", "": "", "#!/usr/bin/env\n": "env",
	} {
		if got := shebang([]byte(head)); got != want {
			t.Errorf("%q: %q, want %q", head, got, want)
		}
	}
}

func TestCommandWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"node app.js": {"node", "app"}, "npm run start": {"npm", "npm"}, "NODE_ENV=x exec /usr/bin/node --x 'src/a b.js'": {"node", "node"},
		"python3 -u src/main.py --x": {"python3", "main"}, "./run.sh | cat": {"run.sh", "run"}, "node -e 1": {"node", "node"}, "A=1 B=2": {"", "shell"},
	} {
		program, name := commandWords(text)
		if got := [2]string{program, name}; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestCommandMistakes: what is wrong with the program is said with the field, the
// path and what to do.
func TestCommandMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, fields, want string }{
		{"missing", `"script": "nope/app.js"`, "[0].script: no such file: $DIR/nope/app.js"},
		{"missing program", `"script": "nope"`, "[0].script: no such file: $DIR/nope, and no program of that name on PATH"},
		{"alias", `"cmd": "nope/x"`, "[0].cmd: no such file: $DIR/nope/x"},
		{"text", `"script": "notes"`, "[0].script: $DIR/notes: cannot tell what runs it: set interpreter"},
		{"none, not executable", `"script": "app.js", "interpreter": "none"`, "[0].script: not executable: $DIR/app.js; chmod +x it"},
		{"no interpreter", `"script": "a.php"`, "[0].script: $DIR/a.php needs php, which is not on PATH; install it or set interpreter"},
		{"no interpreter of two", `"script": "a.ts", "env": {"PATH": "/nowhere"}`, "[0].script: $DIR/a.ts needs bun or node, which is not on PATH"},
		{"wrong interpreter", `"script": "app.js", "interpreter": "nodee"`, `[0].interpreter: no program "nodee" on PATH`},
		{"interpreter's path", `"script": "app.js", "exec_interpreter": "./x/node"`, "[0].exec_interpreter: no such program: $DIR/x/node"},
		{"nvm", `"script": "app.js", "interpreter": "node@18"`, "versions of nvm are not looked up, give the path"},
		{"interpreter with arguments", `"script": "app.js", "interpreter": "node --x"`, "its arguments belong into interpreter_args"},
		{"command line with interpreter", `"script": "a b", "interpreter": "node"`, "[0].script: no such file: $DIR/a b"},
		{"cwd", `"script": "app.js", "cwd": "nope"`, "[0].cwd: no such folder: $DIR/nope"},
		{"cwd a file", `"script": "app.js", "cwd": "app.js"`, "[0].cwd: not a folder: $DIR/app.js"},
		{"fifo", `"script": "/dev/null"`, "not a file that can be run: /dev/null"},
		{"shebang to nowhere", `"script": "lost"`, "[0].script: $DIR/lost: its first line asks for /opt/nope/perl, which is not there"},
		{"windows shebang", `"script": "windows"`, `$DIR/windows: its first line ends as on Windows (\r\n)`},
		{"numeric default name", `"script": "7.js"`, `[0].name: give one: from the script it would be "7", and a number means an id`},
		{"short uptime", `"script": "app.js", "min_uptime": 10`, `[0].min_uptime: want at least 100ms, got 10ms; a number is milliseconds, write "5s" for seconds`},
		{"group", `"script": "app.js", "gid": "no-such-group"`, `[0].gid: no group "no-such-group" on this machine`},
		{"empty", `"script": ""`, `[0].script: is empty`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.file("a.php", "x")
			p.file("a.ts", "x")
			p.file("7.js", "x")
			p.program("lost", "#!/opt/nope/perl -w\n")
			p.program("windows", "#!/bin/sh\r\necho\r\n")
			_, err := p.read("e.json", "[{"+c.fields+"}]")
			if err == nil || !strings.Contains(p.hide(err.Error()), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestRestartFields(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	if r := p.app(`"exp_backoff_restart_delay": 0, "max_restarts": 16`, "").Restart; r.BackoffInitial != defaults().Restart.BackoffInitial || !r.MaxExplicit {
		t.Errorf("restart = %+v", r)
	}
	f, err := p.read("e.json", `[{"script": "app.js", "restart_delay": 100, "exp_backoff_restart_delay": 200}]`)
	must(t, err)
	if len(f.Problems) != 1 || !strings.Contains(f.Problems[0].Text, "restart_delay: ignored") {
		t.Errorf("problems = %v", f.Problems)
	}
}

// TestServersAreFound: a broker or web server is run by its name, also where PATH lacks /usr/sbin;
// PATH comes first, and so does a file of the project.
func TestServersAreFound(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("/usr/sbin")
	must(t, err)
	i := slices.IndexFunc(entries, func(e os.DirEntry) bool {
		info, err := os.Stat("/usr/sbin/" + e.Name())
		_, other := os.Stat("/usr/local/sbin/" + e.Name())
		return err == nil && other != nil && executable(info)
	})
	if i < 0 {
		t.Fatal("this machine has no program in /usr/sbin")
	}
	name := entries[i].Name()
	p := newProject(t)
	script := func() string {
		t.Helper()
		f, err := p.read("e.json", fmt.Sprintf(`[{"name": "server", "script": %q}]`, name))
		must(t, err)
		apps, _, err := f.Select("", nil)
		must(t, err)
		return apps[0].Command.Script
	}
	if got := script(); got != "/usr/sbin/"+name {
		t.Errorf("%s is %s", name, got)
	}
	must(t, os.WriteFile(filepath.Join(p.bin, name), []byte("#!/bin/sh\n"), 0o755))
	if got := script(); got != filepath.Join(p.bin, name) {
		t.Errorf("%s is %s though PATH has one", name, got)
	}
	p.program(name, "#!/bin/sh\n")
	if got := script(); got != filepath.Join(p.dir, name) {
		t.Errorf("%s is %s though the project has one", name, got)
	}
}

// TestSelectPath: env_<name> may bring another PATH, and so another program.
func TestSelectPath(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.program("one/node", "#!/bin/sh\n")
	p.program("two/node", "#!/bin/sh\n")
	fields := `"args": ["x"], "env": {"PATH": "one"}, "env_two": {"PATH": "two"}, "env_none": {"PATH": "none"}`
	for env, want := range map[string]string{"": "/one/node", "two": "/two/node"} {
		if a := p.app(fields, env); a.Command.Interpreter != p.dir+want || !slices.Equal(a.Command.Args, []string{"x"}) {
			t.Errorf("env %q: %+v", env, a.Command)
		}
	}
	f, err := p.read("e.json", `[{"script": "app.js", `+fields+`}]`)
	must(t, err)
	_, _, err = f.Select("none", nil)
	mentions(t, err, "e.json:1:13: [0].script: with env_none: ", "needs node, which is not on PATH")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("sub/package.json", `{"version": "9.9"}`)
	p.file("broken/package.json", `{`)
	p.file("broken/a.js", ``)
	for script, want := range map[string]string{"app.js": "1.2.3", "sub/worker.js": "9.9", "broken/a.js": "", "npm": "1.2.3"} {
		a, _, err := FromCommand(script, nil, nil, p.options())
		if err != nil || a.Version != want {
			t.Errorf("%s: version %q, %v, want %q", script, a.Version, err, want)
		}
	}
	if old := newWorld(p.options()).version("/"); old != "" {
		if _, err := os.Stat("/package.json"); err != nil {
			t.Errorf("version of / = %q", old)
		}
	}
}
