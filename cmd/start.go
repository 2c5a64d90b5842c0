package cmd

import (
	"context"
	"maps"
	"os"
	"slices"
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
	reload   bool // exchange what is clustered
	prune    bool
	takeover bool
	update   bool
	wait     time.Duration
	noWait   bool
	noDaemon bool              // as runtime
	fresh    bool              // nothing counts that a daemon has known before
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
	f.DurationVar(&o.wait, "wait", 0, "wait at most so long for the apps to be up (default 5s, or the longest ready_timeout that is given)")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait for the apps to be up")
	f.BoolVar(&o.noDaemon, "no-daemon", false, "stay in the foreground, as gopm runtime does")
	f.StringVar(&o.parallel, "parallel", "", "accepted and ignored: apps start and stop in parallel anyway")
	_ = f.MarkHidden("parallel") // it is there: see above
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
	if o.noDaemon {
		return c.inForeground(ctx, targets, extra, o)
	}
	if err := wantsJoined(targets, o.set); err != nil {
		return err
	}
	todo, err := c.prepareAll(ctx, targets, extra, o)
	if err != nil {
		return err
	}
	return c.carryOut(ctx, todo, api.PathStart, o)
}

// wantsJoined finds the folder of pm2's "--watch FOLDER" among the targets: here a value
// that need not be there is part of the same word.
func wantsJoined(targets []string, set map[string]string) error {
	if set["watch"] != "true" || len(targets) < 2 {
		return nil
	}
	for _, t := range targets {
		if info, err := os.Stat(t); err == nil && info.IsDir() {
			return usagef("to watch %s write --watch=%s, as one word", t, t)
		}
	}
	return nil
}

// work is what a command is going to do. It is complete before anything is done,
// so that a mistake in the last target is no half-done command.
type work struct {
	known   []string // targets for the daemon to resolve
	applies []api.Apply
}

// prepareAll is the work for all targets, which are the folder's ecosystem file if there are none.
func (c *cli) prepareAll(ctx context.Context, targets, extra []string, o *startOptions) (todo work, err error) {
	if len(targets) == 0 {
		found, err := ecosystem.Find(".")
		if err != nil {
			return todo, usagef("%v", err)
		}
		targets = []string{found}
	}
	for _, target := range targets {
		if err := c.prepareStart(ctx, &todo, target, extra, o); err != nil {
			return todo, err
		}
	}
	return todo, nil
}

// prepareStart adds a file, an app that is known, or a program to the work.
func (c *cli) prepareStart(ctx context.Context, todo *work, target string, extra []string, o *startOptions) error {
	if target == "-" || ecosystem.IsFile(target) {
		return c.prepareFile(ctx, todo, target, o)
	}
	known := false
	if name := o.set["name"]; !o.fresh && (name == "" || name == target) { // else it is a program that gets a name of its own
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
	app, problems, err := ecosystem.FromCommand(target, extra, o.set, c.options())
	c.remark(problems)
	if err != nil {
		return err
	}
	todo.applies = append(todo.applies, api.Apply{Apps: []ecosystem.App{app}})
	return nil
}

// carryOut does the work, names what was done, and waits for what was started.
func (c *cli) carryOut(ctx context.Context, todo work, path string, o *startOptions) error {
	var all api.Outcome
	done := func(out api.Outcome) {
		c.report(out)
		if o.reload {
			c.noteGaps(out)
		}
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
			if ctx.Err() != nil {
				c.warn("interrupted before the daemon had answered; what has begun goes on: gopm ls")
			}
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
	if set := meant(o.set); len(set) > 0 {
		return usagef("options that are fields (%s) work with a program, not with a file: write them into %s", names(set), target)
	}
	file, err := c.readFile(ctx, target)
	if err != nil {
		return err
	}
	env := o.env
	if env == "" && !o.fresh {
		env = c.rememberedEnv(ctx, file.Path)
	}
	if err := c.checkNeeds(ctx, file, o.fresh); err != nil {
		return err
	}
	only, needed := o.only, []string(nil)
	if len(only) > 0 {
		needed = file.Needed(env, only)
		only = slices.Concat(only, needed)
	}
	apps, problems, err := file.Select(env, only)
	c.remark(problems)
	if err != nil {
		return err
	}
	todo.applies = append(todo.applies, api.Apply{Apps: apps, Origin: file.Path, Names: file.Names(), Needed: needed})
	return nil
}

// meant are the fields given as options that mean something here.
func meant(set map[string]string) map[string]string {
	set = maps.Clone(set)
	for _, f := range ecosystem.Flags() {
		if f.Ignored {
			delete(set, f.Field)
		}
	}
	return set
}

// checkNeeds refuses a file with apps that depend on what neither it nor the list has.
func (c *cli) checkNeeds(ctx context.Context, file *ecosystem.File, fresh bool) error {
	if len(file.Foreign()) == 0 {
		return nil
	}
	if fresh {
		return file.Unknown(nil)
	}
	var known []string
	rows, _ := c.instances(ctx) // an error: then nothing is known
	for _, r := range rows {
		known = append(known, r.Name)
	}
	return file.Unknown(known)
}

func (c *cli) apply(ctx context.Context, req api.Apply, o *startOptions) (api.Outcome, error) {
	var out api.Outcome
	if err := c.ensureDaemon(ctx); err != nil {
		return out, err
	}
	req.Environ = environ()
	req.Reload, req.Act, req.Prune, req.Takeover, req.Update = o.reload, o.act, o.prune, o.takeover, o.update
	return out, c.client.Post(ctx, api.PathApply, req, &out)
}

func (c *cli) restart(ctx context.Context, args []string, o *startOptions) error {
	if o.noDaemon {
		for _, target := range args {
			if target != "-" && !ecosystem.IsFile(target) {
				return usagef("with --no-daemon an ecosystem file is restarted, and %q is none: nothing else runs", target)
			}
		}
		return c.inForeground(ctx, args, nil, o)
	}
	if err := wantsJoined(args, o.set); err != nil {
		return err
	}
	todo, err := c.prepareTargets(ctx, args, o)
	if err != nil {
		return err
	}
	return c.carryOut(ctx, todo, api.PathRestart, o)
}

// prepareTargets sorts the targets of a restart or reload.
func (c *cli) prepareTargets(ctx context.Context, args []string, o *startOptions) (todo work, err error) {
	for _, target := range args {
		if target != "-" && !ecosystem.IsFile(target) {
			todo.known = append(todo.known, target)
		} else if err := c.prepareFile(ctx, &todo, target, o); err != nil {
			return todo, err
		}
	}
	return todo, nil
}

func (c *cli) targets(targets []string, o *startOptions) api.Targets {
	t := api.Targets{Targets: targets, Set: o.set, Update: o.update}
	if o.update || len(o.set) > 0 {
		t.Environ = environ()
		t.Cwd, _ = os.Getwd()
	}
	return t
}
