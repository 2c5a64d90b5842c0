package cmd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
	"gopm/tools/agent"
)

// slidesImage is the image of examples/slides, from its Dockerfile as it is; the images that this names have gopm,
// Consul and node of this machine.
func (p *podman) slidesImage() string {
	p.Helper()
	consul, err := agent.Program()
	must(p.T, err)
	programs := p.built("FROM scratch\nCOPY . /\n# gopm and Consul\n", func(dir string) {
		place(p.T, p.binary, dir+"/gopm")
		place(p.T, consul, dir+"/bin/consul")
	})
	const image = "localhost/slides-image"
	p.do("build", "-q", "--format=docker", "-t", image, "--build-arg=GOPM="+programs, "--build-arg=CONSUL="+programs, "--build-arg=NODE="+p.node(), p.dir)
	return image
}

// TestContainerRuntime: pm2's line in a Dockerfile, as in the slides, without a writable file, without a home and as a user
// without privileges.
func TestContainerRuntime(t *testing.T) {
	p := newPodman(t)
	ports := p.whole("slides", slidesPorts...)
	modules, err := filepath.EvalSymlinks(filepath.Join(p.dir, "node_modules"))
	must(t, err)
	must(t, os.Remove(filepath.Join(p.dir, "node_modules"))) // an image needs the files themselves
	must(t, os.CopyFS(filepath.Join(p.dir, "node_modules"), os.DirFS(modules)))
	b := p.box(p.slidesImage(), append(unprivileged, "--read-only", "--tmpfs=/tmp:size=1m,mode=1777", "--security-opt=no-new-privileges", p.docker()))
	saysSoon(t, ports[18200], "hello")
	started := func(times int) {
		t.Helper()
		eventually(t, 2*soon, func() error {
			if _, err := b.logs(); strings.Count(err, "fake error\n") != times {
				return fmt.Errorf("want %d starts of app; stderr: %q", times, err)
			}
			return nil
		})
	}
	started(2)
	run := load.Start(context.Background(), load.Plan{Target: fmt.Sprintf("127.0.0.1:%d", ports[18201]), Rate: 50, Count: 200})
	b.signal("SIGHUP") // reload
	started(4)
	if result := run.Wait(); result.OK != 200 {
		t.Errorf("the reload: %s", result.Text())
	}
	took := b.stop(10 * time.Second)
	if code := b.wait(); code != 128+int(syscall.SIGTERM) { // of apps that handle no signal
		t.Errorf("exit code %d", code)
	}
	_, said := b.logs()
	t.Logf("stopped in %v", took)
	contains(t, "stderr", said, "gopm: terminated: stopping all apps")
	lacks(t, "stderr", said, "SIGKILL")
}

const orphans = 300

// forker leaves orphans behind, by double forks, that live until somebody opens /tmp/end for writing. It ends by SIGTERM
// with a code of its own.
var forker = fmt.Sprintf(`trap "echo bye; exit 5" TERM
mkfifo /tmp/end; i=0; while [ $i -lt %d ]; do (read x </tmp/end &); i=$((i+1)); done; echo forked
while :; do sleep 0.1; done`, orphans)

// census finds the process of a container with the most children, and counts them, and all zombies.
func (b *box) census() (parent string, children, zombies int) {
	b.Helper()
	r := b.exec("sh", "-c", `for f in /proc/[0-9]*/stat; do read x 2>/dev/null <$f && echo "$x"; done`)
	below := map[string]int{}
	for line := range strings.Lines(r.out) {
		_, rest, _ := strings.Cut(line, ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			b.Fatalf("not a stat: %q", line)
		}
		if fields[0] == "Z" {
			zombies++
		}
		if below[fields[1]]++; below[fields[1]] > children {
			parent, children = fields[1], below[fields[1]]
		}
	}
	return parent, children, zombies
}

// TestContainerInit: orphans fall to gopm and are reaped, as PID 1 and below an init.
func TestContainerInit(t *testing.T) {
	p := newPodman(t)
	p.script("fork.sh", forker)
	p.file("eco.json", `{"apps": [{"name": "fork", "script": "fork.sh", `+quick+`}]}`)
	for name, options := range map[string][]string{"PID 1": nil, "below an init": {"--init"}} {
		t.Run(name, func(t *testing.T) {
			p := p.sub(t)
			options := append([]string{"-e=GOPM_HOME=/tmp/h"}, options...)
			b := p.box(p.with("sh", "mkfifo", "sleep"), options, "gopm", "runtime", "/work/eco.json")
			b.said(1, "forked\n", "")
			parent, all, _ := b.census()
			if all < orphans || (parent == "1") != (name == "PID 1") {
				t.Errorf("%d processes below %s, want %d orphans and more, below gopm", all, parent, orphans)
			}
			b.exec("sh", "-c", ": >/tmp/end")
			eventually(t, soon, func() error {
				if _, all, zombies := b.census(); all > 5 || zombies > 1 { // one may have just ended
					return fmt.Errorf("%d children, %d zombies", all, zombies)
				}
				return nil
			})
			b.signal("SIGTERM")
			if code := b.wait(); code != 5 {
				t.Errorf("exit code %d, want that of the app", code)
			}
			b.said(1, "bye\n", "terminated")
		})
	}
}

