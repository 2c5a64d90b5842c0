package logs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// kills is how often who moves the bytes is killed.
const kills = 40

// killAll kills heir after heir while programs write.
func (e *estate) killAll(t *testing.T, lines int) {
	t.Helper()
	sources, wait := e.begin(t, 3, func(int) int { return lines })
	r := rand.New(rand.NewPCG(3, 4))
	for i := range kills {
		h := e.start(t)
		at := int64(lines * (i + 1) / (kills + 4))
		eventually(t, func() error {
			if n := sources[r.IntN(len(sources))].wrote.Load(); n < at {
				return fmt.Errorf("%d lines, waiting for %d", n, at)
			}
			return nil
		})
		h.end(t, true)
	}
	e.finish(t, wait)
}

// TestKilled: forty daemons are killed at any instant while programs write, some as
// fast as they can, with rotation and compression. What isn't changed on its way is
// in the files exactly once.
func TestKilled(t *testing.T) {
	t.Parallel()
	lines := 30_000
	switch {
	case os.Getenv("LOGS_TEST_LONG") != "":
		lines = 400_000
	case raceEnabled || testing.Short():
		lines = 10_000
	}
	dir := t.TempDir()
	var targets []Target
	for i, r := range []Rotation{{}, {MaxSize: 300_000, Compress: true}, {MaxSize: 2 << 20}, {MaxSize: 5 << 20, Compress: true}, {MaxSize: 20_000, Compress: true, Retain: 10_000}} {
		targets = append(targets, Target{Path: filepath.Join(dir, fmt.Sprintf("%d.log", i)), Rotation: r})
	}
	e := newEstate(t, targets)
	e.killAll(t, lines)
	for i, target := range targets {
		s := readLog(t, target.Path, plain)
		if len(s.torn) > 0 || s.gaps[i] > 0 || s.next[i] != lines {
			t.Errorf("%s: %d lines of %d, %d are missing, torn or doubled: %.300q", target.Path, s.next[i], lines, s.gaps[i], s.torn)
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
	if os.Getenv("LOGS_TEST_LONG") != "" {
		lines = 100_000
	}
	targets, logs := everyMode(t.TempDir())
	e := newEstate(t, targets)
	e.killAll(t, lines)
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
			t.Logf("%s: stream %d lacks %d lines, %d torn", filepath.Base(l.path), n, gone, len(s.torn))
		}
	}
}
