package logs

import (
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

// logPipe is a pipe as a keeper has it, and its writing end.
func logPipe(t testing.TB) (pipe, w *os.File) {
	t.Helper()
	fd, err := newPipe(-1, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, f := range []**os.File{&pipe, &w} {
		if *f, err = childFile(fd); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { w.Close() })
	return pipe, w
}

// TestAdoptWithoutFiles: streams whose files can't be opened go on, count what they
// drop, and have their files as soon as these can be opened.
func TestAdoptWithoutFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blocked := filepath.Join(dir, "blocked") // a file where the folder is to be
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	merged, both := filepath.Join(blocked, "merged.log"), filepath.Join(blocked, "both.log")
	targets := []Target{
		{Path: filepath.Join(blocked, "raw.log")},
		{Path: filepath.Join(blocked, "stamped.log"), Format: Format{Layout: "[T]"}},
		{Path: merged}, {Path: merged},
		{Path: filepath.Join(blocked, "buffered.log"), Buffered: true},
		{Path: both + "1", Buffered: true, Also: both}, {Path: both + "2", Buffered: true, Also: both},
		{Path: filepath.Join(dir, "fine.log"), Also: filepath.Join(blocked, "also.log")},
		{Path: filepath.Join(dir, "plain.log")},
	}
	p, log := startPump(t)
	var all []Adoption
	var w []*os.File
	for _, target := range targets {
		target.UID, target.GID = -1, -1
		pipe, end := logPipe(t)
		all, w = append(all, Adoption{Target: target, Pipe: pipe}), append(w, end)
	}
	streams, err := p.AdoptAll(all)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range streams {
		if st := s.Stats(); (st.Error == "") != (i == len(streams)-1) || st.Dropped != 0 {
			t.Errorf("stream %d: %+v", i, st)
		}
		write(t, w[i], "before\n")
		flush(t, s)
		if st := s.Stats(); (st.Dropped > 0) != (i < len(streams)-1) {
			t.Errorf("stream %d dropped %+v", i, st)
		}
	}
	if n := log.count("takes nothing"); n == 0 || n >= len(targets)+3 {
		t.Errorf("the log says %q", log.lines)
	}
	os.Remove(blocked)
	for i, s := range streams { // without another line
		eventually(t, func() error {
			if st := s.Stats(); st.Error != "" {
				return fmt.Errorf("stream %d: %+v", i, st)
			}
			return nil
		})
	}
	for i, s := range streams {
		write(t, w[i], fmt.Sprintf("after %d\n", i))
		flush(t, s)
	}
	for path, want := range map[string]string{
		"blocked/raw.log": "after 0\n", "blocked/stamped.log": "T: after 1\n", "blocked/merged.log": "after 2\nafter 3\n",
		"blocked/buffered.log": "after 4\n", "blocked/both.log1": "after 5\n", "blocked/both.log2": "after 6\n",
		"blocked/both.log": "after 5\nafter 6\n", "fine.log": "before\nafter 7\n", "blocked/also.log": "after 7\n",
		"plain.log": "before\nafter 8\n",
	} {
		if got := content(t, filepath.Join(dir, path)); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
}

// TestAbsentFileKeepsItsWriter: while it is tried whether a file can be opened again, a
// second stream of it still finds the pump that the first one has.
func TestAbsentFileKeepsItsWriter(t *testing.T) {
	t.Parallel()
	blocked := filepath.Join(t.TempDir(), "blocked") // a file where the folder is to be
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, _ := startPump(t)
	path := filepath.Join(blocked, "both.log")
	pipe, _ := logPipe(t)
	s := adopt(t, p, Adoption{Target: Target{Path: path, Buffered: true}, Pipe: pipe})
	home, id := s.backing().pump, absent(path, nil).id
	done := make(chan struct{})
	go func() {
		defer close(done)
		home.do(context.Background(), func() {
			for range 500 {
				k := home.sinks[id]
				k.retry = time.Time{}
				if err := home.reopen(k); err == nil {
					t.Error("it was opened")
				}
			}
		})
	}()
	for waits := true; waits; {
		select {
		case <-done:
			waits = false
		default:
		}
		p.fam.mu.Lock()
		owner := p.fam.owners[id]
		p.fam.mu.Unlock()
		if owner != home {
			t.Error("for a moment it had no writer")
			<-done
			return
		}
	}
}

// TestAdoptInALine: a line that is being written when the file can't be opened for a
// moment stays whole if nothing of it was dropped, else it ends there.
func TestAdoptInALine(t *testing.T) {
	t.Parallel()
	for _, dropped := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "dir")
		away := dir + "-away"
		path := filepath.Join(dir, "a.log")
		for _, d := range []string{dir, away} {
			if err := os.Mkdir(d, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, []byte("be"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, filepath.Join(away, "a.log")); err != nil {
			t.Fatal(err)
		}
		os.Remove(dir)
		os.WriteFile(dir, nil, 0o600)
		p, _ := startPump(t)
		pipe, w := logPipe(t)
		s := adopt(t, p, Adoption{Target: Target{Path: path}, Pipe: pipe})
		if dropped {
			write(t, w, "gun\n")
			flush(t, s)
		}
		os.Remove(dir)
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error {
			if st := s.Stats(); st.Error != "" {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
		write(t, w, "gun again\n")
		flush(t, s)
		if got, want := content(t, path), map[bool]string{false: "begun again\n", true: "be\ngun again\n"}[dropped]; got != want {
			t.Errorf("dropped %v: the log has %q, want %q", dropped, got, want)
		}
	}
}

// TestAdoptATornLine: a daemon was killed while a full disk had half a line. What
// followed was dropped, so that half is a line; with a file that took everything
// the other half is still to come.
func TestAdoptATornLine(t *testing.T) {
	t.Parallel()
	for refused, want := range map[string]string{"no space left on device": "be\ngun again\n", "": "begun again\n"} {
		path := filepath.Join(t.TempDir(), "a.log")
		if err := os.WriteFile(path, []byte("be"), 0o600); err != nil {
			t.Fatal(err)
		}
		p, _ := startPump(t)
		pipe, w := logPipe(t)
		s := adopt(t, p, Adoption{Target: Target{Path: path}, Pipe: pipe, Killed: true, Count: Stats{Error: refused}})
		write(t, w, "gun again\n")
		flush(t, s)
		if got := content(t, path); got != want {
			t.Errorf("refused %q: the log has %q, want %q", refused, got, want)
		}
	}
}

// TestCountsGoOn from where the earlier daemon was.
func TestCountsGoOn(t *testing.T) {
	t.Parallel()
	for _, buffered := range []bool{false, true} {
		p, _ := startPump(t)
		pipe, w := logPipe(t)
		s := adopt(t, p, Adoption{
			Target: Target{Path: filepath.Join(t.TempDir(), "a.log"), Buffered: buffered}, Pipe: pipe,
			Count: Stats{Bytes: 1000, Dropped: 30, DroppedSince: "2026-01-02T03:04:05Z", Rotations: 7},
		})
		check := func(bytes int64, rotations int) {
			t.Helper()
			if st := s.Stats(); st.Bytes != bytes || st.Dropped != 30 || st.DroppedSince != "2026-01-02T03:04:05Z" || st.Rotations != rotations {
				t.Errorf("buffered %v: %+v", buffered, st)
			}
		}
		check(1000, 7)
		write(t, w, "twelve bytes")
		flush(t, s)
		check(1012, 7)
		write(t, w, "\n")
		flush(t, s)
		if err := s.Rotate(); err != nil {
			t.Fatal(err)
		}
		check(1013, 8)
	}
}

// TestPipeID is what a program that writes to the stream has as well.
func TestPipeID(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{})
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if id := s.PipeID(); id == 0 || id != st.Ino {
		t.Errorf("%d, want %d", id, st.Ino)
	}
	pipe, err := s.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	q, _ := startPump(t)
	if again := adopt(t, q, Adoption{Pipe: pipe}); again.PipeID() != st.Ino {
		t.Errorf("adopted: %d, want %d", again.PipeID(), st.Ino)
	}
	s.Close()
	if id := s.PipeID(); id != 0 {
		t.Errorf("closed: %d", id)
	}
}

// TestAdoptWithFewDescriptors: enough for the pipes, not for the files. The limit is a
// process's own, so the test binary runs itself.
func TestAdoptWithFewDescriptors(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=nofile", "LOGS_TEST_DIR="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func noFileChild() int {
	if err := noFileCase(os.Getenv("LOGS_TEST_DIR")); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func noFileCase(dir string) error {
	const streams = 60
	p, err := NewPump(Options{Log: func(string, ...any) {}})
	if err != nil {
		return err
	}
	defer p.Close()
	var all []Adoption
	fd := -1
	for i := range streams {
		if fd, err = newPipe(-1, -1); err != nil {
			return err
		}
		all = append(all, Adoption{Target: Target{Path: fmt.Sprintf("%s/%d.log", dir, i), UID: -1, GID: -1}, Pipe: os.NewFile(uintptr(fd), "pipe")})
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	low := limit
	low.Cur = uint64(fd + 10)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		return err
	}
	adopted, err := p.AdoptAll(all)
	if err != nil {
		return err
	}
	lacking := 0
	for _, s := range adopted {
		if strings.Contains(s.Stats().Error, "too many open files") {
			lacking++
		}
	}
	if lacking < streams/2 || lacking == streams {
		return fmt.Errorf("%d of %d streams lack descriptors", lacking, streams)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		err = nil
		for _, s := range adopted {
			if s.Stats().Error != "" {
				err = fmt.Errorf("%+v", s.Stats())
			}
		}
		if err == nil {
			break
		}
		<-tick.C
	}
	return err
}
