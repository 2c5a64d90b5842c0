package cmd

import (
	"slices"
	"strings"
)

// Called as pm2, gopm understands a call as pm2's parser does: every option is one of every
// command and may come before it, some have a value that may be left out, and what means
// nothing is no error. This file makes of such a call one of gopm's. It decides only.

// takes is what follows an option.
type takes int

const (
	nothing takes = iota
	oneValue
	maybeValue // the next word, if it is no option
	folder     // the next word, if it is one and there is a script already
	codes      // all the numbers that follow
)

// pm2Option is one of those that pm2 has everywhere.
type pm2Option struct {
	names string // the long one, and its letter
	takes takes
	ours  string // what it is called here, if it has another name; with "=" the value, too
}

// pm2Options is data only, so that nothing has to be made when a process starts.
var pm2Options = [...]pm2Option{
	{"silent s", nothing, ""},
	{"ext", oneValue, ""},
	{"name n", oneValue, ""},
	{"mini-list m", nothing, ""},
	{"interpreter", oneValue, ""},
	{"interpreter-args", oneValue, ""},
	{"node-args", oneValue, ""},
	{"output o", oneValue, ""},
	{"error e", oneValue, ""},
	{"log l", maybeValue, ""},
	{"filter-env", maybeValue, ""},
	{"log-type", oneValue, ""},
	{"log-date-format", oneValue, ""},
	{"time", nothing, ""},
	{"timestamp", maybeValue, ""},
	{"disable-logs", nothing, ""},
	{"env", oneValue, ""},
	{"update-env a", nothing, ""},
	{"force f", nothing, ""},
	{"instances i", oneValue, ""},
	{"parallel", oneValue, ""},
	{"shutdown-with-message", nothing, ""},
	{"pid p", oneValue, ""},
	{"kill-timeout k", oneValue, ""},
	{"listen-timeout", oneValue, ""},
	{"max-memory-restart", oneValue, ""},
	{"restart-delay", oneValue, ""},
	{"exp-backoff-restart-delay", oneValue, ""},
	{"execute-command x", nothing, ""},
	{"max-restarts", maybeValue, ""},
	{"user u", oneValue, "user-name"},
	{"uid", oneValue, ""},
	{"gid", oneValue, ""},
	{"namespace", oneValue, ""},
	{"cwd", oneValue, ""},
	{"hp", oneValue, ""},
	{"wait-ip", nothing, ""},
	{"service-name", oneValue, ""},
	{"cron c", oneValue, ""},
	{"cron-restart", oneValue, ""},
	{"write w", nothing, ""},
	{"no-daemon", nothing, ""},
	{"source-map-support", nothing, ""},
	{"only", oneValue, ""},
	{"disable-source-map-support", nothing, ""},
	{"wait-ready", nothing, ""},
	{"merge-logs", nothing, ""},
	{"watch", folder, ""},
	{"ignore-watch", oneValue, ""},
	{"watch-delay", oneValue, ""},
	{"no-color", nothing, ""},
	{"no-vizion", nothing, ""},
	{"no-autostart", nothing, ""},
	{"no-autorestart", nothing, ""},
	{"stop-exit-codes", codes, ""},
	{"no-treekill", nothing, ""},
	{"no-pmx", nothing, ""},
	{"no-automation", nothing, ""},
	{"trace", nothing, ""},
	{"disable-trace", nothing, ""},
	{"sort", oneValue, ""},
	{"attach", nothing, ""},
	{"v8", nothing, ""},
	{"event-loop-inspector", nothing, ""},
	{"deep-monitoring", nothing, ""},

	// Of pm2-runtime.
	{"secret", maybeValue, ""},
	{"public", maybeValue, ""},
	{"machine-name", maybeValue, ""},
	{"web", maybeValue, ""},
	{"delay", oneValue, ""},
	{"format", nothing, ""},
	{"raw", nothing, ""},
	{"formatted", nothing, ""},
	{"json", nothing, ""},
	{"no-auto-exit", nothing, "exit-on=never"},
}

// pm2Item is one part of a call: a word, or an option with its value.
type pm2Item struct {
	text   string // a word, or an option that isn't pm2's
	option *pm2Option
	name   string // of the option
	value  string
	has    bool // a value
}

// pm2World is what a call depends on.
type pm2World struct {
	knows    func(command, option string) bool // gopm's command has such an option
	isFolder func(path string) bool
}

// fromPM2 is gopm's call for one of pm2, without the name of the program, and the options
// that mean nothing here.
func fromPM2(args []string, w pm2World) (call, dropped []string) {
	head, tail := beforeDashes(args)
	items := pm2Items(head, w.isFolder, 2) // the command and the script
	at := slices.IndexFunc(items, func(i pm2Item) bool { return i.option == nil && !strings.HasPrefix(i.text, "-") })
	if at < 0 {
		return args, nil
	}
	command := items[at].text
	call, dropped = w.assemble(command, slices.Delete(items, at, at+1))
	return append(append([]string{command}, call...), tail...), dropped
}

