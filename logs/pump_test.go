package logs

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestFloodIsCompleteAndInOrder: two million lines from a real process through a rotated stream.
func TestFloodIsCompleteAndInOrder(t *testing.T) {
	t.Parallel()
	lines := 2_000_000
	if raceEnabled && !longForm || testing.Short() {
		lines = 100_000
	}
	const maxSize = 5 << 20
	path := filepath.Join(t.TempDir(), "app-out.log")
	p, _ := startPump(t)
	s, _ := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: maxSize}})
	cmd := child(t, s, "LOGS_TEST_CHILD=flood", fmt.Sprintf("LOGS_TEST_LINES=%d", lines))
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	all := files(t, path)
	next := 0
	for _, name := range all {
		next = checkNumbered(t, name, next, maxSize)
	}
	if next != lines {
		t.Errorf("%d lines in %d files, want %d", next, len(all), lines)
	}
	st := s.Stats()
	if want := int64(lines * lineLength); st.Bytes != want || st.Dropped != 0 || st.Rotations != len(all)-1 {
		t.Errorf("stats %+v, want %d bytes, %d rotations", st, want, len(all)-1)
	}
	if least := lines * lineLength / maxSize; len(all) > least+least/20+2 {
		t.Errorf("%d files for %d bytes: rotated too early", len(all), lines*lineLength)
	}
}

// checkNumbered reads a file of numbered lines and returns the next number.
func checkNumbered(t *testing.T, name string, next, maxSize int) int {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := 0
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if len(line) > 0 {
				t.Fatalf("%s ends within a line: %q", name, line)
			}
			break
		}
		if !bytes.Equal(line, numbered(next)) {
			t.Fatalf("%s: line %d is %q", name, next, line)
		}
		next++
		size += len(line)
	}
	if size > maxSize {
		t.Errorf("%s has %d bytes, limit %d", name, size, maxSize)
	}
	return next
}

func TestPartialLineIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "folder", "a.log")
	p, _ := startPump(t)
	_, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 1000}})
	write(t, w, "name? ")
	has(t, path, "name? ")
	write(t, w, "joe\n")
	has(t, path, "name? joe\n")
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if fi, err := os.Stat(name); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, fi.Mode(), err, want)
		}
	}
}

func TestRotationKeepsLinesWhole(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		max    int64
		shared bool
		write  []string
		want   []string
	}{
		"exactly full":          {10, false, []string{"123456789\n", "x\n"}, []string{"123456789\n", "x\n"}},
		"would pass":            {10, false, []string{"1234\n", "1234\n", "x\n"}, []string{"1234\n1234\n", "x\n"}},
		"several at once":       {10, false, []string{"a\nb\nc\n123456\nd\n"}, []string{"a\nb\nc\n", "123456\nd\n"}},
		"line above the limit":  {4, false, []string{"a\n123456\nb\n"}, []string{"a\n", "123456\n", "b\n"}},
		"begun line goes on":    {10, false, []string{"a\n", "123", "4567890\nb\n"}, []string{"a\n1234567890\n", "b\n"}},
		"partial near the end":  {10, false, []string{"1234567\n", "12", "34\n"}, []string{"1234567\n", "1234\n"}},
		"shared: would pass":    {10, true, []string{"1234\n", "1234\n", "x\n"}, []string{"1234\n1234\n", "x\n"}},
		"shared: several":       {10, true, []string{"a\nb\nc\n123456\nd\n"}, []string{"a\nb\nc\n", "123456\nd\n"}},
		"shared: above limit":   {4, true, []string{"a\n123456\nb\n"}, []string{"a\n", "123456\n", "b\n"}},
		"shared: partial waits": {10, true, []string{"12345\n", "123", "456\n"}, []string{"12345\n", "123456\n"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.log")
			p, _ := startPump(t)
			s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: tt.max}})
			if tt.shared {
				openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: tt.max}})
			}
			total := 0
			for _, text := range tt.write {
				write(t, w, text)
				total += len(text)
				eventually(t, func() error {
					if n := s.Stats().Bytes; n != int64(total) {
						return fmt.Errorf("%d bytes moved of %d", n, total)
					}
					return nil
				})
			}
			flush(t, s)
			var got []string
			for _, f := range files(t, path) {
				got = append(got, content(t, f))
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("files %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFloodWithoutNewline: a line that doesn't end is cut a megabyte beyond the limit.
func TestFloodWithoutNewline(t *testing.T) {
	t.Parallel()
	const maxSize, total = 100_000, 5_000_000
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: maxSize}})
	write(t, w, strings.Repeat("0123456789", total/10))
	flush(t, s)
	var all strings.Builder
	for _, f := range files(t, path) {
		text := content(t, f)
		if len(text) > maxSize+slack {
			t.Errorf("%s has %d bytes", f, len(text))
		}
		all.WriteString(text)
	}
	if all.String() != strings.Repeat("0123456789", total/10) {
		t.Errorf("%d bytes arrived, not the %d that were written", all.Len(), total)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 100, Retain: 3}})
	for i := range 50 {
		write(t, w, string(numbered(i)))
	}
	flush(t, s)
	eventually(t, func() error {
		if all := files(t, path); len(all) != 4 {
			return fmt.Errorf("%d files", len(all))
		}
		return nil
	})
	next := 46
	for _, f := range files(t, path) {
		next = checkNumbered(t, f, next, 100)
	}
	for _, name := range listFolder(dir) { // others are not touched
		if !strings.HasPrefix(name, "a") {
			t.Errorf("unexpected file %q", name)
		}
	}
}

