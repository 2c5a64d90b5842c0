// Package cmd is the command line: it parses flags, asks the daemon, and prints.
// Every command gets its streams and returns an error; only main exits.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// version is set by the build.
var version = "dev"

// Exit codes. A usage error, or a file with mistakes, means that nothing was done.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2

	exitInterrupted = 130 // by Ctrl-C, as in a shell
)

// cli is what all commands share.
type cli struct {
	in       io.Reader
	out, err io.Writer
	client   *api.Client
	silent   bool
	noColor  bool
	json     bool   // standard output is for one JSON value
	done     result // what was done so far, for that value
	updating bool   // two versions are what this command is about
	unhear   func() // signals end this process at once from then on
	calledAs string // a name of pm2's; "" = gopm
}

// usageError is a call that makes no sense.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return usageError{fmt.Sprintf(format, args...)}
}

// quiet is an error that has been explained on the screen already.
type quiet struct{ code int }

func (quiet) Error() string { return "failed" }

// Main runs one command and returns the exit code.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	if code, ours := runHidden(args, out, errOut); ours {
		return code
	}
	getenv, name := os.Getenv, shim(args[0])
	if name != "" {
		getenv = pm2Getenv
	}
	home, err := api.FindHome(getenv, os.Geteuid())
	if err != nil {
		fmt.Fprintln(errOut, "gopm:", err)
		return exitFailed
	}
	checked, remarks := newOutput(out), newOutput(errOut)
	defer remarks.end()
	defer checked.end()
	c := &cli{in: in, out: checked, err: remarks, calledAs: name}
	words := args[1:]
	if name != "" {
		words = c.understand(words)
	}
	call, rest, wrong := findHost(words, os.Getenv)
	ctx, stop := context.WithCancel(context.Background())
	if call != nil || !callsList(rest) { // which has nothing to tidy up, and no time for it
		ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	}
	defer stop()
	c.unhear = stop
	c.client = api.NewClient(home, version, c.otherVersion)
	c.client.OnTrouble(func(text string) { c.warn("warning: %s", text) })
	switch {
	case wrong != nil:
		return c.exitCode(wrong)
	case call != nil:
		return c.exitCode(c.runThere(ctx, call))
	}
	os.Unsetenv(hostVariable) // a program that is called here and calls gopm means this one
	if c.builtIn(rest) {
		return exitOK
	}
	if err := answerAbsent(rest); err != nil {
		return c.exitCode(err)
	}
	root := c.root(rest)
	root.SetArgs(forParser(rest))
	err = c.asPM2(rest, root.ExecuteContext(ctx))
	if err == nil && checked.err != nil {
		err = fmt.Errorf("cannot write the output: %v", checked.err)
	}
	return c.exitCode(err)
}

// otherVersion advises on a daemon that is not of our version. Both understand each other.
func (c *cli) otherVersion(daemon string) {
	if !c.silent && !c.updating {
		c.warn("note: the daemon is gopm %s, this command is %s: gopm update", daemon, version)
	}
}

func (c *cli) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "gopm",
		Short: "A process manager: start, supervise, look, log",
		Long: `gopm keeps programs of any language running: it starts them from an ecosystem
file, restarts them when they crash, and rotates their logs.

  gopm start ecosystem.json     start (or update) what the file describes
  gopm start app.js             start one program
  gopm ls                       what runs, and how it is
  gopm logs app                 what it writes
  gopm info app                 everything about it

pm2's commands that are left out: see docs/from-pm2.md, or call one.

Exit codes: 0 done; 1 something failed; 2 the call or the file is wrong, nothing was done.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE: func(cmd *cobra.Command, args []string) error {
			if v, _ := cmd.Flags().GetBool("version"); v {
				return c.printVersion()
			}
			return cmd.Help()
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetIn(c.in)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s (see %s --help)%s", withoutParser(err.Error()), cmd.CommandPath(), hostComesFirst(err))
	})
	root.PersistentFlags().BoolVarP(&c.silent, "silent", "s", false, "print only errors")
	root.PersistentFlags().BoolVar(&c.noColor, "no-color", false, "no colours on a terminal (as NO_COLOR does)")
	root.Flags().StringP("host", "H", "", hostUsage)          // for the help: findHost takes it
	_ = root.RegisterFlagCompletionFunc("host", completeHost) // it is there
	root.Flags().BoolP("version", "v", false, "print the version")
	root.AddCommand(c.commands(args)...)
	return root
}

// noSuchCommand answers an unknown command with the nearest known one.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see gopm --help"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); args[0] != "" && len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "? " + hint
	}
	return usagef("command not found: %s (%s)", orElse(args[0], `""`), hint)
}

// withoutParser cuts from an error what only the programmer of a parser can read.
func withoutParser(text string) string {
	for _, inner := range []string{": strconv.", ": time: "} {
		if i := strings.Index(text, inner); i >= 0 {
			return text[:i]
		}
	}
	return text
}

// exitCode prints an error and says what the process returns.
func (c *cli) exitCode(err error) int {
	var problems ecosystem.Problems
	var shown quiet
	var usage usageError
	var apiErr *api.Error
	if noDaemon(err) {
		err = c.remains().explain(err)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &shown):
		return shown.code
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(c.err, "gopm: interrupted")
		return exitInterrupted
	case errors.As(err, &problems):
		c.printProblems(problems)
		return exitUsage
	case errors.As(err, &usage), errors.As(err, &apiErr) && (apiErr.Kind == api.KindInvalid || apiErr.Kind == api.KindConflict):
		fmt.Fprintln(c.err, "gopm:", err)
		return exitUsage
	}
	fmt.Fprintln(c.err, "gopm:", err)
	return exitFailed
}

// printProblems prints errors; those in a file name it and the line themselves.
func (c *cli) printProblems(all ecosystem.Problems) {
	for _, p := range all {
		switch {
		case p.Severity != ecosystem.SeverityError:
			c.remark(ecosystem.Problems{p})
		case p.File == "":
			c.warn("gopm: %s", p)
		default:
			c.warn("%s", p)
		}
	}
}

// say prints a line for the person at the terminal, unless --silent. With --json
// standard output is not for people.
func (c *cli) say(format string, args ...any) {
	switch {
	case c.silent:
	case c.json:
		c.warn(format, args...)
	default:
		fmt.Fprintf(c.out, format+"\n", args...)
	}
}

// warn prints a line that is not an error, on stderr.
func (c *cli) warn(format string, args ...any) {
	fmt.Fprintf(c.err, format+"\n", args...)
}
