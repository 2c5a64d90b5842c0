package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fifo is a new one, and its reading end.
func fifo(t *testing.T) (path string, r *os.File) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return path, r
}

// TestConsole: the same lines in a file and on a stream, each with its format.
func TestConsole(t *testing.T) {
	t.Parallel()
	path, r := fifo(t)
	p, _ := startPump(t)
	file := filepath.Join(t.TempDir(), "app.log")
	s, w := openStream(t, p, Target{Path: file, Console: Console{Path: path, Format: Format{Prefix: "0|app | "}}, Rotation: Rotation{MaxSize: 1000}})
	pairs, w2 := openStream(t, p, Target{Path: path, Format: Format{Pairs: true, App: "web", ID: 3, Err: true}})
	write(t, w, "one\ntw")
	write(t, w2, "oops\n")
	write(t, w, "o\n")
	flush(t, s)
	flush(t, pairs)
	has(t, file, "one\ntwo\n")
	got := string(readSome(t, r, func(b []byte) bool { return bytes.Count(b, []byte("\n")) >= 3 }))
	for _, want := range []string{"0|app | one\n", "0|app | two\n", " app=web id=3 type=err message=oops\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if st := s.Stats(); st.Bytes != 8 || st.Dropped != 0 || st.Path != file {
		t.Errorf("stats %+v", st)
	}
}

// TestPatientStream: who reads late loses nothing, and it is to be seen that programs wait.
func TestPatientStream(t *testing.T) {
	t.Parallel()
	path, r := fifo(t)
	p, log := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Patient: true})
	other, w2 := openStream(t, p, Target{})
	const lines = 8000 // 800 KB: more than the two FIFOs and we take
	done := make(chan struct{})
	go func() { // ends after its lines; the test waits for done
		defer close(done)
		for i := range lines {
			w.Write(numbered(i))
		}
	}()
	eventually(t, func() error {
		if st := s.Stats(); st.Stalled.IsZero() || st.Dropped > 0 {
			return fmt.Errorf("stats %+v", st)
		}
		return nil
	})
	write(t, w2, "x") // the pump serves others
	flush(t, other)
	got := readSome(t, r, func(b []byte) bool { return len(b) >= lines*lineLength })
	<-done
	flush(t, s)
	if st := s.Stats(); st.Dropped != 0 || len(got) != lines*lineLength || !st.Stalled.IsZero() {
		t.Errorf("%d bytes, stats %+v", len(got), st)
	}
	if n := log.count(""); n > 0 {
		t.Errorf("the daemon's log has %q", log.lines)
	}
}

// TestLastLinesOfASlowReader: what is there when a stream ends is still taken.
func TestLastLinesOfASlowReader(t *testing.T) {
	t.Parallel()
	path, r := fifo(t)
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path})
	const lines = 1000 // 100 KB
	written := make(chan struct{})
	go func() { // ends after its lines; the test waits for written
		defer close(written)
		for i := range lines {
			w.Write(numbered(i))
		}
	}()
	<-written
	closed := make(chan error)
	go func() { closed <- s.Close() }() // read below
	got := readSome(t, r, func(b []byte) bool { return len(b) >= lines*lineLength })
	if err := <-closed; err != nil || len(got) != lines*lineLength {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestSharedDescription: a FIFO of another user can't be opened anew. What the others
// have of it stays as it is, and it never keeps us waiting.
func TestSharedDescription(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fd := int(w.Fd()) // it blocks from now on
	defer w.Close()
	k := newSink(opened{fd: fd, kind: kindSpecial, shared: true}, Target{})
	data := bytes.Repeat([]byte("x"), 300<<10)
	n, err := k.put(data)
	if err != unix.EAGAIN || n < pipeChunk/2 || n > len(data)/2 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
	r.Close()
	if _, err := k.put(data); err != unix.EPIPE {
		t.Errorf("without a reader: %v", err)
	}
}

// TestSharedFile: what is our stdout may be a file that others go on with, at the same place.
func TestSharedFile(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(t, f, "before\n")
	o, err := openOwn(int(f.Fd()), fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	k := newSink(o, Target{})
	defer k.close()
	if n, err := k.put([]byte("ours\n")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	write(t, f, "after\n")
	if _, err := k.put([]byte("more\n")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, f.Name()); got != "before\nours\nafter\nmore\n" {
		t.Errorf("%q", got)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_APPEND != 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}

// TestReaderGoes: as in `… | head`. It is said once, counted, and keeps nobody waiting.
func TestReaderGoes(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, log := startPump(t)
	s, out := openStream(t, p, Target{Path: fmt.Sprintf("/proc/self/fd/%d", w.Fd()), Patient: true})
	w.Close()
	write(t, out, "one\n")
	if got := readSome(t, r, func(b []byte) bool { return len(b) >= 4 }); string(got) != "one\n" {
		t.Errorf("%q", got)
	}
	r.Close()
	const lines = 3000 // more than a FIFO takes
	for i := range lines {
		write(t, out, string(numbered(i)))
	}
	flush(t, s)
	if st := s.Stats(); st.Dropped != lines*lineLength || st.Error == "" || !st.Stalled.IsZero() {
		t.Errorf("stats %+v", st)
	}
	if log.count("broken pipe") != 1 {
		t.Errorf("the daemon's log has %q", log.lines)
	}
	began := time.Now()
	if err := s.Close(); err != nil || time.Since(began) > 10*fullGrace {
		t.Errorf("closed after %v: %v", time.Since(began), err)
	}
}
