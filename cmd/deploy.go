package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gopm/ecosystem"
)

// deployOptions are the options of deploy.
type deployOptions struct {
	hosts []string
	jobs  int
	force bool // pm2's, without a meaning here
}

func (c *cli) deployCmd() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy [FILE] ENV [setup|update|REF|revert N|list|curr|prev|exec CMD]",
		Short: "Bring code to hosts by git and ssh, and start it there",
		Long: `Deploy what the file's block "deploy" describes to the hosts of an environment.

  gopm deploy eco.json production setup      prepare the hosts, once
  gopm deploy eco.json production            deploy the file's ref
  gopm deploy eco.json production v1.4.2     deploy a branch, a tag or a commit
  gopm deploy eco.json production revert 1   make the release before the current one current
  gopm deploy eco.json production list       the releases that are there
  gopm deploy eco.json production exec "ls"  run a command in the current release

A release is a folder of its own; it becomes current in one step when it is complete on
all hosts, and gopm starts or reloads what its file describes. If that fails the release
before it is current again. docs/deploy.md has the fields.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			call, err := deployCallOf(args)
			if err != nil {
				return err
			}
			return c.deploy(cmd.Context(), call, &o)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.hosts, "host", nil, "act on these `HOSTS` of the environment only")
	f.IntVar(&o.jobs, "jobs", 8, "act on at most `N` hosts at once; 1: one after the other, until one fails")
	f.BoolVar(&o.force, "force", false, "accepted and ignored: what is deployed is what the repository has")
	_ = f.MarkHidden("force") // it is there: see above
	return cmd
}

// deployCall is what is to be done.
type deployCall struct {
	file, env string
	action    string // setup, update, revert, list, curr, prev, exec
	ref       string // of update; "" = the file's
	count     int    // of revert
	command   string // of exec
}

// deployCallOf reads the words of a call. pm2 has aliases for some.
func deployCallOf(args []string) (call deployCall, err error) {
	if len(args) > 0 && (ecosystem.IsFile(args[0]) || strings.Contains(args[0], "/")) {
		call.file, args = args[0], args[1:]
	}
	if len(args) == 0 {
		return call, usagef("deploy where to? gopm deploy FILE ENV [setup|update|REF|revert N|list|curr|prev|exec CMD]")
	}
	call.env, args = args[0], args[1:]
	word := "update"
	if len(args) > 0 {
		word, args = args[0], args[1:]
	}
	call.action = word
	switch word {
	case "setup", "list":
	case "curr", "current":
		call.action = "curr"
	case "prev", "previous":
		call.action = "prev"
	case "revert":
		call.count = 1
		if len(args) > 0 {
			if call.count, err = strconv.Atoi(args[0]); err != nil || call.count < 1 {
				return call, usagef("revert wants how many releases to go back, like 1, got %q", args[0])
			}
			args = args[1:]
		}
	case "exec", "run":
		call.action, call.command, args = "exec", strings.Join(args, " "), nil
		if strings.TrimSpace(call.command) == "" {
			return call, usagef(`exec wants a command, like: gopm deploy FILE %s exec "gopm ls"`, call.env)
		}
	case "update", "ref":
		call.action = "update"
		if len(args) > 0 {
			call.ref, args = args[0], args[1:]
		}
	default:
		call.action, call.ref = "update", word
	}
	if call.ref != "" {
		if err := ecosystem.CheckRef(call.ref); err != nil {
			return call, usagef("%v", err)
		}
	}
	if len(args) > 0 {
		return call, usagef("%s of deploy takes no more words, got %q", word, args)
	}
	return call, nil
}

func (c *cli) deploy(ctx context.Context, call deployCall, o *deployOptions) error {
	if call.file == "" {
		found, err := ecosystem.Find(".")
		if err != nil {
			return usagef("%v", err)
		}
		call.file = found
	}
	if o.jobs < 1 {
		return usagef("--jobs wants at least 1, got %d", o.jobs)
	}
	blocks, err := ecosystem.ReadDeploys(ctx, call.file, c.options())
	var problems ecosystem.Problems
	switch {
	case errors.As(err, &problems):
		return err
	case err != nil:
		return usageError{err.Error()}
	}
	c.remark(blocks.Problems)
	block, err := blocks.Find(call.env)
	if err != nil {
		return usageError{err.Error()}
	}
	if block.Hosts, err = someHosts(block.Hosts, o.hosts); err != nil {
		return err
	}
	if call.ref != "" {
		block.Ref = call.ref
	}
	d := newDeployment(c, block, o.jobs)
	if err := d.defaultStart(ctx, blocks); err != nil {
		return err
	}
	return d.carryOut(ctx, call, blocks.Path)
}

// someHosts are those of the environment's hosts that were asked for.
func someHosts(all, wanted []string) ([]string, error) {
	if len(wanted) == 0 {
		return all, nil
	}
	for _, w := range wanted {
		if !slices.Contains(all, w) {
			return nil, usagef("--host %s is none of this environment's hosts (%s)", w, strings.Join(all, ", "))
		}
	}
	return wanted, nil
}

// deployWho is who deploys, for the others who find the lock.
func deployWho() string {
	host, _ := os.Hostname() // without it the user has to do
	name := fmt.Sprintf("uid %d", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return strings.TrimSuffix(name+"@"+host, "@")
}

// completeDeploy offers files, then the file's environments, then what can be done.
func (c *cli) completeDeploy(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	file := ""
	if len(args) > 0 && ecosystem.IsFile(args[0]) {
		file, args = args[0], args[1:]
	} else if found, err := ecosystem.Find("."); err == nil {
		file = found
	}
	switch {
	case len(args) == 0:
		blocks, err := ecosystem.ReadDeploys(cmd.Context(), file, c.options())
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return blocks.Names(), cobra.ShellCompDirectiveDefault
	case len(args) == 1:
		return []string{"setup", "update", "revert", "list", "curr", "prev", "exec"}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
