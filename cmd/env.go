package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// envOptions are the options of env.
type envOptions struct {
	show   bool
	origin bool
}

func (c *cli) envCmd() *cobra.Command {
	var o envOptions
	cmd := &cobra.Command{
		Use:   "env TARGET...",
		Short: "Print the variables an app was given",
		Long: `Print the environment of apps, one NAME=value a line, sorted. Of an app with several
instances the first is shown; an id names another. It is what the present run was
given, or the next run will be if the app is down. A value with line ends is quoted.

Values that look like secrets are hidden; --show-secrets shows them. A secret has a name
that the app lists as one ("secrets"), or one with TOKEN, SECRET, PASS, CREDENTIAL, PRIVATE
in it, or with a word AUTH, AUTHORIZATION, DSN, PWD, PW, SALT, COOKIE or ...KEY; or it is a
private key, a text with "password=", or the password in a URL.

--origin says where each is from: declared (env, env_file, port), inherited (from
the shell that started the app first, or of the last -a), gopm (who the instance is).
A target is ` + targetHelp,
		Args: needTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := c.targetNames(cmd.Context(), args)
			if err != nil {
				return err
			}
			var all []api.Environment
			if err := c.client.Get(cmd.Context(), api.PathEnv, api.Targeted(targets...), &all); err != nil {
				return err
			}
			c.printEnvironments(all, o)
			return nil
		},
	}
	showFlags(cmd, &o.show)
	cmd.Flags().BoolVar(&o.show, "show", false, "the same as --show-secrets")
	cmd.Flags().BoolVar(&o.origin, "origin", false, "say where each variable is from")
	return cmd
}

func (c *cli) printEnvironments(all []api.Environment, o envOptions) {
	shown := all
	if !c.json {
		shown = c.firstOfEach(all)
	}
	hidden := 0
	if !o.show {
		hidden = hideSecrets(shown)
	}
	if c.json {
		_ = c.printJSON(shown) // what cannot be written fails the command: see output
	} else {
		c.printVariables(shown, o)
	}
	if hidden > 0 && !c.silent {
		c.warn("%s hidden (--show-secrets shows them)", counted(hidden, "value"))
	}
}

// firstOfEach is the first instance of each app; it says that there are others.
func (c *cli) firstOfEach(all []api.Environment) []api.Environment {
	var first []api.Environment
	count := map[string]int{}
	for _, e := range all {
		if count[e.Name]++; count[e.Name] == 1 {
			first = append(first, e)
		}
	}
	for _, e := range first {
		if n := count[e.Name]; n > 1 && !c.silent {
			c.warn("%s has %d instances: this is %s:%d (id %d); gopm env ID shows another", e.Name, n, e.Name, e.Index, e.ID)
		}
	}
	return first
}

// showFlags is the option by which secrets are shown.
func showFlags(cmd *cobra.Command, show *bool) {
	cmd.Flags().BoolVar(show, "show-secrets", false, "show secrets, too")
}

// hideSecrets masks what looks like one, and says how many there were.
func hideSecrets(all []api.Environment) (hidden int) {
	for _, e := range all {
		veil := ecosystem.Hiding(e.Secrets)
		for i, v := range e.Vars {
			if value := veil.Var(v.Name, v.Value); value != v.Value {
				e.Vars[i].Value = value
				hidden++
			}
		}
	}
	return hidden
}

// printVariables prints a line for each, with headings where there are several apps.
func (c *cli) printVariables(all []api.Environment, o envOptions) {
	for _, e := range all {
		if len(all) > 1 {
			fmt.Fprintf(c.out, "# %s:%d (id %d)\n", e.Name, e.Index, e.ID)
		}
		for _, v := range e.Vars {
			if o.origin {
				fmt.Fprintf(c.out, "%-9s  ", v.From)
			}
			fmt.Fprintf(c.out, "%s=%s\n", v.Name, oneLine(v.Value))
		}
	}
}

// oneLine is a value as it is, or quoted if it would not stay on its line.
func oneLine(value string) string {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return strconv.Quote(value)
	}
	return value
}

// counted is "1 file", "2 files".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
