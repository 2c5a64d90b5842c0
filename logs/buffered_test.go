package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hang stops the goroutine that writes a buffered stream's files, as a disk does
// that doesn't answer; resume lets it go on.
func hang(t *testing.T, s *Stream) (resume func()) {
	t.Helper()
	b := s.backing()
	if b == nil {
		t.Fatal("the stream isn't buffered")
	}
	hangs, over, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { // ended by resume, which waits for it
		defer close(ended)
		b.pump.do(context.Background(), func() {
			b.unsettle(b.pump.now())
			close(hangs)
			<-over
			b.publish()
		})
	}()
	<-hangs
	return func() { close(over); <-ended }
}

func TestBuffered(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"", "[T]"} {
		path := filepath.Join(t.TempDir(), "a.log")
		p, _ := startPump(t)
		told := make(chan *Stream, 1000)
		p.Grown(func(s *Stream) { told <- s })
		p.Rotated(func(s *Stream) { told <- s })
		const lines, maxSize = 5000, 100_000
		s, w := openStream(t, p, Target{Path: path, Buffered: true, Rotation: Rotation{MaxSize: maxSize}, Format: Format{Layout: layout}})
		m := s.Mark()
		for i := range lines {
			write(t, w, string(numbered(i)))
		}
		flush(t, s)
		next, size := 0, int64(0)
		for _, name := range files(t, path) {
			text := content(t, name)
			size += int64(len(text))
			if len(text) > maxSize {
				t.Errorf("%s has %d bytes", name, len(text))
			}
			for line := range strings.Lines(text) {
				if strings.TrimPrefix(line, "T: ") != string(numbered(next)) {
					t.Fatalf("line %d is %q", next, line)
				}
				next++
			}
		}
		st := s.Stats()
		if next != lines || st.Bytes != size || st.Dropped != 0 || st.Rotations < 4 || st.Path != path {
			t.Errorf("%d lines, %d bytes, stats %+v", next, size, st)
		}
		write(t, w, "last\n")
		if got, err := s.Since(m, 1); err != nil || len(got) != 1 || !strings.HasSuffix(got[0], "last") {
			t.Errorf("since: %q, %v", got, err)
		}
		if n := len(s.Index()); n == 0 {
			t.Error("no index")
		}
		if err := s.Truncate(); err != nil || content(t, path) != "" {
			t.Errorf("truncated: %q, %v", content(t, path), err)
		}
		for range len(told) {
			if got := <-told; got != s {
				t.Fatal("told of a stream that isn't the daemon's")
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := len(p.fam.guests); n != 0 {
			t.Errorf("%d pumps are left", n)
		}
	}
}

// TestHangingDisk never stops the program: it is bounded, dropped by lines, counted, said once.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, log := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Buffered: true})
	other, w2 := openStream(t, p, Target{Path: filepath.Join(t.TempDir(), "b.log"), Buffered: true})
	write(t, w, "before\n")
	flush(t, s)
	resume := hang(t, s)
	const lines = 60_000 // 6 MB, into 1 MB
	for i := range lines {
		write(t, w, string(numbered(i)))
	}
	eventually(t, func() error {
		if st := s.Stats(); st.Dropped < lines*lineLength-queueSize-2*pipeChunk || st.Error == "" || st.Stalled.IsZero() {
			return fmt.Errorf("stats %+v", st)
		}
		return nil
	})
	write(t, w2, "not concerned\n")
	flush(t, other)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flushed: %v", err)
	}
	if m := s.Mark(); m != (Mark{}) {
		t.Errorf("mark %+v", m)
	}
	resume()
	flush(t, s)
	eventually(t, func() error { // until it has caught up
		write(t, w, "after\n")
		flush(t, s)
		if st := s.Stats(); st.Error != "" || !st.Stalled.IsZero() {
			return fmt.Errorf("stats %+v", st)
		}
		return nil
	})
	flush(t, s)
	text, last := content(t, path), -1
	for line := range strings.Lines(text) {
		var n int
		switch {
		case line == "before\n" && last < 0, line == "after\n" && last > 0:
		default:
			if fmt.Sscanf(line, "%d", &n); line != string(numbered(n)) || n <= last {
				t.Fatalf("torn or unordered line %q after %d", line, last)
			}
			last = n
		}
	}
	after := strings.Count(text, "after\n")
	st := s.Stats()
	if missing := int64(lines*lineLength+len("before\n")) - int64(len(text)-after*len("after\n")); st.Bytes != int64(len(text)) || missing > st.Dropped || st.Dropped-missing > 1000*int64(len("after\n")) {
		t.Errorf("%d bytes in the file, %d missing, stats %+v", len(text), missing, st)
	}
	if len(text) < queueSize/2 || log.count("takes nothing") != 1 || log.count("takes output again") != 1 {
		t.Errorf("%d bytes, the daemon's log has %q", len(text), log.lines)
	}
}

