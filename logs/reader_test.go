package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func texts(lines []Line) (all []string) {
	for _, l := range lines {
		all = append(all, string(l.Text))
	}
	return all
}

// tail is the last n lines of every source.
func tail(t testing.TB, sources []Source, n int) ([]Line, *Follower) {
	t.Helper()
	lines, f, troubles := find(t, sources, Query{Last: n})
	for _, err := range troubles {
		t.Error(err)
	}
	return lines, f
}

// find collects what a search shows.
func find(t testing.TB, sources []Source, q Query) (lines []Line, f *Follower, troubles []error) {
	t.Helper()
	f, err := Search(t.Context(), sources, q, func(err error) { troubles = append(troubles, err) }, func(l Line) error {
		l.Text = bytes.Clone(l.Text)
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return lines, f, troubles
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", maxLine/2) // 64 KiB
	tests := map[string]struct {
		rotated []string // oldest first
		text    string
		n       int
		want    []string
	}{
		"empty":               {nil, "", 3, nil},
		"fewer":               {nil, "a\nb\n", 3, []string{"a", "b"}},
		"more":                {nil, "a\nb\nc\nd\n", 3, []string{"b", "c", "d"}},
		"none wanted":         {nil, "a\nb\n", 0, nil},
		"partial":             {nil, "a\nb", 1, []string{"b"}},
		"partial and whole":   {nil, "a\nb\nc", 2, []string{"b", "c"}},
		"empty lines":         {nil, "a\n\n\n", 2, []string{"", ""}},
		"binary":              {nil, "a\x00\xff\r\n\x01\n", 2, []string{"a\x00\xff\r", "\x01"}},
		"rotated too":         {[]string{"a\nb\n", "c\n"}, "d\n", 3, []string{"b", "c", "d"}},
		"rotated, new empty":  {[]string{"a\nb\n"}, "", 1, []string{"b"}},
		"all of them":         {[]string{"a\n", "b\n"}, "c\n", 10, []string{"a", "b", "c"}},
		"long line":           {nil, "a\n" + long + "\nb\n", 2, []string{long, "b"}},
		"longer than a piece": {nil, strings.Repeat("x", maxLine+10) + "\n", 2, []string{strings.Repeat("x", maxLine), strings.Repeat("x", 10)}},
		"many blocks":         {nil, strings.Repeat(string(numbered(1)), 1000) + "z\n", 1, []string{"z"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "a.log")
			for i, text := range tt.rotated {
				put(t, strings.Replace(path, "a.log", fmt.Sprintf("a-2026-01-0%dT00-00-00.000.log", i+1), 1), text)
			}
			put(t, path, tt.text)
			lines, _ := tail(t, []Source{{Path: path}}, tt.n)
			if got := texts(lines); !slices.Equal(got, tt.want) {
				t.Errorf("got %.200q, want %.200q", got, tt.want)
			}
		})
	}
}

func TestTailMergesByTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log"), filepath.Join(dir, "c.log")
	p, _ := startPump(t)
	sa, wa := openStream(t, p, Target{Path: a, Rotation: Rotation{MaxSize: 8}})
	sb, wb := openStream(t, p, Target{Path: b})
	step := func(s *Stream, w *os.File, text string) {
		write(t, w, text)
		flush(t, s)
		eventually(t, func() error { // the index distinguishes 50 ms
			if e := s.Index(); time.Since(e[len(e)-1].Time) < indexStep+time.Millisecond {
				return fmt.Errorf("too soon")
			}
			return nil
		})
	}
	step(sa, wa, "1\n")
	step(sb, wb, "2\n3\n")
	step(sa, wa, "4444\n")
	step(sb, wb, "5\n")
	step(sa, wa, "6\n7\n")
	put(t, c, "old\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(c, old, old); err != nil {
		t.Fatal(err)
	}
	lines, _ := tail(t, []Source{{App: "a", Path: a, Index: sa.Index()}, {App: "b", Path: b, Index: sb.Index()}, {App: "c", Path: c}, {App: "none", Path: filepath.Join(dir, "none")}}, 10)
	if got, want := strings.Join(texts(lines), " "), "old 1 2 3 4444 5 6 7"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	if l := lines[1]; l.Source.App != "a" || time.Since(l.Time) > time.Minute {
		t.Errorf("first line %+v", l)
	}
}

func TestTailShowsASharedFileOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	put(t, path, "x\n")
	lines, f := tail(t, []Source{{App: "a", Path: path}, {App: "b", Path: path}, {Path: "/dev/null"}, {Path: "/dev/stdout"}, {}}, 5)
	if len(lines) != 1 || lines[0].Source.App != "a" {
		t.Errorf("lines %+v", lines)
	}
	appendTo(t, path, "y\n")
	if got := read(t, f, 0); !slices.Equal(got, []string{"y"}) {
		t.Errorf("first source %q", got)
	}
	if got := read(t, f, 1); got != nil {
		t.Errorf("second source %q", got)
	}
	appendTo(t, path, "z\n") // by the second one, while the first is silent
	if got := read(t, f, 1); !slices.Equal(got, []string{"z"}) {
		t.Errorf("second source alone %q", got)
	}
}

func read(t testing.TB, f *Follower, source int) (all []string) {
	t.Helper()
	if err := f.Read(source, func(l Line) error {
		all = append(all, string(l.Text))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFollow(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	put(t, path, "shown\n")
	lines, f := tail(t, []Source{{Path: path}}, 5)
	if len(lines) != 1 {
		t.Fatalf("tail %q", texts(lines))
	}
	now := time.Unix(1000, 0)
	f.now = func() time.Time { return now }
	steps := []struct {
		name string
		do   func()
		want []string
	}{
		{"nothing", func() {}, nil},
		{"lines", func() { appendTo(t, path, "a\nb\n") }, []string{"a", "b"}},
		{"partial", func() { appendTo(t, path, "c") }, nil},
		{"completed", func() { appendTo(t, path, "d\ne") }, []string{"cd"}},
		{"young partial", func() { now = now.Add(999 * time.Millisecond) }, nil},
		{"old partial", func() { now = now.Add(time.Millisecond) }, []string{"e"}},
		{"the rest of it", func() { appendTo(t, path, "f\n") }, []string{"f"}},
		{"long partial", func() { appendTo(t, path, strings.Repeat("x", maxLine+1)) }, []string{strings.Repeat("x", maxLine)}},
		{"its end", func() { appendTo(t, path, "\n") }, []string{"x"}},
		{"truncated", func() { put(t, path, "new\n") }, []string{"new"}},
		{"deleted", func() { os.Remove(path) }, nil},
		{"made again", func() { put(t, path, "1\n") }, []string{"1"}},
		{"partial, then rotated", func() {
			appendTo(t, path, "2")
			os.Rename(path, strings.Replace(path, "a.log", "a-2026-01-01T00-00-00.000.log", 1))
			put(t, path, "3\n")
		}, []string{"2", "3"}},
	}
	for _, s := range steps {
		s.do()
		if got := read(t, f, 0); !slices.Equal(got, s.want) {
			t.Fatalf("%s: got %.80q, want %.80q", s.name, got, s.want)
		}
	}
}

// TestFollowAcrossRotations: nothing lost, nothing twice, however many rotations lie
// between two reads. Once a whole file was skipped: a folder read during renames
// had shown a newer rotated file and not the one before it.
func TestFollowAcrossRotations(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 1000}})
	_, f := tail(t, []Source{{Path: path}}, 5)
	next := 0
	check := func(l Line) error {
		if string(l.Text)+"\n" != string(numbered(next)) {
			return fmt.Errorf("line %d is %q", next, l.Text)
		}
		next++
		return nil
	}
	written := 0
	for _, lines := range []int{5, 12, 35, 0, 1, 400} { // 0 to 40 rotations between reads
		for range lines {
			write(t, w, string(numbered(written)))
			written++
		}
		flush(t, s)
		if err := f.Read(0, check); err != nil {
			t.Fatal(err)
		}
		if next != written {
			t.Fatalf("%d lines of %d", next, written)
		}
	}
	done := make(chan struct{})
	more := scaled(3000)
	go func() { // ends after its lines; the test waits for done
		defer close(done)
		for i := range more {
			w.Write(numbered(written + i))
		}
	}()
	eventually(t, func() error { // while it is rotated
		if err := f.Read(0, check); err != nil {
			t.Fatal(err)
		}
		if next != written+more {
			return fmt.Errorf("%d lines", next)
		}
		return nil
	})
	<-done
}

