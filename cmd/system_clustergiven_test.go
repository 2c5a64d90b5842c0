package cmd_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// Sockets that programs find open, as from systemd.

// startGiven starts the static test server with descriptors in the place of addresses.
func (g *gopm) startGiven(args, listen, fields string) {
	g.Helper()
	g.startWeb("web", "go", args, fmt.Sprintf(`"listen": [%s]%s`, listen, fields))
}

// askUnix asks once at a unix socket, and returns who answers.
func askUnix(path string) (pid string, err error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	r, err := client.Get("http://unix/")
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	return r.Header.Get("X-Pid"), nil
}

// both waits until two have answered.
func both(t *testing.T, ask func() (string, error)) {
	t.Helper()
	seen := map[string]int{}
	eventually(t, soon, func() error {
		who, err := ask()
		if err == nil {
			seen[who]++
		}
		if len(seen) < 2 {
			return fmt.Errorf("%v, answers: %v", err, seen)
		}
		return nil
	})
}

// TestGivenPort: the instances share a port that they are given, and a crash isn't noticed.
func TestGivenPort(t *testing.T) {
	for _, mode := range []string{"cluster", "fork"} {
		t.Run(mode, func(t *testing.T) {
			g := newGopm(t)
			port := freePort(t)
			g.startGiven("fd:3", fmt.Sprintf(`"tcp://127.0.0.1:%d"`, port), `, "instances": 2, "exec_mode": "`+mode+`"`)
			ask := func() (string, error) { pid, err := askPort(port); return fmt.Sprint(pid), err }
			both(t, ask)
			for kill := range 4 {
				g.killHard(g.pids()[fmt.Sprintf("web:%d", kill%2)])
				for range 10 {
					if _, err := ask(); err != nil {
						t.Fatalf("after kill %d: %v", kill+1, err)
					}
				}
				g.awaitUp(fmt.Sprintf("web:%d", kill%2))
			}
			g.run("restart", "web")
			both(t, ask)
			g.run("stop", "web")
			if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a stopped app: %v, want it refused", err)
			}
			g.run("start", "web")
			both(t, ask)
		})
	}
}

// TestGivenSockets: as the protocol says, and a unix socket is made as the app's user.
func TestGivenSockets(t *testing.T) {
	for _, user := range []string{"root", "nobody"} {
		t.Run(user, func(t *testing.T) {
			g := newGopm(t)
			if user != "root" {
				g = g.as(t, user)
			}
			port := freePort(t)
			path := g.dir + "/app.sock"
			stale, err := net.Listen("unix", path)
			must(t, err)
			stale.(*net.UnixListener).SetUnlinkOnClose(false)
			must(t, stale.Close())
			must(t, os.Chmod(path, 0o777))
			if g.cred != nil {
				must(t, os.Chown(path, int(g.cred.Uid), int(g.cred.Gid)))
			}
			g.script("env.sh", `echo "$LISTEN_FDS $LISTEN_FDNAMES $LISTEN_PID $$ $(readlink /proc/self/fd/4 | cut -d: -f1) $(readlink /proc/self/fd/5)." > env.txt; exec `+g.web("go")+` fd:4`)
			g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "env.sh", "umask": "027", "instances": 2, "exec_mode": "fork",
				"listen": [{"address": "127.0.0.1:%d", "name": "http"}, "unix:app.sock"]}]}`, port))
			g.run("start", "eco.json")
			ask := func() (string, error) { return askUnix(path) }
			both(t, ask)
			text, err := os.ReadFile(g.dir + "/env.txt")
			must(t, err)
			f := strings.Fields(string(text))
			if len(f) != 6 || f[0] != "2" || f[1] != "http:unknown" || f[2] != f[3] || f[4] != "socket" || f[5] != "." {
				t.Errorf("the program has seen %q", text)
			}
			info, err := os.Lstat(path)
			must(t, err)
			if info.Mode() != fs.ModeSocket|0o750 {
				t.Errorf("the socket's mode is %v", info.Mode())
			}
			g.killHard(g.pids()["web:0"])
			g.killHard(g.pids()["web:1"])
			if _, err := ask(); err != nil {
				t.Errorf("after the death of both: %v", err)
			}
			daemon, _ := g.daemon()
			g.killHard(daemon)
			for range 10 {
				if _, err := ask(); err != nil {
					t.Errorf("after the daemon's death: %v", err)
				}
			}
			g.run("restart", "web")
			both(t, ask)
			g.run("stop", "web")
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after the stop: %v", err)
			}
			g.run("start", "web")
			both(t, ask)
			g.run("delete", "web")
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after the delete: %v", err)
			}
		})
	}
}

// TestGivenSocketRefused: what is in the way is named.
func TestGivenSocketRefused(t *testing.T) {
	g := newGopm(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	u, err := net.Listen("unix", g.dir+"/live.sock")
	must(t, err)
	defer u.Close()
	g.file("file.sock", "mine")
	for listen, want := range map[string]string{
		`"` + l.Addr().String() + `"`: fmt.Sprintf("is taken: cmd.test (pid %d", os.Getpid()),
		`"unix:live.sock"`:            "live.sock: another process answers there",
		`"unix:file.sock"`:            "file.sock: there is a file that is not a socket",
		`"unix:none/a.sock"`:          "a.sock: its folder doesn't exist",
	} {
		for _, mode := range []string{"cluster", "fork"} {
			file := g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": %q, "args": "fd:3", "listen": [%s], "exec_mode": %q}]}`, g.web("go"), listen, mode))
			r := g.try("start", file)
			if r.code == 0 || !strings.Contains(r.err, want) {
				t.Errorf("%s, %s: want %q, got %v", mode, listen, want, r)
			}
			g.try("delete", "web")
		}
	}
	if text, err := os.ReadFile(g.dir + "/file.sock"); err != nil || string(text) != "mine" {
		t.Errorf("the file was touched: %q, %v", text, err)
	}
}

// TestGivenProgramIsMissing: the program is started through gopm, and the error is as
// clear as without.
func TestGivenProgramIsMissing(t *testing.T) {
	g := newGopm(t)
	path := g.script("gone", "exec sleep 1000")
	file := g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "gone", "listen": ":%d"}]}`, freePort(t)))
	g.run("start", file)
	must(t, os.Remove(path))
	g.fail(1, []string{"cannot run " + path, "no such file"}, "restart", "web")
}

// TestGivenPortReload: a reload and crashes of instances that are given their port lose
// nothing, and the daemon may die meanwhile.
func TestGivenPortReload(t *testing.T) {
	g := newGopm(t)
	port := freePort(t)
	target := fmt.Sprintf("127.0.0.1:%d", port)
	g.startGiven("fd:3", `"`+target+`"`, `, "instances": 2, "min_uptime": "300ms"`)
	answering(t, target)
	noneFailed(t, underLoad(t, steady(target), func() {
		for range 3 {
			g.run("reload", "web")
		}
	}))
	noneFailed(t, underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
		daemon, _ := g.daemon()
		g.killHard(daemon)
		eventually(t, soon, gone(daemon))
		eventually(t, soon, func() error {
			if r := g.try("ping"); r.code != 0 {
				return fmt.Errorf("%v", r)
			}
			return nil
		})
		g.run("reload", "web")
	}))
	contains(t, "info", g.run("info", "web"), target, "cluster_mode")
}
