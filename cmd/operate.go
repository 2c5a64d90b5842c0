package cmd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

func (c *cli) resetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "reset TARGET...",
		Short: "Set the counters of restarts to zero",
		Args:  needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endTargets(cmd, api.PathReset, args)
		},
	}
}

func (c *cli) sendSignalCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "sendSignal SIGNAL TARGET...",
		Short: "Send a signal to the main process of apps",
		Long:  "Send a signal (SIGUSR2, usr2 or 12) to the main process of apps. A target is " + targetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("sendSignal wants a signal and a target, as in: gopm sendSignal SIGUSR2 web")
			}
			targets, err := c.targetNames(cmd.Context(), args[1:])
			if err != nil {
				return err
			}
			var out api.Outcome
			if err := c.client.Post(cmd.Context(), api.PathSignal, api.Signal{Targets: targets, Signal: args[0]}, &out); err != nil {
				return err
			}
			c.report(out)
			if c.json {
				if err := c.printResult(cmd.Context()); err != nil {
					return err
				}
			}
			if slices.ContainsFunc(out.Apps, func(a api.AppOutcome) bool { return a.Did == api.IsDown }) {
				return quiet{exitFailed}
			}
			return nil
		},
	}
}

func (c *cli) scaleCmd() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:   "scale NAME N|+N|-N",
		Short: "Change the number of an app's instances",
		Long: `Change the number of an app's instances: to N, or by +N or -N. New instances are waited
for as by start; the highest numbers go first. Starting the file again goes back to its number.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := parseScale(args)
			if err != nil {
				return err
			}
			var out api.Outcome
			if err := c.client.Post(cmd.Context(), api.PathScale, req, &out); err != nil {
				return err
			}
			c.report(out)
			return c.finish(cmd.Context(), out, &o)
		},
	}
	return cmd
}

// withoutNegatives keeps "-1" of `gopm scale web -1` from being taken for an option:
// it goes behind a "--".
func withoutNegatives(args []string) []string {
	if len(args) == 0 || args[0] != "scale" {
		return args
	}
	isNegative := func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && n < 0
	}
	rest := slices.DeleteFunc(slices.Clone(args), isNegative)
	negatives := slices.DeleteFunc(slices.Clone(args), func(s string) bool { return !isNegative(s) })
	if len(negatives) == 0 {
		return args
	}
	return append(append(rest, "--"), negatives...)
}

func parseScale(args []string) (api.Scale, error) {
	if len(args) != 2 {
		return api.Scale{}, usagef("scale wants an app's name and a number, as in: gopm scale web 4, gopm scale web +1, gopm scale web -1")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return api.Scale{}, usagef("scale %s %s: want a number: 4, +1 or -1", args[0], args[1])
	}
	return api.Scale{Name: args[0], Count: n, Relative: strings.ContainsAny(args[1][:1], "+-")}, nil
}

func (c *cli) idCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "id TARGET...",
		Short: "Print the ids of apps",
		Args:  needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := c.rowsOf(cmd, args)
			if len(rows) == 0 && err != nil {
				return err
			}
			var ids []string
			for _, r := range rows {
				ids = append(ids, strconv.Itoa(r.ID))
			}
			fmt.Fprintf(c.out, "[ %s ]\n", strings.Join(ids, ", "))
			return err
		},
	}
}

func (c *cli) pidCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "pid [TARGET...]",
		Short: "Print the pids of apps, one a line",
		Long:  "Print the pid of every instance that runs, one a line; without a target of all. A target is " + targetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			rows, err := c.rowsOf(cmd, args)
			for _, r := range rows {
				if r.Process.Pid != 0 {
					fmt.Fprintln(c.out, r.Process.Pid)
				}
			}
			return err
		},
	}
}

func (c *cli) rowsOf(cmd *cobra.Command, args []string) ([]api.Instance, error) {
	targets, err := c.targetNames(cmd.Context(), args)
	if err != nil {
		return nil, err
	}
	return c.instances(cmd.Context(), targets...)
}
