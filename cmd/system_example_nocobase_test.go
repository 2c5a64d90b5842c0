package cmd_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
	"gopm/daemon/api"
)

// nocobase is examples/nocobase-cluster on ports of its own: with the stand-in, or with
// NocoBase itself on PostgreSQL if GOPM_NOCOBASE says so (make test-nocobase).
type nocobase struct {
	*gopm
	web   string // nginx
	node1 string
	real  bool
	limit time.Duration // that a start is given
}

func newNocoBase(t *testing.T) *nocobase {
	g := newGopm(t)
	ports := g.whole("nocobase-cluster", 18240, 18241, 18242, 18243, 18244)
	n := &nocobase{gopm: g, web: fmt.Sprintf("127.0.0.1:%d", ports[18240]), node1: fmt.Sprintf("127.0.0.1:%d", ports[18243]), real: os.Getenv("GOPM_NOCOBASE") != "", limit: 3 * soon}
	nginx, libraries := g.balancer("nginx") // LD_LIBRARY_PATH=…, or nothing
	paths := []string{filepath.Dir(g.binary), filepath.Join(g.parts(), "redis-server-link"), filepath.Dir(nginx)}
	g.edit2("ecosystem.json", `"kill_timeout": "10s"`, `"kill_timeout": "10s", "restart_delay": "1s"`) // else the stand-in is back before anybody looks
	app := "stand-in"
	if n.real {
		app, n.limit = "nocobase", 5*time.Minute
		must(t, os.Symlink(g.nocobaseModules(), g.dir+"/nocobase/node_modules"))
		bin, libs := g.postgres()
		paths = append(paths, bin)
		if len(libs) > 0 {
			libraries = []string{strings.Join(append(append([]string{"LD_LIBRARY_PATH="}, libs...), strings.TrimPrefix(strings.Join(libraries, ""), "LD_LIBRARY_PATH=")), ":")}
		}
	}
	must(t, os.Symlink(app, g.dir+"/app"))
	n.gopm = g.with(append(libraries, "PATH="+strings.Join(paths, ":")+":"+os.Getenv("PATH"))...)
	return n
}

// nocobaseModules is where tools/parts has installed NocoBase.
func (g *gopm) nocobaseModules() string {
	g.Helper()
	sum := sha256.New()
	for _, name := range []string{"package.json", ".npmrc"} {
		text, err := os.ReadFile(filepath.Join("../examples/nocobase-cluster/nocobase", name))
		must(g.T, err)
		sum.Write(text)
	}
	part := filepath.Join(g.parts(), fmt.Sprintf("nocobase-%x", sum.Sum(nil)[:6]), "node_modules")
	if _, err := os.Stat(part); err != nil {
		g.Fatalf("%v; tools/parts nocobase installs it", err)
	}
	return part
}

// postgres is where the unpacked PostgreSQL is found, if the system has none: in a copy, for
// started by root it runs as somebody who can't enter root's cache.
func (g *gopm) postgres() (bin string, libs []string) {
	g.Helper()
	part := filepath.Join(g.parts(), "postgres-15")
	if _, err := os.Stat(part); err != nil {
		return "/usr/bin", nil
	}
	root := filepath.Join(filepath.Dir(g.dir), "postgres")
	must(g.T, os.CopyFS(root, os.DirFS(part)))
	libs, _ = filepath.Glob(root + "/usr/lib/*-linux-gnu*")
	return filepath.Join(root, "usr/lib/postgresql/15/bin"), libs
}

