package logs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMovedFileIsNoticed while writing goes on, and what had been written is kept.
func TestMovedFileIsNoticed(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"raw", "shared", "formatted"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, moved := filepath.Join(dir, "a.log"), filepath.Join(dir, "a.log.1")
			p, log := startPump(t)
			target := Target{Path: path}
			if kind == "formatted" {
				target.Format.Layout = "[T]"
			}
			s, w := openStream(t, p, target)
			if kind == "shared" {
				openStream(t, p, target)
			}
			write(t, w, "before\n")
			flush(t, s)
			if err := os.Rename(path, moved); err != nil {
				t.Fatal(err)
			}
			lines := 1
			eventually(t, func() error {
				write(t, w, "after\n")
				lines++
				flush(t, s)
				_, err := os.Stat(path)
				return err
			})
			all := content(t, moved) + content(t, path)
			if n := strings.Count(all, "\n"); n != lines || !strings.Contains(content(t, path), "after\n") {
				t.Errorf("%d lines of %d: %q", n, lines, all)
			}
			if len(log.lines) > 0 {
				t.Errorf("the daemon's log has %q", log.lines)
			}
		})
	}
}

// TestReplacedByALink: in a folder that others may write to it is never written
// through; where the file was moved to, writing goes on.
func TestReplacedByALink(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		dir := t.TempDir()
		path, other, moved := filepath.Join(dir, "a.log"), filepath.Join(dir, "precious"), filepath.Join(dir, "moved")
		p, log := startPump(t)
		s, w := openStream(t, p, Target{Path: path})
		write(t, w, "before\n")
		flush(t, s)
		if !trusted {
			os.Chmod(dir, 0o777)
		}
		os.WriteFile(other, []byte("precious\n"), 0o600)
		os.Rename(path, moved)
		os.Symlink(other, path)
		lines := 1
		eventually(t, func() error {
			write(t, w, "after\n")
			lines++
			flush(t, s)
			if trusted && content(t, other) == "precious\n" {
				return fmt.Errorf("the link isn't noticed")
			}
			if !trusted && log.count("was moved away") == 0 {
				return fmt.Errorf("nothing is said")
			}
			return nil
		})
		if !trusted && (content(t, other) != "precious\n" || strings.Count(content(t, moved), "\n") != lines || log.count("") != 1) {
			t.Errorf("link: %q, moved: %q, said %q", content(t, other), content(t, moved), log.lines)
		}
		if st := s.Stats(); st.Dropped != 0 || st.Error != "" {
			t.Errorf("trusted %v: %+v", trusted, st)
		}
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, both := filepath.Join(dir, "a.log"), filepath.Join(dir, "both.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Also: both})
	write(t, w, "one\n")
	flush(t, s)
	for _, name := range []string{path, both} {
		if err := os.Rename(name, name+".1"); err != nil {
			t.Fatal(err)
		}
	}
	write(t, w, "two\n") // what is in the pipe goes to the old file
	for range 2 {        // the second time nothing has changed
		if err := s.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	write(t, w, "three\n")
	flush(t, s)
	for _, name := range []string{path, both} {
		if got := content(t, name+".1") + "|" + content(t, name); got != "one\ntwo\n|three\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
	s.Close()
	if err := s.Reopen(); err == nil {
		t.Error("a closed stream was reopened")
	}
}

func TestTruncate(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"", "[T]"} {
		dir := t.TempDir()
		path, both := filepath.Join(dir, "a.log"), filepath.Join(dir, "both.log")
		p, _ := startPump(t)
		target := Target{Path: path, Format: Format{Layout: layout}}
		if layout != "" {
			target.Also = both
		}
		s, w := openStream(t, p, target)
		write(t, w, "one\ntwo")
		if err := s.Truncate(); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != "" {
			t.Errorf("%q is left", got)
		}
		write(t, w, "three\n")
		flush(t, s)
		want := "three\n"
		if layout != "" {
			want = "T: three\n"
			if got := content(t, both); got != want {
				t.Errorf("second file: %q", got)
			}
		}
		if got := content(t, path); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	p, _ := startPump(t)
	s, _ := openStream(t, p, Target{})
	if err := s.Truncate(); err != nil {
		t.Errorf("nowhere: %v", err)
	}
}

// TestTimedRotation: not of an empty file, nor twice, nor within a line.
func TestTimedRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p, err := newPump(Options{Log: t.Logf}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	rotated := 0
	p.Rotated(func(*Stream) { rotated++ })
	s, w := openStream(t, p, Target{Path: path})
	rotate := func(after time.Duration) {
		t.Helper()
		if err := p.do(context.Background(), func() { now = now.Add(after) }); err != nil {
			t.Fatal(err)
		}
		if err := s.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	rotate(0) // empty
	write(t, w, "one\n")
	rotate(0)
	write(t, w, "two\n")
	rotate(time.Second / 2) // just done
	rotate(time.Second)
	write(t, w, "three, four")
	rotate(time.Minute) // when the line ends
	write(t, w, ", five\n")
	write(t, w, "six\n")
	flush(t, s)
	var got []string
	for _, name := range files(t, path) {
		got = append(got, content(t, name))
	}
	if want := []string{"one\n", "two\n", "three, four, five\n", "six\n"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %q, want %q", got, want)
	}
	if st := s.Stats(); st.Rotations != 3 {
		t.Errorf("stats %+v", st)
	}
	p.Close()
	if rotated != 3 {
		t.Errorf("told of %d rotations", rotated)
	}
}

// TestStalled: Stats tell since when a write hangs, without waiting for it.
func TestStalled(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: filepath.Join(t.TempDir(), "a.log")})
	other, _ := openStream(t, p, Target{})
	write(t, w, "x\n")
	flush(t, s)
	if st := s.Stats(); !st.Stalled.IsZero() {
		t.Errorf("stalled since %v", st.Stalled)
	}
	hang, hangs := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	go func() { // ended by hang; the test waits for ended
		defer close(ended)
		p.do(context.Background(), func() { // as in a turn whose write doesn't come back
			s.unsettle(p.now())
			close(hangs)
			<-hang
			s.publish()
		})
	}()
	<-hangs
	eventually(t, func() error {
		if st := s.Stats(); st.Stalled.IsZero() {
			return fmt.Errorf("not seen")
		}
		return nil
	})
	if st := other.Stats(); !st.Stalled.IsZero() {
		t.Error("the other stream is said to be stalled")
	}
	if m := s.Mark(); m != (Mark{}) {
		t.Errorf("mark %+v", m)
	}
	close(hang)
	<-ended
	if st := s.Stats(); !st.Stalled.IsZero() {
		t.Errorf("still stalled: %+v", st)
	}
}

func TestTrim(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	sizes := map[string]int{
		"a.log": 100, "b.log": 50,
		"a-2026-01-01T00-00-00.000.log.gz": 10,
		"b-2026-01-02T00-00-00.000.log":    20,
		"a-2026-01-03T00-00-00.000.log":    30, "a-2026-01-03T00-00-00.000.log.gz": 5,
		"b-2026-01-04T00-00-00.000.log": 40,
		"a-of-somebody.log":             1000, "ab-2026-01-01T00-00-00.000.log": 1000,
	}
	for name, n := range sizes {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link.log")
	os.Symlink("a.log", link)
	steps := []struct {
		total, freed int64
		left         int
	}{
		{1000, 0, 9},
		{255, 0, 9},  // exactly
		{254, 10, 8}, // the oldest
		{226, 20, 7}, // of the other log
		{220, 30, 6}, // one of a pair
		{0, 45, 4},   // live files stay, and what isn't ours
		{0, 0, 4},
	}
	for _, step := range steps {
		freed, err := Trim([]string{a, b, link, "", "/dev/stdout", filepath.Join(dir, "none", "c.log")}, step.total)
		if err != nil || freed != step.freed {
			t.Errorf("to %d: freed %d, %v, want %d", step.total, freed, err, step.freed)
		}
		if names := listFolder(dir); len(names)-1 != step.left {
			t.Errorf("to %d: %q", step.total, names)
		}
	}
}
