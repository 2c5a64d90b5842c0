package logs

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// kills is how often who moves the bytes is killed.
var kills = scaled(40)

// killAll kills heir after heir while programs write. It returns how often that
// has left bytes between pipe and file.
func (e *estate) killAll(t *testing.T, lines []int) (between int) {
	t.Helper()
	sources, wait := e.begin(t, 3, lines)
	one := 0 // the longest
	for i, n := range lines {
		if n > lines[one] {
			one = i
		}
	}
	for i := range kills {
		h := e.start(t)
		at := int64(lines[one] * (i + 1) / (kills + 4))
		eventually(t, func() error {
			if n := sources[one].wrote.Load(); n < at {
				return fmt.Errorf("%d lines, waiting for %d", n, at)
			}
			return nil
		})
		h.end(t, true)
		for _, f := range e.seconds {
			if left, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ); err == nil && left > 0 {
				between++
			}
		}
	}
	e.finish(t, wait)
	return between
}

// TestKilled: many daemons are killed at any instant while programs write, some as
// fast as they can, with rotation and compression. What isn't changed on its way is
// in the files exactly once.
func TestKilled(t *testing.T) {
	t.Parallel()
	lines := []int{30_000, 30_000, 30_000, 600_000, 30_000} // one is a flood
	switch {
	case longForm:
		lines = []int{200_000, 200_000, 200_000, 1_200_000, 200_000}
	case raceEnabled:
		lines = []int{2000, 2000, 2000, 50_000, 2000}
	case testing.Short():
		lines = []int{5000, 5000, 5000, 100_000, 5000}
	}
	dir := t.TempDir()
	var targets []Target
	for i, r := range []Rotation{{}, {MaxSize: 300_000, Compress: true}, {MaxSize: 2 << 20}, {MaxSize: 5 << 20, Compress: true}, {MaxSize: 20_000, Compress: true, Retain: 10_000}} {
		targets = append(targets, Target{Path: filepath.Join(dir, fmt.Sprintf("%d.log", i)), Rotation: r})
	}
	e := newEstate(t, targets)
	between := e.killAll(t, lines)
	if between == 0 && !raceEnabled { // the programs are too slow for a flood then
		t.Error("no kill left bytes between pipe and file")
	}
	for i, target := range targets {
		s := readLog(t, target.Path, plain)
		if len(s.torn) > 0 || s.gaps[i] > 0 || s.next[i] != lines[i] {
			t.Errorf("%s: %d lines of %d, %d are missing, torn or doubled: %.300q", target.Path, s.next[i], lines[i], s.gaps[i], s.torn)
		}
		for _, name := range listFolder(dir) {
			if filepath.Ext(name) == ".tmp" {
				t.Errorf("%s was left", name)
			}
		}
	}
}

// TestKilledFraming: where lines are changed or kept whole on their way, a kill costs
// what is in memory: at most what is read at once and the line that it ends within.
// Nothing is doubled, and no line is glued to one that was torn.
func TestKilledFraming(t *testing.T) {
	t.Parallel()
	lines := 8000
	switch {
	case longForm:
		lines = 100_000
	case raceEnabled:
		lines = 1500
	case testing.Short():
		lines = 3000
	}
	targets, logs := everyMode(t.TempDir())
	e := newEstate(t, targets)
	e.killAll(t, slices.Repeat([]int{lines}, len(targets)))
	for _, l := range logs {
		s := readLog(t, l.path, l.decode)
		for _, line := range s.torn {
			if len(line) >= lineLength { // not the beginning or the end of one that is lost
				t.Errorf("%s has %q", l.path, line)
			}
		}
		if len(s.torn) > 2*kills*len(l.streams) {
			t.Errorf("%s has %d torn lines: %.300q", l.path, len(s.torn), s.torn)
		}
		for _, n := range l.streams {
			gone := lines - s.next[n] + s.gaps[n]
			if gone > kills*(pipeChunk/lineLength+2) {
				t.Errorf("%s: stream %d lacks %d lines", l.path, n, gone)
			}
		}
	}
}
