package logs

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// rotatedName is the name of a rotated file of path.
func rotatedName(path string, at time.Time) string {
	prefix, ext := splitName(path)
	return filepath.Join(filepath.Dir(path), prefix+at.Format(rotatedStamp)+ext)
}

// putAt writes a file that was last written to at a time; packed if its name says so.
func putAt(t testing.TB, path, text string, at time.Time) {
	t.Helper()
	if strings.HasSuffix(path, packedExt) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(text))
		z.Close()
		text = b.String()
	}
	put(t, path, text)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

// minutes makes a log with a rotated file per hour from 9 to 11, and the newest, each
// with a line per minute "a 9:05"; packed says which of the rotated are compressed.
func minutes(t testing.TB, path string, packed ...int) Source {
	name := strings.TrimSuffix(filepath.Base(path), ".log")
	for hour := 9; hour <= 12; hour++ {
		var text strings.Builder
		for m := range 60 {
			fmt.Fprintf(&text, "%s %d:%02d\n", name, hour, m)
		}
		end := noon.Add(time.Duration(hour-11) * time.Hour)
		file := rotatedName(path, end)
		if slices.Contains(packed, hour) {
			file += packedExt
		}
		if hour == 12 {
			file = path
		}
		putAt(t, file, text.String(), end)
	}
	return Source{App: name, Path: path}
}

// times are those within a log's lines, "9:05".
func times(lines []Line) (all []string) {
	for _, l := range lines {
		_, at, _ := strings.Cut(string(l.Text), " ")
		all = append(all, at)
	}
	return all
}

func TestSearch(t *testing.T) {
	t.Parallel()
	clock := func(h, m int) time.Time { return time.Date(2026, 11, 22, h, m, 30, 0, time.UTC) } // not at a line's very end
	tests := map[string]struct {
		q           Query
		n           int
		first, last string // of the lines found
	}{
		"last":                {Query{Last: 2}, 2, "12:58", "12:59"},
		"last of some files":  {Query{Last: 150}, 150, "10:30", "12:59"},
		"last, all":           {Query{Last: 1000}, 240, "9:00", "12:59"},
		"last, match":         {Query{Last: 3, Match: regexp.MustCompile(`:07$`)}, 3, "10:07", "12:07"},
		"last, rare":          {Query{Last: 3, Match: regexp.MustCompile("9:31")}, 1, "9:31", "9:31"},
		"last, none":          {Query{Last: 3, Match: regexp.MustCompile("x")}, 0, "", ""},
		"last since":          {Query{Last: 5, Since: clock(12, 57)}, 3, "12:57", "12:59"},
		"last until":          {Query{Last: 2, Until: clock(10, 30)}, 2, "10:28", "10:29"},
		"last between, match": {Query{Last: 9, Since: clock(10, 0), Until: clock(12, 0), Match: regexp.MustCompile(":[03]0")}, 4, "10:00", "11:30"},
		"all":                 {Query{Last: -1}, 240, "9:00", "12:59"},
		"all since":           {Query{Last: -1, Since: clock(11, 30)}, 90, "11:30", "12:59"},
		"all until":           {Query{Last: -1, Until: clock(9, 10)}, 10, "9:00", "9:09"},
		"all between":         {Query{Last: -1, Since: clock(10, 59), Until: clock(12, 1)}, 62, "10:59", "12:00"},
		"all, match":          {Query{Last: -1, Match: regexp.MustCompile(`1\d:3[01]`)}, 6, "10:30", "12:31"},
		"all since, match":    {Query{Last: -1, Since: clock(11, 0), Match: regexp.MustCompile(":05")}, 2, "11:05", "12:05"},
		"after everything":    {Query{Last: -1, Since: clock(14, 0)}, 0, "", ""},
		"before everything":   {Query{Last: -1, Until: clock(2, 0)}, 0, "", ""},
	}
	for kind, packed := range map[string][]int{"plain": nil, "packed": {9, 10, 11}, "mixed": {9, 10}} {
		src := minutes(t, filepath.Join(t.TempDir(), "a.log"), packed...)
		// Of the oldest file nobody would know when it was begun.
		putAt(t, rotatedName(src.Path, noon.Add(-3*time.Hour)), "", noon.Add(-3*time.Hour))
		for name, tt := range tests {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				lines, _, troubles := find(t, []Source{src}, tt.q)
				at := times(lines)
				if len(troubles) > 0 || len(at) != tt.n || tt.n > 0 && (at[0] != tt.first || at[tt.n-1] != tt.last) {
					t.Fatalf("%d lines, troubles %v, want %d from %s to %s; got %.400q", len(at), troubles, tt.n, tt.first, tt.last, at)
				}
				if !slices.IsSortedFunc(lines, func(a, b Line) int { return a.Time.Compare(b.Time) }) {
					t.Error("the times don't ascend")
				}
			})
		}
	}
}

