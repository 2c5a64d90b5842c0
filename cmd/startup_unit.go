package cmd

import (
	"fmt"
	"strings"

	"gopm/daemon/api"
)

// unitMark is the first line of what startup writes: only such a file is
// overwritten or removed.
const unitMark = "# Written by gopm startup; gopm unstartup removes it. Changes of your own: systemctl edit"

// unit is what a unit file depends on.
type unit struct {
	binary   string
	user     string // "": of the user's own systemd
	userHome string
	home     string   // of gopm
	path     string   // what PATH is at boot
	online   bool     // wait for an address
	known    []string // how other machines know this one: GOPM_NODE=…, GOPM_SSH=…, those that are set
}

// knownBy are the variables that say how other machines know this one. They have to be the
// same after a boot, or it would be another.
var knownBy = []string{"GOPM_NODE", "GOPM_SSH"}

// names are the lines for them.
func (u unit) names() (lines string) {
	for _, entry := range u.known {
		lines += "\nEnvironment=" + quoteUnit(entry)
	}
	return lines
}

// text is the unit file. What is in it and why:
//
// The main process is the keeper, which outlives the daemon and an update.
// KillMode=process and OOMPolicy=continue leave the apps alone when it dies or one of
// them runs out of memory. Restart=always then calls resurrect again, which starts
// what is missing of gopm and finds the rest as it is; only after the exit code 0,
// which the keeper has when everything was stopped by gopm kill, it stays down.
//
// resurrect --boot writes the keeper's pid into a file for systemd, which removes it
// when the service ends; the keeper's own would take its lock along. ExecStop does
// nothing when the main process is gone (its variable is not set then): some versions
// of systemd call it also after a death, when the apps are to be left alone.
//
// The limits are the apps' as well: systemd's own are made for one program. A limit
// of open files without end makes old programs slow, which close all there could be.
//
// The cgroup is gopm's own to divide for apps with limits: gopm itself begins in a part
// of it (with systemd 254; before that gopm does without), for what is divided can't have
// processes, and systemd would start nothing in it any more.
func (u unit) text() (string, error) {
	for _, s := range append([]string{u.binary, u.user, u.userHome, u.home, u.path}, u.known...) {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", fmt.Errorf("cannot write a unit with %q: a unit file has no way to say it", s)
		}
	}
	if strings.ContainsAny(u.binary, `"'\`) {
		return "", fmt.Errorf("cannot write a unit for %s: systemd takes no quotes and backslashes in a program's path", u.binary)
	}
	target, after, account := "multi-user.target", "After=network.target", "User="+u.user+"\n"
	if u.online {
		after = "Wants=network-online.target\nAfter=network-online.target"
	}
	if u.user == "" {
		target, after, account = "default.target", "", ""
	}
	lines := []string{
		unitMark,
		"[Unit]",
		"Description=gopm process manager",
		after,
		"RequiresMountsFor=" + quoteUnit(u.home),
		"StartLimitIntervalSec=0",
		"",
		"[Service]",
		"Type=forking",
		account + "Environment=" + quoteUnit("PATH="+u.path),
		"Environment=" + quoteUnit("HOME="+u.userHome),
		"Environment=" + quoteUnit("GOPM_HOME="+u.home) + u.names(),
		"PIDFile=" + escapeSpecifiers(api.Home{Dir: u.home}.BootPid()),
		"ExecStart=" + quoteUnit(u.binary) + " resurrect --boot",
		"ExecReload=" + quoteUnit(u.binary) + " reload all",
		`ExecStop=/bin/sh -c 'test -z "$$MAINPID" || exec "$$0" kill' ` + quoteArg(u.binary),
		"KillMode=process",
		"Restart=always",
		"RestartSec=1",
		"RestartPreventExitStatus=0",
		"OOMPolicy=continue",
		"LimitNOFILE=65536:524288",
		"TasksMax=infinity",
		"Delegate=cpu memory pids",
		"DelegateSubgroup=gopm-self",
		"",
		"[Install]",
		"WantedBy=" + target,
	}
	if after == "" {
		lines = append(lines[:3], lines[4:]...)
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// escapeSpecifiers keeps a per cent sign from being taken for a specifier.
func escapeSpecifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// quoteUnit writes a word that may have blanks, quotes, and per cent signs in it.
func quoteUnit(s string) string {
	s = escapeSpecifiers(s)
	if strings.ContainsAny(s, " \"'\\;#") {
		s = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}

// quoteArg is the same for an argument of a command, in which variables count, too.
func quoteArg(s string) string { return strings.ReplaceAll(quoteUnit(s), "$", "$$") }
