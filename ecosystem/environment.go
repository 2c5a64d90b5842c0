package ecosystem

import (
	"fmt"
	"slices"
	"strings"
)

// layer is one of the sources of an app's variables.
type layer map[string]variable

// variable is a value, or the wish that there be none (null in the file): then
// neither a lower layer nor the user's shell gives it.
type variable struct {
	value string
	unset bool
}

// over returns the variables of base with those of l laid over them.
func (l layer) over(base layer) layer {
	all := make(layer, len(l)+len(base))
	for name, v := range base {
		all[name] = v
	}
	for name, v := range l {
		all[name] = v
	}
	return all
}

// parseVars takes an object of variables. Objects and lists in it become JSON
// text, as pm2 does it.
func parseVars(v *node) (layer, error) {
	if v.kind != kindObject {
		return nil, fmt.Errorf("want an object of variables, got %s", v.describe())
	}
	vars := make(layer, len(v.members))
	for _, m := range v.members {
		if err := checkVar(m.name, m.value.text); err != nil {
			return nil, err
		}
		switch {
		case m.value.kind == kindNull:
			vars[m.name] = variable{unset: true}
		case m.value.isScalar():
			vars[m.name] = variable{value: m.value.text}
		default:
			vars[m.name] = variable{value: m.value.json()}
		}
	}
	return vars, nil
}

func checkVar(name, value string) error {
	switch {
	case name == "":
		return fmt.Errorf("a variable has no name")
	case strings.ContainsAny(name, "=\x00"):
		return fmt.Errorf("%s can't be the name of a variable", quote(name))
	case strings.ContainsRune(value, 0):
		return fmt.Errorf("%s: a zero byte can't be in it", name)
	}
	return nil
}

// parseInherit takes true, false or the names that are inherited.
func parseInherit(v *node) (Inherit, error) {
	if v.kind == kindList {
		names, err := parseTexts(v)
		return Inherit{Names: names}, err
	}
	all, err := parseBool(v)
	if err != nil {
		err = fmt.Errorf("want true, false or a list of names, got %s", v.describe())
	}
	return Inherit{All: all}, err
}

// filter is filter_env as written: true drops everything inherited.
type filter struct {
	all   bool
	parts []string
}

func parseFilter(v *node) (filter, error) {
	if all, err := parseBool(v); err == nil {
		return filter{all: all}, nil
	}
	parts, err := parseTexts(v)
	if err != nil || slices.Contains(parts, "") {
		err = fmt.Errorf("want true, false or parts of names, got %s", v.describe())
	}
	return filter{parts: parts}, err
}

// Inherited is what an app takes from a shell's environment: session variables
// (SSH_*, TERM, TMUX*, DISPLAY, ...) dropped, then Inherit and Filter applied. A
// session variable that Inherit names is kept: it was asked for.
func Inherited(environ []string, e Env) []string {
	var kept []string
	for _, entry := range environ {
		name, _, ok := strings.Cut(entry, "=")
		if !ok || name == "" || isPrivate(name) {
			continue
		}
		named := slices.Contains(e.Inherit.Names, name)
		if !named && (!e.Inherit.All || isSession(name)) {
			continue
		}
		// With = on both sides an entry of Filter can mean a part or the whole.
		drop := slices.ContainsFunc(e.Filter, func(part string) bool {
			return part != "" && strings.Contains("="+name+"=", part)
		})
		if !drop {
			kept = append(kept, entry)
		}
	}
	return kept
}

// isSession says whether a variable belongs to the user's terminal session,
// which is over long before the app is.
func isSession(name string) bool {
	switch name {
	case "TERM", "DISPLAY", "PWD", "OLDPWD", "SHLVL", "_":
		return true
	}
	for _, prefix := range []string{"SSH_", "TMUX", "DBUS_", "XDG_SESSION_", "SUDO_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// isPrivate says whether a variable speaks about a descriptor or an identity of
// the one process that got it. Inherited by another it does harm: node aborts
// when the descriptor of NODE_CHANNEL_FD is something else.
func isPrivate(name string) bool {
	switch name {
	case "NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID",
		"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
		"WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", "JOURNAL_STREAM", "MAINPID",
		"GOPM_FENCE", "GOPM_ROLE":
		return true
	}
	return strings.HasPrefix(name, "GOPM_LOCK") // by these what gopm lock runs is known, and ended
}

// withoutPrivate is an environment for a program that gopm itself runs.
func withoutPrivate(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return isPrivate(name)
	})
}
