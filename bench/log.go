package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	rotateAt  = 10 << 20 // "10M", as the ecosystem file says
	rotateLag = 1 << 20  // how far a file may grow beyond it to end with a whole line
	logTag    = "log0"
	logLimit  = 2 * time.Minute
)

// logging measures one app that writes as fast as it can into gopm's rotated log, into pm2's (not rotated) and through
// cat into a file, which is the floor. Each line is checked afterwards.
func logging(ctx context.Context, b *bench, _ int) error {
	speed := b.report.figure("log, rotated", "MB/s")
	cost := b.report.figure("log, CPU", "s per GB")
	for round := range b.size.logRounds {
		for _, m := range b.turn(round) {
			if ctx.Err() != nil {
				return nil
			}
			if err := b.logOnce(ctx, m, speed, cost); err != nil {
				b.report.problem(m.name(), "log: %v", err)
			}
		}
	}
	return nil
}

// logOnce lets one app write under one manager.
func (b *bench) logOnce(ctx context.Context, m manager, speed, cost *figure) error {
	if m.name() == floorName {
		m = catManager{}
	}
	l, err := b.prepare(m, b.writer)
	if err != nil {
		return err
	}
	defer b.end(l)
	if err := l.launch(l); err != nil {
		return err
	}
	if !wait(ctx, time.Minute, time.Millisecond, func() bool { return l.stamps.count("ready") == 1 }) {
		return fmt.Errorf("the app did not start")
	}
	settle(ctx, []*life{l}, b.size.settle/6)
	size := int64(b.size.lines) * lineLength
	if err := warm(l.dir, size); err != nil {
		return err
	}
	own := l.keepers()
	before := cpuTime(own)
	ended, err := l.write(ctx, size)
	if err != nil {
		return err
	}
	spent := cpuTime(own) - before
	if wrong, err := l.checkLog(b.size.lines, m.name() == gopmName); err != nil || wrong != "" {
		return fmt.Errorf("%s%v", wrong, orNothing(err))
	}
	seconds := milliseconds(l.stamps.latest("begin")[logTag].at, ended) / 1000
	speed.add(m.name(), float64(size)/1e6/seconds)
	cost.add(m.name(), spent.Seconds()/(float64(size)/1e9))
	return nil
}

// writer is the one app.
func (b *bench) writer(l *life) []app {
	return []app{{name: logTag, log: filepath.Join(l.dir, "logs", logTag+".log"),
		args: []string{"log", l.stamps.path, logTag, strconv.Itoa(b.size.lines)}}}
}

// write gives the app its signal and returns when all its bytes are in files. First the app's own word is
// awaited, which costs nothing to look at; only 64 KB can be missing then.
func (l *life) write(ctx context.Context, size int64) (int64, error) {
	if err := os.WriteFile(l.stamps.path+".go", nil, 0o600); err != nil {
		return 0, err
	}
	if !wait(ctx, logLimit, time.Millisecond, func() bool { return l.stamps.count("done") == 1 }) {
		return 0, fmt.Errorf("the app could not write its lines within %v", logLimit)
	}
	ended := l.stamps.latest("done")[logTag].at
	first, written := true, int64(0)
	// Ends, too, when nothing has grown for long: what is missing then is for the check to say.
	for grown := time.Now(); time.Since(grown) < 5*time.Second && ctx.Err() == nil; first = false {
		now, at := l.logSize(), now()
		if now >= size {
			if !first { // else it may have been there since the app's word
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

// logFiles are the files of the log, the oldest first: rotated ones sort by the time in their names, the
// one that is written is the last.
func (l *life) logFiles() []string {
	current := l.apps[0].log
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(current), logTag+"*")) // the pattern is ours
	return order(files, current)
}

func order(files []string, current string) []string {
	files = slices.DeleteFunc(slices.Clone(files), func(f string) bool { return f == current })
	slices.Sort(files)
	return append(files, current)
}

func (l *life) logSize() int64 {
	var total int64
	for _, path := range l.logFiles() {
		if info, err := os.Stat(path); err == nil {
			total += info.Size()
		}
	}
	return total
}

// checkLog says what is wrong with the log, and with its rotation where there should be one.
func (l *life) checkLog(lines int, rotated bool) (string, error) {
	files := l.logFiles()
	t, err := check(logTag, lines, files)
	if err != nil || t.String() != "" {
		return t.String(), err
	}
	if !rotated {
		return "", nil
	}
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.Size() > rotateAt+rotateLag {
			return fmt.Sprintf("%s has %d bytes, to be rotated at %d", filepath.Base(path), info.Size(), rotateAt), nil
		}
	}
	return "", nil
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

// catManager is the floor of the log: the app's pipe, and cat from there into one file.
type catManager struct{}

func (catManager) name() string               { return floorName }
func (catManager) environment(*life) []string { return nil }
func (catManager) list(*life) []string        { return nil }
func (catManager) prepare(l *life) error      { return os.MkdirAll(filepath.Dir(l.apps[0].log), 0o700) }

func (catManager) launch(l *life) error {
	out, err := os.Create(l.apps[0].log)
	if err != nil {
		return err
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	writer := exec.Command(l.child, l.apps[0].args...)
	writer.Stdout = w
	cat := exec.Command("cat")
	cat.Stdin, cat.Stdout = r, out
	for _, cmd := range []*exec.Cmd{writer, cat} {
		cmd.Env, cmd.Dir = l.env, l.dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		l.own = append(l.own, cmd)
	}
	return nil
}

func orNothing(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