// fromRuntime is the same for pm2-runtime, which has one command and may be given anything.
func fromRuntime(args []string, w pm2World) (call, dropped []string) {
	head, tail := beforeDashes(args)
	if slices.Contains(head, "--version") || slices.Contains(head, "-v") || slices.Contains(head, "-V") {
		return []string{"version"}, nil
	}
	items := pm2Items(head, w.isFolder, 1)
	isStart := func(i pm2Item) bool { return i.option == nil && i.text == "start" }
	if at := slices.IndexFunc(items, func(i pm2Item) bool { return i.option == nil && !strings.HasPrefix(i.text, "-") }); at >= 0 && isStart(items[at]) {
		items = slices.Delete(items, at, at+1)
	}
	items = slices.DeleteFunc(items, func(i pm2Item) bool {
		strange := i.option == nil && strings.HasPrefix(i.text, "-") && i.text != "-" && i.text != "--help" && i.text != "-h"
		if name, _, _ := strings.Cut(strings.TrimLeft(i.text, "-"), "="); strange && !w.knows("runtime", name) {
			dropped = append(dropped, i.text)
			return true
		}
		return false
	})
	call, more := w.assemble("runtime", items)
	return append(append([]string{"runtime"}, call...), tail...), append(dropped, more...)
}

// beforeDashes parts a call at "--"; what follows belongs to the program.
func beforeDashes(args []string) (head, tail []string) {
	if at := slices.Index(args, "--"); at >= 0 {
		return args[:at], args[at:]
	}
	return args, nil
}

// pm2Items reads a call. A folder can be the value of an option after so many words.
func pm2Items(args []string, isFolder func(string) bool, words int) (items []pm2Item) {
	seen := 0
	for len(args) > 0 {
		item := pm2Item{text: args[0]}
		args = args[1:]
		if item.recognize(); item.option == nil {
			if !strings.HasPrefix(item.text, "-") {
				seen++
			}
			items = append(items, item)
			continue
		}
		next := len(args) > 0 && !strings.HasPrefix(args[0], "-")
		switch t := item.option.takes; {
		case item.has, len(args) == 0, t == nothing:
		case t == oneValue, t == maybeValue && next, t == folder && next && seen >= words && isFolder(args[0]):
			item.value, item.has, args = args[0], true, args[1:]
		case t == codes:
			var all []string
			for len(args) > 0 && strings.Trim(args[0], "0123456789,") == "" {
				all, args = append(all, args[0]), args[1:]
			}
			item.value, item.has = strings.Join(all, ","), len(all) > 0
		}
		items = append(items, item)
	}
	return items
}

// recognize finds pm2's option in a word: --name=x, --name, -n, -nx.
func (i *pm2Item) recognize() {
	long, isLong := strings.CutPrefix(i.text, "--")
	short, isShort := strings.CutPrefix(i.text, "-")
	switch {
	case isLong:
		i.name, i.value, i.has = strings.Cut(long, "=")
	case isShort && short != "":
		i.name, i.value = short[:1], short[1:]
		i.has = i.value != ""
	default:
		return
	}
	for at := range pm2Options {
		o := &pm2Options[at]
		name, letter, _ := strings.Cut(o.names, " ")
		if isLong && name == i.name || !isLong && letter == i.name {
			if i.has && o.takes == nothing { // -sf, or a value where none belongs: gopm's parser says what is wrong
				return
			}
			i.option, i.name = o, name
			return
		}
	}
}

// assemble writes the options as gopm has them, and names those that a command hasn't.
func (w pm2World) assemble(command string, items []pm2Item) (call, dropped []string) {
	for _, i := range items {
		if i.option == nil {
			call = append(call, i.text)
			continue
		}
		name, fixed, _ := strings.Cut(i.option.ours, "=")
		if name == "" {
			name = i.name
		}
		value := orElse(fixed, i.value)
		switch {
		case !w.knows(command, name), i.option.takes == codes && !i.has, name == "filter-env" && !i.has, name == "max-restarts" && !i.has:
			if name != "raw" { // what it asks for is the rule here
				dropped = append(dropped, "--"+i.name)
			}
			continue
		case name == "log" && !i.has:
			value = "true"
		case name == "only":
			value = strings.ReplaceAll(value, " ", ",")
		case name == "watch-delay" && value != "" && strings.Trim(value, "0123456789.") == "":
			value += "s" // on pm2's command line; in its files these are milliseconds
		}
		if value == "" && !i.has {
			call = append(call, "--"+name)
		} else {
			call = append(call, "--"+name+"="+value)
		}
	}
	return call, dropped
}
