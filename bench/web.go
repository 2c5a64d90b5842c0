package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"gopm/bench/load"
)

// web is an app that serves HTTP on a port: server.js on node, or child.c's serve, which is static.
type web struct {
	script    string // server.js; empty: it is the child
	port      int
	instances int
	more      map[string]any // fields that only gopm has
}

// patience is the longest time allowed for an answer while nothing is wrong.
const patience = 20 * time.Second

// fields are those of a manager's ecosystem file. pm2 can cluster nothing but node.
func (w *web) fields(manager string) map[string]any {
	f := map[string]any{"instances": w.instances}
	if w.script != "" {
		f["script"], f["interpreter"] = w.script, "node"
	}
	if w.script != "" || manager == gopmName {
		f["exec_mode"] = "cluster"
	}
	if manager == gopmName {
		for k, v := range w.more {
			f[k] = v
		}
	}
	return f
}

// nodes is one node app with so many instances, which listen some time after their start.
func nodes(instances int, boot time.Duration, more map[string]any) func(*life) []app {
	return func(l *life) []app {
		port := freePorts(1)[0]
		return []app{{name: "web", args: []string{l.stamps.path, "web", strconv.Itoa(port), milli(boot)},
			web: &web{script: l.server, port: port, instances: instances, more: more}}}
	}
}

// statics are n static apps, each on a port of its own; gopm has them in cluster mode.
func statics(n, instances int, boot time.Duration) func(*life) []app {
	return func(l *life) []app {
		var out []app
		for i, port := range freePorts(n) {
			name := fmt.Sprintf("app%04d", i)
			out = append(out, app{name: name, args: []string{"serve", l.stamps.path, name, strconv.Itoa(port), milli(boot)},
				web: &web{port: port, instances: instances}})
		}
		return out
	}
}

func milli(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// bare is what needs no manager: one command that stays.
type bare struct {
	label string
	argv  func(l *life, w *web) []string
}

func (m bare) name() string               { return m.label }
func (bare) environment(*life) []string   { return nil }
func (bare) prepare(*life) error          { return nil }
func (bare) list(*life) []string          { return nil }
func (m bare) launch(l *life) error       { return l.background(m.argv(l, l.apps[0].web)) }
func (l *life) target() string            { return fmt.Sprintf("127.0.0.1:%d", l.apps[0].web.port) }
func (l *life) argument(i int) string     { return l.apps[0].args[i] }
func nodeArgs(l *life, p string) []string { return []string{l.node, l.server, l.stamps.path, "web", p} }

// shared is the floor of a cluster: a supervisor whose processes have a listening socket of their own on the same
// port, and nothing between them and the kernel.
func (b *bench) shared() manager {
	return bare{floorName, func(l *life, w *web) []string {
		argv := []string{b.super, "share", strconv.Itoa(w.instances), strconv.Itoa(w.port)}
		if w.script == "" {
			return append(argv, l.child, "serve", l.stamps.path, l.apps[0].name, "fd", l.argument(4))
		}
		return append(append(argv, nodeArgs(l, "fd")...), l.argument(3))
	}}
}

// clusters are those that can have several processes on one port; the peers are node's cluster, and a node alone.
func (b *bench) clusters(peers bool) []manager {
	var out []manager
	for _, m := range b.managers {
		if m.name() == floorName {
			m = b.shared()
		}
		out = append(out, m)
	}
	if peers {
		out = append(out, bare{clusterName, func(l *life, w *web) []string { return append(nodeArgs(l, strconv.Itoa(w.port)), "-2") }},
			bare{aloneName, func(l *life, w *web) []string { return nodeArgs(l, strconv.Itoa(w.port)) }})
	}
	return out
}

// beginWeb begins a life with one app that serves, and waits until each of its instances does. What isn't as it
// should be is reported; then there is no life.
func (b *bench) beginWeb(ctx context.Context, m manager, programs func(*life) []app) *life {
	l, err := b.prepare(m, programs)
	if err != nil {
		b.report.problem("", "%v", err)
		return nil
	}
	if err = l.launch(l); err == nil {
		err = l.serving(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			b.report.problem(m.name(), "start of an app that serves: %v", err)
		}
		b.end(l)
		return nil
	}
	return l
}

// serving waits until as many processes as there should be have answered.
func (l *life) serving(ctx context.Context) error {
	want, have := l.apps[0].web.instances, map[string]bool{}
	if l.name() == aloneName {
		want = 1
	}
	ok := wait(ctx, patience, 2*time.Millisecond, func() bool {
		if a, err := load.Get(l.target(), "/", time.Second); err == nil {
			have[a.Pid] = true
		}
		return len(have) >= want
	})
	if !ok {
		return fmt.Errorf("%d of %d processes have answered after %v", len(have), want, patience)
	}
	return nil
}

// servers are the live processes of the app.
func (l *life) servers() []int {
	var out []int
	for _, s := range l.stamps.poll() {
		if s.what == "start" && alive(s.pid) {
			out = append(out, s.pid)
		}
	}
	return out
}

// hasNode says whether what needs node can be measured.
func (b *bench) hasNode() bool {
	if b.node == "" {
		return false
	}
	_, err := exec.LookPath(b.node)
	return err == nil
}

// beginWebs begins a life for each of the managers.
func (b *bench) beginWebs(ctx context.Context, managers []manager, programs func(*life) []app) map[string]*life {
	lives := map[string]*life{}
	for _, m := range managers {
		if ctx.Err() != nil {
			break
		}
		if l := b.beginWeb(ctx, m, programs); l != nil {
			lives[m.name()] = l
		}
	}
	return lives
}
