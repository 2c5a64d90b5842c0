package cmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// script is what a host's shell gets on its standard input: the values of the file as
// variables, quoted so that no shell makes anything of them, then the functions, then
// the call, without which a script that was cut off does nothing.
func (d *deployment) script(step string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(d.block.Env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, quoteShell(d.block.Env[name]))
	}
	fast := "no"
	if d.block.Fast {
		fast = "yes"
	}
	h := d.block.Hooks
	fmt.Fprintf(&b, "GIT_TERMINAL_PROMPT=0 d_path=%s d_repo=%s\nexport GIT_TERMINAL_PROMPT\n", remotePath(d.block.Path), remotePath(d.block.Repo))
	for _, v := range []struct{ name, value string }{
		{"mark", d.token}, {"token", d.token}, {"who", deployWho()},
		{"ref", d.block.Ref}, {"fast", fast}, {"keep", fmt.Sprint(d.block.Keep)},
		{"count", fmt.Sprint(d.count)}, {"need", d.need}, {"command", d.command},
		{"pre_setup", h.PreSetup}, {"post_setup", h.PostSetup}, {"pre_deploy", h.PreDeploy}, {"post_deploy", h.PostDeploy},
	} {
		fmt.Fprintf(&b, "d_%s=%s\n", v.name, quoteShell(v.value))
	}
	b.WriteString(deployScript)
	merged := " 2>&1" // one stream keeps its order
	if step == "execute" {
		merged = ""
	}
	fmt.Fprintf(&b, "main %s </dev/null%s\n", step, merged)
	return b.String()
}

// remotePath is a path of the host in the words of a shell.
func remotePath(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return `"$HOME"/` + quoteShell(rest)
	}
	return quoteShell(path)
}

// unshownLines is how much of what a silent deployment prints is shown when it fails.
const unshownLines = 20

// print shows a line of a host, with its name when there are several.
func (d *deployment) print(h *deployHost, line string, onErr bool) {
	if len(d.hosts) > 1 {
		line = "[" + h.name + "] " + line
	}
	d.printing.Lock()
	defer d.printing.Unlock()
	switch {
	case onErr:
		d.c.warn("%s", line)
	case d.command != "":
		fmt.Fprintln(d.c.out, line)
	case d.c.silent:
		d.unshown = append(d.unshown, line)
		d.unshown = d.unshown[max(0, len(d.unshown)-unshownLines):]
	default:
		d.c.say("%s", line)
	}
}

// showLast shows what --silent has held back.
func (d *deployment) showLast() {
	for _, line := range d.unshown {
		d.c.warn("%s", line)
	}
	d.unshown = nil
}

// printRows shows a host's releases: all of them as a table, or the one's commit.
func (d *deployment) printRows(h *deployHost, table bool) {
	if !table {
		for _, r := range h.facts.rows {
			d.printRow(h, r.commit)
		}
		return
	}
	if h.facts.done && len(h.facts.rows) == 0 {
		d.printRow(h, "no releases yet")
	}
	for _, r := range h.facts.rows {
		mark, since := " ", "never current"
		if r.current {
			mark = "*"
		}
		if !r.since.IsZero() {
			since = r.since.Format(time.DateTime)
		}
		d.printRow(h, fmt.Sprintf("%s %4s  %s  %-19s  %-12s  %s", mark, r.number, r.short(), since, r.ref, r.subject))
	}
}

func (d *deployment) printRow(h *deployHost, line string) {
	if len(d.hosts) > 1 {
		line = "[" + h.name + "] " + line
	}
	fmt.Fprintln(d.c.out, strings.TrimRight(line, " "))
}