// takes runs a command that may take as long as a start of the whole, and is its exit
// code, its output and how long it took.
func (n *nocobase) takes(args ...string) (code int, said string, took time.Duration) {
	n.Helper()
	began := time.Now()
	cmd := n.command(args...)
	stop := time.AfterFunc(n.limit, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	out, err := cmd.CombinedOutput()
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit {
		n.Fatalf("gopm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	n.Logf("gopm %s: exit code %d after %v", strings.Join(args, " "), cmd.ProcessState.ExitCode(), time.Since(began).Round(10*time.Millisecond))
	return cmd.ProcessState.ExitCode(), string(out), time.Since(began)
}

// starts is a start of the whole that has to succeed.
func (n *nocobase) starts() time.Duration {
	n.Helper()
	code, said, took := n.takes("start")
	if code != 0 {
		n.Fatalf("gopm start: exit code %d\n%s\n%s", code, said, n.try("logs", "--nostream", "--lines", "40"))
	}
	return took
}

// at is when something happened to node-1 or node-2 last, by its events.
func (n *nocobase) at(app, kind string) api.Event {
	n.Helper()
	all := n.events(app, "--kind", kind)
	if len(all) == 0 {
		n.Fatalf("%s: no event %s", app, kind)
	}
	return all[len(all)-1]
}

// ask is the status of one answer by way of nginx.
func (n *nocobase) ask() (status int, header http.Header, err error) {
	client := http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + n.web + "/api/__health_check")
	if err != nil {
		return 0, nil, err
	}
	return answer.StatusCode, answer.Header, answer.Body.Close()
}

// answersWith waits until nginx answers so.
func (n *nocobase) answersWith(want int) {
	n.Helper()
	eventually(n.T, soon, func() error {
		if status, _, err := n.ask(); err != nil || status != want {
			return fmt.Errorf("nginx answers %d, %v, want %d", status, err, want)
		}
		return nil
	})
}

// upstreams are the nodes in nginx's configuration.
func (n *nocobase) upstreams() (names []string) {
	text, _ := os.ReadFile(n.dir + "/data/upstream.conf") // none before the first start
	for line := range strings.Lines(string(text)) {
		if _, name, ok := strings.Cut(line, "; # "); ok && !strings.Contains(line, "down") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

func (n *nocobase) upstreamsAre(limit time.Duration, want ...string) {
	n.Helper()
	eventually(n.T, limit, func() error {
		if got := n.upstreams(); !slices.Equal(got, want) {
			return fmt.Errorf("nginx has %q, want %q", got, want)
		}
		return nil
	})
}

// workers are the processes of a node, as its own gopm says by the name of pm2.
func (n *nocobase) workers(node string) (pids []int) {
	n.Helper()
	pm2 := exec.Command(n.dir+"/app/shims/pm2", "jlist")
	pm2.Env = append(n.command().Env, "PM2_HOME="+n.dir+"/data/"+node, "GOPM_LIFE=0")
	out, err := pm2.Output()
	if err != nil {
		n.Fatalf("pm2 jlist of %s: %v %s", node, err, out)
	}
	var all []entry
	must(n.T, json.Unmarshal(out, &all))
	for _, e := range all {
		pids = append(pids, e.Pid)
	}
	return pids
}

func TestNocoBaseCluster(t *testing.T) {
	n := newNocoBase(t)
	part := func(name string, do func(*testing.T, *nocobase)) {
		if t.Failed() {
			return
		}
		t.Run(name, func(t *testing.T) {
			in, g := *n, *n.gopm
			in.gopm, g.T = &g, t
			do(t, &in)
		})
	}
	part("never healthy", nocobaseNeverHealthy)
	part("one node, then the others", nocobaseStarts)
	part("fail-over", nocobaseFailsOver)
	part("planned stop", nocobaseStops)
	part("an upgrade that fails", nocobaseUpgrade)
}

// nocobaseStarts: the database is migrated once, then the first node comes alone.
func nocobaseStarts(t *testing.T, n *nocobase) {
	n.starts()
	n.upstreamsAre(soon, "node-1_0", "node-2_0")
	migrated, first, alone, second := n.at("migrate", "exit"), n.at("node-1", "start"), n.at("node-1", "healthy"), n.at("node-2", "start")
	healthy := n.at("node-2", "healthy")
	if !(migrated.Seq < first.Seq && first.Seq < alone.Seq && alone.Seq < second.Seq) {
		t.Errorf("want migrate to end, node-1 to start and be healthy, node-2 to start: %v, %v, %v, %v", migrated, first, alone, second)
	}
	if one, two := n.workers("node-1"), n.workers("node-2"); len(one) != 1 || len(two) != 2 {
		t.Errorf("CLUSTER_MODE 1 and 2, and there are %v and %v", one, two)
	}
	n.answersWith(http.StatusOK)
	contains(t, "the app", n.fetch("http://"+n.web+"/api/app:getLang"), "200 ")
	redis, err := exec.Command("redis-cli", "-u", n.setting("CACHE_REDIS_URL"), "info", "commandstats").Output()
	if err != nil || !strings.Contains(string(redis), "cmdstat_set:") {
		t.Errorf("nobody uses the cache: %v %s", err, redis)
	}
	n.row("first node healthy after its start", "%.1f s", alone.Time.Sub(first.Time).Seconds())
	n.row("second node healthy after its start", "%.1f s", healthy.Time.Sub(second.Time).Seconds())
}

// row is one of the table in the README, which has a column for the stand-in and one for
// NocoBase: what was measured now is said, and that there is such a row is checked.
func (n *nocobase) row(what, format string, value any) {
	n.Helper()
	who := "stand-in"
	if n.real {
		who = "NocoBase"
	}
	n.Logf("figure: nocobase-cluster: %s: %s: "+format, who, what, value)
	readme, err := os.ReadFile("../examples/nocobase-cluster/README.md")
	must(n.T, err)
	if !strings.Contains(string(readme), "\n| "+what+" | ") {
		n.Errorf("the README has no row: %s", what)
	}
}

// setting is a line of nocobase.env.
func (n *nocobase) setting(name string) string {
	n.Helper()
	text, err := os.ReadFile(n.dir + "/nocobase.env")
	must(n.T, err)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.TrimSpace(value)
		}
	}
	n.Fatalf("no %s in nocobase.env", name)
	return ""
}

// nocobaseFailsOver: a whole node and then a worker of the other one are killed under load,
// and nobody who asks notices. NocoBase's workers listen before they are well, and the
// other of that node, which shares the port, can't help it: then nginx asks the other node.
func nocobaseFailsOver(t *testing.T, n *nocobase) {
	r := underLoad(t, load.Plan{Target: n.web, Path: "/api/__health_check", Rate: 50, Timeout: 2 * soon}, func() {
		n.killHard(n.app("node-1").Pid)
		n.upstreamsAre(soon, "node-2_0")
		n.upstreamsAre(n.limit, "node-1_0", "node-2_0")
		eventually(t, soon, func() error { // nginx has read it, too
			var by []string
			for range 6 { // in a row, for the load takes its turns, too
				_, header, err := n.ask()
				must(t, err)
				by = append(by, header.Get("X-Upstream"))
			}
			if !slices.Contains(by, n.node1) {
				return fmt.Errorf("nginx had the answers of %q", by)
			}
			master := n.app("nginx").Pid
			children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
			if workers := strings.Fields(string(children)); err != nil || len(workers) != 1 {
				return fmt.Errorf("those of nginx that know the old file still answer somebody: %q, %v", workers, err)
			}
			return nil
		})
		well := n.started("node-2")
		must(t, syscall.Kill(n.workers("node-2")[0], syscall.SIGKILL))
		eventually(t, n.limit, func() error {
			if now := n.started("node-2"); now <= well {
				return fmt.Errorf("its successor isn't well yet: %d have been", now)
			}
			return nil
		})
		n.upstreamsAre(n.limit, "node-1_0", "node-2_0")
	})
	noneFailed(t, r)
	n.row("requests that failed of those while a node and a worker were killed", "%v", fmt.Sprintf("%d of %d", r.Failed(), r.Requests))
}

// started is how many workers of a node have got well, by what they say.
func (n *nocobase) started(node string) int {
	text, _ := os.ReadFile(n.app(node).Env.Out)
	return strings.Count(string(text), "app has been started")
}

// nocobaseStops: during a planned stop everybody is told so, and when to ask again.
func nocobaseStops(t *testing.T, n *nocobase) {
	if code, said, _ := n.takes("stop", "nocobase"); code != 0 {
		t.Fatal(said)
	}
	n.answersWith(http.StatusServiceUnavailable)
	steadily(t, 500*time.Millisecond, func() error {
		status, header, err := n.ask()
		if err != nil || status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
			return fmt.Errorf("nginx answers %d, Retry-After %q, %v", status, header.Get("Retry-After"), err)
		}
		return nil
	})
}

// nocobaseNeverHealthy: the first node comes up and never gets well, and the second one
// isn't started. NocoBase wants a lock for the first rows of its plugins only, which it
// makes when it is started on a new database.
func nocobaseNeverHealthy(t *testing.T, n *nocobase) {
	if code, said, _ := n.takes("start", "--only", "migrate"); code != 0 {
		t.Fatal(said)
	}
	eventually(t, n.limit, func() error {
		if e := n.app("migrate"); e.Env.Status != "stopped" {
			return fmt.Errorf("it still migrates: %v", e)
		}
		return nil
	})
	patience := "4s"
	if n.real {
		patience = "60s"
	}
	n.edit2("ecosystem.json", `"ready_timeout": "5m"`, fmt.Sprintf(`"ready_timeout": %q`, patience))
	n.edit2("nocobase.env", "CLUSTER_MODE=2", "CLUSTER_MODE=2\nLOCK_ADAPTER_DEFAULT=redis")
	code, said, _ := n.takes("start")
	contains(t, "gopm start", said, "node-1:0 failed", "node-2:0 is not started: it waits for node-1 (failed)", "Lock adapter ", " not registered")
	if begun := n.events("node-2", "--kind", "start"); code != 1 || len(begun) > 0 {
		t.Errorf("exit code %d, and node-2 was started: %v", code, begun)
	}
	if status, _, err := n.ask(); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("nginx answers %d, %v", status, err)
	}
	n.run("stop", "nocobase")
	n.edit2("nocobase.env", "\nLOCK_ADAPTER_DEFAULT=redis", "")
	n.edit2("ecosystem.json", fmt.Sprintf(`"ready_timeout": %q`, patience), `"ready_timeout": "5m"`)
}