// TestSearchMergesLogs: several logs, one of them compressed, are one in the order of time.
func TestSearchMergesLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var sources []Source
	for i, name := range []string{"a", "b", "c"} {
		path := filepath.Join(dir, name+".log")
		sources = append(sources, minutes(t, path, 9+i))
		putAt(t, rotatedName(path, noon.Add(-3*time.Hour)), "", noon.Add(-3*time.Hour))
	}
	for _, last := range []int{-1, 1000} {
		lines, _, _ := find(t, sources, Query{Last: last})
		if len(lines) != 3*240 {
			t.Fatalf("%d lines", len(lines))
		}
		for i, l := range lines {
			minute := i / 3
			want := fmt.Sprintf("%c %d:%02d", 'a'+i%3, 9+minute/60, minute%60)
			if string(l.Text) != want {
				t.Fatalf("last %d: line %d is %q, want %q", last, i, l.Text, want)
			}
		}
	}
}

// TestSearchReadsOnlyWhatItNeeds: files from before the time, and those behind enough
// lines, aren't opened (they are damaged).
func TestSearchReadsOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	src := minutes(t, filepath.Join(t.TempDir(), "a.log"), 9, 10)
	for hour := 9; hour <= 10; hour++ {
		end := noon.Add(time.Duration(hour-11) * time.Hour)
		path := rotatedName(src.Path, end) + packedExt
		put(t, path, "not a gzip file")
		os.Chtimes(path, end, end)
	}
	for _, q := range []Query{
		{Last: 90}, {Last: 1, Match: regexp.MustCompile("11:00")},
		{Last: -1, Since: noon.Add(-time.Minute)}, {Last: 1000, Since: noon.Add(-time.Minute), Match: regexp.MustCompile("9:00")},
	} {
		if _, _, troubles := find(t, []Source{src}, q); len(troubles) > 0 {
			t.Errorf("%+v read too much: %v", q, troubles)
		}
	}
	for _, last := range []int{150, -1} { // those that are wanted are named once, and the rest is shown
		lines, _, troubles := find(t, []Source{src}, Query{Last: last})
		if len(lines) != 120 || len(troubles) != 2 || !strings.Contains(troubles[0].Error(), "damaged") {
			t.Errorf("last %d: %d lines, troubles %v", last, len(lines), troubles)
		}
	}
}

// TestSearchUnreadable: a log that can't be read doesn't hide the others.
func TestSearchUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log"), filepath.Join(dir, "c.log")
	put(t, a, "1\n")
	if err := os.Symlink(c, c); err != nil { // even root can't read a loop of links
		t.Fatal(err)
	}
	if err := os.Mkdir(b, 0o700); err != nil { // no log, but no trouble either
		t.Fatal(err)
	}
	lines, f, troubles := find(t, []Source{{Path: c}, {Path: a}, {Path: b}}, Query{Last: 5})
	if len(lines) != 1 || len(troubles) != 1 || !strings.Contains(troubles[0].Error(), c) {
		t.Errorf("lines %q, troubles %v", texts(lines), troubles)
	}
	appendTo(t, a, "2\n")
	os.Remove(c)
	put(t, c, "3\n")
	if got := read(t, f, 1); !slices.Equal(got, []string{"2"}) {
		t.Errorf("a has %q", got)
	}
	if got := read(t, f, 0); !slices.Equal(got, []string{"3"}) {
		t.Errorf("when it can be read, c has %q", got)
	}
}

