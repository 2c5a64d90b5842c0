package logs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test binary be the programs whose output is logged.
func TestMain(m *testing.M) {
	switch os.Getenv("LOGS_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "flood": // numbered lines of 100 bytes, in writes that end anywhere
		n, _ := strconv.Atoi(os.Getenv("LOGS_TEST_LINES"))
		w := bufio.NewWriter(os.Stdout)
		for i := range n {
			w.Write(numbered(i))
		}
		w.Flush()
	case "steady":
		steady(os.Stdout)
	case "orphan": // writes on when told that nobody reads any more
		fmt.Fprintln(os.Stdout, "first")
		os.Stdin.Read(make([]byte, 1))
		for range 3 {
			if _, err := fmt.Fprintln(os.Stdout, "second"); err != nil {
				os.Exit(1)
			}
		}
	case "stdout":
		os.Exit(stdoutChild())
	case "stamper":
		os.Exit(stamperChild())
	case "disk":
		os.Exit(diskChild())
	case "filesize":
		os.Exit(fileSizeChild())
	case "floodlimit":
		os.Exit(floodLimitChild())
	case "nofile":
		os.Exit(noFileChild())
	case "heir":
		os.Exit(heirChild())
	}
}

// longForm is LOGS_TEST_LONG: heavy tests do all they can.
var longForm = os.Getenv("LOGS_TEST_LONG") != ""

// scaled is how much of n a heavy test does: under the race detector, which makes
// everything some ten times slower, a quarter.
func scaled(n int) int {
	if raceEnabled && !longForm {
		return n / 4
	}
	return n
}

const lineLength = 100

var filling = strings.Repeat("x", lineLength-10)

func numbered(i int) []byte { return fmt.Appendf(nil, "%08d %s\n", i, filling) }

// child is a process of the test binary with its stdout in the stream's pipe.
func child(t testing.TB, s *Stream, env ...string) *exec.Cmd {
	t.Helper()
	out, err := s.ChildFile()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd
}

// pumpLog collects what the pump tells the daemon's log.
type pumpLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *pumpLog) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *pumpLog) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.lines {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

func startPump(t testing.TB) (*Pump, *pumpLog) {
	t.Helper()
	l := &pumpLog{}
	p, err := NewPump(Options{Log: l.printf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, l
}

// openStream is a stream to path and the writing end of its pipe.
func openStream(t testing.TB, p *Pump, target Target) (*Stream, *os.File) {
	t.Helper()
	target.UID, target.GID = -1, -1
	s, err := p.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.ChildFile()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return s, w
}

func write(t testing.TB, w *os.File, text string) {
	t.Helper()
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func flush(t testing.TB, s *Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files are the log's files in order of time, the newest last.
func files(t testing.TB, path string) []string {
	t.Helper()
	dir := filepath.Dir(path)
	var all []string
	for _, name := range rotatedNames(listFolder(dir), path) {
		all = append(all, filepath.Join(dir, name))
	}
	return append(all, path)
}

// eventually waits for a fact.
func eventually(t testing.TB, fact func() error) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := fact()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %v", err)
		}
		<-tick.C
	}
}

// has waits until the file's content is want.
func has(t testing.TB, path, want string) {
	t.Helper()
	eventually(t, func() error {
		b, err := os.ReadFile(path)
		if err == nil && string(b) != want {
			err = fmt.Errorf("%s has %q, want %q", path, b, want)
		}
		return err
	})
}
