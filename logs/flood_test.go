package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// floodLines writes numbered lines in blocks that end anywhere, until stop is closed
// or as many are written; then it sends their number, ending with a whole one.
func floodLines(w io.Writer, most int, stop <-chan struct{}) (lines int) {
	var b bytes.Buffer
	line := numbered(0) // as numbered does, but faster
	for lines < most {
		for b.Len() < pipeChunk {
			i, digits := lines, line[:8]
			for d := range digits {
				digits[7-d] = byte('0' + i%10)
				i /= 10
			}
			b.Write(line)
			lines++
		}
		select {
		case <-stop:
			most = lines
		default:
		}
		if _, err := w.Write(b.Next(pipeChunk)); err != nil {
			return -1
		}
	}
	w.Write(b.Bytes())
	return lines
}

// hasBasin looks for a stream's basin.
func hasBasin(t *testing.T, s *Stream) bool {
	t.Helper()
	has := false
	if err := s.do(context.Background(), func() error { has = s.inflow.basin >= 0; return nil }); err != nil {
		t.Fatal(err)
	}
	return has
}

// startFlood floods a stream until stop is called, which returns the number of lines.
// It returns when the stream has a basin.
func startFlood(t *testing.T, s *Stream, w io.Writer) (stop func() int) {
	t.Helper()
	end, lines := make(chan struct{}), make(chan int, 1)
	go func() { lines <- floodLines(w, 1<<30, end) }() // ended by stop, which waits for it
	eventually(t, func() error {
		if !hasBasin(t, s) {
			return fmt.Errorf("no basin: %+v", s.Stats())
		}
		return nil
	})
	return func() int { close(end); return <-lines }
}

