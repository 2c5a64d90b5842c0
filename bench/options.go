package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are the command line, and what follows from it.
type options struct {
	gopm, pm2 string // programs; empty = not measured
	only      []string
	json      string
	strict    bool
	size      size
	// the comparison with all peers
	peers bool
	among []string // who is measured; empty: all
	page  string   // where its tables are written
}

// size says how much of everything is measured.
type size struct {
	apps      int           // scenarios with more apps are left out unless they are named
	settle    time.Duration // mem, serve, reload, storm: least time after the start
	idle      time.Duration // mem: how long CPU time is counted
	idleApps  int           // mem: with how many apps
	calls     int           // ls: calls, crash: crashes
	volleys   int           // crash of many: rounds
	logRounds int
	starts    int // start; three times as many of one app
	lines     int // log: of all apps together
	// pace: how often, and how long
	paceRounds int
	pace       time.Duration
	// serve: how often, and how long
	serveRounds int
	serve       time.Duration
	reloads     int           // and a third of the kills of a storm
	gap         time.Duration // between two of these
}

func full() size {
	return size{
		apps: 1000, settle: 3 * time.Second, idle: 20 * time.Second, idleApps: 100,
		calls: 30, volleys: 10, logRounds: 5, starts: 5, lines: 2_000_000,
		paceRounds: 3, pace: 4 * time.Second,
		serveRounds: 12, serve: time.Second, reloads: 5, gap: time.Second,
	}
}

// brief is for a look while working: about a minute, so the idle time and the repetitions are few.
func brief() size {
	s := full()
	s.apps, s.idle = 100, 3*time.Second
	s.calls, s.volleys, s.logRounds, s.starts, s.lines = 10, 3, 2, 1, 1_000_000
	s.paceRounds, s.pace = 1, 2*time.Second
	s.serveRounds, s.reloads = 3, 2
	return s
}

// side is for the comparison with all peers: there are three times as many, and some are slow.
func side() size {
	s := full()
	s.apps, s.calls, s.logRounds, s.starts, s.lines = 100, 15, 2, 3, 1_500_000
	s.serveRounds, s.reloads = 4, 3
	return s
}

// choose carries -managers over, which also says whether peers are to be looked for.
func (o *options) choose(among string) error {
	known := append([]string{gopmName, floorName, pm2Name}, peerNames()...)
	for _, name := range strings.FieldsFunc(among, func(r rune) bool { return r == ',' }) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("-managers %s: not one of %s", name, strings.Join(known, ", "))
		}
		o.among = append(o.among, name)
		o.peers = o.peers || slices.Contains(peerNames(), name)
	}
	if o.page != "" && !o.peers {
		return fmt.Errorf("-page has the tables of the comparison with all peers: use it with -peers")
	}
	return nil
}

// parse reads the command line.
func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	gopm := f.String("gopm", "bin/gopm", "the gopm program; none measures without it")
	pm2 := f.String("pm2", "", "the pm2 program; empty looks in ${GOPM_CACHE:-~/.cache/gopm}/parts and on PATH, none measures without it")
	only := f.String("only", "", "scenarios, separated by commas (ls, or ls1000): "+strings.Join(names(), ","))
	quick := f.Bool("quick", false, "few repetitions and at most 100 apps: about a minute")
	lines := f.Int("n", 0, "lines of 100 bytes that log writes (default 2000000)")
	reps := f.Int("reps", 0, "calls of ls and crashes (default 30); what takes longer is repeated a third or a sixth as often")
	f.StringVar(&o.json, "json", "", "file for every measured value")
	f.BoolVar(&o.peers, "peers", false, "measure all managers that can be found beside each other, in fewer scenarios: about ten minutes")
	among := f.String("managers", "", "only these, separated by commas: gopm,floor,pm2,"+strings.Join(peerNames(), ","))
	f.StringVar(&o.page, "page", "", "with -peers: a page of Markdown whose tables are written anew")
	f.BoolVar(&o.strict, "strict", false, "a missed target is a failure, too")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err := o.choose(*among); err != nil {
		return o, err
	}
	switch {
	case *quick:
		o.size = brief()
	case o.peers:
		o.size = side()
	default:
		o.size = full()
	}
	if err := o.resize(*lines, *reps); err != nil {
		return o, err
	}
	for _, name := range strings.FieldsFunc(*only, func(r rune) bool { return r == ',' }) {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name || s.id() == name }) {
			return o, fmt.Errorf("-only %s: not one of %s", name, strings.Join(names(), ", "))
		}
		o.only = append(o.only, name)
	}
	return o, o.programs(*gopm, *pm2)
}

// resize carries -n and -reps over to the sizes; 0 = not given.
func (o *options) resize(lines, reps int) error {
	if lines < 0 || reps < 0 {
		return fmt.Errorf("-n and -reps must be above 0")
	}
	if lines > 999_999_999 {
		return fmt.Errorf("-n %d: at most 999999999 lines", lines)
	}
	if lines > 0 {
		o.size.lines = lines
	}
	if reps > 0 {
		o.size.calls = reps
		sixth := (reps + 5) / 6
		o.size.volleys, o.size.logRounds, o.size.starts = 2*sixth, sixth, sixth
		o.size.paceRounds, o.size.serveRounds = sixth, 2*sixth
	}
	return nil
}

// programs finds what is measured. gopm must be there; pm2 may be missing, unless it was named.
func (o *options) programs(gopm, pm2 string) error {
	var err error
	if gopm != "none" {
		if o.gopm, err = program(gopm); err != nil {
			return fmt.Errorf("cannot find gopm: %v; run make build, or name it with -gopm", err)
		}
	}
	switch pm2 {
	case "none":
	case "":
		o.pm2 = findPM2(os.Getenv)
	default:
		if o.pm2, err = program(pm2); err != nil {
			return fmt.Errorf("cannot find pm2: %v", err)
		}
	}
	return nil
}

// parts is the folder in which tools/parts installs things.
func parts(getenv func(string) string) string {
	cache := getenv("GOPM_CACHE")
	if cache == "" {
		cache = filepath.Join(getenv("HOME"), ".cache", "gopm")
	}
	return filepath.Join(cache, "parts")
}

// findPM2 looks where make bench installs pm2, then on PATH; empty = nowhere.
func findPM2(getenv func(string) string) string {
	return first(filepath.Join(parts(getenv), "pm2-7.0.4/node_modules/.bin/pm2"), "pm2")
}

// program is the absolute path of an executable.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// wants says whether a scenario is asked for: by its full name, or by its name alone, or because none is named.
func (o options) wants(s scenario) bool {
	if o.peers && s.among == nil {
		return false
	}
	if slices.Contains(o.only, s.id()) {
		return true
	}
	return s.apps <= o.size.apps && (len(o.only) == 0 || slices.Contains(o.only, s.name))
}

// names of all scenarios.
func names() []string {
	var out []string
	for _, s := range scenarios {
		out = append(out, s.id())
	}
	return out
}
