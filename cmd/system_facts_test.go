package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// Facts: what gopm says of its apps, what the kernel says of processes, and the
// one way to wait for one.

const (
	soon     = 20 * time.Second // that long a slow machine may take
	interval = 20 * time.Millisecond
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until check returns nil.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		began := time.Now()
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still after %v: %v", limit, err)
		}
		<-time.After(max(interval, time.Since(began))) // most ask gopm: half of the time is left to what they wait for
	}
}

// steadily fails if check fails at any time within the span.
func steadily(t *testing.T, span time.Duration, check func() error) {
	t.Helper()
	deadline := time.After(span)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		must(t, check())
		select {
		case <-deadline:
			return
		case <-tick.C:
		}
	}
}

func contains(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s: no %q in:\n%s", what, word, text)
		}
	}
}

func lacks(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if strings.Contains(text, word) {
			t.Errorf("%s: unwanted %q in:\n%s", what, word, text)
		}
	}
}

// entry is what jlist tells of an instance.
type entry struct {
	Pid   int    `json:"pid"`
	Name  string `json:"name"`
	ID    int    `json:"pm_id"`
	Monit struct {
		Memory int64   `json:"memory"`
		CPU    float64 `json:"cpu"`
	} `json:"monit"`
	Env struct {
		Status     string `json:"status"`
		Restarts   int    `json:"restart_time"`
		Unstable   int    `json:"unstable_restarts"`
		ExitCode   *int   `json:"exit_code"`
		ExitSignal string `json:"exit_signal"`
		Instance   int    `json:"NODE_APP_INSTANCE"`
		Out        string `json:"pm_out_log_path"`
		Err        string `json:"pm_err_log_path"`
		Namespace  string `json:"namespace"`
	} `json:"pm2_env"`
}

func (e entry) String() string {
	code := "-"
	if e.Env.ExitCode != nil {
		code = strconv.Itoa(*e.Env.ExitCode)
	}
	return fmt.Sprintf("%d|%s pid %d %s ↺ %d exit %s %s", e.ID, e.Name, e.Pid, e.Env.Status, e.Env.Restarts, code, e.Env.ExitSignal)
}

// list is what runs, by id.
func (g *gopm) list() []entry {
	g.Helper()
	var all []entry
	out := g.run("jlist")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		g.Fatalf("jlist: %v\n%s", err, out)
	}
	slices.SortFunc(all, func(a, b entry) int { return a.ID - b.ID })
	return all
}

// app is the only instance of an app.
func (g *gopm) app(name string) entry {
	g.Helper()
	var found []entry
	all := g.list()
	for _, e := range all {
		if e.Name == name {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		g.Fatalf("want one instance of %s in %v", name, all)
	}
	return found[0]
}

// pids are the pids by "name:instance".
func (g *gopm) pids() map[string]int {
	g.Helper()
	all := map[string]int{}
	for _, e := range g.list() {
		all[fmt.Sprintf("%s:%d", e.Name, e.Env.Instance)] = e.Pid
	}
	return all
}

// await waits until an app's only instance satisfies a condition, and returns it.
func (g *gopm) await(name, what string, ok func(entry) bool) entry {
	g.Helper()
	var last entry
	eventually(g.T, 2*soon, func() error {
		if last = g.app(name); ok(last) {
			return nil
		}
		return fmt.Errorf("want %s: %v", what, last)
	})
	return last
}

func (g *gopm) awaitStatus(name, status string) entry {
	g.Helper()
	return g.await(name, status, func(e entry) bool { return e.Env.Status == status })
}

// process is one that the kernel knows.
type process struct {
	pid     int
	cmdline string
}

func (p process) String() string { return fmt.Sprintf("%d (%s)", p.pid, p.cmdline) }
func (p process) kill()          { _ = syscall.Kill(p.pid, syscall.SIGKILL) }

// belongingTo are the processes with a home in their environment or command line,
// this one excepted. Zombies have neither.
func belongingTo(home string) []process {
	var found []process
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, _ := os.ReadFile(dir + "/cmdline") // it may be gone
		env, _ := os.ReadFile(dir + "/environ")
		ours := strings.Contains(string(cmdline)+"\x00", home+"\x00") ||
			strings.Contains("\x00"+string(env), "\x00GOPM_HOME="+home+"\x00")
		if ours {
			found = append(found, process{pid, strings.ReplaceAll(strings.TrimRight(string(cmdline), "\x00"), "\x00", " ")})
		}
	}
	return found
}

// environOf is the environment of a process.
func environOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	must(t, err)
	env := map[string]string{}
	for _, entry := range strings.Split(strings.TrimRight(string(data), "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

// alive says whether a process runs; a zombie doesn't.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	if !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X") {
		return true
	}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // while others are ending, sockets and locks are still held
	return len(threads) > 1
}

func gone(pid int) func() error {
	return func() error {
		if alive(pid) {
			return fmt.Errorf("pid %d is alive", pid)
		}
		return nil
	}
}

// fileSays waits until a file has a text, and returns its content.
func (g *gopm) fileSays(path, want string) string {
	g.Helper()
	var text []byte
	eventually(g.T, soon, func() (err error) {
		if text, err = os.ReadFile(path); err == nil && !strings.Contains(string(text), want) {
			err = fmt.Errorf("no %q in %s: %q", want, path, text)
		}
		return err
	})
	return string(text)
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := load.FreePort()
	must(t, err)
	return port
}

// userIDs are the numbers of a user and its group.
func userIDs(t *testing.T, name string) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup(name)
	must(t, err)
	uid, err = strconv.Atoi(u.Uid)
	must(t, err)
	gid, err = strconv.Atoi(u.Gid)
	must(t, err)
	return uid, gid
}

// openFiles are what the descriptors of a process are open on.
func openFiles(t *testing.T, pid int) []string {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	var all []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil { // it may have been closed meanwhile
			all = append(all, target)
		}
	}
	return all
}
