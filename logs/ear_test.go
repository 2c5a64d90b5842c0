package logs

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ears collect what they hear.
type ears struct {
	mu    sync.Mutex
	lines []string
}

func (e *ears) hear(line []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, string(line))
	return false
}

func (e *ears) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.lines)
}

// TestListen: every line is heard once, of this stream alone, from the moment on that
// somebody listens, wherever the lines go; and they go there as ever.
func TestListen(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]Target{
		"plain":    {},
		"rotated":  {Rotation: Rotation{MaxSize: 20_000}},
		"dated":    {Format: Format{Layout: "YYYY-MM-DD"}},
		"json":     {Format: Format{JSON: true, App: "a"}},
		"buffered": {Buffered: true},
		"nowhere":  {Path: "/dev/null"},
		"two":      {Also: "also.log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			to := target
			if to.Path == "" {
				to.Path = filepath.Join(dir, "a.log")
			}
			if to.Also != "" {
				to.Also = filepath.Join(dir, to.Also)
			}
			p, _ := startPump(t)
			s, w := openStream(t, p, to)
			_, other := openStream(t, p, Target{Path: to.Path})
			write(t, w, "before\n")
			m := s.Mark()
			var heard ears
			e := s.Listen(heard.hear)
			var want []string
			for i := range 500 {
				line := strings.TrimSuffix(string(numbered(i)), "\n")
				want = append(want, line)
				write(t, w, line[:50])
				write(t, other, "another's\n")
				write(t, w, line[50:]+"\n")
			}
			flush(t, s)
			if got := heard.all(); !slices.Equal(got, want) {
				t.Errorf("heard %d lines, want %d: %.200q", len(got), len(want), got)
			}
			e.Close()
			write(t, w, "after\n")
			flush(t, s)
			if got := heard.all(); len(got) != len(want) {
				t.Errorf("heard %q after it was closed", got[len(got)-1])
			}
			if s.listened() != nil {
				t.Error("somebody listens still")
			}
			if name == "nowhere" {
				return
			}
			text := ""
			for _, f := range files(t, to.Path) {
				text += content(t, f)
			}
			if n := strings.Count(text, filling); n != 500 || !strings.Contains(text, "before") || !strings.Contains(text, "after") {
				t.Errorf("the files have %d of the lines", n)
			}
			if m != (Mark{}) && name != "two" {
				found := map[string]bool{}
				for _, what := range []string{want[0], want[499], "before"} {
					found[what], _ = s.Find(m, func(line []byte) bool { return string(line) == what })
				}
				if !found[want[0]] || !found[want[499]] || found["before"] {
					t.Errorf("found in the files: %v", found)
				}
			}
		})
	}
}

// TestListenToWhatHasNoEnd: it is told after a while; and nothing is heard after enough.
func TestListenToWhatHasNoEnd(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: filepath.Join(t.TempDir(), "a.log")})
	heard := make(chan string, 10)
	s.Listen(func(line []byte) bool { heard <- string(line); return string(line) == "name:" })
	write(t, w, "first\r\nname:")
	for _, want := range []string{"first", "name:"} {
		select {
		case got := <-heard:
			if got != want {
				t.Fatalf("heard %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q isn't heard", want)
		}
	}
	write(t, w, "\nlast\n")
	flush(t, s)
	if len(heard) > 0 {
		t.Errorf("heard %q after enough", <-heard)
	}
}

// TestEarByPieces: however lines are cut, they are heard whole, the longest in pieces.
func TestEarByPieces(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var want []string
		text := ""
		for range random.IntN(20) {
			line := strings.Repeat("x", random.IntN(300))
			want, text = append(want, line), text+line+"\n"
		}
		var heard ears
		e := &Ear{hear: heard.hear}
		for len(text) > 0 {
			n := 1 + random.IntN(len(text))
			e.tell([]byte(text[:n]))
			text = text[n:]
		}
		if got := heard.all(); !slices.Equal(got, want) {
			t.Fatalf("heard %q, want %q", got, want)
		}
	}
	var heard ears
	e := &Ear{hear: heard.hear}
	e.tell([]byte(strings.Repeat("y", 3*maxLine) + "\n"))
	if n := len(strings.Join(heard.all(), "")); n != 3*maxLine {
		t.Errorf("heard %d bytes of a long line, want %d", n, 3*maxLine)
	}
}