// TestBasinOnlyInAFlood: it is there during a flood, and goes some time after it.
func TestBasinOnlyInAFlood(t *testing.T) {
	t.Parallel()
	var late atomic.Int64
	p, err := newPump(Options{Log: t.Logf}, func() time.Time { return time.Now().Add(time.Duration(late.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	path := filepath.Join(t.TempDir(), "a.log")
	s, w := openStream(t, p, Target{Path: path})
	for i := range 200 {
		write(t, w, string(numbered(i)))
		flush(t, s)
	}
	if hasBasin(t, s) {
		t.Error("a quiet stream has a basin")
	}
	if err := s.Truncate(); err != nil {
		t.Fatal(err)
	}
	lines := startFlood(t, s, w)()
	flush(t, s)
	if next := checkNumbered(t, path, 0, 1<<40); next != lines {
		t.Errorf("%d lines of %d", next, lines)
	}
	if st := s.Stats(); st.Dropped != 0 || st.Bytes != int64((lines+200)*lineLength) {
		t.Errorf("stats %+v", st)
	}
	late.Store(int64(basinAge))
	eventually(t, func() error {
		flush(t, s)
		if hasBasin(t, s) {
			return fmt.Errorf("the basin is still there")
		}
		return nil
	})
	write(t, w, "the end\n")
	flush(t, s)
	if !strings.HasSuffix(content(t, path), "\nthe end\n") {
		t.Error("the stream ended with its basin")
	}
}

// TestManyFloods: each takes its turn.
func TestManyFloods(t *testing.T) {
	t.Parallel()
	const streams = 10
	each := scaled(40_000)
	dir := t.TempDir()
	p, _ := startPump(t)
	done := make(chan int, streams)
	var all []*Stream
	for i := range streams {
		s, w := openStream(t, p, Target{Path: filepath.Join(dir, fmt.Sprintf("%d.log", i)), Rotation: Rotation{MaxSize: 300_000}})
		all = append(all, s)
		go func() { done <- floodLines(w, each, nil) }() // ends with its lines; the test waits for each
	}
	for range all {
		if n := <-done; n < each {
			t.Fatal("writing failed")
		}
	}
	for _, s := range all {
		flush(t, s)
		next := 0
		for _, f := range files(t, s.Stats().Path) {
			next = checkNumbered(t, f, next, 300_000)
		}
		if next < each {
			t.Errorf("%s: %d lines", s.Stats().Path, next)
		}
	}
}

// TestFloodIsManaged: whatever is done to a stream in the middle of a flood.
func TestFloodIsManaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: a, Rotation: Rotation{MaxSize: 2 << 20}})
	stop := startFlood(t, s, w)
	for i := range 6 {
		flush(t, s)
		if err := s.Retarget(Target{Path: []string{b, a}[i%2], Rotation: Rotation{MaxSize: 2 << 20}, UID: -1, GID: -1}); err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]func() error{"rotate": s.Rotate, "reopen": s.Reopen} {
			if err := f(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	lines := stop()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range append(files(t, a), files(t, b)...) {
		all.WriteString(content(t, name))
	}
	if got := all.Len(); got != lines*lineLength {
		t.Errorf("%d bytes of %d", got, lines*lineLength)
	}
	whole := map[string]bool{}
	for l := range strings.Lines(all.String()) {
		whole[l] = true
	}
	missing := 0
	for i := range lines {
		if !whole[string(numbered(i))] {
			missing++
		}
	}
	if missing > 12 { // torn by a change of files, which happens within a line
		t.Errorf("%d lines of %d are missing", missing, lines)
	}
}

// TestMarkInAFlood: what was written before it doesn't count as new.
func TestMarkInAFlood(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: filepath.Join(t.TempDir(), "a.log"), Rotation: Rotation{MaxSize: 4 << 20}})
	for i := range scaled(20) {
		if n := floodLines(w, 20_000, nil); n < 0 {
			t.Fatal("writing failed")
		}
		m := s.Mark()
		write(t, w, fmt.Sprintf("after %d\n", i))
		got, err := s.Since(m, 5)
		if want := fmt.Sprintf("after %d", i); err != nil || !slices.Equal(got, []string{want}) {
			t.Fatalf("since = %.200q, %v, want %q", got, err, want)
		}
	}
	if !hasBasin(t, s) {
		t.Error("that was no flood")
	}
}

// TestFloodIsRefused: a file that takes no more in the middle of a flood, and then
// does again. The limit is a process's own, so the test binary runs itself.
func TestFloodIsRefused(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=floodlimit", "LOGS_TEST_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func floodLimitChild() int {
	if err := floodLimitCase(filepath.Join(os.Getenv("LOGS_TEST_DIR"), "a.log")); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func floodLimitCase(path string) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	low := limit
	low.Cur = 3_000_050 // within a line
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		return err
	}
	p, err := NewPump(Options{Log: (&pumpLog{}).printf})
	if err != nil {
		return err
	}
	defer p.Close()
	s, err := p.Open(Target{Path: path, UID: -1, GID: -1})
	if err != nil {
		return err
	}
	w, err := s.ChildFile()
	if err != nil {
		return err
	}
	lines := floodLines(w, 60_000, nil)
	if err := s.Flush(context.Background()); err != nil {
		return err
	}
	if st := s.Stats(); st.Error == "" || st.Bytes > 3_000_150 || st.Bytes+st.Dropped != int64(lines*lineLength) {
		return fmt.Errorf("after %d bytes: %+v", lines*lineLength, st)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	lines += floodLines(w, 60_000, nil)
	if err := s.Flush(context.Background()); err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for l := range strings.Lines(string(b)) {
		var n int
		if fmt.Sscanf(l, "%d", &n); l != string(numbered(n)) {
			return fmt.Errorf("torn line %q", l)
		}
	}
	if st := s.Stats(); st.Error != "" || st.Bytes != int64(len(b)) || st.Bytes+st.Dropped != int64(lines*lineLength) || st.Bytes < 8_000_000 {
		return fmt.Errorf("file of %d bytes, stats %+v", len(b), st)
	}
	return nil
}

// TestAdopt: what is in the second pipe comes first, whatever becomes of it.
func TestAdopt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, target := range map[string]Target{
		"raw":      {},
		"rotated":  {Rotation: Rotation{MaxSize: 10}},
		"framed":   {Format: Format{Layout: "[T]"}},
		"buffered": {Buffered: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := startPump(t)
			var pipes [2]*os.File
			for i := range pipes {
				fd, err := newPipe(-1, -1)
				if err != nil {
					t.Fatal(err)
				}
				pipes[i] = os.NewFile(uintptr(fd), "pipe")
				t.Cleanup(func() { pipes[i].Close() })
			}
			write(t, pipes[0], "nd\nthird\n")
			write(t, pipes[1], "first\nseco")
			target.Path = filepath.Join(dir, name+".log")
			s := adopt(t, p, Adoption{Target: target, Pipe: pipes[0], Second: pipes[1]})
			flush(t, s)
			got := ""
			for _, f := range files(t, target.Path) {
				got += strings.ReplaceAll(content(t, f), "T: ", "")
			}
			if want := "first\nsecond\nthird\n"; got != want {
				t.Errorf("log has %q, want %q", got, want)
			}
			w, err := s.ChildFile()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			write(t, w, "fourth\n")
			eventually(t, func() error { // it is watched
				text, err := os.ReadFile(target.Path) // not there while it is rotated
				if err == nil && !strings.HasSuffix(string(text), "fourth\n") {
					err = fmt.Errorf("log has %q", text)
				}
				return err
			})
		})
	}
}

// adopt goes on with one stream.
func adopt(t testing.TB, p *Pump, a Adoption) *Stream {
	t.Helper()
	a.Target.UID, a.Target.GID = -1, -1
	all, err := p.AdoptAll([]Adoption{a})
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}
