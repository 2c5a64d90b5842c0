package cmd_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// gopm update: to a newer binary, and to things that are none.

const newerVersion = "v0.0.1-newer"

// buildNewer builds the binary as of another version into the toolbox, once.
var buildNewer = sync.OnceValues(func() (string, error) {
	return buildAs("gopm-newer", newerVersion)
})

// buildStranger builds one that speaks another protocol between keeper and daemon.
var buildStranger = sync.OnceValues(func() (string, error) {
	overlay, err := otherProtocol()
	if err != nil {
		return "", err
	}
	return buildAs("gopm-stranger", "v9.0.0-stranger", "-overlay", overlay)
})

func buildAs(name, version string, flags ...string) (string, error) {
	binary := filepath.Join(toolbox, name)
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X gopm/cmd.version=" + version, "-o", binary}, flags...)
	cmd := exec.Command("go", append(args, "gopm/cmd/gopm")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %v\n%s", err, out)
	}
	return binary, nil
}

// otherProtocol is a -overlay of go build in which the protocol has another version.
func otherProtocol() (string, error) {
	files, err := filepath.Glob("../daemon/keeper/*.go")
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(`(?m)^const Protocol = "\d+"$`)
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if !version.Match(text) {
			continue
		}
		other := filepath.Join(toolbox, "protocol.go")
		if err := os.WriteFile(other, version.ReplaceAll(text, []byte(`const Protocol = "99"`)), 0o644); err != nil {
			return "", err
		}
		path, err = filepath.Abs(path)
		if err != nil {
			return "", err
		}
		overlay := filepath.Join(toolbox, "overlay.json")
		return overlay, os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, path, other), 0o644)
	}
	return "", errors.New("daemon/keeper has no const Protocol")
}

// installed is where a test's own binary is, which it may replace; its commands are
// of another link to the first one.
type installed struct {
	*gopm
	path, first string
}

func ownBinary(g *gopm) *installed {
	g.Helper()
	dir := filepath.Dir(g.dir)
	i := &installed{g, filepath.Join(dir, "gopm"), filepath.Join(dir, "first")}
	i.install(g.binary, 0o755)
	must(g.T, os.Link(i.path, i.first))
	g.binary = i.path
	g.env[0] = "PATH=" + dir + ":" + os.Getenv("PATH")
	return i
}

// install puts a program into the binary's place, as make install does. The copy is
// cp's: a file that we had open for writing could be busy in a child of another test.
func (i *installed) install(program string, mode os.FileMode) {
	i.Helper()
	next := i.path + ".next"
	if out, err := exec.Command("cp", program, next).CombinedOutput(); err != nil {
		i.Fatalf("cp: %v\n%s", err, out)
	}
	must(i.T, os.Chmod(next, mode))
	must(i.T, os.Rename(next, i.path))
}

func TestLoadUpdate(t *testing.T) {
	i := ownBinary(newGopm(t))
	newer, err := buildNewer()
	must(t, err)
	s := serve(i.gopm)
	for _, next := range []struct{ binary, version string }{{newer, newerVersion}, {i.first, "v0.0.0-test"}, {newer, newerVersion}} {
		daemon, keeper := s.daemon()
		i.install(next.binary, 0o755)
		s.run("update")
		s.unharmed("update to " + next.version)
		nowDaemon, nowKeeper := s.daemon()
		if nowDaemon == daemon || nowKeeper != keeper {
			t.Errorf("update: daemon %d, keeper %d; before %d, %d", nowDaemon, nowKeeper, daemon, keeper)
		}
		contains(t, "ping after update", s.run("ping"), next.version)
		eventually(t, soon, func() error { return i.bothRunFrom(nowDaemon, nowKeeper) })
	}
	strike(s.daemonNow()) // who comes is of the new binary
	contains(t, "ping after kill -9", s.run("ping"), newerVersion)
	s.unharmed("update, then kill -9")
	s.end()
}

// bothRunFrom says whether processes run from the file that is installed now.
func (i *installed) bothRunFrom(pids ...int) error {
	for _, pid := range pids {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil || exe != i.path {
			return fmt.Errorf("pid %d runs from %s (%v)", pid, exe, err)
		}
	}
	return nil
}

