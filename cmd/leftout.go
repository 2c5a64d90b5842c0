package cmd

import (
	"fmt"
	"slices"
	"strings"
)

// absent is a word of pm2 that gopm does not have: it answers with the reason and
// what to do instead. All of them are one table, not commands of cobra: they cost
// a process nothing, and the help no line.
type absent struct {
	words   string // the command and its aliases, separated by blanks
	why     string
	instead string
}

// absentCommands is data only, so that nothing has to be made when a process starts.
var absentCommands = [...]absent{
	{words: "attach", why: "the terminal is not connected to an app", instead: "gopm logs APP shows what it writes, and with stdin: true gopm send APP LINE writes to it"},
	{words: "serve expose", why: "gopm runs programs and is no web server", instead: `gopm start "python3 -m http.server 8080" --name files, or any other server`},
	{words: "install uninstall module:install module:uninstall module:update module:generate module:package module:publish package publish",
		why: "there are no modules", instead: "what pm2-logrotate does is built in: max_size, retain, compress and rotate_interval of each app in the ecosystem file"},
	{words: "set get unset conf multiset", why: "there are no modules to configure",
		instead: "write the fields into the ecosystem file (of pm2-logrotate: max_size, retain, compress, rotate_interval), then gopm start FILE"},
	{words: "logrotate", why: "rotation is built in and on (10M, 10 files kept)",
		instead: "max_size, retain, compress and rotate_interval of each app in the ecosystem file; after a logrotate of your own: gopm reloadLogs"},
	{words: "trigger", why: "actions belong to pm2's library for node", instead: "gopm send APP LINE with stdin: true, gopm sendSignal SIGUSR2 APP, or a request to the app itself"},
	{words: "install-otel uninstall-otel", why: "tracing belongs to the app", instead: `start it with your tracer, as in: gopm start app.js --node-args "--import ./tracing.mjs"`},
	{words: "inspect profile:cpu profile:mem", why: "debuggers belong to the language", instead: "of node: gopm sendSignal SIGUSR1 APP opens its inspector"},
	{words: "pull forward backward", why: "gopm does not run git", instead: "git pull && gopm restart APP"},
	{words: "deepUpdate", why: "gopm is one file and not of npm", instead: "put the new binary in its place, then gopm update"},
	{words: "slist sysinfos", why: "gopm watches its apps, not the machine", instead: "gopm report says what matters of the machine; top, vmstat"},
	{words: "autoinstall create examples", why: "gopm has no samples to copy", instead: "gopm init looks at your folder and writes an ecosystem file"},
	{words: "web", why: "gopm opens no port", instead: "curl --unix-socket $GOPM_HOME/gopm.sock http://gopm/v1/details"},
	{words: "gracefulReload softReload", why: "pm2 has dropped it, too", instead: "gopm reload"},
}

// answerAbsent says what a call of a command that gopm does not have gets to hear;
// nil if it is none. Its options are its own: nothing here reads them.
func answerAbsent(args []string) error {
	args = slices.DeleteFunc(slices.Clone(args), func(s string) bool { return strings.HasPrefix(s, "-") })
	if len(args) > 1 && args[0] == "help" {
		args = args[1:]
	}
	if len(args) == 0 {
		return nil
	}
	for _, c := range absentCommands {
		switch {
		case !hasWord(c.words, args[0]):
		case strings.HasPrefix(c.words, "set "):
			return usagef("%s is left out on purpose: %s; instead: %s", args[0], c.why, orElse(rotationField(args[1:]), c.instead))
		default:
			return usagef("%s is left out on purpose: %s; instead: %s", args[0], c.why, c.instead)
		}
	}
	return nil
}

// rotationField translates "pm2-logrotate:max_size 50M", in one word or two.
func rotationField(args []string) string {
	if len(args) == 0 {
		return ""
	}
	key, ok := strings.CutPrefix(args[0], "pm2-logrotate:")
	if !ok {
		return ""
	}
	key, value, _ := strings.Cut(key, " ")
	if len(args) > 1 {
		value = args[1]
	}
	if key == "rotateInterval" {
		key = "rotate_interval"
	}
	if !slices.Contains([]string{"max_size", "retain", "compress", "rotate_interval"}, key) {
		return ""
	}
	return fmt.Sprintf("write \"%s\": \"%s\" into the apps of the ecosystem file, then gopm start FILE", key, orElse(value, "…"))
}