// said waits until PID 1 has: out so often, and err once.
func (b *box) said(times int, out, err string) {
	b.Helper()
	eventually(b.T, 2*soon, func() error {
		if o, e := b.logs(); strings.Count(o, out) != times || err != "" && strings.Count(e, err) != 1 {
			return fmt.Errorf("not %d times %q in %q, or not once %q in %q", times, out, o, err, e)
		}
		return nil
	})
}

// TestContainerAgain: a container that is killed and started again, or restarted, begins from nothing, though the home of
// the run before is there and its pids are in use again; and a home without room is said once, while the apps go on.
func TestContainerAgain(t *testing.T) {
	p := newPodman(t)
	p.script("up.sh", `echo up; while :; do sleep 0.1; done`)
	p.file("eco.json", `{"apps": [{"name": "a", "script": "up.sh", "instances": 2, `+quick+`}, {"name": "b", "script": "up.sh", `+quick+`}]}`)
	b := p.box(p.with("sh", "sleep"), []string{"-e=GOPM_HOME=/var/h"}, "gopm", "runtime", "/work/eco.json")
	fresh := func(times int) {
		t.Helper()
		b.said(3*times, "up\n", "")
		eventually(t, soon, func() error {
			return anew(b.inside().list())
		})
	}
	fresh(1)
	b.signal("SIGKILL")
	if code := b.wait(); code != 137 {
		t.Errorf("exit code %d", code)
	}
	b.again("start")
	fresh(2)
	b.again("restart", "-t=10")
	fresh(3)
}

func anew(all []entry) error {
	if len(all) != 3 {
		return fmt.Errorf("want 3 instances: %v", all)
	}
	for id, e := range all {
		if e.ID != id || e.Env.Restarts != 0 || e.Env.Status != "online" {
			return fmt.Errorf("want id %d, online, without restarts: %v", id, all)
		}
	}
	return nil
}

// TestContainerHomeIsFull: apps go on, and are restarted.
func TestContainerHomeIsFull(t *testing.T) {
	p := newPodman(t)
	p.script("up.sh", `echo up; while :; do sleep 0.1; done`)
	p.file("eco.json", `{"apps": [{"name": "a", "script": "up.sh", `+quick+`}]}`)
	b := p.box(p.with("sh", "sleep"), []string{"-e=GOPM_HOME=/h", "--tmpfs=/h:size=1m,mode=700"}, "gopm", "runtime", "/work/eco.json")
	b.said(1, "up\n", "")
	if r := b.exec("sh", "-c", `x=xxxxxxxxxxxxxxxx; x=$x$x$x$x$x$x$x$x; while echo $x; do :; done >/h/fill`); !strings.Contains(r.err, "I/O error") {
		t.Fatal(r)
	}
	for n := 2; n < 4; n++ {
		b.kill(b.inside().app("a").Pid, syscall.SIGKILL)
		b.said(n, "up\n", "cannot write the state: ")
	}
	if e := b.inside().app("a"); e.Env.Restarts != 2 {
		t.Errorf("want 2 restarts: %v", e)
	}
	_, err := b.logs()
	if n := strings.Count(err, "no space left"); n != 1 {
		t.Errorf("said %d times: %q", n, err)
	}
	b.exec("sh", "-c", ": >/h/fill")
	b.said(3, "up\n", "the state is written again")
}

// TestContainerOfAShell: a shell is PID 1, which is said, with the form that is better; what cannot be executed and what
// is ended for lack of memory have a shell's codes.
func TestContainerOfAShell(t *testing.T) {
	p := newPodman(t)
	p.script("five.sh", "exit 5")
	p.script("eat.sh", `x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done`)
	must(t, os.Chmod(p.file("none", "\x7fELF of no machine\n"), 0o755))
	for name, script := range map[string]string{"five": "five.sh", "none": `five.sh", "interpreter": "/work/none`, "eat": "eat.sh"} {
		p.file(name+".json", fmt.Sprintf(`{"apps": [{"name": %q, "script": "/work/%s", "autorestart": false}]}`, name, script))
	}
	b := p.box(p.with("sh"), []string{"--memory=200m", "--memory-swap=200m", "-e=GOPM_HOME=/tmp/h"}, "sh", "-c",
		`gopm runtime /work/five.json; echo five $?; gopm runtime /work/none.json; echo none $?; gopm runtime /work/eat.json; echo eat $?; exit 9`)
	if code := b.wait(); code != 9 {
		t.Errorf("exit code %d", code)
	}
	out, err := b.logs()
	contains(t, "stdout", out, "five 5\n", "none 127\n", "eat 137\n")
	if n := strings.Count(err, "process 1 is a shell (sh), which passes no signal on"); n != 3 {
		t.Errorf("want the warning once for each gopm, there are %d: %q", n, err)
	}
	contains(t, "stderr", err, `CMD ["gopm", "runtime", "ecosystem.json"]`)
}
