package cmd_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// These tests deploy to real hosts, as far as one machine has them: sshd of our own on
// loopback addresses, each with a home and a gopm of its own, and a git repository.

// field is a repository, its working copy and the hosts.
type field struct {
	*gopm
	repo  string
	keys  string
	port  int
	hosts []*gopm // by number: 127.0.0.1, 127.0.0.2, …; dir is the host's home
}

// sshd is the system's, or the one that tools/parts has unpacked.
func (g *gopm) sshd() (program string, env []string) {
	g.Helper()
	for _, path := range []string{"/usr/sbin/sshd", "/usr/bin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	root := filepath.Join(g.parts(), "sshd-unpacked")
	if _, err := os.Stat(root + "/usr/sbin/sshd"); err != nil {
		g.Skip("no sshd: run tools/parts test")
	}
	libs, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu*")
	return root + "/usr/sbin/sshd", []string{"LD_LIBRARY_PATH=" + strings.Join(libs, ":")}
}

func newField(t *testing.T, hosts int) *field {
	t.Helper()
	g := newGopm(t)
	f := &field{gopm: g, repo: filepath.Join(filepath.Dir(g.dir), "r.git"), keys: filepath.Join(filepath.Dir(g.dir), "k")}
	must(t, os.Mkdir(f.keys, 0o700))
	f.git("init", "--quiet", "--initial-branch=main", "--bare", f.repo)
	f.git("init", "--quiet", "--initial-branch=main", ".")
	f.git("remote", "add", "origin", f.repo)
	for _, name := range []string{"host", "user"} {
		f.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(f.keys, name))
	}
	// The hosts differ in their address only: the port is one that is free on all.
	var listeners []net.Listener
	for i := range hosts {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%d", i+1, f.port))
		must(t, err)
		f.port = l.Addr().(*net.TCPAddr).Port
		listeners = append(listeners, l)
	}
	for i, l := range listeners {
		must(t, l.Close())
		f.hosts = append(f.hosts, f.serve(i))
	}
	return f
}

// serve starts the host of that number.
func (f *field) serve(i int) *gopm {
	f.Helper()
	h := *f.gopm
	h.dir = filepath.Join(filepath.Dir(f.dir), fmt.Sprintf("host%d", i+1))
	h.home = filepath.Join(h.dir, "h")
	must(f.T, os.Mkdir(h.dir, 0o755))
	program, env := f.sshd()
	if os.Getuid() == 0 {
		must(f.T, os.MkdirAll("/run/sshd", 0o755)) // it wants an empty folder there
	}
	address := net.JoinHostPort(fmt.Sprintf("127.0.0.%d", i+1), strconv.Itoa(f.port))
	config := filepath.Join(f.keys, fmt.Sprintf("sshd%d", i+1))
	must(f.T, os.WriteFile(config, fmt.Appendf(nil, `ListenAddress %s
HostKey %s/host
AuthorizedKeysFile %s/user.pub
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
LogLevel ERROR
SetEnv HOME=%s GOPM_HOME=%s PATH=%s
`, address, f.keys, f.keys, h.dir, h.home, strings.TrimPrefix(f.env[0], "PATH=")), 0o600))
	cmd := exec.Command(program, "-D", "-e", "-f", config)
	cmd.Env = append(os.Environ(), env...)
	log := &output{}
	cmd.Stderr = log
	must(f.T, cmd.Start())
	f.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait() // it was ended by a signal
		if f.Failed() {
			f.Logf("sshd of %s:\n%s", address, log)
		}
	})
	f.Cleanup(h.close)
	eventually(f.T, soon, func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return &h
}