// TestCloseDoesNotWaitForAHangingDisk for ever.
func TestCloseDoesNotWaitForAHangingDisk(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: filepath.Join(t.TempDir(), "a.log"), Buffered: true})
	resume := hang(t, s)
	write(t, w, "lost\n")
	began := time.Now()
	if err := p.Close(); !errors.Is(err, errHangs) {
		t.Errorf("closed: %v", err)
	}
	if took := time.Since(began); took > 2*closeWait {
		t.Errorf("it took %v", took)
	}
	resume()
	<-s.backing().pump.ended
}

// TestBufferedAndNotInOneFile: a file has one writer, whatever the apps say.
func TestBufferedAndNotInOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	p, _ := startPump(t)
	targets := []Target{
		{Path: a, Buffered: true}, {Path: a},
		{Path: b}, {Path: b, Buffered: true},
		{Path: filepath.Join(dir, "c.log"), Also: a, Buffered: true},
	}
	const each = 2000
	var streams []*Stream
	done := make(chan struct{}, len(targets))
	var writers []*os.File
	for _, target := range targets {
		s, w := openStream(t, p, target)
		streams, writers = append(streams, s), append(writers, w)
	}
	for i, w := range writers {
		go func() { // ends after its lines; the test waits for done
			defer func() { done <- struct{}{} }()
			line := []byte(strings.Repeat(string(rune('a'+i)), 60) + "\n")
			for range each {
				w.Write(line[:20])
				w.Write(line[20:])
			}
		}()
	}
	for range targets {
		<-done
	}
	for i, s := range streams {
		flush(t, s)
		if (s.backing() != nil) != []bool{true, true, false, false, true}[i] {
			t.Errorf("stream %d: buffered %v", i, s.backing() != nil)
		}
	}
	for path, want := range map[string]int{a: 3 * each, b: 2 * each} {
		n := 0
		for line := range strings.Lines(content(t, path)) {
			if n++; line != strings.Repeat(line[:1], 60)+"\n" {
				t.Fatalf("%s: %q", path, line)
			}
		}
		if n != want {
			t.Errorf("%s: %d lines of %d", path, n, want)
		}
	}
	conflict := Target{Path: a, Also: b, UID: -1, GID: -1}
	if _, err := p.Open(conflict); !errors.Is(err, errOwned) {
		t.Errorf("opened: %v", err)
	}
}

// TestRetargetBuffered: to and fro while a program writes, nothing lost, all in order.
func TestRetargetBuffered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: a})
	stop, ended := make(chan struct{}), make(chan int)
	go func() { // ended by stop; the test waits for ended
		for n := 0; ; n++ {
			select {
			case <-stop:
				ended <- n
				return
			default:
				w.Write(numbered(n))
			}
		}
	}()
	steps := []Target{
		{Path: a, Buffered: true}, {Path: a, Buffered: true, Format: Format{Layout: "[T]"}}, {Path: b, Buffered: true},
		{Path: a}, {Path: a, Buffered: true}, {Path: b, Buffered: true, Also: a}, {Path: b, Also: a}, {Path: a},
	}
	for i, target := range steps {
		target.UID, target.GID = -1, -1
		if err := s.Retarget(target); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if (s.backing() != nil) != target.Buffered {
			t.Errorf("step %d: buffered %v", i, s.backing() != nil)
		}
		if st := s.Stats(); st.Path != target.Path {
			t.Errorf("step %d: %+v", i, st)
		}
	}
	if err := s.Retarget(Target{Path: dir, Buffered: true, UID: -1, GID: -1}); err == nil {
		t.Error("a folder was accepted")
	}
	close(stop)
	lines := <-ended
	flush(t, s)
	seen := map[string]bool{}
	for _, path := range []string{a, b} {
		last := ""
		for line := range strings.Lines(content(t, path)) {
			line = strings.TrimPrefix(line, "T: ")
			if len(line) != lineLength || line <= last {
				t.Fatalf("%s: %q after %q", path, line, last)
			}
			last = line
			seen[line] = true
		}
	}
	missing := 0
	for n := range lines {
		if !seen[string(numbered(n))] {
			missing++
		}
	}
	// The program is faster than anything: while the back is exchanged it may fill the
	// queue, and what doesn't fit there is dropped by whole lines, and counted.
	if st := s.Stats(); st.Dropped != int64(missing*lineLength) {
		t.Fatalf("%d of %d lines are missing, %d bytes are counted as dropped", missing, lines, st.Dropped)
	}
	if n := len(p.fam.guests); n != 0 {
		t.Errorf("%d pumps are left", n)
	}
}

// TestReopenBuffered and rotation on request.
func TestReopenBuffered(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Buffered: true})
	write(t, w, "one\n")
	flush(t, s)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, w, "two\n")
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	write(t, w, "three\n")
	if err := s.Rotate(); err != nil {
		t.Fatal(err)
	}
	write(t, w, "four\n")
	flush(t, s)
	var got []string
	for _, name := range append([]string{path + ".1"}, files(t, path)...) {
		got = append(got, content(t, name))
	}
	if want := []string{"one\ntwo\n", "three\n", "four\n"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %q, want %q", got, want)
	}
}
