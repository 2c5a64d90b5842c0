package ecosystem

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// watching is what watch said.
type watching struct {
	paths  []watchPath // as written; none = it is off
	more   Watch       // of its object: all but Paths
	object bool
}

// watchPath is a path that is watched, "." for the app's folder.
type watchPath struct {
	text, label string // label is behind the field's name: "[1]"
	at          place
}

// usualPoll is how often is looked when nobody said it.
const usualPoll = time.Second

// parseWatch takes true, false, paths, or an object.
func parseWatch(v *node) (w watching, err error) {
	if v.kind != kindObject {
		w.paths, err = parseWatchPaths(v)
		return w, err
	}
	w.object = true
	w.paths = []watchPath{{".", ".paths", v.place}}
	err = takeParts(v, `{"paths": ["src"], "ignore": ["*.tmp"]}`,
		part{"paths", func(v *node) (err error) {
			w.paths, err = parseWatchPaths(v)
			for i := range w.paths {
				w.paths[i].label = ".paths" + w.paths[i].label
			}
			return err
		}},
		part{"ignore", takes(&w.more.Ignore, parseTexts)},
		part{"gitignore", takes(&w.more.Gitignore, parseBool)},
		part{"delay", takes(&w.more.Delay, parseDuration)},
		part{"poll", takes(&w.more.Poll, parsePoll)},
		part{"follow_links", takes(&w.more.Follow, parseBool)})
	return w, err
}

// parseWatchPaths takes true (the app's folder), false, a path or a list of them.
func parseWatchPaths(v *node) ([]watchPath, error) {
	if on, err := parseBool(v); err == nil {
		if on {
			return []watchPath{{".", "", v.place}}, nil
		}
		return nil, nil
	}
	if v.kind != kindList {
		p, err := parseWatchPath(v)
		return []watchPath{p}, err
	}
	var all []watchPath
	var wrong partErrors
	for i, item := range v.items {
		p, err := parseWatchPath(item)
		p.label = "[" + strconv.Itoa(i) + "]"
		wrong.add(p.label, item.place, err)
		all = append(all, p)
	}
	return all, wrong.result()
}

// parseWatchPath takes a path. Of patterns, which pm2 takes here, only those that mean
// a whole folder can be watched.
func parseWatchPath(v *node) (watchPath, error) {
	s, err := parseFilled(v)
	if err != nil || v.kind != kindText {
		return watchPath{}, fmt.Errorf("want true, false, a path or a list of paths, got %s", v.describe())
	}
	for _, whole := range []string{"/**/*", "/**", "/*"} {
		s = strings.TrimSuffix(s, whole)
	}
	if s == "**" || s == "*" || s == "**/*" {
		s = "."
	}
	if strings.ContainsAny(s, "*?[{") || s[0] == '!' {
		return watchPath{}, fmt.Errorf("a pattern can't be watched, got %s: name the folder, and what not to watch of it in ignore_watch", v.describe())
	}
	return watchPath{text: s, at: v.place}, nil
}

// parsePoll takes true, false or how often to look.
func parsePoll(v *node) (time.Duration, error) {
	switch on, err := parseBool(v); {
	case err == nil && on:
		return usualPoll, nil
	case err == nil:
		return 0, nil
	}
	t, err := parseLasting(minReady)(v)
	if err != nil && v.kind != kindNumber && v.kind != kindText {
		err = fmt.Errorf(`want true, false or a time like "1s", got %s`, v.describe())
	}
	return t, err
}

// watchOptions are pm2's watch_options, which are those of chokidar.
type watchOptions struct {
	more   Watch    // Poll, Follow and Ignore
	follow bool     // followSymlinks was given
	unused []string // what means nothing here
}

// parseWatchOptions takes chokidar's options.
func parseWatchOptions(v *node) (o watchOptions, err error) {
	if v.kind != kindObject {
		return o, fmt.Errorf(`want an object like {"usePolling": true}, got %s`, v.describe())
	}
	polls, every := false, time.Duration(0)
	parts := []part{
		{"usePolling", takes(&polls, parseBool)},
		{"interval", takes(&every, parseLasting(minReady))},
		{"followSymlinks", func(v *node) error { o.follow = true; return takes(&o.more.Follow, parseBool)(v) }},
		{"ignored", takes(&o.more.Ignore, parseTexts)},
	}
	known := &node{kind: kindObject, place: v.place}
	for _, m := range v.members {
		if isPart(m.name, parts) {
			known.members = append(known.members, m)
		} else {
			o.unused = append(o.unused, m.name)
		}
	}
	err = takeParts(known, "", parts...)
	if polls && every == 0 {
		every = usualPoll
	}
	if polls {
		o.more.Poll = every
	}
	return o, err
}

func isPart(name string, parts []part) bool {
	for _, p := range parts {
		if p.name == name {
			return true
		}
	}
	return false
}
