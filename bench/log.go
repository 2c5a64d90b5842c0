package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const (
	rotateAt  = 10 << 20 // "10M", as the ecosystem file says
	rotateLag = 1 << 20  // how far a file may grow beyond it to end with a whole line
	logLimit  = 2 * time.Minute
	// moduleLag is how long a module that looks once a second may take to have done its work: until then the lines are in two files.
	moduleLag = 3 * time.Second
)

// logging measures n apps that write together so many lines as fast as they can, into gopm's rotated logs, into pm2's
// (not rotated) and through one cat each into a file, which is the floor. Each line is checked afterwards.
func logging(ctx context.Context, b *bench, n int) error {
	speed := b.report.figure("log "+apps(n), "MB/s")
	cost := b.report.figure("log "+apps(n)+", CPU", "s per GB")
	lines := b.size.lines / n
	for round := range b.size.logRounds {
		for _, m := range b.turn(round) {
			if ctx.Err() != nil {
				return nil
			}
			flow, err := b.logOnce(ctx, m, writers(n, lines, "log"))
			size := float64(n * lines * lineLength)
			rate := size / 1e6 / flow.took.Seconds()
			if err != nil && flow.took > 0 {
				err = fmt.Errorf("%v (at %s MB/s)", err, number(rate))
			}
			if err != nil {
				b.report.problem(m.name(), "log of %s: %v", apps(n), err)
				continue
			}
			if !rotates(m) && m.name() != floorName {
				b.report.remark("log: %s doesn't rotate by itself", m.name())
			}
			speed.add(m.name(), rate)
			cost.add(m.name(), flow.cpu.Seconds()/(size/1e9))
		}
	}
	return nil
}

// writers makes n apps that write so many lines each into logs of their own. The mode is one of child.c's, with what
// it needs behind the number of lines.
func writers(n, lines int, mode string, more ...string) func(*life) []app {
	return func(l *life) []app {
		var apps []app
		for i := range n {
			tag := fmt.Sprintf("log%d", i)
			args := append([]string{mode, l.stamps.path, tag, strconv.Itoa(lines)}, more...)
			apps = append(apps, app{name: tag, log: filepath.Join(l.dir, "logs", tag+".log"), args: args, lines: lines})
		}
		return apps
	}
}

// flow is what it took a manager to move the apps' output into files.
type flow struct {
	took  time.Duration // from the first line written to the last byte in a file
	cpu   time.Duration // of the manager's own processes
	grown float64       // their memory after it, less that before, in KB
}

// logOnce lets writers write under one manager.
func (b *bench) logOnce(ctx context.Context, m manager, programs func(*life) []app) (flow, error) {
	var f flow
	if m.name() == floorName {
		m = catManager{}
	}
	l, err := b.prepare(m, programs)
	if err != nil {
		return f, err
	}
	defer b.end(l)
	if err := l.launch(l); err != nil {
		return f, err
	}
	if !wait(ctx, time.Minute, time.Millisecond, func() bool { return l.stamps.count("ready") == len(l.apps) }) {
		return f, fmt.Errorf("%d of %s started", l.stamps.count("ready"), apps(len(l.apps)))
	}
	settle(ctx, map[string]*life{l.name(): l}, b.size.settle/6)
	if err := warm(l.dir, l.expected()); err != nil {
		return f, err
	}
	own := l.keepers()
	cpu, memory := cpuTime(own), anonymous(own)
	ended, err := l.write(ctx)
	if err != nil {
		return f, err
	}
	f = flow{cpu: cpuTime(own) - cpu, grown: anonymous(own) - memory, took: time.Duration(ended - l.stamps.first("begin"))}
	if !plain(m) {
		pause(ctx, moduleLag)
	}
	return f, l.checkLogs(rotates(m))
}

// anonymous is the memory of processes without the pages of files, in KB.
func anonymous(pids []int) float64 {
	n, _ := sum(pids, "smaps_rollup", "Anonymous")
	return n
}

// expected is how many bytes all apps write.
func (l *life) expected() int64 {
	var n int64
	for _, a := range l.apps {
		n += int64(a.lines) * lineLength
	}
	return n
}

// write gives the apps their signal and returns when all their bytes are in files. First the apps' own word is
// awaited, which costs nothing to look at; only 64 KB of each can be missing then.
func (l *life) write(ctx context.Context) (int64, error) {
	if err := os.WriteFile(l.stamps.path+".go", nil, 0o600); err != nil {
		return 0, err
	}
	if !wait(ctx, logLimit, time.Millisecond, func() bool { return l.stamps.count("done") == len(l.apps) }) {
		return 0, fmt.Errorf("the lines could not be written within %v", logLimit)
	}
	var ended int64
	for _, one := range l.stamps.latest("done") {
		ended = max(ended, one.at)
	}
	size, first, written := l.expected(), true, int64(0)
	// Ends, too, when nothing has grown for long: what is missing then is for the check to say.
	for grown := time.Now(); time.Since(grown) < 5*time.Second && ctx.Err() == nil; first = false {
		now, at := l.logSize(), now()
		if now >= size {
			if !first { // else it may have been there since the apps' word
				ended = at
			}
			return ended, nil
		}
		if now != written {
			written, grown = now, time.Now()
		}
		pause(ctx, 500*time.Microsecond)
	}
	return now(), ctx.Err()
}

// logFiles are the files of an app's log, the oldest first. Rotated ones of gopm sort by the time in their names, the
// one that is written is the last; those of a logger are sorted by what is in them.
func (l *life) logFiles(a app) []string {
	if k, ok := l.manager.(logger); ok {
		return byContent(k.logs(a), a.name)
	}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(a.log), a.name+`[.\-]*`)) // the pattern is ours
	return order(files, a.log)
}

func order(files []string, current string) []string {
	files = slices.DeleteFunc(slices.Clone(files), func(f string) bool { return f == current })
	slices.Sort(files)
	return append(files, current)
}

// logSize is how many bytes are in files.
func (l *life) logSize() int64 {
	var total int64
	for _, a := range l.apps {
		for _, path := range l.logFiles(a) {
			if info, err := os.Stat(path); err == nil {
				total += info.Size()
			}
		}
	}
	return total
}

// checkLogs is nil when every app's log has every line, and is rotated where it should be.
func (l *life) checkLogs(rotated bool) error {
	for _, a := range l.apps {
		files := l.logFiles(a)
		t, err := check(a.name, a.lines, files)
		if err != nil {
			return err
		}
		if t.String() != "" {
			return fmt.Errorf("%s: %s", a.name, t)
		}
		for _, path := range files {
			if info, err := os.Stat(path); rotated && err == nil && info.Size() > rotateAt+rotateLag {
				return fmt.Errorf("%s has %d bytes, to be rotated at %d", filepath.Base(path), info.Size(), rotateAt)
			}
		}
	}
	return nil
}

// warm writes and frees as much as the log will be: a virtual machine's first use of memory is several
// times slower than the next.
func warm(dir string, size int64) error {
	path := filepath.Join(dir, "warm")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer f.Close()
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = 'x'
	}
	for range (size + size/10) >> 20 {
		if _, err := f.Write(block); err != nil {
			return fmt.Errorf("no room for %d MB of log: %v", size>>20, err)
		}
	}
	return nil
}
