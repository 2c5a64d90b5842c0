package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const stampLayout = "YYYY-MM-DDTHH:mm:ss.SSS"

// unstamped takes the time off every line of a text, checking that it is one.
func unstamped(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(text) {
		stamp, rest, ok := strings.Cut(line, ": ")
		if _, err := time.Parse("2006-01-02T15:04:05.000", stamp); err != nil || !ok {
			t.Fatalf("line %.80q has no time: %v", line, err)
		}
		out.WriteString(rest)
	}
	return out.String()
}

// TestStampsPerLine: pm2 stamps chunks, loses the tail of one, and cuts characters.
func TestStampsPerLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Format: Format{Layout: stampLayout}})
	for _, piece := range []string{"part1 ", "part2\na\nb\nc\nno", "eol \xc3", "\xa9"} {
		write(t, w, piece)
		eventually(t, func() error {
			if n := waiting(s.fd); n > 0 {
				return fmt.Errorf("%d bytes in the pipe", n)
			}
			return nil
		})
	}
	// Nobody asks for it: a line without end is written when it is a second old.
	eventually(t, func() error {
		if got := content(t, path); !strings.HasSuffix(got, "é\n") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	write(t, w, "\nnext\n")
	flush(t, s)
	if got := unstamped(t, content(t, path)); got != "part1 part2\na\nb\nc\nnoeol é\nnext\n" {
		t.Errorf("%q", got)
	}
	if st := s.Stats(); st.Bytes != int64(len(content(t, path))) || st.Dropped != 0 {
		t.Errorf("stats %+v for %d bytes", st, len(content(t, path)))
	}
}

// TestLastWordsOfAClosedStream: a line without end is not lost.
func TestLastWordsOfAClosedStream(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Format: Format{JSON: true, App: "web", ID: 7, Err: true}})
	write(t, w, "whole\nlast words")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^{"message":"whole","timestamp":"[^"]*Z","type":"err","process_id":7,"app_name":"web"}
{"message":"last words","timestamp":"[^"]*Z","type":"err","process_id":7,"app_name":"web","partial":true}
$`)
	if got := content(t, path); !want.MatchString(got) {
		t.Errorf("%s", got)
	}
}

// TestLongJSONLineLosesNothing: pieces that are marked, put together again.
func TestLongJSONLineLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Format: Format{JSON: true}})
	want := strings.Repeat("日本\x01", 50_000)
	write(t, w, want+"\nshort\n")
	flush(t, s)
	var got strings.Builder
	pieces, whole := 0, 0
	for line := range strings.Lines(content(t, path)) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		got.WriteString(o.Message)
		if pieces++; !o.Partial {
			got.WriteByte('\n')
			whole++
		}
	}
	if got.String() != want+"\nshort\n" || whole != 2 || pieces < 5 {
		t.Errorf("%d bytes of %d in %d pieces, %d whole lines", got.Len(), len(want), pieces, whole)
	}
}

// TestTwoStreamsOfOneFileWithFormats: stdout and stderr, each with its own.
func TestTwoStreamsOfOneFileWithFormats(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.log")
	p, _ := startPump(t)
	const each, maxSize = 3000, 50_000
	var wg sync.WaitGroup
	var streams []*Stream
	for i := range 2 {
		s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: maxSize}, Format: Format{JSON: true, App: "web", Err: i == 1}})
		streams = append(streams, s)
		wg.Go(func() { // ends after its lines; wg waits
			for n := range each {
				line := numbered(n)
				w.Write(line[:30])
				w.Write(line[30:])
			}
		})
	}
	wg.Wait()
	flush(t, streams[0])
	flush(t, streams[1])
	next := map[string]int{}
	for _, name := range files(t, path) {
		text := content(t, name)
		if len(text) > maxSize {
			t.Errorf("%s has %d bytes", name, len(text))
		}
		for line := range strings.Lines(text) {
			var o object
			if err := json.Unmarshal([]byte(line), &o); err != nil {
				t.Fatalf("%s: %v in %q", name, err, line)
			}
			if o.Message+"\n" != string(numbered(next[o.Type])) || o.Partial {
				t.Fatalf("%s: %s line %d is %+v", name, o.Type, next[o.Type], o)
			}
			next[o.Type]++
		}
	}
	if next["out"] != each || next["err"] != each {
		t.Errorf("lines %v", next)
	}
}

// TestFormattedFlood: a real process, rotated, complete and in order.
func TestFormattedFlood(t *testing.T) {
	t.Parallel()
	const maxSize = 3 << 20
	lines := scaled(200_000)
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, _ := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: maxSize}, Format: Format{Layout: stampLayout}})
	if err := child(t, s, "LOGS_TEST_CHILD=flood", fmt.Sprintf("LOGS_TEST_LINES=%d", lines)).Run(); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	next := 0
	for _, name := range files(t, path) {
		text := content(t, name)
		if len(text) > maxSize {
			t.Errorf("%s has %d bytes", name, len(text))
		}
		for line := range strings.Lines(unstamped(t, text)) {
			if line != string(numbered(next)) {
				t.Fatalf("%s: line %d is %q", name, next, line)
			}
			next++
		}
	}
	if next != lines {
		t.Errorf("%d lines of %d", next, lines)
	}
}

// TestAlso: both streams of an app go into their files and into one of both.
func TestAlso(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	both := filepath.Join(dir, "both.log")
	p, _ := startPump(t)
	const each, maxSize = 500, 20_000
	var streams []*Stream
	var wg sync.WaitGroup
	for i := range 2 {
		s, w := openStream(t, p, Target{Path: filepath.Join(dir, fmt.Sprintf("%d.log", i)), Also: both, Rotation: Rotation{MaxSize: maxSize}})
		streams = append(streams, s)
		wg.Go(func() { // ends after its lines; wg waits
			for n := range each {
				line := append([]byte{byte('a' + i)}, numbered(n)[1:]...)
				w.Write(line[:50])
				w.Write(line[50:])
			}
		})
	}
	wg.Wait()
	next := [2]int{}
	for i, s := range streams {
		flush(t, s)
		n := 0
		for _, name := range files(t, filepath.Join(dir, fmt.Sprintf("%d.log", i))) {
			n += strings.Count(content(t, name), "\n")
		}
		if n != each {
			t.Errorf("stream %d has %d lines", i, n)
		}
	}
	all := files(t, both)
	for _, name := range all {
		text := content(t, name)
		if len(text) > maxSize {
			t.Errorf("%s has %d bytes", name, len(text))
		}
		for line := range strings.Lines(text) {
			i := int(line[0] - 'a')
			if line[1:] != string(numbered(next[i])[1:]) {
				t.Fatalf("%s: line %d of %d is %q", name, next[i], i, line)
			}
			next[i]++
		}
	}
	if next != [2]int{each, each} || len(all) < 2*each*lineLength/maxSize {
		t.Errorf("lines %v in %d files", next, len(all))
	}
}

// TestOneFileRefuses: the other goes on, and the loss is counted and named.
func TestOneFileRefuses(t *testing.T) {
	t.Parallel()
	for _, broken := range []string{"Path", "Also"} {
		path := filepath.Join(t.TempDir(), "a.log")
		p, _ := startPump(t)
		target := Target{Path: path, Also: "/dev/full"}
		if broken == "Path" {
			target.Path, target.Also = target.Also, target.Path
		}
		s, w := openStream(t, p, target)
		write(t, w, "one\ntwo\nthree")
		flush(t, s)
		if got := content(t, path); got != "one\ntwo\nthree\n" {
			t.Errorf("%s: %q", broken, got)
		}
		st := s.Stats()
		if st.Dropped != 14 || !strings.Contains(st.Error, "no space left") || strings.HasPrefix(st.Error, "/dev/full: ") != (broken == "Also") {
			t.Errorf("%s: %+v", broken, st)
		}
	}
}

// TestAlsoTheSameFile gets each line once.
func TestAlsoTheSameFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Also: path})
	write(t, w, "one\n")
	flush(t, s)
	if got := content(t, path); got != "one\n" {
		t.Errorf("%q", got)
	}
}

// TestFormatIsChanged while a line isn't complete: what was begun is ended in the old way.
func TestFormatIsChanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path})
	write(t, w, "raw\nbegun ")
	target := Target{Path: path, Format: Format{Layout: "[T]"}, UID: -1, GID: -1}
	if err := s.Retarget(target); err != nil {
		t.Fatal(err)
	}
	write(t, w, "stamped\nbegun ")
	target.Format = Format{}
	if err := s.Retarget(target); err != nil {
		t.Fatal(err)
	}
	write(t, w, "raw again")
	flush(t, s)
	if got := content(t, path); got != "raw\nbegun \nT: stamped\nT: begun \nraw again" {
		t.Errorf("%q", got)
	}
}

// TestFormattedSlowFIFO: the app waits for its reader, however long lines have become.
func TestFormattedSlowFIFO(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Format: Format{JSON: true, App: "web"}})
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const lines = 30_000
	done := make(chan struct{})
	go func() { // ends after its lines; the test waits for done
		defer close(done)
		w.Write(bytes.Repeat([]byte("\n"), lines))
	}()
	got := readSome(t, r, func(b []byte) bool { return bytes.Count(b, []byte("\n")) >= lines })
	<-done
	if n := bytes.Count(got, []byte(`{"message":"","timestamp":"`)); n != lines {
		t.Errorf("%d objects", n)
	}
	if st := s.Stats(); st.Dropped != 0 || st.Bytes != int64(len(got)) {
		t.Errorf("read %d bytes, stats %+v", len(got), st)
	}
}

