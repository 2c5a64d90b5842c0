package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The peers besides pm2, as the tables call them.
const (
	rotatorName    = "pm2+logrotate"
	supervisorName = "supervisord"
	s6Name         = "s6"
	runitName      = "runit"
	pebbleName     = "pebble"
	overmindName   = "overmind"
)

func peerNames() []string {
	return []string{rotatorName, supervisorName, s6Name, runitName, pebbleName, overmindName}
}

// logger is a manager that names its log files by itself.
type logger interface {
	logs(a app) []string // in any order
}

// returner is a manager that has to be asked to come back with its apps after its death by another word than its start.
type returner interface {
	foresee(l *life) error // while it lives: what its documentation says to do
	comeBack(l *life) error
}

// versioned is a manager that says which version it is, for the page.
type versioned interface {
	version() string
}

// peers are those that can be found: in the parts that tools/parts installs, else on PATH. The others are named in missing.
func peers(parts, pm2 string) (found []manager, missing []string) {
	deb := filepath.Join(parts, "peers-unpacked")
	add := func(name string, m manager, programs ...string) {
		for _, p := range programs {
			if p == "" {
				missing = append(missing, name)
				return
			}
		}
		found = append(found, m)
	}
	module := filepath.Join(parts, "pm2-logrotate-3.0.0/node_modules/pm2-logrotate/app.js")
	if _, err := os.Stat(module); err == nil && pm2 != "" {
		found = append(found, rotator{pm2Manager(pm2).(pm), module})
	} else {
		missing = append(missing, rotatorName)
	}
	d := debian{deb}
	add(supervisorName, supervisord{d}, d.path("supervisord"), d.path("supervisorctl"))
	add(s6Name, s6{scanned{d}}, d.path("s6-svscan"), d.path("s6-supervise"), d.path("s6-log"), d.path("s6-svstat"))
	add(runitName, runit{scanned{d}}, d.path("runsvdir"), d.path("runsv"), d.path("svlogd"), d.path("sv"))
	p := first(filepath.Join(parts, "pebble-1.32.1/pebble"), "pebble")
	add(pebbleName, pebble{p}, p)
	o := first(filepath.Join(parts, "overmind-2.5.1/overmind"), "overmind")
	add(overmindName, overmind{o}, o, first("tmux"))
	return found, missing
}

// first is the first of some programs that is there; empty where none is.
func first(names ...string) string {
	for _, name := range names {
		if path, err := program(name); err == nil {
			return path
		}
	}
	return ""
}

// debian is where packages of Debian were unpacked, and not installed.
type debian struct{ root string }

// path of a program there, else on PATH; empty where it isn't.
func (d debian) path(name string) string { return first(filepath.Join(d.root, "usr/bin", name), name) }

// environment lets programs find each other and their libraries there.
func (d debian) environment(*life) []string {
	libraries, _ := filepath.Glob(filepath.Join(d.root, "usr/lib/*-linux-gnu")) // the pattern is ours
	return []string{
		"PATH=" + filepath.Join(d.root, "usr/bin") + ":" + os.Getenv("PATH"),
		"LD_LIBRARY_PATH=" + strings.Join(libraries, ":"),
		"PYTHONPATH=" + filepath.Join(d.root, "usr/lib/python3/dist-packages"),
	}
}

// packaged is a package's version, as tools/parts wrote it down.
func (d debian) packaged(name string) string {
	for line := range strings.Lines(readFile(filepath.Join(d.root, "versions"))) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == name {
			return words[1] + " (Debian)"
		}
	}
	return "of this machine"
}

// Who takes part in which scenario of the comparison.
func all(manager) bool { return true }

// plain are those without a second module that does nothing for the scenario.
func plain(m manager) bool {
	_, is := m.(rotator)
	return !is
}

// keepLogs are those that keep logs in files.
func keepLogs(m manager) bool {
	_, is := m.(logger)
	_, pm := m.(pm)
	return is || pm || m.name() == floorName
}

// cluster are those who can run several processes on one port.
func cluster(m manager) bool {
	_, is := m.(pm)
	return is || m.name() == floorName
}

// mortal are those whose own death can be looked at: what is under the floor has no logs, and nobody starts it again.
func mortal(m manager) bool { return plain(m) && m.name() != floorName }

// rotates says whether a manager was told to rotate its logs.
func rotates(m manager) bool { return m.name() != floorName && m.name() != pm2Name }

// batches divides managers into those that may be up at the same time when memory is measured: the kernel divides the pages
// of a program among all that run it.
func batches(managers []manager) [][]manager {
	var together, apart []manager
	for _, m := range managers {
		if plain(m) {
			together = append(together, m)
		} else {
			apart = append(apart, m)
		}
	}
	if len(apart) == 0 {
		return [][]manager{together}
	}
	return [][]manager{together, apart}
}

// probe drops the peers that can't run and list one app: what each of them would wait for in vain in every scenario is
// noted once.
func (b *bench) probe(ctx context.Context) {
	b.managers = slices.DeleteFunc(b.managers, func(m manager) bool {
		if m.name() == gopmName || m.name() == floorName || ctx.Err() != nil {
			return false
		}
		l := b.begin(ctx, m, 1)
		if l == nil {
			return true
		}
		defer b.end(l)
		// A client may ask before its server listens.
		if !wait(ctx, patience/2, 100e6, func() bool { return l.command(l.list(l)) == nil }) {
			b.report.problem(m.name(), "its listing fails")
			return true
		}
		return false
	})
}

// byContent sorts the files of a log by the first whole line's number in each: names of rotated files sort in as many ways
// as there are managers. Those without a line are last.
func byContent(files []string, tag string) []string {
	number := regexp.MustCompile(`@@` + regexp.QuoteMeta(tag) + ` (\d{9}) `)
	rank := map[string]int{}
	for _, path := range files {
		rank[path] = math.MaxInt
		if found := number.FindStringSubmatch(head(path, 4096)); found != nil {
			rank[path], _ = strconv.Atoi(found[1]) // nine digits
		}
	}
	return slices.SortedFunc(slices.Values(files), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), strings.Compare(a, b))
	})
}

// head is the beginning of a file; empty where it can't be read.
func head(path string, size int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data := make([]byte, size)
	n, _ := f.Read(data)
	return string(data[:n])
}

// glob is what matches at least one of some patterns that are ours.
func glob(patterns ...string) []string {
	var out []string
	for _, p := range patterns {
		files, _ := filepath.Glob(p)
		out = append(out, files...)
	}
	return out
}

// said is the last word of what a program prints when it is asked for its version.
func said(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	words := strings.Fields(string(out))
	if err != nil || len(words) == 0 {
		return fmt.Sprintf("unknown (%v)", err)
	}
	return strings.TrimPrefix(words[len(words)-1], "v")
}
