package cmd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gopm/ecosystem"
)

// deployment is one call of deploy. Its hosts are called side by side, each in a
// goroutine of its own that each waits for; printing is the only thing they share.
type deployment struct {
	c     *cli
	block ecosystem.Deploy
	hosts []*deployHost
	jobs  int
	token string // of this deployment: marks what the script tells, and who has the lock
	need  string // a program that the hosts must have
	began time.Time

	count   int    // of revert
	command string // of exec

	printing sync.Mutex
	unshown  []string // with --silent: the last lines, for the case that it fails
}

func newDeployment(c *cli, block ecosystem.Deploy, jobs int) *deployment {
	d := &deployment{c: c, block: block, jobs: jobs, token: rand.Text(), began: time.Now()}
	for _, name := range block.Hosts {
		d.hosts = append(d.hosts, newDeployHost(name, block.SSH))
	}
	return d
}

// defaultStart is what is done when the file says nothing of post-deploy: gopm starts
// what the same file describes, there where it is in the repository.
func (d *deployment) defaultStart(ctx context.Context, blocks *ecosystem.Deploys) error {
	h := &d.block.Hooks
	if h.PostDeployGiven {
		return nil
	}
	if !blocks.HasApps {
		return usagef(`%s has no apps: say in deploy.%s.post-deploy what is to be done on the hosts ("" for nothing)`, blocks.Path, d.block.Name)
	}
	inside := exec.CommandContext(ctx, "git", "rev-parse", "--show-prefix")
	inside.Dir = filepath.Dir(blocks.Path)
	prefix, _ := inside.Output() // outside of a repository the file is taken to be at its top
	file := filepath.Join(strings.TrimSpace(string(prefix)), filepath.Base(blocks.Path))
	h.PostDeploy = "gopm startOrReload " + quoteShell(file)
	if blocks.HasEnv(d.block.Name) {
		h.PostDeploy += " --env " + quoteShell(d.block.Name)
	}
	if len(d.block.Env) > 0 {
		h.PostDeploy += " --update-env"
	}
	d.need = "gopm"
	return nil
}

// carryOut does what the call says on all hosts.
func (d *deployment) carryOut(ctx context.Context, call deployCall, file string) error {
	d.count, d.command = call.count, call.command
	switch call.action {
	case "update":
		return d.update(ctx, filepath.Dir(file))
	case "revert":
		return d.exchange(ctx, "aim")
	case "setup":
		errs := d.each(ctx, d.hosts, "setup")
		d.abandon(ctx)
		if err := d.report(errs); err != nil {
			return err
		}
		d.c.say("%s is set up on %s; next: gopm deploy %s %s", d.block.Path, d.names(), call.file, d.block.Name)
		return nil
	case "exec":
		return d.execute(ctx)
	}
	failed := d.report(d.each(ctx, d.hosts, call.action))
	for _, h := range d.hosts {
		d.printRows(h, call.action == "list")
	}
	return failed
}

// update prepares a release on all hosts. The local hook comes before, but with the
// locks already ours: who has to wait need not have built.
func (d *deployment) update(ctx context.Context, dir string) error {
	if hook := d.block.Hooks.PreDeployLocal; hook != "" {
		if err := d.report(d.each(ctx, d.hosts, "lock")); err != nil {
			d.abandon(ctx)
			return err
		}
		if err := d.local(ctx, hook, dir); err != nil {
			d.abandon(ctx)
			return err
		}
	}
	return d.exchange(ctx, "prepare")
}

// local runs pre-deploy-local in the file's folder.
func (d *deployment) local(ctx context.Context, hook, dir string) error {
	d.c.say("pre-deploy-local: %s", hook)
	cmd := exec.CommandContext(ctx, orElse(os.Getenv("SHELL"), "/bin/sh"), "-c", hook)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, os.Environ(), 2*time.Second
	for _, name := range slices.Sorted(maps.Keys(d.block.Env)) {
		cmd.Env = append(cmd.Env, name+"="+d.block.Env[name])
	}
	cmd.Stdout, cmd.Stderr = d.c.out, under(d.c.err)
	if d.c.silent {
		cmd.Stdout = nil
	}
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case wasInterrupted(ctx):
		return context.Canceled
	}
	return fmt.Errorf("pre-deploy-local: %v: nothing was deployed", err)
}