// nocobaseUpgrade: the folder is a repository, and is deployed from it. A release with a
// migration that fails half-way is taken back: the release before, and its data, are there again.
func nocobaseUpgrade(t *testing.T, n *nocobase) {
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", n.dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	commit := func(message string) {
		t.Helper()
		git("add", "--all")
		git("commit", "--quiet", "--message", message)
	}
	home := filepath.Join(filepath.Dir(n.dir), "u")
	must(t, os.MkdirAll(home, 0o755))
	must(t, os.Symlink(n.dir, home+"/nocobase-cluster"))
	git("init", "--quiet", "--initial-branch=main")
	commit("first")
	n.run("deploy", "here", "setup")
	code, said, first := n.takes("deploy", "here")
	if code != 0 {
		t.Fatalf("the first release: %s", said)
	}
	n.upstreamsAre(soon, "node-1_0", "node-2_0")
	before := n.data()
	if n.real {
		n.script("nocobase/migrate", `psql -q postgresql://nocobase@127.0.0.1:$DB_PORT/nocobase -c 'ALTER TABLE "systemSettings" RENAME TO "half"'; exit 1`)
	} else {
		n.file("stand-in/migrations/2-broken.js", `module.exports = async (query) => {
  await query({ insert: 'notes', row: 'half of a migration' });
  throw new Error('it does not work');
};`)
	}
	commit("broken")
	var took time.Duration
	r := underLoad(t, load.Plan{Target: n.web, Path: "/api/__health_check", Rate: 50, Timeout: 2 * soon}, func() {
		code, said, took = n.takes("deploy", "here")
		n.upstreamsAre(soon, "node-1_0", "node-2_0")
	})
	contains(t, "gopm deploy", said, "migrate:0 failed", "node-1:0 is not started: it waits for migrate (failed)", "current is releases/1 again")
	if code != 1 {
		t.Errorf("exit code %d of a deployment that failed", code)
	}
	if r.Wrong == 0 || r.Failed() != r.Wrong { // each is one of status 503
		t.Errorf("want answers all the time, some of them 503: %s", r.Text())
	}
	if now := n.data(); now != before {
		t.Errorf("the data were %s and are %s", before, now)
	}
	n.row("an upgrade: stopped, backed up, migrated, started", "%.1f s", first.Seconds())
	n.row("an upgrade that fails: the same, and back to the old release and its data", "%.1f s", took.Seconds())
}

// data are what a migration that fails half-way has changed.
func (n *nocobase) data() string {
	n.Helper()
	if !n.real {
		return n.fetch("http://" + n.web + "/api/notes")
	}
	sign := n.fetch("http://" + n.web + "/api/systemSettings:get")
	if !strings.Contains(sign, `"data"`) {
		n.Errorf("systemSettings: %s", sign)
	}
	return sign
}

func (n *nocobase) fetch(url string) string {
	n.Helper()
	answer, err := http.Get(url)
	must(n.T, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(n.T, err)
	return fmt.Sprint(answer.StatusCode, " ", string(text))
}
