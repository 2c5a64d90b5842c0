package cmd_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestListInAPipe(t *testing.T) {
	g := newGopm(t)
	file := g.eco("eco.json", `"name": "web"`, `"name": "api", "namespace": "back"`)
	g.run("start", "eco.json")
	pids := g.pids()
	out := g.run("ls")
	lacks(t, "ls in a pipe", out, "\x1b")
	lines := strings.Split(out, "\n")
	if len(lines) < 6 {
		t.Fatalf("no table:\n%s", out)
	}
	if got := cells(lines[1]); fmt.Sprint(got) != "[id name namespace version mode pid uptime ↺ status cpu mem user watching]" {
		t.Errorf("columns: %v", got)
	}
	for i, want := range []string{
		fmt.Sprintf(`^1 api back N/A fork %d \d+s 0 online ~?[\d.]+%% [\d.]+[km]b \S+ disabled$`, pids["api:0"]),
		fmt.Sprintf(`^0 web default N/A fork %d \d+s 0 online ~?[\d.]+%% [\d.]+[km]b \S+ disabled$`, pids["web:0"]),
	} {
		if got := strings.Join(cells(lines[3+i]), " "); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("row %d: %q, want %s", i, got, want)
		}
	}
	width := len([]rune(lines[0]))
	for _, line := range lines[:6] {
		if len([]rune(line)) != width {
			t.Errorf("the table's lines differ in width:\n%s", out)
		}
	}
	contains(t, "origin", out, "from "+file+": api, web")
}

// cells are the cells of a row of the table.
func cells(line string) []string {
	var all []string
	for _, cell := range strings.Split(strings.Trim(line, "│"), "│") {
		all = append(all, strings.TrimSpace(cell))
	}
	return all
}

func TestListTellsWhyNotOnline(t *testing.T) {
	g := newGopm(t)
	g.script("three", "exit 3")
	g.try(crashes("start", "./three", "--restart-delay", "1h", "--name", "waits")...)
	g.try(crashes("start", "./three", "--max-restarts", "1", "--name", "final")...)
	g.try("start", "./three", "--exp-backoff-restart-delay", "100", "--name", "again", "--no-wait")
	g.try(crashes("start", "./three", "--no-autorestart", "--name", "once")...)
	g.awaitStatus("final", "errored")
	out := g.run("ls")
	for name, want := range map[string]string{
		"waits": `waiting (59m\d+s|1h) \(exit 3\)`,
		"final": `errored \(exit 3\) `,
		"again": `(waiting [\d.]+m?s \(exit 3\)|launching)`,
		"once":  `(errored|stopped) \(exit 3\) `,
	} {
		if !regexp.MustCompile(`│ ` + name + ` .*│ ` + want).MatchString(out) {
			t.Errorf("%s: want %s in\n%s", name, want, out)
		}
	}
}

func TestListShowsTheNextTryOfAnErroredApp(t *testing.T) {
	g := newGopm(t)
	g.script("three", "exit 3")
	g.try("start", "./three", "--exp-backoff-restart-delay", "1ms", "--no-wait")
	g.await("three", "errored", func(e entry) bool { return e.Env.Status == "errored" })
	if out := g.run("ls"); !regexp.MustCompile(`errored \(exit 3\), next try (2\d|30)s`).MatchString(out) {
		t.Error(out)
	}
	if out := g.run("info", "three"); !regexp.MustCompile(`next restart +│ in (2\d|30)s, at `).MatchString(out) {
		t.Error(out)
	}
}

func TestListSort(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "b"`, `"name": "a"`, `"name": "c"`)
	g.run("start", "eco.json")
	for by, want := range map[string]string{"": "a b c", "id": "b a c", "name:desc": "c b a", "pid:asc": "b a c"} {
		out := g.run("ls", "--sort", by)
		var order []string
		for _, line := range strings.Split(out, "\n") {
			if row := cells(line); len(row) == 13 && row[1] != "name" {
				order = append(order, row[1])
			}
		}
		// Apps start in parallel: pids are in no order.
		if got := strings.Join(order, " "); got != want && by != "pid:asc" || len(order) != 3 {
			t.Errorf("--sort %q: %s, want %s", by, got, want)
		}
	}
	g.fail(2, []string{"colour", "memory"}, "ls", "--sort", "colour")
	contains(t, "ls -m", g.run("ls", "-m"), "+--- a", "status : online")
}

func TestListShowsTheVersionOfPackageJSON(t *testing.T) {
	g := newGopm(t)
	g.file("package.json", `{"name": "x", "version": "4.5.6"}`)
	g.eco("eco.json", `"name": "a"`)
	contains(t, "ls", g.run("start", "eco.json"), "│ 4.5.6 ")
}

func TestEmptyListNamesItsHome(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run.sh")
	g.run("start", "run.sh", "--min-uptime", "100ms")
	g.run("delete", "all")
	contains(t, "ls", g.run("ls"), "no apps", g.home)
}

// TestJlistSettings: the settings of pm2 that tools look at have pm2's names and units.
func TestJlistSettings(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "autostart": false, "watch": true, "ignore_watch": ["x"], "watch_delay": 1500, "cron_restart": "0 3 * * *", "wait_ready": true,
		"shutdown_with_message": true, "kill_timeout": "7s", "listen_timeout": "4s", "max_memory_restart": "2K", "restart_delay": 3000`, `"name": "b", "autostart": false`)
	g.run("start", "eco.json")
	var all []struct {
		Env map[string]any `json:"pm2_env"`
	}
	must(t, json.Unmarshal([]byte(g.run("jlist")), &all))
	for key, want := range map[string][2]any{
		"watch": {true, false}, "ignore_watch": {[]any{"x"}, nil}, "watch_delay": {1500.0, nil}, "cron_restart": {"0 3 * * *", nil}, "wait_ready": {true, nil},
		"shutdown_with_message": {true, nil}, "kill_timeout": {7000.0, 5000.0}, "listen_timeout": {4000.0, 10000.0}, "max_memory_restart": {2048.0, nil}, "restart_delay": {3000.0, nil},
	} {
		if got := [2]any{all[0].Env[key], all[1].Env[key]}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}

