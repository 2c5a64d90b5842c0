package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func plain(line []byte) []byte { return line }

func stamped(line []byte) []byte { return bytes.TrimPrefix(line, []byte("T: ")) }

func fromJSON(line []byte) []byte {
	var v struct{ Message string }
	if json.Unmarshal(line, &v) != nil {
		return nil
	}
	return []byte(v.Message + "\n")
}

// logged is a log file, the streams that write it, and how.
type logged struct {
	path    string
	decode  func([]byte) []byte
	streams []int
}

// everyMode is a set of streams of all kinds, and the files they write.
func everyMode(dir string) (targets []Target, all []logged) {
	add := func(name string, decode func([]byte) []byte, t ...Target) {
		l := logged{path: filepath.Join(dir, name+".log"), decode: decode}
		for i := range t {
			l.streams = append(l.streams, len(targets)+i)
			if t[i].Path == "" {
				t[i].Path = l.path
			}
		}
		targets, all = append(targets, t...), append(all, l)
	}
	stamp, small := Format{Layout: "[T]"}, Rotation{MaxSize: 300_000, Compress: true}
	add("raw", plain, Target{})
	add("rotated", plain, Target{Rotation: small})
	add("stamped", stamped, Target{Format: stamp})
	add("json", fromJSON, Target{Format: Format{JSON: true}, Rotation: small})
	add("merged", plain, Target{Rotation: small}, Target{Rotation: small})
	add("merged-stamped", stamped, Target{Format: stamp}, Target{Format: stamp})
	add("buffered", plain, Target{Buffered: true})
	add("buffered-rotated", plain, Target{Buffered: true, Rotation: small})
	add("buffered-stamped", stamped, Target{Buffered: true, Format: stamp})
	add("buffered-merged", plain, Target{Buffered: true}, Target{Buffered: true})
	for _, buffered := range []bool{false, true} {
		name := fmt.Sprintf("also-%v", buffered)
		both := filepath.Join(dir, name+".log")
		t := func(i int) Target {
			return Target{Path: fmt.Sprintf("%s-%d", both, i), Also: both, Buffered: buffered, Rotation: small}
		}
		add(name, plain, t(0), t(1))
		for i := range 2 {
			n := len(targets) - 2 + i
			all = append(all, logged{path: targets[n].Path, decode: plain, streams: []int{n}})
		}
	}
	return targets, all
}

// TestHandOver: many daemons follow one another while programs write in every
// mode. Each line is in its files exactly once, or, where a program was faster than
// a queue, counted as dropped.
func TestHandOver(t *testing.T) {
	t.Parallel()
	targets, logs := everyMode(t.TempDir())
	e := newEstate(t, targets)
	times, lines := scaled(40), scaled(8000)
	if testing.Short() {
		lines = min(lines, 3000)
	}
	sources, wait := e.begin(t, 1, slices.Repeat([]int{lines}, len(targets)))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range times {
		h := e.start(t)
		at := int64(lines * (i + 1) / (times + 4))
		eventually(t, func() error {
			if n := sources[r.IntN(len(sources))].wrote.Load(); n < at {
				return fmt.Errorf("%d lines, waiting for %d", n, at)
			}
			return nil
		})
		h.end(t, false)
	}
	e.finish(t, wait)
	if e.told == 0 {
		t.Error("nothing was in memory, ever")
	}
	for _, l := range logs {
		s := readLog(t, l.path, l.decode)
		if len(s.torn) > 0 {
			t.Errorf("%s: %d lines are torn or doubled: %.300q", l.path, len(s.torn), s.torn)
		}
		for _, n := range l.streams {
			gone := lines - s.next[n] + s.gaps[n]
			if dropped := e.counts[n].Dropped; int64(gone*lineLength) != dropped || gone > 0 && !targets[n].Buffered {
				t.Errorf("%s: stream %d lacks %d lines, %d bytes are counted as dropped", l.path, n, gone, dropped)
			}
		}
	}
}

// finish has a last daemon write what the programs have to say.
func (e *estate) finish(t *testing.T, wait func()) {
	t.Helper()
	p, err := NewPump(Options{Log: t.Logf, Second: e.keepCopy})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var all []Adoption
	for i, target := range e.targets {
		all = append(all, Adoption{Target: target, Pipe: duplicate(t, e.pipes[i]), Second: duplicate(t, e.seconds[target.Key]), Count: e.counts[i], Killed: e.killed})
	}
	streams, err := p.AdoptAll(all)
	if err != nil {
		t.Fatal(err)
	}
	wait()
	for i, s := range streams {
		flush(t, s)
		e.counts[i] = s.Stats()
	}
	eventually(t, func() error {
		p.fam.packer.mu.Lock()
		defer p.fam.packer.mu.Unlock()
		if p.fam.packer.working != nil {
			return fmt.Errorf("compressing")
		}
		return nil
	})
}

// keepCopy is keep within one process.
func (e *estate) keepCopy(key string, pipe *os.File) {
	if pipe != nil {
		fd := -1
		if raw, err := pipe.SyscallConn(); err == nil {
			raw.Control(func(old uintptr) { fd, _ = reopen(int(old), os.O_RDWR) })
		}
		pipe = os.NewFile(uintptr(fd), "second pipe")
	}
	e.keep(key, pipe)
}

// duplicate is for an Adoption, which is closed.
func duplicate(t *testing.T, f *os.File) (d *os.File) {
	t.Helper()
	if f == nil {
		return nil
	}
	raw, err := f.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { d, err = childFile(int(fd)) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}
