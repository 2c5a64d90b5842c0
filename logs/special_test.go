package logs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFIFOWithoutReader: never blocks the pump, keeps the app waiting a moment, then counts.
func TestFIFOWithoutReader(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p, log := startPump(t)
	s, w := openStream(t, p, Target{Path: path})
	other, w2 := openStream(t, p, Target{})
	const lines = 3000 // 300 KB
	for i := range lines {
		write(t, w, string(numbered(i)))
	}
	write(t, w2, "x")
	flush(t, other)
	eventually(t, func() error {
		if st := s.Stats(); st.Dropped == 0 || st.Error == "" {
			return fmt.Errorf("stats %+v", st)
		}
		return nil
	})
	flush(t, s)
	// A reader comes: whole lines from the beginning, then after the gap again whole lines.
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := readSome(t, r, func(b []byte) bool { return len(b) >= 50_000 })
	write(t, w, "again 1\n")
	flush(t, s)
	write(t, w, "again 2\n")
	flush(t, s)
	got = append(got, readSome(t, r, func(b []byte) bool { return bytes.Contains(b, []byte("again 2\n")) })...)
	next := 0
	for l := range strings.Lines(string(got)) {
		switch {
		case l == string(numbered(next)):
			next++
		case strings.HasPrefix(l, "again"):
		default:
			t.Fatalf("line %d is %q", next, l)
		}
	}
	st := s.Stats()
	if st.Error != "" || st.Bytes+st.Dropped != lines*lineLength+16 || st.Bytes != int64(len(got)) {
		t.Errorf("read %d bytes, stats %+v", len(got), st)
	}
	if log.count("takes nothing") != 1 || log.count("again") != 1 {
		t.Errorf("the daemon's log has %q", log.lines)
	}
}

// readSome reads without blocking until enough is there.
func readSome(t *testing.T, r *os.File, enough func([]byte) bool) (all []byte) {
	t.Helper()
	buf := make([]byte, 1<<20)
	eventually(t, func() error {
		r.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, err := r.Read(buf)
		all = append(all, buf[:max(n, 0)]...)
		if !enough(all) {
			return fmt.Errorf("%d bytes, %v", len(all), err)
		}
		return nil
	})
	return all
}

// TestSlowFIFOReaderLosesNothing: the app waits for it, as at a terminal.
func TestSlowFIFOReaderLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path})
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const lines = 5000
	done := make(chan struct{})
	go func() { // ends after its lines; the test waits for done
		defer close(done)
		for i := range lines {
			w.Write(numbered(i))
		}
	}()
	got := readSome(t, r, func(b []byte) bool { return len(b) >= lines*lineLength })
	<-done
	next := 0
	for l := range strings.Lines(string(got)) {
		if l != string(numbered(next)) {
			t.Fatalf("line %d is %q", next, l)
		}
		next++
	}
	if st := s.Stats(); st.Dropped != 0 || next != lines {
		t.Errorf("%d lines, stats %+v", next, st)
	}
}

// TestFileSizeLimit: a file that refuses in the middle of a line heals without a
// torn line. The limit is a process's own, so the test binary runs itself.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=filesize", "LOGS_TEST_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// fileSizeChild writes through a pump into a file limited to 150 KB, then without limit.
func fileSizeChild() int {
	for _, shared := range []bool{false, true} {
		if err := fileSizeCase(filepath.Join(os.Getenv("LOGS_TEST_DIR"), fmt.Sprintf("%v.log", shared)), shared); err != nil {
			fmt.Printf("shared %v: %v\n", shared, err)
			return 1
		}
	}
	return 0
}

func fileSizeCase(path string, shared bool) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	low := limit
	low.Cur = 150_050 // within a line
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		return err
	}
	log := &pumpLog{}
	p, err := NewPump(Options{Log: log.printf})
	if err != nil {
		return err
	}
	defer p.Close()
	target := Target{Path: path, UID: -1, GID: -1}
	s, err := p.Open(target)
	if err != nil {
		return err
	}
	if shared {
		if _, err := p.Open(target); err != nil {
			return err
		}
	}
	w, err := s.ChildFile()
	if err != nil {
		return err
	}
	const lines = 5000
	for i := range lines {
		if i == 4000 { // the obstacle goes away
			if err := s.Flush(context.Background()); err != nil {
				return err
			}
			if st := s.Stats(); st.Error == "" || st.Dropped == 0 {
				return fmt.Errorf("nothing was refused: %+v", st)
			}
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
				return err
			}
		}
		if _, err := w.Write(numbered(i)); err != nil {
			return err
		}
	}
	if err := s.Flush(context.Background()); err != nil {
		return err
	}
	return fileSizeVerdict(path, s.Stats(), log)
}

func fileSizeVerdict(path string, st Stats, log *pumpLog) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	last, lines := -1, 0
	for l := range strings.Lines(string(b)) {
		var n int
		if fmt.Sscanf(l, "%d", &n); l != string(numbered(n)) || n <= last {
			return fmt.Errorf("torn or unordered line %q after %d", l, last)
		}
		last = n
		lines++
	}
	if lines < 2500 || last != 4999 {
		return fmt.Errorf("%d lines, the last %d", lines, last)
	}
	if st.Bytes != int64(len(b)) || st.Bytes+st.Dropped != 5000*lineLength || st.Error != "" {
		return fmt.Errorf("file of %d bytes, stats %+v", len(b), st)
	}
	if log.count("ulimit") != 1 || log.count("again") != 1 {
		return fmt.Errorf("the daemon's log has %q", log.lines)
	}
	return nil
}

// TestStdoutAsTarget: whatever the daemon's own stdout is.
func TestStdoutAsTarget(t *testing.T) {
	t.Parallel()
	run := func(out *os.File) {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=stdout")
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	const want = "one\ntwo\n"
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.WriteString("before\n")
	run(file)
	if got := content(t, file.Name()); got != "before\n"+want {
		t.Errorf("file: %q", got)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	run(w)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := os.NewFile(uintptr(pair[0]), "a"), os.NewFile(uintptr(pair[1]), "b")
	defer a.Close()
	defer b.Close()
	run(b)
	for name, f := range map[string]*os.File{"pipe": r, "socket": a} {
		buf := make([]byte, 100)
		n, err := f.Read(buf)
		if got := string(buf[:n]); got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// stdoutChild logs two lines to its own stdout, with a limit that must not matter.
func stdoutChild() int {
	p, err := NewPump(Options{Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }})
	if err != nil {
		return 1
	}
	s, err := p.Open(Target{Path: "/dev/stdout", Rotation: Rotation{MaxSize: 5}, UID: -1, GID: -1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	w, err := s.ChildFile()
	if err != nil {
		return 1
	}
	w.WriteString("one\ntwo\n")
	if s.Flush(context.Background()) != nil || p.Close() != nil {
		return 1
	}
	return 0
}