func TestJlistKeys(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "args": ["x"], "env": {"K": "v"}`, `"name": "b"`)
	g.run("start", "eco.json")
	var all []map[string]any
	out := g.run("jlist")
	must(t, json.Unmarshal([]byte(out), &all))
	if len(all) != 2 {
		t.Fatalf("want two: %s", out)
	}
	for _, key := range []string{"pid", "name", "pm_id", "monit", "pm2_env"} {
		if all[0][key] == nil {
			t.Errorf("no key %s in %v", key, all[0])
		}
	}
	env := all[0]["pm2_env"].(map[string]any)
	for _, key := range strings.Fields(`status restart_time unstable_restarts pm_uptime created_at exec_mode instances namespace
		pm_exec_path pm_cwd args exec_interpreter node_args pm_out_log_path pm_err_log_path autorestart watch
		NODE_APP_INSTANCE env name pm_id`) {
		if _, has := env[key]; !has {
			t.Errorf("no key pm2_env.%s", key)
		}
	}
	second := all[1]["pm2_env"].(map[string]any)
	if env["env"].(map[string]any)["K"] != "v" || second["env"] == nil {
		t.Errorf("env: %v and %v, want an object each", env["env"], second["env"])
	}
	age := time.Since(time.UnixMilli(int64(env["pm_uptime"].(float64))))
	if age < 0 || age > time.Minute {
		t.Errorf("pm_uptime is %v ago", age)
	}
	must(t, syscall.Kill(g.app("a").Pid, syscall.SIGKILL))
	e := g.await("a", "a restart", func(e entry) bool { return e.Env.Restarts == 1 })
	if e.Env.ExitSignal != "SIGKILL" || e.Env.ExitCode != nil {
		t.Errorf("want exit_signal alone: %v", e)
	}
}

func TestInfoShowsListeningPort(t *testing.T) {
	g := newGopm(t)
	port := fmt.Sprint(freePort(t))
	g.run("start", "python3", "--name", "http", "--", "-m", "http.server", port, "--bind", "127.0.0.1")
	eventually(t, soon, func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err
	})
	contains(t, "info", g.run("info", "http"), "listens on", "127.0.0.1:"+port)
}

func TestInfoOfACrash(t *testing.T) {
	g := newGopm(t)
	g.script("crash", `echo "out of luck" >&2; exit 3`)
	g.try(crashes("start", "./crash", "--restart-delay", "1h")...)
	out := g.run("info", "crash")
	contains(t, "info", out, "waiting", "last exit", "exited with code 3", "next restart", "out of luck", "command line", "at 10.0mb, 10 files")
	if !regexp.MustCompile(`next restart +│ in (59m|1h)`).MatchString(out) {
		t.Error(out)
	}
}

func TestInfoOfAnAppThatRunsAgain(t *testing.T) {
	g := newGopm(t)
	g.script("once", `[ -e ran ] || { touch ran; echo "first words" >&2; exit 9; }; exec sleep 1000`)
	g.try("start", "./once", "--min-uptime", "100ms")
	g.await("once", "a restart", func(e entry) bool { return e.Env.Restarts == 1 && e.Env.Status == "online" })
	contains(t, "info", g.run("info", "once"), "exited with code 9", "first words")
}

func TestInfoOfSeveralInstances(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "instances": 2, "exec_mode": "fork"`)
	g.run("start", "eco.json")
	out := g.run("info", "a")
	contains(t, "info", out, "Describing process with id 0", "Describing process with id 1", "0 of 2", "1 of 2", "a-out-0.log", "a-out-1.log")
	lacks(t, "info in a pipe", out, "\x1b")
}

func TestPingAndVersion(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run.sh")
	g.run("start", "run.sh", "--min-uptime", "100ms")
	contains(t, "ping", g.run("ping"), "pong", "v0.0.0-test", g.home)
	for _, call := range []string{"version", "--version", "-v"} {
		if out := g.run(call); out != "v0.0.0-test\n" {
			t.Errorf("%s: %q", call, out)
		}
	}
}

// An empty list often is the list of the wrong user.
func TestListNamesAnotherUsersDaemon(t *testing.T) {
	g := newGopm(t)
	nobody := g.as(t, "nobody")
	nobody.sleeper("run.sh")
	nobody.run("start", "run.sh", "--min-uptime", "100ms")
	contains(t, "ls of root", g.run("ls"), "another gopm daemon", "nobody", nobody.home)
	if r := g.with("X=1").at(nobody.home).try("ls"); r.code != 0 {
		t.Logf("root looks into another user's home: %v", r)
	}
}

// at is the same gopm with another home.
func (g *gopm) at(home string) *gopm {
	other := *g
	other.home = home
	return &other
}

// as is a gopm of another user, with a home and folder of its own; only root has it.
func (g *gopm) as(t *testing.T, name string) *gopm {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	uid, gid := userIDs(t, name)
	dir, err := os.MkdirTemp("", "g")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chown(dir, uid, gid))
	other := *g
	other.home, other.dir = dir+"/h", dir+"/w"
	must(t, os.Mkdir(other.dir, 0o755))
	must(t, os.Chown(other.dir, uid, gid))
	other.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	other.env = append(g.env[:len(g.env):len(g.env)], "HOME="+dir+"/u")
	t.Cleanup(other.close)
	return &other
}