// TestSearchDamagedInTheMiddle: what comes before the damage is shown.
func TestSearchDamagedInTheMiddle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	put(t, path, "end\n")
	packed := rotatedName(path, noon) + packedExt
	var text bytes.Buffer
	for i := range 5000 {
		text.Write(numbered(i * 7919 % 5000))
	}
	putAt(t, packed, text.String(), noon)
	whole := content(t, packed)
	put(t, packed, whole[:len(whole)/2])
	os.Chtimes(packed, noon, noon)
	for _, last := range []int{5, -1} {
		lines, _, troubles := find(t, []Source{{Path: path}}, Query{Last: last})
		if len(lines) < 5 || string(lines[len(lines)-1].Text) != "end" || len(troubles) != 1 || !errors.Is(troubles[0], errors.Unwrap(troubles[0])) {
			t.Errorf("last %d: %d lines, troubles %v", last, len(lines), troubles)
		}
	}
}

// TestSearchEnds: a search is given up with its context, however little it finds.
func TestSearchEnds(t *testing.T) {
	t.Parallel()
	src := minutes(t, filepath.Join(t.TempDir(), "a.log"), 9)
	for _, last := range []int{5, -1} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Search(ctx, []Source{src}, Query{Last: last, Match: regexp.MustCompile("none")}, func(err error) { t.Error(err) }, func(Line) error { return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("last %d: %v", last, err)
		}
		stop := errors.New("enough")
		if _, err = Search(t.Context(), []Source{src}, Query{Last: last}, func(err error) { t.Error(err) }, func(Line) error { return stop }); err != stop {
			t.Errorf("last %d: %v, want show's error", last, err)
		}
	}
}

func TestLinesTellTheirTime(t *testing.T) {
	t.Parallel()
	const words = "YYYY-MM-DD HH:mm:ss.SSS Z"
	path := filepath.Join(t.TempDir(), "a.log")
	stamp := func(d time.Duration) string { return string(TimeFormat(words)(nil, noon.Add(d))) }
	putAt(t, path, strings.Join([]string{
		stamp(time.Second) + ": a",
		`{"message":"b,\"timestamp\":\"2001-01-01T00:00:00Z\"","timestamp":"2026-11-22T12:00:02.500Z","type":"out"}`,
		"c without one",
		stamp(99*time.Hour) + ": d lies",
		stamp(time.Hour) + ": e",
		"",
	}, "\n"), noon.Add(time.Hour))
	putAt(t, rotatedName(path, noon), "", noon)
	lines, _, _ := find(t, []Source{{Path: path, Layout: words}}, Query{Last: 9})
	for i, want := range map[int]time.Duration{0: time.Second, 1: 2500 * time.Millisecond, 4: time.Hour} {
		if got := lines[i].Time.Sub(noon); got != want {
			t.Errorf("%q is of %v, want %v", lines[i].Text, got, want)
		}
	}
	for _, i := range []int{2, 3} {
		if got := lines[i].Time.Sub(noon); got < 3*time.Second || got > time.Hour {
			t.Errorf("%q is of %v", lines[i].Text, got)
		}
	}
}

// Of the oldest file that is left, if it is compressed, nobody knows when it was
// begun; --since showed all of it, and --until nothing.
func TestSearchInTheOldestCompressedFileByTheTimesOfItsLines(t *testing.T) {
	t.Parallel()
	const words = "YYYY-MM-DD HH:mm:ss"
	path := filepath.Join(t.TempDir(), "a.log")
	var text strings.Builder
	for m := range 60 {
		at := noon.Add(time.Duration(m-60) * time.Minute)
		fmt.Fprintf(&text, "%s: m %d\n", TimeFormat(words)(nil, at), m)
	}
	putAt(t, rotatedName(path, noon)+packedExt, text.String(), noon)
	putAt(t, path, "now\n", noon.Add(time.Minute))
	for _, last := range []int{-1, 1000} {
		q := Query{Last: last, Since: noon.Add(-30 * time.Minute), Until: noon.Add(-25 * time.Minute)}
		lines, _, _ := find(t, []Source{{Path: path, Layout: words}}, q)
		if at := times(lines); len(at) != 6 || !strings.HasSuffix(at[0], " m 30") || !strings.HasSuffix(at[5], " m 35") {
			t.Errorf("last %d: %q, want minutes 30 to 35", last, at)
		}
	}
}

