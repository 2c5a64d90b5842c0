package cmd_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"gopm/tools/agent"
)

// The home: whose it is, what is in its way, and who may read it.

// Everything in the home is for its owner only, whatever the umask.
func TestHomeIsPrivateWhateverTheUmask(t *testing.T) {
	for _, umask := range []string{"000", "022", "077", "0777"} {
		t.Run(umask, func(t *testing.T) {
			g := newGopm(t)
			g.script("run", `i=0; while [ $i -lt 3000 ]; do echo "line $i of the flood"; i=$((i+1)); done; exec sleep 1000`)
			if r := g.under("umask "+umask, "start", "./run", "--min-uptime", "100ms", "--max-size", "20K"); r.code != 0 {
				t.Fatal(r)
			}
			g.fileSays(g.app("run").Env.Out, "line 2999 ")
			g.run("restart", "run")
			g.isPrivate()
		})
	}
}

// isPrivate fails if others could read or write anything of the home.
func (g *gopm) isPrivate() (seen []string) {
	g.Helper()
	must(g.T, filepath.WalkDir(g.home, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the state that is being written has another name by now
			return nil
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			g.Errorf("%s: %v, want %o", path, info.Mode(), want)
		}
		seen = append(seen, strings.TrimPrefix(path, g.home+"/"))
		return nil
	}))
	return seen
}

// The same after all sorts of commands, and with what is kept for Consul.
func TestHomeStaysPrivate(t *testing.T) {
	t.Parallel()
	consul := startConsul(t, agent.Options{})
	consul.put("apps/told/env/WORD", "secret")
	for _, umask := range []string{"000", "077"} {
		t.Run(umask, func(t *testing.T) {
			g := newGopm(t).uses(consul)
			g.sleeper("sleeper")
			g.script("flood", `i=0; while [ $i -lt 2000 ]; do echo "line $i of the flood"; i=$((i+1)); done; exec sleep 1000`)
			file := g.file("eco.json", fmt.Sprintf(`{"apps": [
				{"name": "flood", "script": "flood", "min_uptime": "100ms", "max_size": "20K", "compress": true, "retain": 2, "log_type": "json"},
				{"name": "two", "script": "sleeper", "min_uptime": "100ms", "instances": 2, "log_file": %q},
				{"name": "told", "script": "sleeper", "min_uptime": "100ms", "consul": {"service": false, "env": "apps/told/env"}},
				{"name": "leads", "script": "sleeper", "min_uptime": "100ms", "singleton": {"lock": "locks/%s", "mode": "role"}}]}`, g.home+"/logs/all.log", umask))
			for _, command := range []string{
				"start " + file, "restart flood", "reload two", "stop two", "save", "resurrect", "scale two 3", "env told", "flush two", "reloadLogs", "events --nostream",
				"report", "update", "kill", "start " + file, "delete two", "restart flood",
			} {
				if r := g.under("umask "+umask, strings.Fields(command)...); r.code != 0 {
					t.Fatalf("gopm %s: %v", command, r)
				}
			}
			eventually(t, soon, func() error {
				seen := strings.Join(g.isPrivate(), " ")
				for _, kind := range []string{"gopm.log", "gopm.lock", "keeper.lock", "gopm.sock", "state.json", "saved.json", "env/", "roles/", ".gz", "consul/"} {
					if !strings.Contains(seen, kind) {
						return fmt.Errorf("no %s among %s", kind, seen)
					}
				}
				return nil
			})
		})
	}
}

// An app that inherits nothing has nothing of its user's shell stored, wherever one looks.
func TestNothingInheritedIsStored(t *testing.T) {
	g := newGopm(t)
	g.sleeper("sleeper")
	file := g.file("eco.json", `{"name": "a", "script": "sleeper", "min_uptime": "100ms", "inherit_env": false, "env": {"OWN": "declared"}}`)
	const secret = "c7f0-not-for-the-disk"
	with := g.with("SOME_TOKEN="+secret, "OWN="+secret)
	for _, command := range []string{"start " + file, "restart a --update-env", "save", "stop a", "resurrect", "update", "kill", "start " + file} {
		with.run(strings.Fields(command)...)
	}
	found := 0
	must(t, filepath.WalkDir(g.home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), secret) {
			t.Errorf("%s has it", path)
		}
		if strings.Contains(string(text), "declared") {
			found++
		}
		return err
	}))
	if found == 0 {
		t.Error("nothing was looked at: what the file declares isn't there either")
	}
	for _, pid := range []int{g.daemonNow(), g.keeperNow(), g.app("a").Pid} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if must(t, err); strings.Contains(string(text), secret) {
			t.Errorf("process %d has it", pid)
		}
	}
}

