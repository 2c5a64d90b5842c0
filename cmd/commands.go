package cmd

import (
	"strings"

	"github.com/spf13/cobra"
)

// maker makes one command. Only the one that is called is made: all of them with
// their flags take longer than asking the daemon.
type maker struct {
	words    string // the command and its aliases, separated by blanks
	make     func(*cli) *cobra.Command
	complete completer // what its arguments may be; nil: nothing to offer
	json     bool      // it takes --json
	orders   bool      // it changes what runs: apps that a dead daemon has left are taken over first
}

type completer func(*cli, *cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

const listWords = "list ls l ps status"

// makers is data only, so that nothing has to be made when a process starts.
var makers = [...]maker{
	{"start", (*cli).startCmd, (*cli).completeStart, true, false},
	{"startOrRestart", (*cli).startOrRestartCmd, nil, true, false},
	{"startOrReload startOrGracefulReload", (*cli).startOrReloadCmd, nil, true, false},
	{"restart", (*cli).restartCmd, (*cli).completeTargets, true, true},
	{"reload", (*cli).reloadCmd, (*cli).completeTargets, true, true},
	{"runtime", (*cli).runtimeCmd, (*cli).completeStart, false, false},
	{"run", (*cli).runCmd, (*cli).completeTargets, false, true},
	{"lock", (*cli).lockCmd, nil, false, false},
	{"stop", (*cli).stopCmd, (*cli).completeTargets, true, true},
	{"delete del", (*cli).deleteCmd, (*cli).completeTargets, true, true},
	{"scale", (*cli).scaleCmd, (*cli).completeScale, true, true},
	{"reset", (*cli).resetCmd, (*cli).completeTargets, true, true},
	{"sendSignal", (*cli).sendSignalCmd, (*cli).completeSignal, true, true},
	{"send", (*cli).sendCmd, (*cli).completeTargets, true, true},
	{listWords, (*cli).listCmd, nil, true, false},
	{"healthcheck", (*cli).healthcheckCmd, (*cli).completeTargets, true, false},
	{"jlist", (*cli).jlistCmd, nil, false, false},
	{"prettylist", (*cli).prettylistCmd, nil, false, false},
	{"describe info desc show", (*cli).infoCmd, (*cli).completeTargets, true, false},
	{"env", (*cli).envCmd, (*cli).completeTargets, true, false},
	{"config", (*cli).configCmd, (*cli).completeTargets, true, false},
	{"id", (*cli).idCmd, (*cli).completeTargets, false, false},
	{"pid", (*cli).pidCmd, (*cli).completeTargets, false, false},
	{"logs log", (*cli).logsCmd, (*cli).completeTargets, false, false},
	{"monit dashboard dash", (*cli).monitCmd, nil, false, false},
	{"events", (*cli).eventsCmd, (*cli).completeTargets, false, false},
	{"metrics", (*cli).metricsCmd, nil, false, false},
	{"flush", (*cli).flushCmd, (*cli).completeTargets, true, true},
	{"reloadLogs", (*cli).reloadLogsCmd, (*cli).completeTargets, true, true},
	{"save dump", (*cli).saveCmd, nil, true, true},
	{"resurrect", (*cli).resurrectCmd, nil, true, false},
	{"cleardump", (*cli).cleardumpCmd, nil, false, false},
	{"update updatePM2", (*cli).updateCmd, nil, true, true},
	{"kill", (*cli).killCmd, nil, false, false},
	{"startup", (*cli).startupCmd, nil, false, false},
	{"unstartup", (*cli).unstartupCmd, nil, false, false},
	{"ping", (*cli).pingCmd, nil, true, false},
	{"init ecosystem", (*cli).initCmd, nil, false, false},
	{"import", (*cli).importCmd, nil, false, false},
	{"schema", (*cli).schemaCmd, nil, false, false},
	{"shims", (*cli).shimsCmd, nil, false, false},
	{"doctor", (*cli).doctorCmd, nil, true, false},
	{"report", (*cli).reportCmd, nil, false, false},
	{"deploy", (*cli).deployCmd, (*cli).completeDeploy, false, false},
	{"fleet", (*cli).fleetCmd, nil, false, false},
	{"completion", (*cli).completionCmd, nil, false, false},
	{"dial-stdio", (*cli).dialStdioCmd, nil, false, false},
	{"version", (*cli).versionCmd, nil, false, false},
}

// commands is the command that is called, or all of them if that is none of ours.
func (c *cli) commands(args []string) []*cobra.Command {
	word := firstWord(args)
	all := make([]*cobra.Command, 0, len(makers))
	for _, m := range makers {
		if hasWord(m.words, word) {
			return []*cobra.Command{m.command(c)}
		}
	}
	for _, m := range makers {
		all = append(all, m.command(c))
	}
	return all
}

func (m maker) command(c *cli) *cobra.Command {
	cmd := m.make(c)
	if m.json {
		cmd.Flags().BoolVar(&c.json, "json", false, "print the result as JSON (docs/commands.md)")
	}
	if m.orders {
		cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
			if f := cmd.Flags().Lookup("no-daemon"); f != nil && f.Changed {
				return nil
			}
			return c.revive(cmd, args)
		}
	}
	if m.complete != nil {
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			return m.complete(c, cmd, args, word)
		}
	}
	return cmd
}

// forParser is a call as the parser understands it. Of a word that is no command
// only that is left: its options, --help too, are nobody's.
func forParser(args []string) []string {
	word := firstWord(args)
	known := word == "" || word == "help" || strings.HasPrefix(word, "__complete")
	for _, m := range makers {
		known = known || hasWord(m.words, word)
	}
	if !known {
		return []string{word}
	}
	return withoutNegatives(args)
}

// firstWord is the command of a call: the first word that is no option. The
// options that come before it take no value.
func firstWord(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

// hasWord says whether a list of words separated by blanks has a word.
func hasWord(words, word string) bool {
	for w := range strings.FieldsSeq(words) {
		if w == word {
			return true
		}
	}
	return false
}

// callsList says that the list is called, by its name first.
func callsList(args []string) bool {
	return len(args) > 0 && hasWord(listWords, args[0])
}