// output is what a program that goes on running has written.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// must runs a program in the working copy and returns what it printed.
func (f *field) must(name string, args ...string) string {
	f.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = f.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (f *field) git(args ...string) string {
	f.Helper()
	return f.must("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
}

// block writes the file; more are further fields of the environment.
func (f *field) block(more string) {
	f.Helper()
	var names []string
	for i := range f.hosts {
		names = append(names, fmt.Sprintf("%q", fmt.Sprintf("127.0.0.%d", i+1)))
	}
	f.file("ecosystem.json", fmt.Sprintf(`{
  "apps": [{"name": "web", "script": "./run", "min_uptime": 300, "max_restarts": 0, "env_production": {"MODE": "production"}}],
  "deploy": {"production": {
    "host": [%s], "port": %d, "key": "%s/user", "repo": %q, "path": "$HOME/app",
    "ssh_options": ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]%s}}}`,
		strings.Join(names, ", "), f.port, f.keys, f.repo, more))
}

// commit makes a version of the app: what it says, and what it does then.
func (f *field) commit(says, does string) (commit string) {
	f.Helper()
	f.script("run", "echo "+says+"\n"+does)
	f.git("add", ".")
	f.git("commit", "--quiet", "--allow-empty", "-m", "the app says "+says)
	f.git("push", "--quiet", "origin", "HEAD")
	return f.git("rev-parse", "HEAD")
}

// on is where a host has the release that is current; "" if none.
func (f *field) on(host int) string {
	link, _ := os.Readlink(filepath.Join(f.hosts[host].dir, "app/current"))
	return link
}

// runs waits until the app of a host runs what a release says.
func (f *field) runs(host int, says string) {
	f.Helper()
	h := f.hosts[host]
	h.awaitStatus("web", "online")
	text, err := os.ReadFile(h.app("web").Env.Out)
	must(f.T, err)
	lines := strings.Fields(string(text))
	if len(lines) == 0 || lines[len(lines)-1] != says {
		f.Errorf("host %d runs what says %q, want %q", host+1, lines, says)
	}
}

// clean fails unless a host is unlocked and has these releases.
func (f *field) clean(host int, releases ...string) {
	f.Helper()
	if _, err := os.Stat(filepath.Join(f.hosts[host].dir, "app/lock")); err == nil {
		f.Errorf("host %d is still locked", host+1)
	}
	found, err := filepath.Glob(filepath.Join(f.hosts[host].dir, "app/releases/[0-9]*"))
	must(f.T, err)
	var names []string
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	if got, want := strings.Join(names, " "), strings.Join(releases, " "); got != want {
		f.Errorf("host %d has the releases %q, want %q", host+1, got, want)
	}
}

const stays = "exec sleep 1000"

func TestDeploy(t *testing.T) {
	f := newField(t, 1)
	f.block("")
	first := f.commit("one", stays)
	f.fail(1, []string{"production: 127.0.0.1: ", "is not set up", "setup"}, "deploy", "ecosystem.json", "production")
	contains(t, "setup", f.run("deploy", "ecosystem.json", "production", "setup"), "is set up on 127.0.0.1")
	contains(t, "list before", f.run("deploy", "production", "list"), "no releases yet")
	out := f.run("deploy", "ecosystem.json", "production")
	contains(t, "first update", out, "release 1 is "+first[:7]+" the app says one", "gopm startOrReload ecosystem.json --env production",
		"App [web] launched", "release 1 ("+first[:7]+") is current on 127.0.0.1")
	f.runs(0, "one")
	f.hosts[0].wantEnv("web", map[string]string{"MODE": "production"})

	second := f.commit("two", stays)
	f.run("deploy", "production", "update", "--silent")
	f.runs(0, "two")
	list := f.run("deploy", "production", "list")
	contains(t, "list", list, "*    2  "+second[:7], "     1  "+first[:7], "  main ", "the app says one")
	if got := f.run("deploy", "production", "curr") + f.run("deploy", "production", "prev"); got != second+"\n"+first+"\n" {
		t.Errorf("curr and prev say %q", got)
	}

	contains(t, "revert", f.run("deploy", "production", "revert", "1"), "release 1 ("+first[:7]+") is current")
	f.runs(0, "one")
	f.fail(1, []string{"no release 1 before the current one"}, "deploy", "production", "revert")
	f.git("tag", "v2")
	f.git("push", "--quiet", "origin", "v2")
	f.commit("three", stays)
	f.run("deploy", "production", "v2")
	f.runs(0, "two")
	f.run("deploy", "production", first)
	f.runs(0, "one")
	f.run("deploy", "production", "origin/main")
	f.runs(0, "three")
	f.fail(1, []string{"there is no branch, tag or commit v9"}, "deploy", "production", "v9")
	f.clean(0, "1", "2", "3", "4", "5")
	f.run("deploy", "production")
	f.clean(0, "2", "3", "4", "5", "6")
	contains(t, "the app's folder", f.hosts[0].run("info", "web"), "app/current/ecosystem.json")
}