// An app gets the umask of who starts it, or its own field.
func TestUmaskOfApps(t *testing.T) {
	g := newGopm(t)
	g.script("run", `umask > umask.$name; exec sleep 1000`)
	g.run("start", "./run", "--min-uptime", "100ms", "--umask", "027", "--name", "own")
	g.fileSays(g.dir+"/umask.own", "0027")
}

func TestHomeWithAFileInItsPlace(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	must(t, os.WriteFile(g.home, []byte("mine"), 0o644))
	g.fail(1, []string{g.home, "is a file", "GOPM_HOME"}, "start", "./run")
	for _, command := range []string{"ls", "stop a", "ping", "logs"} {
		lacks(t, command, g.try(strings.Fields(command)...).err, "panic")
	}
	if text, err := os.ReadFile(g.home); err != nil || string(text) != "mine" {
		t.Errorf("the file was touched: %q, %v", text, err)
	}
}

func TestHomeOthersMayWriteTo(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	for _, mode := range []fs.FileMode{0o770, 0o707, 0o777} {
		must(t, os.MkdirAll(g.home, 0o700))
		must(t, os.Chmod(g.home, mode))
		g.fail(1, []string{g.home, "written by others", "chmod 700"}, "start", "./run")
		if info, err := os.Stat(g.home); err != nil || info.Mode().Perm() != mode {
			t.Errorf("the home was changed: %v, %v", info.Mode(), err)
		}
	}
	must(t, os.Chmod(g.home, 0o755)) // readable is no danger to the socket
	g.run("start", "./run", "--min-uptime", "100ms")
}

func TestHomeOfAnotherUser(t *testing.T) {
	g := newGopm(t)
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	g.sleeper("run")
	uid, gid := userIDs(t, "nobody")
	must(t, os.Mkdir(g.home, 0o700))
	must(t, os.Chown(g.home, uid, gid))
	g.fail(1, []string{g.home, "belongs to", fmt.Sprint(uid), "GOPM_HOME"}, "start", "./run")
}

func TestHomeThatCannotBeMade(t *testing.T) {
	g := newGopm(t).as(t, "nobody")
	g.sleeper("run")
	must(t, os.Mkdir(g.home, 0o500))
	uid, gid := userIDs(t, "nobody")
	must(t, os.Chown(g.home, uid, gid))
	g.fail(1, []string{g.home, "not writable", "GOPM_HOME"}, "start", "./run")
	g.at("/proc/nowhere").fail(1, []string{"/proc/nowhere", "GOPM_HOME"}, "start", "./run")
	g.at("/root/.gopm-of-another").fail(1, []string{"/root/.gopm-of-another", "permission denied", "GOPM_HOME"}, "start", "./run")
}

// A strange file where the socket should be is left alone.
func TestForeignFileInTheSocketsPlace(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	must(t, os.Mkdir(g.home, 0o700))
	sock := filepath.Join(g.home, "gopm.sock")
	must(t, os.WriteFile(sock, []byte("mine"), 0o600))
	g.fail(1, []string{"gopm.sock", "not a socket", "move it away"}, "start", "./run")
	contains(t, "ls", g.run("ls"), "daemon not running")
	if text, err := os.ReadFile(sock); err != nil || string(text) != "mine" {
		t.Errorf("the file was touched: %q, %v", text, err)
	}
	must(t, os.Remove(sock))
	g.run("start", "./run", "--min-uptime", "100ms")
}

// A socket that nobody answers at is in nobody's way.
func TestStaleSocket(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	must(t, os.Mkdir(g.home, 0o700))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(g.home, "gopm.sock"), Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	g.run("start", "./run", "--min-uptime", "100ms")
}

// Somebody else's live socket is not taken away.
func TestSocketOfAStranger(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	must(t, os.Mkdir(g.home, 0o700))
	sock := filepath.Join(g.home, "gopm.sock")
	l, err := net.Listen("unix", sock)
	must(t, err)
	go func() { // ended by the Close below
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 I am no gopm\r\n"))
			conn.Close()
		}
	}()
	r := g.try("start", "./run")
	if r.code == 0 {
		t.Error(r)
	}
	if _, err := os.Stat(sock); err != nil {
		t.Error("the stranger's socket was removed")
	}
	must(t, l.Close())
}

