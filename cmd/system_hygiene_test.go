package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What a program of gopm's finds at its first instruction is what it would find if the
// user's shell had started it, whoever of gopm's starts it, and nothing of gopm's own.

// lookAround is a line of a shell that writes what its process is made of. It is looked at
// from a child, for a shell's own redirections are descriptors, too.
const lookAround = `( d=/proc/$$; for f in $(ls $d/fd); do [ -e $d/fd/$f ] && echo "fd $f $(readlink $d/fd/$f)"; done
grep -E '^(SigBlk|SigIgn|Umask|Groups|Uid|Gid|NoNewPrivs|CapEff)' $d/status | sed 's/^/status /'
sed 's/^/limit /' $d/limits; echo "score $(cat $d/oom_score_adj)"; echo "stat $$ $(sed 's/.*) //' $d/stat)"; echo "cwd $(readlink $d/cwd)"
tr '\0' '\n' <$d/environ | sed 's/^/env /'; echo end ) >"$OUT/$1.new" 2>&1; mv "$OUT/$1.new" "$OUT/$1"; :`

// surroundings are what lookAround has written.
type surroundings struct {
	name   string
	fds    map[string]string
	status map[string]string
	limits map[string]string
	score  string
	cwd    string
	env    map[string]string
	stat   []string // pid, state, ppid, pgrp, session, tty…
}

func parseSurroundings(name, text string) surroundings {
	s := surroundings{name: name, fds: map[string]string{}, status: map[string]string{}, limits: map[string]string{}, env: map[string]string{}}
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case "fd":
			fd, to, _ := strings.Cut(rest, " ")
			s.fds[fd] = to
		case "status":
			key, value, _ := strings.Cut(rest, ":")
			s.status[key] = strings.TrimSpace(value)
		case "limit":
			if len(rest) > 26 {
				s.limits[strings.TrimSpace(rest[:26])] = strings.Join(strings.Fields(rest[26:]), " ")
			}
		case "score":
			s.score = rest
		case "cwd":
			s.cwd = rest
		case "stat":
			s.stat = strings.Fields(rest)
		case "env":
			key, value, _ := strings.Cut(rest, "=")
			s.env[key] = value
		}
	}
	return s
}

// around waits until a program has looked around.
func (g *gopm) around(name string) surroundings {
	g.Helper()
	return parseSurroundings(name, g.fileSays(filepath.Join(g.dir, "out", name), "\nend\n"))
}

// cLibrary are the signals that the C library keeps for itself; some shells ignore them.
const cLibrary = 1<<(32-1) | 1<<(33-1)

// isClean holds a program to what a plain shell has here.
func (s surroundings) isClean(t *testing.T, plain surroundings, own bool) {
	t.Helper()
	var fds []string
	for fd := range s.fds {
		fds = append(fds, fd)
	}
	slices.Sort(fds)
	if !slices.Equal(fds, []string{"0", "1", "2"}) {
		t.Errorf("%s has the descriptors %v", s.name, s.fds)
	}
	for _, key := range []string{"SigBlk", "SigIgn"} {
		if bits, err := strconv.ParseUint(s.status[key], 16, 64); err != nil || bits&^cLibrary != 0 {
			t.Errorf("%s has %s %s", s.name, key, s.status[key])
		}
	}
	for _, key := range []string{"Umask", "NoNewPrivs"} {
		if s.status[key] != plain.status[key] {
			t.Errorf("%s has %s %s, want %s", s.name, key, s.status[key], plain.status[key])
		}
	}
	if fmt.Sprint(s.limits) != fmt.Sprint(plain.limits) || len(s.limits) < 10 {
		t.Errorf("%s has the limits\n%v, want\n%v", s.name, s.limits, plain.limits)
	}
	if s.score != plain.score {
		t.Errorf("%s has oom_score_adj %s, want %s", s.name, s.score, plain.score)
	}
	const pid, group, tty, nice = 0, 3, 5, 17
	if len(s.stat) < nice || s.stat[group] != s.stat[pid] || s.stat[tty] != "0" || s.stat[nice] != plain.stat[nice] {
		t.Errorf("%s: not in a group of its own, or with a terminal, or not as nice: %v", s.name, s.stat)
	}
	for name := range s.env {
		if strings.HasPrefix(name, "GOPM_") && !slices.Contains([]string{"GOPM_HOME", "GOPM_LIFE", "GOPM_HOOK", "GOPM_APP", "GOPM_ID", "GOPM_INSTANCE", "GOPM_PID"}, name) {
			t.Errorf("%s is told %s", s.name, name)
		}
	}
	if own && s.env["SECRET_OF_SHELL"] != "s3" || s.env["BASH_ENV"] != "" {
		t.Errorf("%s has not the shell's variables: %v", s.name, s.env)
	}
}

