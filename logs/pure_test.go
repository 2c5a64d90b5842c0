package logs

import (
	"bytes"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	steps := []struct {
		eighths int
		waited  time.Duration
		want    time.Duration
	}{
		{0, time.Hour, 0}, // a line after silence
		{0, 0, firstPause},
		{0, 0, 2 * firstPause},
		{1, 0, 2 * firstPause}, // in balance
		{3, 0, 2 * firstPause},
		{0, 0, 4 * firstPause},
		{4, 0, 0}, // half full: at once
		{0, 0, 0},
		{0, 0, firstPause},
		{0, time.Second, 0},
	}
	for i, s := range steps {
		if got := p.next(s.eighths, s.waited); got != s.want {
			t.Errorf("step %d: pause %v, want %v", i, got, s.want)
		}
	}
	for range 20 {
		p.next(0, 0)
	}
	if p.pause != maxPause {
		t.Errorf("pause %v, want %v", p.pause, maxPause)
	}
}

func TestTired(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Now()
	for i, want := range []bool{true, false, true, false, true} { // the clock is set back before the last
		if i == 4 {
			now = now.Add(-time.Hour)
		}
		if got := p.tired(now); got != want {
			t.Errorf("step %d: %v", i, got)
		}
		now = now.Add(time.Millisecond + time.Microsecond)
	}
}

// FuzzPlan: whatever comes in whatever pieces, lines stay whole and files within bounds.
func FuzzPlan(f *testing.F) {
	f.Add([]byte("a\nbb\nccc\n"), uint16(5), uint8(3))
	f.Add(bytes.Repeat([]byte("x"), 100), uint16(1), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, limitSize uint16, piece uint8) {
		l := limit(limitSize) + 1
		step := int(piece) + 1
		var file []byte
		longest := 0
		for line := range bytes.Lines(data) {
			longest = max(longest, len(line))
		}
		rotated := func() {
			if len(file) == 0 {
				t.Fatal("an empty file was rotated")
			}
			if file[len(file)-1] != '\n' && len(file) < int(l)+slack {
				t.Fatalf("cut within a line: %q", file)
			}
			file = nil
		}
		for len(data) > 0 {
			next := data[:min(step, len(data))]
			mid := len(file) > 0 && file[len(file)-1] != '\n'
			n, rotate := l.plan(int64(len(file)), mid, next)
			switch {
			case rotate && n == 0:
				rotated()
			case rotate || n <= 0 || n > len(next):
				t.Fatalf("plan %d, %v for %q after %q", n, rotate, next, file)
			default:
				file = append(file, next[:n]...)
				data = data[n:]
			}
			if int64(longest) <= l.margin() && int64(len(file)) > int64(l) {
				t.Fatalf("file of %d bytes, limit %d, longest line %d", len(file), l, longest)
			}
		}
	})
}

func TestIndexIsSparse(t *testing.T) {
	t.Parallel()
	var x index
	if x.list() != nil {
		t.Error("an empty index has entries")
	}
	start := time.Unix(1_000_000, 0)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * indexStep / 5) }
	const growths = 100_000
	for i := range growths {
		x.grown(7, int64(i+1), at(i))
	}
	list := x.list()
	if len(list) > 256 || len(list) < indexCap/2 {
		t.Errorf("%d entries", len(list))
	}
	for i, e := range list {
		if !e.Time.Equal(at(int(e.Offset) - 1)) {
			t.Errorf("entry %+v is wrong", e)
		}
		if i > 0 && i < len(list)-1 && e.Time.Sub(list[i-1].Time) < indexStep {
			t.Errorf("entries %d and %d are too near", i-1, i)
		}
	}
	if last := list[len(list)-1]; last.Offset != growths {
		t.Errorf("the last entry is %+v", last)
	}
	if young := list[len(list)-20]; at(growths).Sub(young.Time) > 25*indexStep {
		t.Errorf("what is young is thin: %v", at(growths).Sub(young.Time))
	}
}

// TestIndexEndOfBurst: a line long after another has its own time, and so has the earlier one.
func TestIndexEndOfBurst(t *testing.T) {
	t.Parallel()
	var x index
	start := time.Unix(1_000_000, 0)
	x.grown(7, 10, start)
	x.grown(7, 20, start.Add(time.Millisecond))
	x.grown(7, 30, start.Add(time.Hour))
	c := newClock(&Source{Index: x.list()}, 7, 30, start, start)
	for end, want := range map[int64]time.Duration{10: 0, 20: time.Millisecond, 30: time.Hour} {
		if got := c.at(end).Sub(start); got != want {
			t.Errorf("offset %d: %v, want %v", end, got, want)
		}
	}
	x.grown(8, 5, start.Add(2*time.Hour)) // rotated
	x.renewed(7)
	if list := x.list(); len(list) != 1 || list[0].Inode != 8 {
		t.Errorf("a reused inode kept %+v", list)
	}
}

func TestHistoryNamesAscend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir+"/a-2030-01-01T00-00-00.005.log", "")
	put(t, dir+"/a-b-2031-01-01T00-00-00.005.log", "") // another app's
	put(t, dir+"/a-2032-01-01.log", "")
	h, f := history{path: dir + "/a.log"}, open(t, dir)
	past := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, want := range []string{"006", "007", "008"} { // the clock was set back, and stands still
		if got := h.next(f, past); got != "a-2030-01-01T00-00-00."+want+".log" {
			t.Errorf("name %d is %s", i, got)
		}
	}
	later := time.Date(2040, 1, 2, 3, 4, 5, 678_999_999, time.UTC)
	if got := h.next(f, later); got != "a-2040-01-02T03-04-05.678.log" {
		t.Errorf("name is %s", got)
	}
}
