package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"gopm/tools/agent"
)

// registering measures what it costs gopm to have Consul's agent show n apps that serve, each on a port of its own: how
// long until all are there again after the agent was restarted with nothing, and the CPU time and memory while nothing
// changes.
func registering(ctx context.Context, b *bench, n int) error {
	took := b.report.figure("consul: "+apps(n)+" registered", "s")
	cpu := b.report.figure("consul: "+apps(n)+", CPU", "% of a core")
	memory := b.report.figure("consul: "+apps(n)+", memory", "MB more")
	if _, err := agent.Program(); err != nil {
		b.report.remark("what Consul costs is not measured: %v", err)
		return nil
	}
	for _, m := range b.managers {
		if m.name() != gopmName {
			continue
		}
		without, _, err := b.checked(ctx, m, n, map[string]any{"exec_mode": "fork"})
		if err != nil {
			return err
		}
		c, err := agent.Start(filepath.Join(b.root, "consul"), agent.Options{Log: "warn"})
		if err != nil {
			return err
		}
		with, busy, seconds, err := b.registered(ctx, m, n, c)
		c.Kill()
		if err != nil {
			return err
		}
		took.add(m.name(), seconds)
		cpu.add(m.name(), busy)
		memory.add(m.name(), with-without)
	}
	return nil
}

// registered is the memory of a manager with n apps that are registered, the CPU time that it uses, and how many seconds
// it took to register all.
func (b *bench) registered(ctx context.Context, m manager, n int, c *agent.Agent) (memory, busy, seconds float64, err error) {
	l, err := b.prepare(m, servingWith(n, map[string]any{"exec_mode": "fork", "consul": map[string]any{"agent": c.HostPort()}}))
	if err != nil {
		return 0, 0, 0, err
	}
	defer b.end(l)
	if err := l.launch(l); err != nil {
		return 0, 0, 0, fmt.Errorf("start of %s: %v", apps(n), err)
	}
	if err := allPassing(ctx, c, n); err != nil {
		return 0, 0, 0, err
	}
	c.Kill()
	if err := c.Begin(); err != nil {
		return 0, 0, 0, err
	}
	began := time.Now()
	if err := allPassing(ctx, c, n); err != nil {
		return 0, 0, 0, err
	}
	seconds = time.Since(began).Seconds()
	pause(ctx, 10*time.Second)                                             // until all has come to rest
	memory, busy, err = l.atRest(ctx, m, max(b.size.idle, 30*time.Second)) // each is told twice, and all are looked at once
	if err != nil {
		return 0, 0, 0, err
	}
	return memory, busy, seconds, allPassing(ctx, c, n)
}

// allPassing waits until the agent shows so many apps, and says of each that it is well.
func allPassing(ctx context.Context, c *agent.Agent, n int) error {
	passing := 0
	var err error
	if wait(ctx, 3*patience, 50*time.Millisecond, func() bool {
		var checks map[string]struct{ Status, Type, ServiceName string }
		if err = c.Ask("GET", "/v1/agent/checks", nil, &checks); err != nil {
			return false
		}
		passing = 0
		for _, check := range checks {
			if check.Type == "ttl" && check.Status == "passing" && check.ServiceName != "gopm" { // the daemon's own
				passing++
			}
		}
		return passing == n
	}) {
		return nil
	}
	return fmt.Errorf("%d of %s are passing at the agent: %v", passing, apps(n), err)
}
