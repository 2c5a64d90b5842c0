package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tick       = 5 * time.Millisecond // between two lines of an app that writes
	absence    = 2 * time.Second      // how long a dead manager stays away before it is started again
	afterwards = 4 * time.Second      // for what comes of it: supervisord and runit take seconds
)

// mixed makes n apps of which every other one writes a line every 5 ms, and the others write nothing.
func mixed(n int) func(*life) []app {
	return func(l *life) []app {
		all := idle(n)(l)
		for i := 0; i < n; i += 2 {
			name := all[i].name
			all[i].args = []string{"tick", l.stamps.path, name, milli(tick)}
		}
		for i := range all {
			all[i].log = l.logOf(all[i])
		}
		return all
	}
}

// dying kills the manager itself, all of them at the same time, and starts it again two seconds later as its documentation
// says. What has become of the apps is counted before and after its return.
func dying(ctx context.Context, b *bench, n int) error {
	return b.bury(ctx, n, "manager killed", func(l *life) []int { return []int{l.top()} }, true)
}

// orphaning kills the process above each app where that isn't the manager itself, and waits.
func orphaning(ctx context.Context, b *bench, n int) error {
	return b.bury(ctx, n, "parents killed", func(l *life) []int {
		var parents []int
		for _, s := range l.stamps.latest("start") {
			if p := parent(s.pid); p != l.top() && slices.Contains(l.keepers(), p) {
				parents = append(parents, p)
			}
		}
		slices.Sort(parents)
		return slices.Compact(parents)
	}, false)
}

// outcome is what became of one manager's apps.
type outcome struct {
	twice, lacking int
	silence        float64
}

func (b *bench) bury(ctx context.Context, n int, what string, victims func(*life) []int, comeBack bool) error {
	died, twice := b.report.figure(what+": apps died", "apps"), b.report.figure(what+": apps twice", "apps")
	lacking, silence := b.report.figure(what+": not in the log", "lines"), b.report.figure(what+": longest silence", "s")
	lives := b.beginAllWith(ctx, n, mixed(n))
	defer b.endAll(lives)
	if !settle(ctx, nil, b.size.settle) {
		return nil
	}
	before := map[string]map[string]stamp{}
	for name, l := range lives {
		if r, ok := l.manager.(returner); ok && comeBack {
			if err := r.foresee(l); err != nil {
				b.report.problem(name, "%v", err)
			}
		}
		before[name] = l.stamps.latest("start")
	}
	for name, l := range lives {
		all := victims(l)
		for _, pid := range all {
			unix.Kill(pid, unix.SIGKILL)
		}
		if len(all) == 0 { // nobody is between the manager and its apps
			b.end(l)
			delete(lives, name)
		}
	}
	pause(ctx, absence)
	gone := map[string]int{}
	for name, l := range lives {
		for _, s := range before[name] {
			if !alive(s.pid) {
				gone[name]++
			}
		}
		if comeBack {
			b.revive(l)
		}
	}
	pause(ctx, afterwards)
	for name, l := range lives {
		o, err := l.remains(ctx)
		if err != nil {
			if ctx.Err() == nil {
				b.report.problem(name, "%s: %v", what, err)
			}
			continue
		}
		died.add(name, float64(gone[name]))
		twice.add(name, float64(o.twice))
		if keepLogs(l.manager) {
			lacking.add(name, float64(o.lacking))
		}
		silence.add(name, o.silence)
	}
	return nil
}

// revive starts a manager again.
func (b *bench) revive(l *life) {
	again := l.launch
	if r, ok := l.manager.(returner); ok {
		again = r.comeBack
	}
	if err := again(l); err != nil {
		b.report.problem(l.name(), "after its death: %v", err)
	}
}

// top is the manager's own first process: the one that the bench has started, else the one that has no other above it.
func (l *life) top() int {
	if len(l.own) > 0 {
		return l.own[0].Process.Pid
	}
	own := l.keepers()
	for _, pid := range own {
		if !slices.Contains(own, parent(pid)) {
			return pid
		}
	}
	return 0
}

// parent of a process; 0 where it has none.
func parent(pid int) int {
	p, _ := field(proc(pid, "status"), "PPid")
	return int(p)
}

// remains counts what there is after a death, when those that write have been told to stop.
func (l *life) remains(ctx context.Context) (outcome, error) {
	var o outcome
	told := stamps{path: l.stamps.path + ".told"}
	live := map[string]int{}
	for _, s := range l.stamps.poll() {
		if s.what == "start" && alive(s.pid) {
			live[s.tag]++
		}
	}
	for _, a := range l.apps {
		if live[a.name] > 1 {
			o.twice++
		}
	}
	if err := os.WriteFile(l.stamps.path+".stop", nil, 0o600); err != nil {
		return o, err
	}
	stopped := now()
	pause(ctx, time.Second) // for the last lines to be in files
	o.silence = silenceOf(told.poll(), stopped)
	if keepLogs(l.manager) {
		logged, err := l.ticks()
		if err != nil {
			return o, err
		}
		o.lacking = missing(told.poll(), logged)
	}
	if len(live) < len(l.apps) {
		return o, fmt.Errorf("%d of %s run at the end", len(live), apps(len(l.apps)))
	}
	return o, nil
}

// silenceOf is the longest time in which an app wrote no line, until the end, in tenths of a second; less than one is not told
// from one, because on a busy machine any app may wait so long for a processor.
func silenceOf(told []stamp, end int64) float64 {
	times := map[string][]int64{}
	for _, s := range told {
		if s.at < end {
			times[s.tag] = append(times[s.tag], s.at)
		}
	}
	var longest int64
	for _, t := range times {
		slices.Sort(t)
		t = append(t, end)
		for i := range t[1:] {
			longest = max(longest, t[i+1]-t[i])
		}
	}
	return max(math.Round(float64(longest)/1e8), 1) / 10
}

// missing counts the lines that were taken from an app and are in no log.
func missing(told []stamp, logged map[string]bool) int {
	n := 0
	for _, s := range told {
		if !logged[fmt.Sprintf("@@%s %d %s", s.tag, s.pid, s.what)] {
			n++
		}
	}
	return n
}

// ticks are the lines of the apps that write which are in logs.
func (l *life) ticks() (map[string]bool, error) {
	lines := map[string]bool{}
	for _, a := range l.apps {
		for _, path := range l.logFiles(a) {
			f, err := os.Open(path)
			if os.IsNotExist(err) {
				continue // of an app that wrote nothing
			}
			if err != nil {
				return nil, err
			}
			in := bufio.NewScanner(f)
			for in.Scan() {
				if text := in.Text(); strings.HasPrefix(text, "@@") {
					lines[text] = true
				}
			}
			err = in.Err()
			f.Close()
			if err != nil {
				return nil, err
			}
		}
	}
	return lines, nil
}
