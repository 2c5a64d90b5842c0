package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// life is one manager with its apps from a cold start to the end, in a home of its own. Everything that
// runs in it carries its id (in the environment, or in the path of the home): so it is found and ended.
type life struct {
	manager
	id, dir string
	child   string
	server  string
	node    string
	env     []string
	apps    []app
	stamps  stamps
	own     []*exec.Cmd // processes that are the bench's own children
}

// idle makes n apps that stamp their start and then sleep.
func idle(n int) func(*life) []app {
	return func(l *life) []app {
		var apps []app
		for i := range n {
			name := fmt.Sprintf("app%04d", i)
			apps = append(apps, app{name: name, args: []string{"idle", l.stamps.path, name}})
		}
		return apps
	}
}

// apps is a number of apps in words.
func apps(n int) string {
	if n == 1 {
		return "1 app"
	}
	return fmt.Sprintf("%d apps", n)
}

// prepare makes a life ready for its launch.
func (b *bench) prepare(m manager, programs func(*life) []app) (*life, error) {
	var raw [6]byte
	rand.Read(raw[:]) // never fails
	l := &life{manager: m, id: "bench" + hex.EncodeToString(raw[:]), child: b.child, server: b.server, node: b.node}
	l.dir = filepath.Join(b.root, l.id)
	l.stamps.path = filepath.Join(l.dir, "stamps")
	if err := os.MkdirAll(filepath.Join(l.dir, "home"), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a home: %v", err)
	}
	l.apps = programs(l)
	l.env = append(cleanEnvironment(os.Environ()), "HOME="+l.dir, "BENCH_ID="+l.id)
	l.env = append(l.env, m.environment(l)...)
	return l, m.prepare(l)
}

// begin launches a life with n idle apps and waits until all have stamped. What isn't as it
// should be is reported; then there is no life.
func (b *bench) begin(ctx context.Context, m manager, n int) *life {
	return b.beginWith(ctx, m, n, idle(n))
}

// beginWith is begin with n processes that aren't the idle ones.
func (b *bench) beginWith(ctx context.Context, m manager, n int, programs func(*life) []app) *life {
	l, err := b.prepare(m, programs)
	if err != nil {
		b.report.problem("", "%v", err)
		return nil
	}
	if err := l.launch(l); err != nil {
		b.report.problem(m.name(), "start of %s: %v", apps(n), err)
		b.end(l)
		return nil
	}
	wait(ctx, time.Minute, 5*time.Millisecond, func() bool { return l.stamps.count("start") >= n })
	if wrong := l.stamps.wrong(n, n, alive); wrong != "" {
		b.report.problem(m.name(), "after the start of %s: %s", apps(n), wrong)
		b.end(l)
		return nil
	}
	return l
}

// beginAll begins a life with n idle apps for every manager that can.
func (b *bench) beginAll(ctx context.Context, n int) map[string]*life {
	return b.beginAllWith(ctx, n, idle(n))
}

func (b *bench) beginAllWith(ctx context.Context, n int, programs func(*life) []app) map[string]*life {
	return b.beginThese(ctx, b.managers, n, programs)
}

func (b *bench) beginThese(ctx context.Context, managers []manager, n int, programs func(*life) []app) map[string]*life {
	lives := map[string]*life{}
	for _, m := range managers {
		if l := b.beginWith(ctx, m, n, programs); l != nil {
			lives[m.name()] = l
		}
	}
	return lives
}

func (b *bench) endAll(lives map[string]*life) {
	for _, l := range lives {
		b.end(l)
	}
}

// end stops a life. gopm must do that itself and leave nothing running.
func (b *bench) end(l *life) {
	if p, ok := l.manager.(pm); ok && p.label == gopmName {
		if err := p.quit(l); err != nil {
			b.report.problem(gopmName, "kill: %v", err)
		}
		if left := carrying(l.id); len(left) > 0 {
			b.report.problem(gopmName, "%d processes left after kill, the first is %s", len(left), executable(left[0]))
		}
	}
	l.destroy()
}

// destroy ends what carries the id, the manager before its apps: else it starts them again.
func (l *life) destroy() {
	wait(context.Background(), 10*time.Second, 20*time.Millisecond, func() bool {
		left := carrying(l.id)
		for _, pid := range left {
			if executable(pid) != l.child {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		for _, pid := range left {
			if executable(pid) == l.child {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
		for _, cmd := range l.own {
			if cmd.ProcessState == nil {
				cmd.Wait()
			}
		}
		return len(left) == 0
	})
	os.RemoveAll(l.dir)
}

// keepers are the manager's own processes: all of the life but its apps.
func (l *life) keepers() []int {
	var out []int
	for _, pid := range carrying(l.id) {
		if exe := executable(pid); exe != "" && exe != l.child {
			out = append(out, pid)
		}
	}
	return out
}

// settle waits until managers use less than 5 % of a core, after at least the given time.
func settle(ctx context.Context, lives map[string]*life, least time.Duration) bool {
	pause(ctx, least)
	var own []int
	for _, l := range lives {
		own = append(own, l.keepers()...)
	}
	const look = 500 * time.Millisecond
	return wait(ctx, 30*time.Second, time.Millisecond, func() bool {
		before := cpuTime(own)
		pause(ctx, look)
		return cpuTime(own)-before < look/20
	})
}

// command runs one of the manager's commands to its end.
func (l *life) command(argv []string) error {
	_, err := l.output(argv)
	return err
}

// output runs a command and returns what it printed. The output goes to a file and not to a pipe, which a
// daemon that the command leaves behind could hold open.
func (l *life) output(argv []string) (string, error) {
	f, err := os.CreateTemp(l.dir, "output-")
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = l.timed(argv, f)
	text := readFile(f.Name())
	if err != nil {
		return text, fmt.Errorf("%s: %v: %s", filepath.Base(argv[0])+" "+strings.Join(argv[1:], " "), err, lastLine(text))
	}
	return text, nil
}

// timed runs a command and returns how long it took in milliseconds. A nil file is /dev/null.
func (l *life) timed(argv []string, out *os.File) (float64, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = l.env, l.dir
	if out != nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	began := now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	guard := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer guard.Stop()
	err := cmd.Wait()
	return milliseconds(began, now()), err
}

// cleanEnvironment drops what would reach into the managers from the caller's own use of them.
func cleanEnvironment(env []string) []string {
	var out []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if name == "HOME" || strings.HasPrefix(name, "GOPM_") || strings.HasPrefix(name, "PM2_") {
			continue
		}
		out = append(out, v)
	}
	return out
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