// With times to the second, all of a second's lines of stdout came before those of stderr.
func TestLinesWithinASecondStayInTheirOrder(t *testing.T) {
	t.Parallel()
	stamps := newStampReader("YYYY-MM-DDTHH:mm:ss")
	c := &clock{begin: noon, end: noon.Add(time.Minute), oldest: noon, stamps: stamps}
	for i := range 10 {
		c.index = append(c.index, IndexEntry{1, int64(i * 10), noon.Add(time.Duration(i) * 300 * time.Millisecond)})
	}
	text := []byte(noon.Add(time.Second).Local().Format("2006-01-02T15:04:05") + ": x")
	for end, want := range map[int64]time.Duration{20: 1000, 40: 1200, 60: 1800, 80: 2000} {
		if got := c.of(span{text, end}).Sub(noon).Round(time.Millisecond); got != want*time.Millisecond {
			t.Errorf("at %d: %v, want %v", end, got, want*time.Millisecond)
		}
	}
}

func TestStampsThatCanBeRead(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.Local)
	for words, want := range map[string]time.Duration{ // how exact; negative: not at all
		"YYYY-MM-DD HH:mm:ss.SSS Z":   0,
		"YYYY-MM-DDTHH:mm:ss.SSSZ":    0,
		"YYYY-MM-DD HH:mm:ss":         89 * time.Millisecond,
		"DD/MM/YY HH:mm":              7*time.Second + 89*time.Millisecond,
		"[log] YYYY-MM-DD HH:mm:ssZZ": -1,
		"HH:mm:ss":                    -1,
		"D MMM YYYY HH:mm:ss":         -1,
		"YYYY-MM-DD HH:mm:ssSSS":      -1,
		"X":                           -1,
		"":                            -1,
	} {
		r := newStampReader(words)
		line := append(TimeFormat(words)(nil, at), ": text"...)
		got, _, ok := r.read(line)
		if ok != (want >= 0) || ok && at.Sub(got) != want {
			t.Errorf("%q: %v, %v; want %v less than %v", words, got, ok, want, at)
		}
	}
}

func TestClockWithoutAnIndex(t *testing.T) {
	t.Parallel()
	c := newClock(&Source{}, 1, 100, noon, noon.Add(100*time.Second))
	for end, want := range map[int64]time.Duration{1: 1, 50: 50, 100: 100, 200: 100} {
		if got := c.at(end).Sub(noon); got != want*time.Second {
			t.Errorf("at %d: %v, want %d s", end, got, want)
		}
	}
	// An index that begins in the middle, as after a start of the daemon, and one from the beginning.
	entries := []IndexEntry{{1, 50, noon.Add(time.Second)}, {1, 100, noon.Add(time.Minute)}, {2, 30, noon}}
	c = newClock(&Source{Index: entries}, 1, 100, noon, noon.Add(time.Hour))
	for end, want := range map[int64]time.Duration{25: time.Second / 2, 50: time.Second, 51: time.Minute, 101: time.Hour} {
		if got := c.at(end).Sub(noon); got != want {
			t.Errorf("at %d: %v, want %v", end, got, want)
		}
	}
	c = newClock(&Source{Index: slices.Insert(entries, 0, IndexEntry{1, 0, noon})}, 1, 100, noon, noon.Add(time.Hour))
	if got := c.at(25).Sub(noon); got != time.Second {
		t.Errorf("the first line: %v, want the end of its burst", got)
	}
}

// FuzzMatcher: looking for the needle first never changes what matches.
func FuzzMatcher(f *testing.F) {
	f.Add("time(out)?|x", "timeout")
	f.Add("^a+b{2,}c$", "aabbc")
	f.Add("(?i)Error", "eRRor")
	f.Add("a(bc|d)ef", "adef")
	f.Add("\ufffd", "\xff")
	f.Add("(?:foo)?bar(baz)+", "barbaz")
	f.Fuzz(func(t *testing.T, expr, text string) {
		re, err := regexp.Compile(expr)
		if err != nil {
			t.Skip()
		}
		if got, want := newMatcher(re).match([]byte(text)), re.MatchString(text); got != want {
			t.Fatalf("%q in %q: %v, want %v", expr, text, got, want)
		}
		if m := newMatcher(re); re.MatchString(text) && !bytes.Contains([]byte(text), m.needle) {
			t.Fatalf("%q matches %q without its needle %q", expr, text, m.needle)
		}
	})
}