func TestUpdateToABinaryThatIsNone(t *testing.T) {
	i := ownBinary(newGopm(t))
	talker, err := buildActor()
	must(t, err)
	stranger, err := buildStranger()
	must(t, err)
	s := serve(i.gopm)
	for _, bad := range []struct {
		what, path string
		mode       os.FileMode
		words      []string
	}{
		{"not executable", i.first, 0o644, []string{"permission denied"}},
		{"a text", i.file("text", "this is no program\n"), 0o755, nil},
		{"a script", i.script("exits", "echo no such luck >&2; exit 1"), 0o755, nil},
		{"exits 1", "/bin/false", 0o755, []string{"exit status 1"}},
		{"succeeds and says nothing", "/bin/true", 0o755, nil},
		{"talks and doesn't end", talker, 0o755, nil},
		{"speaks another protocol", stranger, 0o755, []string{"given up"}},
		{"another program", "/bin/sleep", 0o755, nil},
	} {
		daemon, keeper := s.daemon()
		i.install(bad.path, bad.mode)
		s.refusedUpdate(i, bad.what, bad.words...)
		nowDaemon, nowKeeper := s.daemonNow(), s.keeperNow()
		if (nowDaemon == daemon) == (bad.path == stranger) || nowKeeper != keeper { // a stranger is found out when it is tried
			t.Errorf("%s: daemon %d, keeper %d; before %d, %d", bad.what, nowDaemon, nowKeeper, daemon, keeper)
		}
		i.install(i.first, 0o755)
	}
	must(t, os.Remove(i.path))
	s.refusedUpdate(i, "no binary at all", "no such file")
	s.gopm.binary = i.first
	s.end()
}

// refusedUpdate asks for an update that has to fail with a reason and hurt nobody.
func (s *served) refusedUpdate(i *installed, what string, words ...string) {
	s.Helper()
	s.gopm.binary = i.first
	r := s.fail(1, append(words, i.path), "update")
	s.Logf("%s: %s", what, strings.TrimSpace(r.err))
	s.unharmed(what)
}

// As the first process of a container, as which nothing else would reap.
func TestUpdateAsProcessOne(t *testing.T) {
	i := ownBinary(newGopm(t))
	newer, err := buildNewer()
	must(t, err)
	i.asProcessOne()
	port := freePort(t)
	i.cast(role{"web", fmt.Sprintf("-port %d -every 5ms -err", port), ""})
	before := i.actorsNow()
	load := newAskers(t, port)
	i.install(newer, 0o755)
	i.run("update")
	contains(t, "ping after update", i.run("ping"), newerVersion, "keeper 1)")
	if now := i.actorsNow(); fmt.Sprint(now) != fmt.Sprint(before) || len(i.starts("web")) != 1 {
		t.Errorf("%v run, before: %v", now, before)
	}
	if e := i.app("web"); e.Env.Restarts != 0 || e.Env.Status != "online" {
		t.Error(e)
	}
	load.end(t)
	i.try("kill") // process 1 takes the command with it
	for _, stderr := range []bool{false, true} {
		if err := i.complete("web", stderr, 1); err != nil {
			t.Error(err)
		}
	}
}

// asProcessOne starts keeper and daemon in a pid namespace of their own, and lets
// the commands run in it, too.
func (g *gopm) asProcessOne() {
	g.Helper()
	if os.Geteuid() != 0 {
		g.Skip("only root can make a pid namespace")
	}
	r, w, err := os.Pipe()
	must(g.T, err)
	defer r.Close()
	cmd := g.command()
	cmd.Path = "/usr/bin/unshare"
	cmd.Args = []string{"unshare", "--pid", "--mount-proc", "--fork", "--kill-child", g.binary, "keeper", g.home}
	cmd.ExtraFiles = []*os.File{w} // the handshake
	cmd.Env = append(cmd.Env, "GOPM_BINARY="+g.binary)
	must(g.T, os.MkdirAll(g.home+"/logs", 0o700))
	must(g.T, os.MkdirAll(g.home+"/env", 0o700))
	must(g.T, os.Chmod(g.home, 0o700))
	log, err := os.Create(g.home + "/gopm.log")
	must(g.T, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	must(g.T, cmd.Start())
	w.Close()
	outside := g.binary
	g.Cleanup(func() { // before close
		_ = g.try("kill")
		g.binary = outside
		late := time.AfterFunc(soon, func() {
			g.Error("process 1 does not end with gopm kill")
			_ = cmd.Process.Kill()
		})
		_ = cmd.Wait()
		late.Stop()
	})
	must(g.T, r.SetReadDeadline(time.Now().Add(soon))) // unshare holds the other end, too: there is no end of file
	answer, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || answer != "ok\n" {
		g.Fatalf("handshake: %q, %v", answer, err)
	}
	one, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	must(g.T, err)
	g.binary = g.script("inside", fmt.Sprintf(`exec nsenter %s %s %s "$@"`, g.space("pid", one), g.space("mnt", one), g.binary))
}

// space is nsenter's option for a namespace of a process. It is opened here and now: while
// a process becomes another program it has none for a moment.
func (g *gopm) space(kind string, pid []byte) string {
	g.Helper()
	f, err := os.Open("/proc/" + strings.TrimSpace(string(pid)) + "/ns/" + kind)
	must(g.T, err)
	g.Cleanup(func() { f.Close() })
	return fmt.Sprintf("--%s=/proc/%d/fd/%d", map[string]string{"pid": "pid", "mnt": "mount"}[kind], os.Getpid(), f.Fd())
}