func TestHygiene(t *testing.T) {
	g := newGopm(t)
	out := filepath.Join(g.dir, "out")
	must(t, os.Mkdir(out, 0o777))
	must(t, os.Chmod(out, 0o777)) // another user writes there, too
	g.env = append(g.env, "OUT="+out, "SECRET_OF_SHELL=s3")
	// A file of a shell is a descriptor of it: it gets the text itself.
	look := func(name string) string { return strconv.Quote("set -- " + name + "; " + lookAround) }
	program := func(name string) string {
		return fmt.Sprintf(`"script": "sh", "args": ["-c", %q, "sh", %q]`, lookAround+"; exec sleep 1000", name)
	}
	apps := []string{
		`{"name": "fork", ` + program("fork") + `, "min_uptime": 100, "pre_start": ` + look("pre") + `, "post_start": ` + look("post") + `, "pre_stop": ` + look("stop") + `, "health": {"exec": ` + look("health") + `}}`,
		`{"name": "cluster", ` + program("cluster") + `, "min_uptime": 100, "exec_mode": "cluster", "ready": "uptime"}`,
		`{"name": "masked", ` + program("masked") + `, "min_uptime": 100, "umask": "031"}`,
		`{"name": "once", ` + strings.Replace(program("once"), "exec sleep 1000", "", 1) + `, "autorestart": false, "autostart": false}`,
		`{"name": "job", ` + strings.Replace(program("job"), "exec sleep 1000", "", 1) + `, "schedule": "@every 1s"}`,
	}
	isRoot := os.Geteuid() == 0
	if isRoot {
		apps = append(apps, `{"name": "nobody", "cwd": "/", `+program("nobody")+`, "min_uptime": 100, "uid": "nobody"}`,
			`{"name": "both", "cwd": "/", `+program("both")+`, "min_uptime": 100, "uid": "nobody", "exec_mode": "cluster", "ready": "uptime"}`)
	}
	g.file("eco.json", "["+strings.Join(apps, ",\n")+"]")

	// The shell that starts gopm has odd signals and descriptors of its own.
	dirty := func(args ...string) {
		t.Helper()
		cmd := g.command(args...)
		cmd.Args = append([]string{"bash", "-c", `trap "" HUP PIPE USR1; exec 7</etc/passwd 8>"$OUT/leak"; exec env --block-signal=USR2,TERM "$@"`, "sh"}, cmd.Args...)
		cmd.Path, _ = exec.LookPath("bash")
		if r := g.execute(cmd); r.code != 0 {
			t.Fatalf("%v: %v", args, r)
		}
	}
	plain := exec.Command("sh", "-c", lookAround, "sh", "plain")
	plain.Env, plain.Dir = append(os.Environ(), "OUT="+out), g.dir
	must(t, plain.Run())
	as := g.around("plain")

	all := []string{"fork", "cluster", "masked", "pre", "post", "health", "once", "job"}
	if isRoot {
		all = append(all, "nobody", "both")
	}
	check := func(when string, names ...string) {
		t.Helper()
		for _, name := range names {
			s, want := g.around(name), as
			s.name = name + " " + when
			want.status = map[string]string{"Umask": as.status["Umask"], "NoNewPrivs": "0"}
			if name == "masked" {
				want.status["Umask"] = "0031"
			}
			if name == "cluster" && !isRoot || name == "both" && !isRoot {
				want.status["NoNewPrivs"] = "1"
			}
			s.isClean(t, want, true)
			if cwd := map[bool]string{true: "/", false: g.dir}[name == "nobody" || name == "both"]; s.cwd != cwd {
				t.Errorf("%s: cwd %s, want %s", s.name, s.cwd, cwd)
			}
			must(t, os.Remove(filepath.Join(out, name)))
		}
	}
	dirty("start", "eco.json")
	dirty("run", "once")
	check("at first", all...)
	if isRoot {
		g.anotherUser()
	}

	daemon, _ := g.daemon()
	process{pid: daemon}.kill()
	g.run("restart", "all")
	g.run("run", "once")
	check("after the daemon's death", append(all, "stop")...)
	g.run("update")
	g.run("restart", "all")
	check("after an update", append(slices.DeleteFunc(all, func(s string) bool { return s == "once" }), "stop")...)
}

