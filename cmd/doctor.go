package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// finding is one thing that doctor has looked at.
type finding struct {
	Status grade  `json:"status"`
	What   string `json:"what"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"` // "" = nothing is to be done
}

// grade is how good it is.
type grade string

const (
	gradeOK   grade = "ok"
	gradeWarn grade = "warn" // something works less well than it could
	gradeFail grade = "fail" // something doesn't work
)

func fine(what, format string, args ...any) finding {
	return finding{Status: gradeOK, What: what, Found: fmt.Sprintf(format, args...)}
}

func warning(what, found, remedy string) finding {
	return finding{gradeWarn, what, found, remedy}
}

func failure(what, found, remedy string) finding {
	return finding{gradeFail, what, found, remedy}
}

func (c *cli) doctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with this machine, gopm and its apps",
		Long: `Look at what gopm needs and at what could go wrong: the kernel, limits, rights, disks,
the container, the daemon, Consul and the apps. Each line says what was looked at, what
was found and, after the arrow, what helps. Features of the kernel are tried, in a process
of their own; nothing is changed. It needs no daemon and no privileges: what it finds is
what the user who calls it may do.

  gopm doctor              all of it
  gopm doctor -s           only what is not ok

The exit code is 1 if something fails, 0 with warnings.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.printFindings(c.examineMachine(cmd.Context()))
		},
	}
}

// examineMachine looks at everything.
func (c *cli) examineMachine(ctx context.Context) []finding {
	p := c.meetPatient(ctx)
	features, err := tryFeatures(ctx)
	return slices.Concat(
		kernelFindings(kernelRelease(), features, err, p.boxed), cgroupFindings(ownCgroup()), p.boxFindings(),
		limitFindings(p.limits()), p.homeFindings(), diskFindings(p.disks()), clockFindings(time.Now()), p.programFindings(os.Getwd, exec.LookPath),
		p.daemonFindings(version), consulFindings(p.details), p.agentFindings(ctx, os.Getenv), appFindings(p.details),
	)
}

// patient is what is known of gopm on this machine.
type patient struct {
	home    api.Home
	ping    api.Ping
	err     error        // why the daemon doesn't answer; nil: it does
	details []api.Detail // of all instances; without a daemon none
	trouble string       // what the daemon says is wrong with itself
	left    remains      // what a daemon has left that isn't there any more
	boxed   bool         // this is a container
}

func (c *cli) meetPatient(ctx context.Context) *patient {
	p := &patient{home: c.client.Home(), boxed: isContainer()}
	c.client.OnTrouble(func(text string) { p.trouble = text })
	c.updating = true // the difference of versions is one of the findings
	if p.err = c.client.Get(ctx, api.PathPing, nil, &p.ping); p.err != nil {
		p.left = c.remains()
		return p
	}
	if err := c.client.Get(ctx, api.PathDetails, nil, &p.details); err != nil {
		p.err = err
	}
	return p
}

// instances is how many there are to be.
func (p *patient) instances() int {
	n := len(p.details)
	for _, a := range p.left.state.Apps {
		n += len(a.Instances)
	}
	return n
}

// printFindings prints a line for each, and says by the error whether something fails.
func (c *cli) printFindings(all []finding) error {
	failed := slices.ContainsFunc(all, func(f finding) bool { return f.Status == gradeFail })
	if c.json {
		if err := c.printJSON(all); err != nil {
			return err
		}
	} else {
		c.showFindings(all, c.silent)
	}
	if failed {
		return quiet{exitFailed}
	}
	return nil
}

func (c *cli) showFindings(all []finding, onlyBad bool) {
	width := 0
	for _, f := range all {
		if f.Status != gradeOK || !onlyBad {
			width = max(width, textWidth(f.What))
		}
	}
	for _, f := range all {
		if f.Status == gradeOK && onlyBad {
			continue
		}
		colour := map[grade]string{gradeOK: green, gradeWarn: yellow, gradeFail: red}[f.Status]
		what := printable(f.What)
		line := c.paint(colour, fmt.Sprintf("%-4s", f.Status)) + "  " + what + strings.Repeat(" ", width-textWidth(what)) + "  " + printable(f.Found)
		if f.Remedy != "" {
			line += "  -> " + printable(f.Remedy)
		}
		fmt.Fprintln(c.out, line)
	}
}

// feature is one thing of the kernel, as the child says that tried it.
type feature struct {
	Name  string `json:"name"`
	Error string `json:"error"`
	Old   bool   `json:"old"` // the kernel doesn't know it
}

// probeWord is the child that tries features; with probeWait it is the child's own child.
const (
	probeWord = "probe"
	probeWait = "wait"
)

// tryFeatures has a process of its own try what the kernel can do.
func tryFeatures(ctx context.Context) (all []feature, err error) {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", probeWord)
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("no answer within %v", patience)
	}
	if err != nil {
		return nil, err
	}
	return all, json.Unmarshal(out, &all)
}

// runProbe is that process. Features tells what can be done to a child.
func runProbe(features func(child int) any, out io.Writer) int {
	child := exec.Command("/proc/self/exe", probeWord, probeWait)
	in, err := child.StdinPipe()
	if err != nil || child.Start() != nil {
		return exitFailed
	}
	err = json.NewEncoder(out).Encode(features(child.Process.Pid))
	in.Close()
	_ = child.Wait() // it has ended, and that is all it had to do
	if err != nil {
		return exitFailed
	}
	return exitOK
}