// exchange makes another release current: chosen or prepared on all hosts, then
// activated. A host that fails to prepare keeps all as they were.
func (d *deployment) exchange(ctx context.Context, step string) error {
	errs := d.each(ctx, d.hosts, step)
	if err := errors.Join(errs...); err != nil {
		d.abandon(ctx)
		failed := d.report(errs)
		if len(d.hosts) > 1 && ctx.Err() == nil {
			d.c.warn("nothing was switched: all hosts keep the release they had")
		}
		return failed
	}
	chosen := make(map[*deployHost]deployRow, len(d.hosts))
	for _, h := range d.hosts {
		if len(h.facts.rows) > 0 {
			chosen[h] = h.facts.rows[0]
		}
	}
	errs = d.each(ctx, d.hosts, "activate")
	d.abandon(ctx)
	switched := 0
	for i, h := range d.hosts {
		if errs[i] == nil {
			switched++
			d.c.say("%s: release %s (%s) is current on %s, after %.1fs", d.block.Name, chosen[h].number, chosen[h].short(), h.name, time.Since(d.began).Seconds())
		}
	}
	failed := d.report(errs)
	if failed != nil && switched > 0 {
		d.c.warn("the hosts have different releases now; deploy again, or take those that succeeded back with: revert 1 --host HOST")
	}
	return failed
}

func (d *deployment) execute(ctx context.Context) error {
	errs := d.each(ctx, d.hosts, "execute")
	for i, h := range d.hosts {
		if errs[i] == nil && h.facts.code != 0 {
			errs[i] = fmt.Errorf("the command ended with exit code %d", h.facts.code)
		}
	}
	return d.report(errs)
}

// errNotBegun is the error of a host that was not called, because another had failed.
var errNotBegun = errors.New("not begun, because another host has failed")

// each calls a step on hosts, as many at once as there are jobs, and waits for all.
// After a failed activation no further one is begun.
func (d *deployment) each(ctx context.Context, hosts []*deployHost, step string) []error {
	errs := make([]error, len(hosts))
	slots := make(chan struct{}, d.jobs)
	var failed sync.Once
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i, h := range hosts {
		slots <- struct{}{}
		select {
		case <-stop:
			errs[i] = errNotBegun
			<-slots
			continue
		default:
		}
		all.Go(func() {
			defer func() { <-slots }()
			if errs[i] = h.call(ctx, step, d); errs[i] != nil && step == "activate" {
				failed.Do(func() { close(stop) })
			}
		})
	}
	all.Wait()
	return errs
}

// abandon tidies up the hosts that are still locked by us. It goes on when the user has
// interrupted the deployment; interrupted once more it leaves the rest as it is.
func (d *deployment) abandon(ctx context.Context) {
	var left []*deployHost
	for _, h := range d.hosts {
		if h.holds {
			left = append(left, h)
		}
	}
	if len(left) == 0 {
		return
	}
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for i, err := range d.each(ctx, left, "abandon") {
		if err != nil {
			d.c.warn("gopm: %s: %s: %v", d.block.Name, left[i].name, err)
		}
	}
}

// report prints what failed, host by host.
func (d *deployment) report(errs []error) error {
	code := 0
	for i, err := range errs {
		var locked deployLocked
		switch {
		case err == nil:
			continue
		case errors.Is(err, context.Canceled):
			code = 130
			continue
		case errors.As(err, &locked):
			h := d.hosts[i]
			err = fmt.Errorf("%v: wait for that deployment; if it is dead: %s", err, h.shell(quoteShell("rm -r "+remotePath(d.block.Path)+"/lock")))
		}
		code = max(code, exitFailed)
		d.showLast()
		d.c.warn("gopm: %s: %s: %v", d.block.Name, d.hosts[i].name, err)
	}
	switch code {
	case 0:
		return nil
	case 130:
		return context.Canceled
	}
	return quiet{code}
}

func (d *deployment) names() string { return strings.Join(d.block.Hosts, ", ") }
