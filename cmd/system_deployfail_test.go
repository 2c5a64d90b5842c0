package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// withReleases has a first release that runs on all hosts, and a second one committed.
func withReleases(t *testing.T, hosts int, more string) *field {
	t.Helper()
	f := newField(t, hosts)
	f.block(more)
	f.commit("one", stays)
	f.run("deploy", "production", "setup", "--silent")
	f.run("deploy", "production", "--silent")
	f.commit("two", stays)
	return f
}

// unchanged fails unless a host still has the first release, and runs it in the same process.
func (f *field) unchanged(host, pid int) {
	f.Helper()
	f.clean(host, "1")
	if link := f.on(host); link != "releases/1" {
		f.Errorf("host %d: current is %q", host+1, link)
	}
	if now := f.hosts[host].app("web").Pid; now != pid {
		f.Errorf("host %d: the app was restarted (pid %d, then %d)", host+1, pid, now)
	}
}

func (f *field) inHome(host int, name, content string) {
	f.Helper()
	must(f.T, os.WriteFile(filepath.Join(f.hosts[host].dir, name), []byte(content), 0o644))
}

func TestDeployKeepsTheOldReleaseWhenAStepFails(t *testing.T) {
	f := withReleases(t, 1, "")
	pid := f.hosts[0].app("web").Pid
	deploy := []string{"deploy", "ecosystem.json", "production"}
	f.block(`, "pre-deploy": "echo building in $PWD; exit 7"`)
	r := f.fail(1, []string{"gopm: production: 127.0.0.1: pre-deploy ended with exit code 7"}, deploy...)
	contains(t, "the hook's output", r.out, "building in "+f.hosts[0].dir+"/app/releases/2")
	f.unchanged(0, pid)
	f.fail(1, []string{"building in", "pre-deploy ended with exit code 7"}, append(deploy, "--silent")...)

	f.block(`, "pre-deploy-local": "echo here in $PWD as $WHO; exit 3", "env": {"WHO": "me"}`)
	r = f.fail(1, []string{"pre-deploy-local: exit status 3: nothing was deployed"}, deploy...)
	contains(t, "the local hook's output", r.out, "here in "+f.dir+" as me")
	f.unchanged(0, pid)

	f.block(``)
	f.file("ecosystem.json", strings.Replace(f.read("ecosystem.json"), f.repo, f.repo+"x", 1))
	f.fail(1, []string{"cannot fetch " + f.repo + "x"}, deploy...)
	f.unchanged(0, pid)

	f.block(`, "env": {"PATH": "/usr/bin:/bin"}`)
	f.fail(1, []string{"there is no gopm on the PATH (/usr/bin:/bin)", "set PATH in env"}, deploy...)
	f.unchanged(0, pid)
	f.block("")
	f.run(deploy...)
	f.runs(0, "two")
}

func (f *field) read(name string) string {
	f.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	must(f.T, err)
	return string(text)
}

func TestDeployGoesBackWhenTheNewReleaseDoesNotStart(t *testing.T) {
	f := withReleases(t, 1, "")
	bad := f.commit("broken", "exit 5")
	r := f.fail(1, []string{"post-deploy ended with exit code 1; current is releases/1 again"}, "deploy", "production")
	contains(t, "what was shown", r.out, "release 2 is "+bad[:7], "current is releases/2", "broken", "current is releases/1 again")
	f.runs(0, "one")
	f.clean(0, "1")
	lacks(t, "list", f.run("deploy", "production", "list"), bad[:7])

	f.block(`, "post-deploy": "echo nothing goes; exit 4"`)
	f.fail(1, []string{"post-deploy ended with exit code 4; current is releases/1 again, but post-deploy has failed there, too"}, "deploy", "production")
	if f.on(0) != "releases/1" {
		t.Errorf("current is %q", f.on(0))
	}
	f.block("")
	f.commit("two", stays)
	f.run("deploy", "production")
	f.runs(0, "two")
	f.block(`, "post-deploy": "grep -q 'echo two' run"`)
	f.fail(1, []string{"post-deploy ended with exit code 1; current is releases/4 again"}, "deploy", "production", "revert")
	f.clean(0, "1", "4") // what a revert was to go to is no new folder to be removed; release 3 never ran
}

func TestDeployOfAFirstReleaseThatFails(t *testing.T) {
	f := newField(t, 1)
	f.block("")
	f.commit("broken", "exit 5")
	f.run("deploy", "production", "setup")
	f.fail(1, []string{"it is the first release here", "current stays releases/1"}, "deploy", "production")
	f.clean(0, "1")
	f.commit("one", stays)
	f.run("deploy", "production")
	f.runs(0, "one")
}

