package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// With -H ssh://user@host, or GOPM_HOST, a command runs there, whole: `ssh host gopm …`.
// gopm's commands read files, the environment and what a dead daemon has left, and all of
// these are there; so are the words of its version. The API alone, by `gopm dial-stdio`,
// is for what asks several machines at once.

const (
	hostVariable = "GOPM_HOST"
	hostUsage    = "run the command on another machine: `ssh://[USER@]HOST[:PORT][/HOME]` (or GOPM_HOST)"
	exitSSH      = 255 // ssh itself has failed
)

// remoteCall is a call of gopm that is meant for another machine.
type remoteCall struct {
	host sshHost
	from string   // what named it: -H or GOPM_HOST
	args []string // without the option
}

// findHost looks which machine a call is for; none, and it is for this one. The option
// comes before the command: behind it, --host is a word of the command's own.
func findHost(args []string, getenv func(string) string) (call *remoteCall, rest []string, err error) {
	if len(args) > 0 && strings.HasPrefix(args[0], completeWord) {
		return findHostToComplete(args, getenv)
	}
	value, from := getenv(hostVariable), hostVariable
	for i := 0; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
		v, used, ok := hostOption(args[i:])
		if !ok {
			continue
		}
		if v == "" {
			return nil, args, usagef("-H wants %s", sshForm)
		}
		value, from = v, "-H"
		args = slices.Delete(slices.Clone(args), i, i+used)
		i--
	}
	rest = args
	if value == "" || from == hostVariable && !goesThere(rest) {
		return nil, rest, nil
	}
	host, err := parseSSH(value)
	if err != nil {
		return nil, rest, usagef("%s: %v", from, err)
	}
	if word := firstWord(rest); hasWord(hereWords, word) {
		return nil, rest, usagef("%s is about the files of this machine: call it without -H, or log in there", word)
	}
	if !goesThere(rest) {
		return nil, rest, nil
	}
	return &remoteCall{host, from, rest}, rest, nil
}

// completeWord begins the calls by which a shell asks how a word can go on.
const completeWord = "__complete"

// findHostToComplete is findHost for them. The last word is unfinished: it names no
// host yet.
func findHostToComplete(args []string, getenv func(string) string) (*remoteCall, []string, error) {
	last := len(args) - 1
	if last < 1 {
		return nil, args, nil
	}
	before := args[1:last]
	call, rest, err := findHost(before, getenv)
	switch {
	case err != nil && slices.Contains([]string{"-H", "--host"}, args[last-1]):
		return nil, args, nil // it is the host that is to be completed
	case err != nil:
		return nil, args, err
	case call != nil:
		call.args = slices.Concat(args[:1], call.args, args[last:])
		return call, call.args, nil
	}
	return nil, slices.Concat(args[:1], rest, args[last:]), nil
}

// hostOption reads the option at the head of args.
func hostOption(args []string) (value string, used int, ok bool) {
	head := args[0]
	switch {
	case head == "-H" || head == "--host":
		if len(args) < 2 {
			return "", 1, true
		}
		return args[1], 2, true
	case strings.HasPrefix(head, "--host="):
		return strings.TrimPrefix(head, "--host="), 1, true
	case strings.HasPrefix(head, "-H"):
		return strings.TrimPrefix(strings.TrimPrefix(head, "-H"), "="), 1, true
	}
	return "", 0, false
}

// hereWords are commands about the files here. The host in the environment is not for
// them; one by option is a mistake.
const hereWords = "deploy init ecosystem"

// goesThere says that a call asks for a gopm that runs somewhere. The others answer for
// themselves.
func goesThere(args []string) bool {
	word := firstWord(args)
	if word == "" || hasWord("help completion schema "+hereWords, word) {
		return false
	}
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	return !slices.Contains(args[:end], "--help") && !slices.Contains(args[:end], "-h")
}

// readsInput says whether a call reads the standard input. All others leave it alone, as
// they do here: a loop of a shell may go on reading from it.
func readsInput(args []string) bool {
	return slices.Contains(args, "-") || hasWord("lock import dial-stdio", firstWord(args))
}

// runThere runs the call on its machine and ends as it has ended.
func (c *cli) runThere(ctx context.Context, call *remoteCall) error {
	out, errOut := c.out, c.err
	options := []string{"-T"}
	var in io.Reader
	switch {
	case isTerminal(c.in) && isTerminal(out) && isTerminal(c.err):
		options, in = []string{"-t", "-o", "LogLevel=ERROR"}, c.in // else it says "Connection closed" in the end
		out, errOut = under(out), under(errOut)                    // its gopm sees a terminal, and minds it
		c.sayThere(call)
		if os.Getenv("NO_COLOR") != "" { // ssh doesn't take it along
			call.args = append([]string{"--no-color"}, call.args...)
		}
	case readsInput(call.args):
		in = c.in
	}
	if strings.HasPrefix(call.args[0], completeWord) {
		options = fleetOptions() // a shell waits for the answer
	}
	argv := call.host.argv(options, "", call.args...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, forProgram(out), forProgram(errOut)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it may have a terminal to put right
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Canceled
	case !errors.As(err, &exit):
		return fmt.Errorf("cannot run ssh: %v", err)
	case exit.ExitCode() >= 0 && exit.ExitCode() != exitSSH:
	case wasInterrupted(ctx): // the terminal has told ssh, too
		return context.Canceled
	default:
		return fmt.Errorf("%s: ssh has failed, or lost the connection; try: %s", call.host, call.host.try())
	}
	c.adviseFiles(call)
	return quiet{exit.ExitCode()}
}

// sayThere reminds the person at the terminal where a command is going to work.
func (c *cli) sayThere(call *remoteCall) {
	if word := firstWord(call.args); c.silent || strings.HasPrefix(word, "__") || hasWord("monit dashboard dash", word) {
		return
	}
	where := call.host.destination()
	if call.host.home != "" {
		where += ", home " + call.host.home
	}
	c.warn("%s", c.paint(dim, fmt.Sprintf("on %s (%s):", where, call.from)))
}

// adviseFiles tells whoever has named a file of this machine that it isn't the one meant.
func (c *cli) adviseFiles(call *remoteCall) {
	for _, a := range call.args {
		if info, err := os.Stat(a); err == nil && info.Mode().IsRegular() {
			c.warn("note: %s was looked for on %s, from the home folder of the user there", a, call.host.host)
			return
		}
	}
}

// hostComesFirst is the end of an error about an option: where -H belongs.
func hostComesFirst(err error) string {
	if text := err.Error(); strings.Contains(text, "'H' in -H") || strings.Contains(text, "unknown flag: --host") {
		return "; -H comes before the command: gopm -H ssh://HOST ls"
	}
	return ""
}

// completeHost offers the machines that the user's configuration of ssh names.
func completeHost(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	text, _ := os.ReadFile(filepath.Join(os.Getenv("HOME"), ".ssh", "config")) // none, and nothing is offered
	hosts := []string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(strings.Replace(line, "=", " ", 1))
		if len(fields) < 2 || !strings.EqualFold(fields[0], "host") {
			continue
		}
		for _, name := range fields[1:] {
			if host := "ssh://" + name; notForSSH("", name) == "" && strings.HasPrefix(host, word) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts, cobra.ShellCompDirectiveNoFileComp
}
