package cmd

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
)

// sshHost is a gopm on another machine: how ssh gets there, and the home it has. All
// that isn't said is for ssh's own configuration.
type sshHost struct {
	user, host string
	port       int    // 0: ssh's
	home       string // absolute; "": the one that gopm finds there by itself
}

const sshForm = "ssh://[USER@]HOST[:PORT][/HOME]"

// parseSSH reads ssh://user@host:port/home. What it returns can be given to ssh: the
// text may come from a catalog that strangers write to.
func parseSSH(text string) (h sshHost, err error) {
	bad := func(format string, args ...any) (sshHost, error) {
		return sshHost{}, fmt.Errorf("%q is no address of a machine: %s", text, fmt.Sprintf(format, args...))
	}
	if !strings.HasPrefix(text, "ssh://") {
		return bad("want %s", sshForm)
	}
	u, err := url.Parse(text)
	if err != nil {
		why := err
		if e, ok := err.(*url.Error); ok {
			why = e.Err
		}
		return bad("%v; want %s", why, sshForm)
	}
	if _, given := u.User.Password(); given {
		return bad("ssh asks for a password itself, or takes a key")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return bad("want %s", sshForm)
	}
	h.user, h.host = u.User.Username(), u.Hostname()
	if u.User != nil && h.user == "" {
		return bad("the user before @ is missing")
	}
	if why := notForSSH(h.user, h.host); why != "" {
		return bad("%s", why)
	}
	if text := u.Port(); text != "" {
		if h.port, err = strconv.Atoi(text); err != nil || h.port < 1 || h.port > 65535 {
			return bad("the port is a number from 1 to 65535")
		}
	}
	if u.Path != "" && u.Path != "/" {
		h.home = path.Clean(u.Path)
		if strings.ContainsFunc(h.home, unicode.IsControl) {
			return bad("a home has no control characters")
		}
	}
	return h, nil
}

// notForSSH says why ssh isn't given a name: it would take it for an option, or a
// ProxyCommand in its configuration would give it to a shell.
func notForSSH(user, host string) string {
	const name = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%"
	switch {
	case host == "":
		return "the host is missing; want " + sshForm
	case strings.Trim(host, name) != "":
		return "a host has letters, digits and .-_ only"
	case host[0] == '-' || strings.HasPrefix(user, "-"):
		return "a name doesn't begin with -"
	case strings.ContainsFunc(user, unicode.IsControl) || strings.ContainsAny(user, " '`\"$\\;&<>|(){}*?"):
		return "such a user isn't given to ssh"
	}
	return ""
}

// destination is the host as ssh names it.
func (h sshHost) destination() string {
	if h.user != "" {
		return h.user + "@" + h.host
	}
	return h.host
}

// String is the address as a person gives it, without the home.
func (h sshHost) String() string {
	host := h.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if h.user != "" {
		host = h.user + "@" + host
	}
	if h.port != 0 {
		host += ":" + strconv.Itoa(h.port)
	}
	return "ssh://" + host
}

// try is a command by which a person sees whether ssh gets there.
func (h sshHost) try() string {
	words := []string{"ssh"}
	if h.port != 0 {
		words = append(words, "-p", strconv.Itoa(h.port))
	}
	return strings.Join(append(words, h.destination(), "true"), " ")
}

// findThere runs the gopm of a machine, in any shell of POSIX. A command by ssh has no
// profile of its user, and a short PATH: gopm is looked for where it usually is, but the
// PATH stays as it is, for the apps that are started get it. $1 is the home, $2 the line
// that is printed first. It is one line without ! for the shells that
// have histories.
const findThere = `unset GOPM_HOST; if [ -n "$1" ]; then GOPM_HOME=$1; export GOPM_HOME; fi; if [ -n "$2" ]; then echo "$2"; fi; shift 2; ` +
	`g=$(command -v gopm) || for d in /usr/local/bin "$HOME/.local/bin" "$HOME/bin"; do if [ -x "$d/gopm" ]; then g=$d/gopm; break; fi; done; ` +
	`if [ -z "$g" ]; then echo "gopm: there is no gopm on $(hostname) in the PATH of a command by ssh: install it in /usr/local/bin" >&2; exit 127; fi; ` +
	`exec "$g" "$@"`

// greeting is the line with which the words of a gopm begin, for a program that reads
// them: before it are those that the profile of a user may print.
const greeting = "gopm is here"

// argv is the command that runs gopm there with args. Options are ssh's; first is the
// line before its output.
func (h sshHost) argv(options []string, first string, args ...string) []string {
	argv := append([]string{"ssh"}, options...)
	if h.port != 0 {
		argv = append(argv, "-p", strconv.Itoa(h.port))
	}
	words := []string{"sh", "-c", quoteShell(findThere), "gopm", quoteShell(h.home), quoteShell(first)}
	for _, a := range args {
		words = append(words, quoteShell(a))
	}
	return append(argv, "--", h.destination(), strings.Join(words, " "))
}
