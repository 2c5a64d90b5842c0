package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

func (c *cli) runCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "run NAME",
		Short: "Run a job now, show what it writes, and pass on its exit code",
		Long: `Run a job (an app with a schedule), or an app with autorestart: false, now.

What it writes to its standard output and standard error comes here as well as into its
log files, and its exit code is passed on: 128+N if signal N has ended it. Ctrl-C ends
the run, as gopm stop would, and the exit code is 130. If a run goes on, the job's
overlap decides: skip is an error, queue waits for its end, kill ends it. When the
terminal goes away the run goes on.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("run wants the name of one app, as in: gopm run backup; arguments of its program are set in its file")
			}
			return c.run(cmd.Context(), args[0])
		},
	}
}

func (c *cli) run(ctx context.Context, target string) error {
	const patience = time.Second
	hint := time.AfterFunc(patience, func() { c.warn("gopm: waiting for the run before to end") }) // ended by Stop; one line too many does no harm
	v := runView{cli: c}
	err := c.client.Post(ctx, api.PathRun, api.Run{Target: target}, &v.run)
	hint.Stop()
	if err != nil {
		return err
	}
	v.query = api.Targeted(strconv.Itoa(v.run.ID))
	v.query.Set("inc", strconv.FormatUint(v.run.Inc, 10))
	if err := v.follow(ctx); ctx.Err() == nil || v.end != nil {
		return v.result(err)
	}
	again, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM) // who asks twice doesn't wait
	defer stop()
	err = c.client.Post(again, api.PathRun, api.Run{Target: strconv.Itoa(v.run.ID), End: v.run.Inc}, nil)
	if err == nil {
		err = v.follow(again)
	}
	if err != nil && again.Err() == nil {
		return err
	}
	return quiet{exitInterrupted}
}

// runView shows what a run writes.
type runView struct {
	*cli
	run   api.Running
	query url.Values
	end   *api.RunEnd // nil: not yet
}

var errRunEnded = errors.New("the run has ended")

// follow shows it up to its end. The next time it goes on from there.
func (v *runView) follow(ctx context.Context) error {
	err := api.Stream(ctx, v.client, api.PathRunning, v.query, func(p api.RunPart, _ bool) error {
		_, _ = v.out.Write(p.Out) // who doesn't read any more doesn't end the run
		_, _ = v.err.Write(p.Err)
		for name, at := range map[string]string{"out": p.OutAt, "err": p.ErrAt} {
			if at != "" {
				v.query.Set(name, at) // should another daemon have to be asked
			}
		}
		if p.Note != "" {
			v.warn("gopm: %s", p.Note)
		}
		if v.end = p.End; v.end != nil {
			return errRunEnded
		}
		return nil
	})
	if errors.Is(err, errRunEnded) {
		return nil
	}
	return err
}

// result is the exit code that the run's becomes.
func (v *runView) result(err error) error {
	if err != nil {
		return fmt.Errorf("%w; the run of %s may go on: gopm ls", err, v.run.Name)
	}
	e := v.end.Exit
	switch {
	case e == nil || e.Unknown():
		return fmt.Errorf("%s has ended; how is not known", v.run.Name)
	case e.Error != "":
		return fmt.Errorf("%s cannot be started: %s", v.run.Name, e.Error)
	case e.Fault != "", e.Signal != "":
		v.warn("gopm: %s: %s", v.run.Name, exitSentence(*e))
	}
	code := e.Code
	if e.Signal != "" {
		code = signalled + int(unix.SignalNum(e.Signal))
	}
	if code == 0 {
		return nil
	}
	return quiet{code}
}