// anotherUser: an app of another user has that user's groups and names, and can do nothing
// to gopm.
func (g *gopm) anotherUser() {
	g.Helper()
	uid, gid := userIDs(g.T, "nobody")
	g.run("restart", "nobody")
	s := g.around("nobody")
	ids := strings.TrimSpace(strings.Repeat(strconv.Itoa(uid)+"\t", 4))
	if s.status["Uid"] != ids || s.status["Gid"] != strings.TrimSpace(strings.Repeat(strconv.Itoa(gid)+"\t", 4)) || s.status["Groups"] != strconv.Itoa(gid) || strings.Trim(s.status["CapEff"], "0") != "" {
		g.Errorf("it runs as %v", s.status)
	}
	if s.env["USER"] != "nobody" || s.env["LOGNAME"] != "nobody" || s.env["HOME"] == "" || s.env["HOME"] == os.Getenv("HOME") {
		g.Errorf("its variables: USER %s, LOGNAME %s, HOME %s", s.env["USER"], s.env["LOGNAME"], s.env["HOME"])
	}
	daemon, keeper := g.daemon()
	sh := g.app("nobody").Pid
	const hostile = `echo to stdout >/dev/stdout; echo to stderr >/dev/stderr
for f in "$GOPM_HOME"/* "$GOPM_HOME"/*/*; do [ -w "$f" ] && echo "can write $f"; [ -f "$f" ] && [ -r "$f" ] && echo "can read $f"; done
echo x 2>/dev/null >"$GOPM_HOME/new" && echo "can create"
for p in %d %d; do kill -0 $p 2>/dev/null && echo "can signal $p"; cat /proc/$p/environ >/dev/null 2>&1 && echo "can read the environment of $p"; ls /proc/$p/fd >/dev/null 2>&1 && echo "can see the files of $p"; done
echo tried; exec sleep 1000`
	g.file("hostile.json", fmt.Sprintf(`[{"name": "hostile", "cwd": "/", "uid": "nobody", "script": "sh", "args": ["-c", %q], "min_uptime": 100}]`, fmt.Sprintf(hostile, daemon, keeper)))
	g.run("start", "hostile.json")
	said := g.fileSays(filepath.Join(g.home, "logs", "hostile-out.log"), "tried\n")
	if said != "to stdout\ntried\n" {
		g.Errorf("another user's app says:\n%s", said)
	}
	g.fileSays(filepath.Join(g.home, "logs", "hostile-error.log"), "to stderr\n")
	if owner, err := os.Stat(fmt.Sprintf("/proc/%d", sh)); err != nil || !owner.IsDir() {
		g.Errorf("its process: %v", err)
	}
	g.run("delete", "hostile")
}
