package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

//go:embed child.c
var childSource []byte

//go:embed server.js
var serverSource []byte

// bench is one run: its private folder, who is measured, and what came out.
type bench struct {
	options
	root     string // removed at the end
	child    string // child.c, compiled
	super    string // the same, as the floor's supervisor
	server   string // server.js
	node     string // what runs it; empty: nothing that needs it is measured
	managers []manager
	report   report
}

// open makes the folder, compiles the child and copies gopm into the folder: nobody else runs that
// file, so that the memory of its pages isn't divided among strangers.
func open(o options) (*bench, error) {
	root, err := os.MkdirTemp(roomy(), "gopm-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a folder to work in: %v", err)
	}
	b := &bench{options: o, root: root, child: filepath.Join(root, "child"), server: filepath.Join(root, "server.js")}
	if err := b.fill(); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) fill() error {
	if err := compile(b.child); err != nil {
		return err
	}
	if err := os.WriteFile(b.server, serverSource, 0o600); err != nil {
		return fmt.Errorf("cannot write the server: %v", err)
	}
	var err error
	if b.node, err = program("node"); err != nil {
		b.report.remark("there is no node: its clusters are not measured")
	}
	b.super = filepath.Join(b.root, "supervisor") // another file than the apps', for the same reason
	if err := copyFile(b.child, b.super); err != nil {
		return err
	}
	if b.gopm != "" {
		own := filepath.Join(b.root, "gopm")
		if err := copyFile(b.gopm, own); err != nil {
			return err
		}
		b.managers = append(b.managers, gopmManager(own))
	}
	b.managers = append(b.managers, floorManager{supervisor: b.super, child: b.child})
	if b.pm2 != "" {
		b.managers = append(b.managers, pm2Manager(b.pm2))
	} else {
		b.report.remark("pm2 is not measured")
	}
	if b.peers {
		found, missing := peers(parts(os.Getenv), b.pm2)
		b.managers = append(b.managers, found...)
		for _, name := range missing {
			if len(b.among) == 0 || slices.Contains(b.among, name) {
				b.report.problem(name, "is not there; tools/parts peers installs it")
			}
		}
	}
	b.managers = slices.DeleteFunc(b.managers, func(m manager) bool {
		return len(b.among) > 0 && !slices.Contains(b.among, m.name())
	})
	for _, m := range b.managers {
		b.report.having = append(b.report.having, m.name())
	}
	return nil
}

func (b *bench) close() { os.RemoveAll(b.root) }

// turn is the managers in the order of one round: each begins in turn, so that what a round's first or
// last place does to a figure is shared out.
func (b *bench) turn(round int) []manager { return turn(b.managers, round) }

func turn(managers []manager, round int) []manager {
	k := round % max(len(managers), 1)
	return append(append([]manager{}, managers[k:]...), managers[:k]...)
}

// compile builds child.c.
func compile(to string) error {
	source := to + ".c"
	if err := os.WriteFile(source, childSource, 0o600); err != nil {
		return fmt.Errorf("cannot write the helper: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "gcc", "-O2", "-static", "-o", to, source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot compile child.c: %v: %s (it needs gcc and the static C library: apt-get install gcc libc6-dev)", err, out)
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("cannot copy %s: %v", from, err)
	}
	if err := os.WriteFile(to, data, 0o700); err != nil {
		return fmt.Errorf("cannot copy %s: %v", from, err)
	}
	return nil
}

// wait polls a fact until it holds; false when it took too long or the run was ended.
func wait(ctx context.Context, limit, step time.Duration, fact func() bool) bool {
	end := time.Now().Add(limit)
	for !fact() {
		if time.Now().After(end) || !pause(ctx, step) {
			return false
		}
	}
	return true
}

// pause sleeps; false when the run was ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// header says when and on what a run is made.
func (b *bench) header(at time.Time) header {
	var all []string
	for _, m := range b.managers {
		if v, ok := m.(versioned); ok {
			all = append(all, m.name()+" "+v.version())
		}
	}
	if b.node != "" {
		all = append(all, "node "+said(b.node, "--version"))
	}
	return header{at: at, machine: machine(), versions: strings.Join(all, ", ") + "; floor: child.c, gcc -O2 -static",
		load: strings.Join(strings.Fields(readFile("/proc/loadavg"))[:1], "")}
}

// machine is the processors, the memory and the kernel.
func machine() string {
	model := "unknown processor"
	for line := range strings.Lines(readFile("/proc/cpuinfo")) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
		}
	}
	memory, _ := field(readFile("/proc/meminfo"), "MemTotal")
	return fmt.Sprintf("%d cores (%s), %.0f GB of memory, Linux %s, %s", runtime.NumCPU(), model, memory/(1<<20),
		strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")), runtime.Version())
}