// TestFollowWhenTheOldFileIsGone: retention removed what was being read, and more.
func TestFollowWhenTheOldFileIsGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	rotated := func(i int) string {
		return strings.Replace(path, "a.log", fmt.Sprintf("a-2026-01-0%dT00-00-00.000.log", i), 1)
	}
	put(t, rotated(1), "old\n")
	put(t, path, "1\n")
	_, f := tail(t, []Source{{Path: path}}, 5)
	appendTo(t, path, "2\n")
	os.Remove(rotated(1))
	os.Remove(path)
	put(t, rotated(3), "5\n")
	put(t, rotated(4), "6\n")
	put(t, path, "7\n")
	if got := read(t, f, 0); !slices.Equal(got, []string{"2", "5", "6", "7"}) {
		t.Errorf("got %q", got)
	}
}

func TestMarkAndSince(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	put(t, path, "of an earlier life\n")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 100}})
	write(t, w, "before\n")
	m := s.Mark()
	since := func(n int, want ...string) {
		t.Helper()
		got, err := s.Since(m, n)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("since(%d) = %q, %v, want %q", n, got, err, want)
		}
	}
	since(5)
	write(t, w, "a\nb\nc")
	since(5, "a", "b", "c")
	since(2, "b", "c")
	write(t, w, "\n")
	for i := range 5 {
		write(t, w, fmt.Sprintf("%s%d\n", filling, i))
	}
	since(3, filling+"2", filling+"3", filling+"4")
	since(100, "a", "b", "c", filling+"0", filling+"1", filling+"2", filling+"3", filling+"4")
	m = s.Mark()
	os.Truncate(path, 0)
	write(t, w, "x\n")
	since(5, "x")
}

func TestBetween(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, Rotation: Rotation{MaxSize: 100}})
	marks := []Mark{s.Mark()}
	for run := range 3 { // each run's lines are rotated at least once
		for i := range 4 {
			write(t, w, fmt.Sprintf("%d-%d %s\n", run, i, filling))
		}
		marks = append(marks, s.Mark())
	}
	write(t, w, "later\n")
	for run := range 3 {
		want := []string{fmt.Sprintf("%d-2 %s", run, filling), fmt.Sprintf("%d-3 %s", run, filling)}
		if got, err := s.Between(marks[run], marks[run+1], 2); err != nil || !slices.Equal(got, want) {
			t.Errorf("run %d: %q, %v; want %q", run, got, err, want)
		}
		if got, err := s.Between(marks[run], marks[run+1], 100); err != nil || len(got) != 4 {
			t.Errorf("run %d: %d lines, %v; want its 4", run, len(got), err)
		}
	}
	if got, err := s.Between(marks[1], marks[1], 5); err != nil || len(got) != 0 {
		t.Errorf("between a place and itself: %q, %v", got, err)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\nc"), 2, uint16(3))
	f.Add([]byte("\n\n\xff\x00"), 1, uint16(0))
	f.Add(bytes.Repeat([]byte("é"), maxLine), 3, uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, n int, from uint16) {
		n = min(n, 1000)
		start := min(int64(from), int64(len(data)))
		spans, err := lastSpans(bytes.NewReader(data), start, int64(len(data)), n)
		if err != nil {
			t.Fatal(err)
		}
		if len(spans) > max(n, 0) {
			t.Fatalf("%d lines, %d wanted", len(spans), n)
		}
		end := int64(len(data))
		for _, s := range slices.Backward(spans) { // they cover the end without a gap
			if s.end != end || len(s.text) > maxLine || bytes.IndexByte(s.text, '\n') >= 0 {
				t.Fatalf("line of %d bytes ends at %d, want %d", len(s.text), s.end, end)
			}
			rest, hasNewline := bytes.CutSuffix(data[start:end], []byte("\n"))
			if !bytes.HasSuffix(rest, s.text) {
				t.Fatalf("line %q isn't what is before %d", s.text, end)
			}
			end -= int64(len(s.text))
			if hasNewline {
				end--
			}
		}
		if len(spans) < n && end != start {
			t.Fatalf("%d lines of %d wanted, but they begin at %d, not %d", len(spans), n, end, start)
		}
	})
}
