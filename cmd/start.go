package cmd

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// startOptions are the options of start and its relatives that are not fields.
type startOptions struct {
	env      string
	only     []string
	act      bool // restart also what is unchanged
	prune    bool
	takeover bool
	update   bool
	wait     time.Duration
	noWait   bool
	noDaemon bool              // pm2's, not yet here
	parallel string            // pm2's, without a meaning here
	set      map[string]string // fields given as options
}

func (c *cli) startCmd() *cobra.Command {
	o := startOptions{set: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "start [FILE|SCRIPT|NAME...] [-- ARGS...]",
		Short: "Start what a file describes, a program, or a stopped app",
		Long: `Start an ecosystem file, a program, or apps that are known already.

A file is converged: apps that have changed are restarted, stopped and errored ones
started, unchanged ones left alone. Without an argument the first of the usual files
(ecosystem.config.js, ecosystem.json, …) in this folder is used.

It returns when every app has lived its min_uptime, or failed; the exit code is 1 if one
failed, and the last lines it wrote are shown. Failed apps are tried again by their policy.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, extra := splitDash(cmd, args)
			return c.start(cmd.Context(), targets, extra, &o)
		},
	}
	addStartFlags(cmd, &o)
	addFieldFlags(cmd, o.set)
	cmd.Flags().BoolVarP(&o.act, "force", "f", false, "restart apps that are unchanged, too")
	return cmd
}

func (c *cli) startOrRestartCmd() *cobra.Command {
	o := startOptions{act: true, set: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "startOrRestart FILE",
		Short: "Start the apps of a file; restart those that run",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "-" && !ecosystem.IsFile(args[0]) {
				return usagef("startOrRestart wants one ecosystem file, got %q; for apps: gopm restart", args)
			}
			return c.start(cmd.Context(), args, nil, &o)
		},
	}
	addStartFlags(cmd, &o)
	return cmd
}

func (c *cli) restartCmd() *cobra.Command {
	o := startOptions{act: true, set: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "restart TARGET...",
		Short: "Restart apps, or all apps of a file",
		Long:  "Restart apps; options that are fields change the app for good. With a file its apps get\nwhat the file says now, and are restarted even if nothing changed. A target is " + targetHelp,
		Args:  needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.restart(cmd.Context(), args, &o)
		},
	}
	addStartFlags(cmd, &o)
	addFieldFlags(cmd, o.set)
	return cmd
}

const defaultWait = 5 * time.Second

func addStartFlags(cmd *cobra.Command, o *startOptions) {
	f := cmd.Flags()
	f.StringVar(&o.env, "env", "", "use the env_`NAME` blocks of the file; remembered (default = back to env alone)")
	f.StringSliceVar(&o.only, "only", nil, "act on these `APPS` of the file only")
	f.BoolVar(&o.prune, "prune", false, "delete apps that this file no longer has")
	f.BoolVar(&o.takeover, "takeover", false, "take over apps that belong to another file")
	f.BoolVarP(&o.update, "update-env", "a", false, "give apps the environment of this shell")
	f.DurationVar(&o.wait, "wait", defaultWait, "wait at most so long for the apps to be up")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait for the apps to be up")
	f.BoolVar(&o.noDaemon, "no-daemon", false, "stay in the foreground (not yet in this version)")
	f.StringVar(&o.parallel, "parallel", "", "accepted and ignored: apps start and stop in parallel anyway")
	for _, name := range []string{"no-daemon", "parallel"} {
		_ = f.MarkHidden(name) // it is there: see above
	}
}

// addFieldFlags registers the fields of the table that are options, too.
func addFieldFlags(cmd *cobra.Command, set map[string]string) {
	for _, f := range ecosystem.Flags() {
		v := &fieldValue{set: set, field: f}
		flag := cmd.Flags().VarPF(v, f.Name, f.Shorthand, f.Usage)
		if f.Bool {
			flag.NoOptDefVal = f.NoValue
		}
	}
}

// fieldValue puts the text of an option into the map of fields.
type fieldValue struct {
	set   map[string]string
	field ecosystem.Flag
}

func (v *fieldValue) String() string { return "" }
func (v *fieldValue) Type() string {
	if v.field.Bool {
		return "bool"
	}
	return "value"
}

func (v *fieldValue) Set(s string) error {
	v.set[v.field.Field] = s
	return nil
}

// splitDash separates what follows "--".
func splitDash(cmd *cobra.Command, args []string) (targets, extra []string) {
	if at := cmd.ArgsLenAtDash(); at >= 0 {
		return args[:at], args[at:]
	}
	return args, nil
}

func (c *cli) start(ctx context.Context, targets, extra []string, o *startOptions) error {
	if len(targets) == 0 {
		found, err := ecosystem.Find(".")
		if err != nil {
			return usagef("%v", err)
		}
		targets = []string{found}
	}
	var todo work
	for _, target := range targets {
		if err := c.prepareStart(ctx, &todo, target, extra, o); err != nil {
			return err
		}
	}
	return c.carryOut(ctx, todo, api.PathStart, o)
}

// work is what a command is going to do. It is complete before anything is done,
// so that a mistake in the last target is no half-done command.
type work struct {
	known   []string // targets for the daemon to resolve
	applies []api.Apply
}

// prepareStart adds a file, an app that is known, or a program to the work.
func (c *cli) prepareStart(ctx context.Context, todo *work, target string, extra []string, o *startOptions) error {
	if target == "-" || ecosystem.IsFile(target) {
		return c.prepareFile(ctx, todo, target, o)
	}
	known := false
	if name := o.set["name"]; name == "" || name == target { // else it is a program that gets a name of its own
		var err error
		if known, err = c.isKnown(ctx, target); err != nil {
			return err
		}
	}
	if known {
		todo.known = append(todo.known, target)
		return nil
	}
	if o.env != "" {
		return usagef("--env works with an ecosystem file only, %q is none", target)
	}
	app, problems, err := ecosystem.FromCommand(target, extra, o.set, options())
	c.remark(problems)
	if err != nil {
		return err
	}
	todo.applies = append(todo.applies, api.Apply{Apps: []ecosystem.App{app}})
	return nil
}

// carryOut does the work, names what was done, and waits for what was started.
func (c *cli) carryOut(ctx context.Context, todo work, path string, o *startOptions) error {
	if o.noDaemon {
		return usagef("--no-daemon is not in this version yet: nothing was started")
	}
	var all api.Outcome
	done := func(out api.Outcome) {
		c.report(out)
		all.Apps = append(all.Apps, out.Apps...)
	}
	if len(todo.known) > 0 {
		if path == api.PathStart { // a daemon that is gone knew them
			if err := c.ensureDaemon(ctx); err != nil {
				return err
			}
		}
		var out api.Outcome
		if err := c.client.Post(ctx, path, c.targets(todo.known, o), &out); err != nil {
			return err
		}
		done(out)
	}
	for _, req := range todo.applies {
		out, err := c.apply(ctx, req, o)
		if err != nil {
			return err
		}
		done(out)
	}
	return c.finish(ctx, all, o)
}

// isKnown says whether a target names something that the daemon has, or will have
// when it is started.
func (c *cli) isKnown(ctx context.Context, target string) (bool, error) {
	rows, err := c.instances(ctx, target)
	if err == nil || len(rows) > 0 {
		return true, nil
	}
	if _, isAPI := asAPIError(err); noDaemon(err) || isAPI {
		return false, nil
	}
	return false, err
}

func (c *cli) prepareFile(ctx context.Context, todo *work, target string, o *startOptions) error {
	if len(o.set) > 0 {
		return usagef("options that are fields (%s) work with a program, not with a file: write them into %s", names(o.set), target)
	}
	file, err := c.readFile(ctx, target)
	if err != nil {
		return err
	}
	env := o.env
	if env == "" {
		env = c.rememberedEnv(ctx, file.Path)
	}
	apps, problems, err := file.Select(env, o.only)
	c.remark(problems)
	if err != nil {
		return err
	}
	todo.applies = append(todo.applies, api.Apply{Apps: apps, Origin: file.Path, Names: file.Names()})
	return nil
}

func (c *cli) apply(ctx context.Context, req api.Apply, o *startOptions) (api.Outcome, error) {
	var out api.Outcome
	if err := c.ensureDaemon(ctx); err != nil {
		return out, err
	}
	req.Environ = environ()
	req.Act, req.Prune, req.Takeover, req.Update = o.act, o.prune, o.takeover, o.update
	return out, c.client.Post(ctx, api.PathApply, req, &out)
}

func (c *cli) restart(ctx context.Context, args []string, o *startOptions) error {
	var todo work
	for _, target := range args {
		if target != "-" && !ecosystem.IsFile(target) {
			todo.known = append(todo.known, target)
		} else if err := c.prepareFile(ctx, &todo, target, o); err != nil {
			return err
		}
	}
	return c.carryOut(ctx, todo, api.PathRestart, o)
}

func (c *cli) targets(targets []string, o *startOptions) api.Targets {
	t := api.Targets{Targets: targets, Set: o.set, Update: o.update}
	if o.update || len(o.set) > 0 {
		t.Environ = environ()
		t.Cwd, _ = os.Getwd()
	}
	return t
}