// A cleaner of old files may take the socket: the daemon can't be asked then, but a
// second one must not start, and there must be a way to end the first.
func TestSocketIsLost(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.run("start", "./run", "--min-uptime", "100ms")
	pid := g.app("run").Pid
	daemon, _ := g.daemon()
	must(t, os.Remove(filepath.Join(g.home, "gopm.sock")))
	g.fail(1, []string{"another gopm daemon", g.home, fmt.Sprint(daemon)}, "start", "./run")
	if !alive(pid) || !alive(daemon) {
		t.Error("the first daemon or its app was hurt")
	}
	if r := g.try("kill"); r.code == 0 && alive(daemon) {
		t.Errorf("kill says that all is well, but the daemon runs: %v", r)
	} else if r.code != 0 {
		contains(t, "kill", r.err, fmt.Sprint(daemon))
	}
	_ = syscall.Kill(daemon, syscall.SIGTERM) // it may have ended already
	eventually(t, soon, gone(daemon))
	eventually(t, soon, gone(pid))
}

// The end of an old daemon must not take away the socket of its successor.
func TestOldDaemonOfARemovedHome(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.run("start", "./run", "--min-uptime", "100ms")
	old, keeper := g.daemon()
	eventually(t, soon, func() error { return os.RemoveAll(g.home) }) // it may be writing its state
	g.run("start", "./run", "--min-uptime", "100ms")
	must(t, syscall.Kill(old, syscall.SIGTERM))
	eventually(t, soon, gone(old))
	eventually(t, soon, gone(keeper))
	if e := g.app("run"); e.Env.Status != "online" {
		t.Error(e)
	}
}

func TestHomeWithALongPath(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.home = filepath.Join(filepath.Dir(g.home), strings.Repeat("long/", 30), "home")
	must(t, os.MkdirAll(filepath.Dir(g.home), 0o755))
	if len(g.home) < 150 {
		t.Fatalf("only %d bytes", len(g.home))
	}
	g.run("start", "./run", "--min-uptime", "100ms")
	if e := g.app("run"); e.Env.Status != "online" {
		t.Error(e)
	}
	f := g.follow("run")
	f.says("[TAILING]")
	f.end()
	g.run("restart", "run")
}

func TestHomeWithOddName(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.home = filepath.Join(filepath.Dir(g.home), "a home's [name] %s ü")
	g.run("start", "./run", "--min-uptime", "100ms")
	contains(t, "ping", g.run("ping"), g.home)
}

func TestRelativeHome(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	rel := g.at("../h")
	rel.run("start", "./run", "--min-uptime", "100ms")
	if e := g.app("run"); e.Env.Status != "online" {
		t.Error(e)
	}
}

func TestHomeOfTheUser(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	user := filepath.Join(filepath.Dir(g.home), "u")
	must(t, os.Mkdir(user, 0o755))
	cmd := g.command("start", "./run", "--min-uptime", "100ms")
	cmd.Env = g.env // without GOPM_HOME
	r := g.execute(cmd)
	g.home = filepath.Join(user, ".gopm")
	if r.code != 0 || len(g.list()) != 1 {
		t.Errorf("%v", r)
	}
}

func TestOddNames(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	names := []string{"ünïcödé", "日本", "中国", "a b", "a-b", "a/b", "it's", `"quoted"`, "-n", "$HOME", "../up", strings.Repeat("n", 128)}
	started := 0
	for _, name := range names {
		r := g.try("start", "./run", "--min-uptime", "100ms", "--name="+name)
		switch {
		case r.code == 0:
			started++
		case r.code != 2 || !strings.Contains(r.err, "name"):
			t.Errorf("name %q: %v", name, r)
		}
	}
	if n := len(g.list()); n != started || started < 8 {
		t.Errorf("%d of %d names started, %d in the list", started, len(names), n)
	}
	paths := map[string]string{}
	for _, e := range g.list() {
		if filepath.Dir(e.Env.Out) != filepath.Join(g.home, "logs") {
			t.Errorf("%q logs to %s", e.Name, e.Env.Out)
		}
		if other, taken := paths[e.Env.Out]; taken {
			t.Errorf("%q and %q share the log %s", e.Name, other, e.Env.Out)
		}
		paths[e.Env.Out] = e.Name
	}
	for _, bad := range []string{"", "all", "7", "/re/", "two\nlines", "esc\x1b[31m", strings.Repeat("n", 300)} {
		r := g.fail(2, []string{"name"}, "start", "./run", "--name", bad)
		lacks(t, "stderr", r.err, "\x1b")
	}
	if out := g.run("ls"); !regexp.MustCompile(`│ 日本 +│`).MatchString(out) {
		t.Error(out)
	}
	g.run("stop", "日本", "a b")
	g.run("delete", "all")
}
