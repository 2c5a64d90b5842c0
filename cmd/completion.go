package cmd

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// completionBash is our own: that of the library is ten times as long and needs the
// package bash-completion.
//
//go:embed completion.bash
var completionBash string

const completionHelp = `to complete words with the tab key, once and for all:

  bash   echo 'source <(gopm completion bash)' >> ~/.bashrc
  zsh    echo 'source <(gopm completion zsh)' >> ~/.zshrc       (after compinit)
  fish   gopm completion fish > ~/.config/fish/completions/gopm.fish

then open a new shell.`

func (c *cli) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print a script that lets a shell complete gopm's words",
		Long:      "Print a script that lets a shell complete commands, options and the names of apps:\n" + completionHelp,
		ValidArgs: []string{"bash", "zsh", "fish", "install"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("completion wants one shell: bash, zsh or fish, got %q", args)
			}
			shell := "install"
			if len(args) == 1 {
				shell = args[0]
			}
			switch shell {
			case "bash":
				_, err := io.WriteString(c.out, completionBash)
				return err
			case "zsh":
				return cmd.Root().GenZshCompletion(c.out)
			case "fish":
				return cmd.Root().GenFishCompletion(c.out, true)
			case "install": // pm2 writes into the user's files; we say how
				c.say("%s", completionHelp)
				return nil
			}
			return usagef("completion wants bash, zsh or fish, got %q", shell)
		},
	}
}

// completeTargets offers apps, namespaces and ids. Where nothing matches the shell
// offers files, which are targets, too. Without a daemon it is silent.
func (c *cli) completeTargets(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	rows, _ := c.instances(cmd.Context())
	return targetWords(rows, args, word), cobra.ShellCompDirectiveDefault
}

// completeStart offers apps and files: both can be started.
func (c *cli) completeStart(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	words, _ := c.completeTargets(cmd, args, word)
	if len(words) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	dir, _ := filepath.Split(word)
	entries, err := os.ReadDir(orElse(dir, "."))
	if err != nil {
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	for _, e := range entries {
		name := dir + e.Name()
		if strings.HasPrefix(name, word) && (word != dir || !strings.HasPrefix(e.Name(), ".")) {
			if e.IsDir() {
				name += "/"
			}
			words = append(words, name)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeScale offers names, and nothing for the number.
func (c *cli) completeScale(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	rows, _ := c.instances(cmd.Context())
	var words []string
	for _, r := range rows {
		if strings.HasPrefix(r.Name, word) && !slices.Contains(words, r.Name) {
			words = append(words, r.Name)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) completeSignal(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return c.completeTargets(cmd, args, word)
	}
	return []string{"SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGWINCH", "SIGSTOP", "SIGCONT", "SIGKILL"}, cobra.ShellCompDirectiveNoFileComp
}

// targetWords are the targets that begin with a word and are not there yet, each
// with what it is after a tab.
func targetWords(rows []api.Instance, args []string, word string) []string {
	var names, spaces, ids []string
	add := func(list *[]string, target, what string) {
		line := target + "\t" + what
		if strings.HasPrefix(target, word) && !slices.Contains(args, target) && !slices.Contains(*list, line) {
			*list = append(*list, line)
		}
	}
	for _, r := range rows {
		add(&names, r.Name, "app")
		add(&spaces, r.Namespace, "namespace")
		if word != "" { // all of them at once say nothing
			add(&ids, strconv.Itoa(r.ID), fmt.Sprintf("%s:%d, %s", r.Name, r.Index, r.Process.Status))
		}
	}
	if len(rows) > 0 {
		add(&spaces, "all", "every app")
	}
	return slices.Concat(names, spaces, ids)
}