func TestTwoHundredStreams(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startPump(t)
	const streams = 200
	each := scaled(300)
	maxSize := each * lineLength / 3
	paths := make([]string, streams)
	var all []*Stream
	done := make(chan error, streams)
	for i := range paths {
		paths[i] = filepath.Join(dir, fmt.Sprintf("app%d.log", i))
		s, w := openStream(t, p, Target{Path: paths[i], Rotation: Rotation{MaxSize: int64(maxSize)}})
		all = append(all, s)
		go func() { // ends after its lines; the test waits for each
			for n := range each {
				if _, err := w.Write(numbered(n)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range paths {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range all {
		flush(t, s)
		next := 0
		for _, f := range files(t, paths[i]) {
			next = checkNumbered(t, f, next, maxSize)
		}
		if next != each {
			t.Errorf("%s: %d lines", paths[i], next)
		}
	}
}

// TestAQuietStreamIsNotStarved: beside a flooding one.
func TestAQuietStreamIsNotStarved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startPump(t)
	_, flood := openStream(t, p, Target{Path: os.DevNull})
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() { // ended by stop; the test waits for ended
		defer close(ended)
		block := make([]byte, pipeChunk)
		for {
			select {
			case <-stop:
				return
			default:
				flood.Write(block)
			}
		}
	}()
	path := filepath.Join(dir, "quiet.log")
	_, w := openStream(t, p, Target{Path: path})
	for i := range 20 {
		write(t, w, "line\n")
		has(t, path, strings.Repeat("line\n", i+1))
	}
	close(stop)
	<-ended
}

// TestOrphanGetsNoSIGPIPE: an app outlives the reader of its pipe.
func TestOrphanGetsNoSIGPIPE(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path})
	cmd := child(t, s, "LOGS_TEST_CHILD=orphan")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	has(t, path, "first\n")
	cmd.Stdout.(*os.File).Close()
	w.Close()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
	if got := content(t, path); got != "first\n" {
		t.Errorf("log has %q", got)
	}
}

func TestChildFileBlocksAndOursDoesNot(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{})
	flags := func(fd uintptr) int {
		n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		return int(n)
	}
	if f := flags(w.Fd()); f&syscall.O_NONBLOCK != 0 || f&syscall.O_ACCMODE != syscall.O_RDWR {
		t.Errorf("the child's flags are %#x", f)
	}
	if f := flags(uintptr(s.fd)); f&syscall.O_NONBLOCK == 0 {
		t.Errorf("our flags are %#x", f)
	}
}

func TestRetarget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: a})
	write(t, w, "one\n")
	if err := s.Retarget(Target{Path: b, UID: -1, GID: -1}); err != nil {
		t.Fatal(err)
	}
	write(t, w, "two\n")
	flush(t, s)
	if content(t, a) != "one\n" || content(t, b) != "two\n" {
		t.Errorf("files have %q and %q", content(t, a), content(t, b))
	}
	if err := s.Retarget(Target{Path: dir, UID: -1, GID: -1}); err == nil {
		t.Error("a folder was accepted")
	}
	if st := s.Stats(); st.Path != b {
		t.Errorf("after a failed retarget the path is %s", st.Path)
	}
}

func TestClosedStreamAndPump(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path})
	write(t, w, "last words")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "last words" {
		t.Errorf("log has %q", got)
	}
	if _, err := s.ChildFile(); err == nil {
		t.Error("a closed stream gave a child its pipe")
	}
	if err := s.Close(); err == nil {
		t.Error("closed twice without an error")
	}
	p.Close()
	if _, err := p.Open(Target{UID: -1, GID: -1}); err == nil {
		t.Error("a closed pump opened a stream")
	}
}

func TestGrown(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: filepath.Join(t.TempDir(), "a.log")})
	var calls atomic.Int64
	var size atomic.Int64
	cancel := p.Grown(func(g *Stream) {
		calls.Add(1)
		size.Store(g.Stats().Bytes)
	})
	const lines = 500
	began := time.Now()
	for range lines {
		write(t, w, "x\n")
	}
	eventually(t, func() error { // the last growth is told too
		if n := size.Load(); n != 2*lines {
			return fmt.Errorf("told of %d bytes", n)
		}
		return nil
	})
	if n, most := calls.Load(), int64(time.Since(began)/tellStep)+2; n > most {
		t.Errorf("%d calls, at most %d expected", n, most)
	}
	cancel()
	calls.Store(0)
	write(t, w, "x\n")
	flush(t, s)
	if n := calls.Load(); n != 0 {
		t.Errorf("%d calls after cancel", n)
	}
}

func TestPumpEndsItsGoroutine(t *testing.T) {
	p, err := NewPump(Options{Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	eventually(t, func() error { // after its last word it takes a moment to be gone
		buf := make([]byte, 1<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, fmt.Sprintf("(*Pump).run(%p", p)) {
				return fmt.Errorf("still running: %s", stack)
			}
		}
		return nil
	})
}