func TestDeployToTwoHostsOfWhichOneFails(t *testing.T) {
	f := withReleases(t, 2, "")
	pids := []int{f.hosts[0].app("web").Pid, f.hosts[1].app("web").Pid}
	f.block(`, "pre-deploy": "! test -e ~/full"`)
	f.inHome(1, "full", "")
	f.fail(1, []string{"gopm: production: 127.0.0.2: pre-deploy ended with exit code 1", "nothing was switched"}, "deploy", "production")
	f.unchanged(0, pids[0])
	f.unchanged(1, pids[1])

	f.block(`, "post-deploy": "! test -e ~/full && gopm startOrReload ecosystem.json"`)
	f.fail(1, []string{"127.0.0.2: post-deploy ended with exit code 1; current is releases/1 again, but post-deploy has failed there, too",
		"different releases", "revert 1 --host HOST"}, "deploy", "production")
	f.runs(0, "two")
	if f.on(0) != "releases/3" || f.on(1) != "releases/1" {
		t.Errorf("current is %q and %q", f.on(0), f.on(1))
	}
	contains(t, "list", f.run("deploy", "production", "list"), "[127.0.0.1] *    3", "[127.0.0.2] *    1")
	f.run("deploy", "production", "revert", "--host", "127.0.0.1")
	f.runs(0, "one")
	f.fail(2, []string{"--host 127.0.0.9 is none of", "127.0.0.1, 127.0.0.2"}, "deploy", "production", "--host", "127.0.0.9")
	f.fail(1, []string{"[127.0.0.2] ", "127.0.0.2: the command ended with exit code 1"}, "deploy", "production", "exec", "ls ~/full >&2; ! test -e ~/full")
}

// One after the other: the first that does not start keeps the rest from being begun.
func TestDeployWithOneJobStopsAtTheFirstFailure(t *testing.T) {
	f := withReleases(t, 2, "")
	pid := f.hosts[1].app("web").Pid
	f.commit("broken", "exit 5")
	f.fail(1, []string{"127.0.0.1: post-deploy ended with exit code 1; current is releases/1 again", "127.0.0.2: not begun, because another host has failed"},
		"deploy", "production", "--jobs", "1")
	f.runs(0, "one")
	f.clean(0, "1")
	f.unchanged(1, pid)
}

func TestDeployToALockedHost(t *testing.T) {
	f := withReleases(t, 2, "")
	pids := []int{f.hosts[0].app("web").Pid, f.hosts[1].app("web").Pid}
	lock := filepath.Join(f.hosts[1].dir, "app/lock")
	must(t, os.Mkdir(lock, 0o755))
	must(t, os.WriteFile(lock+"/who", []byte("anna@laptop\n"), 0o644))
	must(t, os.WriteFile(lock+"/since", []byte("1\n"), 0o644))
	r := f.fail(1, []string{"127.0.0.2: locked for ", "Y by anna@laptop", "if it is dead: ssh -p"}, "deploy", "production")
	f.unchanged(0, pids[0])
	if _, err := os.Stat(lock); err != nil {
		t.Errorf("somebody else's lock was taken away: %v", err)
	}
	// What is advised is what helps.
	_, advice, _ := strings.Cut(r.err, "if it is dead: ")
	advice, _, _ = strings.Cut(advice, "\n")
	f.must("sh", "-c", advice)
	f.run("deploy", "production")
	f.runs(1, "two")
}

func TestDeployInterrupted(t *testing.T) {
	for name, step := range map[string]string{
		"while it prepares":      `, "pre-deploy": "echo begun >> ~/begun; sleep 1000"`,
		"while it is started":    `, "post-deploy": "grep -q 'echo one' run || { echo begun >> ~/begun; sleep 1000; }"`,
		"while the local builds": `, "pre-deploy-local": "echo begun >> %s/begun; sleep 1000"`,
	} {
		t.Run(name, func(t *testing.T) {
			f := withReleases(t, 2, "")
			pid := f.hosts[0].app("web").Pid
			if strings.Contains(step, "%s") {
				step = fmt.Sprintf(step, f.hosts[0].dir)
			}
			f.block(step)
			cmd := f.command("deploy", "production")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			said := &output{}
			cmd.Stdout, cmd.Stderr = said, said
			must(t, cmd.Start())
			f.fileSays(filepath.Join(f.hosts[0].dir, "begun"), "begun")
			must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)) // as a terminal does, to ssh too
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			contains(t, "output", said.String(), "gopm: interrupted\n")
			lacks(t, "output", said.String(), "connection was lost")
			f.unchanged(0, pid)
			f.clean(1, "1")
			eventually(t, soon, func() error {
				for _, p := range belongingTo(f.hosts[0].home) {
					if strings.Contains(p.cmdline, "sleep 1000") && !strings.Contains(p.cmdline, "run") && p.pid != pid {
						return fmt.Errorf("left at work: %s", p)
					}
				}
				return nil
			})
		})
	}
}

// Who is killed leaves the lock and half a release; both are found by the next one.
func TestDeployAfterOneThatWasKilled(t *testing.T) {
	f := withReleases(t, 1, "")
	pid := f.hosts[0].app("web").Pid
	f.block(`, "pre-deploy": "echo $$ >> ~/begun; exec sleep 1000"`)
	cmd := f.command("deploy", "production")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, cmd.Start())
	var hook int
	_, err := fmt.Sscan(f.fileSays(filepath.Join(f.hosts[0].dir, "begun"), "\n"), &hook)
	must(t, err)
	must(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	_ = cmd.Wait()
	r := f.fail(1, []string{"locked for ", "wait for that deployment; if it is dead: ssh"}, "deploy", "production")
	f.slay(hook) // nobody has told it
	_, advice, _ := strings.Cut(r.err, "if it is dead: ")
	f.must("sh", "-c", strings.TrimSpace(advice))
	f.fail(1, []string{"no release 1 before the current one"}, "deploy", "production", "revert")
	f.clean(0, "1", "2")
	f.block("")
	f.run("deploy", "production")
	f.runs(0, "two")
	f.clean(0, "1", "3")
	if f.hosts[0].app("web").Pid == pid {
		t.Error("the app was not restarted")
	}
}