// TestForwardAndBackwardAgree: lines are the same from both ends, whatever the needle.
func TestForwardAndBackwardAgree(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "%d %s\n", i, strings.Repeat("é", i*i%301))
	}
	put(t, path, text.String())
	for _, expr := range []string{"", "77", "4999", "^5.*é$"} {
		q := Query{Last: 1 << 30, Match: regexp.MustCompile(expr)}
		back, _, _ := find(t, []Source{{Path: path}}, q)
		q.Last = -1
		forth, _, _ := find(t, []Source{{Path: path}}, q)
		var want []string
		for line := range strings.Lines(text.String()) {
			if line = strings.TrimSuffix(line, "\n"); q.Match.MatchString(line) {
				want = append(want, line)
			}
		}
		if !slices.Equal(texts(back), want) || !slices.Equal(texts(forth), want) {
			t.Errorf("%q: %d lines backward, %d forward, want %d", expr, len(back), len(forth), len(want))
		}
	}
}

// TestFollowThroughCompressedFiles: what was rotated and compressed between two reads
// is shown, once, and the file that was open isn't shown again.
func TestFollowThroughCompressedFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	put(t, path, "1\n")
	_, f := tail(t, []Source{{Path: path}}, 5)
	appendTo(t, path, "2\n")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	putAt(t, rotatedName(path, noon)+packedExt, content(t, path), st.ModTime())
	os.Remove(path)
	putAt(t, rotatedName(path, noon.Add(time.Second))+packedExt, "3\n4\n", noon)
	put(t, rotatedName(path, noon.Add(2*time.Second)), "5\n")
	put(t, path, "6\n")
	if got := read(t, f, 0); !slices.Equal(got, []string{"2", "3", "4", "5", "6"}) {
		t.Fatalf("got %q", got)
	}
	os.Rename(rotatedName(path, noon.Add(2*time.Second)), path+".old")
	putAt(t, rotatedName(path, noon.Add(2*time.Second))+packedExt, "5\n", noon)
	appendTo(t, path, "7\n")
	if got := read(t, f, 0); !slices.Equal(got, []string{"7"}) {
		t.Errorf("after the last one was compressed: %q", got)
	}
}

// TestFollowWhatBecomesOfAFile: a folder that vanishes, and what isn't a log in its place.
func TestFollowWhatBecomesOfAFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	path, other := filepath.Join(dir, "a.log"), filepath.Join(t.TempDir(), "b.log")
	os.Mkdir(dir, 0o700)
	put(t, path, "1\n")
	_, f := tail(t, []Source{{Path: path}}, 5)
	put(t, other, "other\n")
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"folder gone", func() error { appendTo(t, path, "2\n"); return os.RemoveAll(dir) }, []string{"2"}},
		{"still", func() error { return nil }, nil},
		{"a file instead of the folder", func() error { return os.WriteFile(dir, nil, 0o600) }, nil},
		{"folder again", func() error { os.Remove(dir); os.Mkdir(dir, 0o700); put(t, path, "3\n"); return nil }, []string{"3"}},
		{"a folder instead of the file", func() error { os.Remove(path); return os.Mkdir(path, 0o700) }, nil},
		{"a device", func() error { os.Remove(path); return os.Symlink("/dev/zero", path) }, nil},
		{"a link to nothing", func() error { os.Remove(path); return os.Symlink("nothing", path) }, nil},
		{"a link to a file", func() error { os.Remove(path); return os.Symlink(other, path) }, []string{"other"}},
		{"the file again", func() error { os.Remove(path); put(t, path, "4\n"); return nil }, []string{"4"}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got := read(t, f, 0); !slices.Equal(got, s.want) {
			t.Fatalf("%s: got %q, want %q", s.name, got, s.want)
		}
	}
}
