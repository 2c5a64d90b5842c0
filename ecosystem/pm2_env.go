package ecosystem

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// declared are the variables of an app that its configuration gave, as well as
// that can be known: pm2 lays them over the whole environment of the shell and
// keeps only the sum. What speaks for the configuration: a value that is no text
// (a shell has only those), and another app without it or with another value. What
// speaks for the shell: this shell has the same. Variables of which nothing is
// known are kept, and noted as doubtful.
func (im *importer) declared(a *pm2App) map[string]any {
	env := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(a.env)) {
		value := a.env[name]
		text, isText := value.(string)
		switch {
		case name == a.text("name") || isPM2Var(name) || isSession(name) || isPrivate(name) || checkVar(name, text) != nil || value == nil:
		case name == "PYTHONUNBUFFERED" && text == "1" && strings.HasPrefix(a.text("exec_interpreter"), "python"): // pm2 gives it, gopm too
		case name == "PORT" && a.fields["port"] != nil: // the field says it
		case !isText:
			env[name] = value
		case isLogin(name):
			if im.others(a, name, value) > len(im.apps)/2 {
				env[name] = value
			}
		case im.others(a, name, value) > 0:
			env[name] = value
		case im.world.getenv(name) != text:
			env[name] = value
			if !slices.Contains(im.doubtful, name) {
				im.doubtful = append(im.doubtful, name)
			}
		}
	}
	return env
}

// others counts the apps that do not have a variable with that value.
func (im *importer) others(a *pm2App, name string, value any) int {
	n := 0
	for _, other := range im.apps {
		v, has := other.env[name]
		if !has && slices.ContainsFunc(other.texts("filter_env"), func(part string) bool { return strings.Contains(name, part) }) {
			continue // taken away from it
		}
		if other != a && !reflect.DeepEqual(v, value) {
			n++
		}
	}
	return n
}

// isPM2Var says whether pm2, or the npm it was started by, made a variable.
func isPM2Var(name string) bool {
	switch name {
	case "unique_id", "NODE_APP_INSTANCE", "INIT_CWD", "pm_id", "status", "exec_mode", "instances", "namespace":
		return true
	}
	return name[:min(1, len(name))] >= "0" && name[:min(1, len(name))] <= "9" || // `pm2 start --env NAME` leaves its letters
		strings.HasPrefix(name, "PM2_") || strings.HasPrefix(name, "npm_")
}

// isLogin says whether a variable comes with a login, and is rarely an app's.
func isLogin(name string) bool {
	switch name {
	case "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LANGUAGE", "MAIL", "HOSTNAME", "EDITOR", "VISUAL", "PAGER",
		"LS_COLORS", "COLORTERM", "WINDOWID", "NODE":
		return true
	}
	for _, prefix := range []string{"LC_", "LESS", "XDG_", "NVM_", "GPG_", "TERM_", "VSCODE_", "PYENV_", "CONDA_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