// TestKillWithinAFormattedFlood: SIGKILL of who writes the file leaves whole lines in
// order, the last excepted, and the next one doesn't glue its first line to that.
func TestKillWithinAFormattedFlood(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	next := 0
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=stamper", "LOGS_TEST_PATH="+path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		before := int64(0)
		if fi, err := os.Stat(path); err == nil {
			before = fi.Size()
		}
		eventually(t, func() error {
			if fi, err := os.Stat(path); err != nil || fi.Size() < before+500_000 {
				return fmt.Errorf("%v, %v", fi, err)
			}
			return nil
		})
		cmd.Process.Kill()
		cmd.Wait()
	}
	torn := 0
	for line := range strings.Lines(content(t, path)) {
		stamp, rest, _ := strings.Cut(line, ": ")
		switch {
		case len(stamp) == len("2006-01-02T15:04:05.000") && rest == string(numbered(next)):
			next++
		case len(stamp) == len("2006-01-02T15:04:05.000") && rest == string(numbered(0)):
			next = 1
		default:
			torn++
		}
	}
	if torn > 3 {
		t.Errorf("%d torn lines", torn)
	}
}

// stamperChild writes numbered lines through a pump of its own until it is killed.
func stamperChild() int {
	p, err := NewPump(Options{Log: func(string, ...any) {}})
	if err != nil {
		return 1
	}
	s, err := p.Open(Target{Path: os.Getenv("LOGS_TEST_PATH"), Format: Format{Layout: stampLayout}, UID: -1, GID: -1})
	if err != nil {
		return 1
	}
	w, err := s.ChildFile()
	if err != nil {
		return 1
	}
	for i := range 5_000_000 {
		if _, err := w.Write(numbered(i)); err != nil {
			return 1
		}
	}
	return 0
}
