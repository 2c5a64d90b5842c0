package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rawReader reads as someone does who follows a run.
type rawReader struct {
	s    *Stream
	at   Mark
	text strings.Builder
	lost bool
}

func (r *rawReader) read(t *testing.T, to Mark) string {
	t.Helper()
	buf := make([]byte, 7) // no line fits
	for {
		n, next, lost, err := r.s.Raw(r.at, to, buf)
		if err != nil {
			t.Fatal(err)
		}
		r.text.Write(buf[:n])
		r.at, r.lost = next, r.lost || lost
		if n == 0 {
			return r.text.String()
		}
	}
}

// What a run writes is read byte by byte, across rotations, from its begin to that of
// the next run.
func TestRawReadsARun(t *testing.T) {
	t.Parallel()
	for name, buffered := range map[string]bool{"spliced": false, "buffered": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, _ := startPump(t)
			s, w := openStream(t, p, Target{Path: filepath.Join(t.TempDir(), "a.log"), Rotation: Rotation{MaxSize: 1000}, Buffered: buffered})
			write(t, w, "of the run before\n")
			r := &rawReader{s: s, at: s.Mark()}
			if got := r.read(t, Mark{}); got != "" {
				t.Errorf("before anything was written: %q", got)
			}
			write(t, w, "no newline: ")
			if got := r.read(t, Mark{}); got != "no newline: " {
				t.Errorf("of an unfinished line: %q", got)
			}
			want := "no newline: "
			for i := range 100 {
				line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", i))
				write(t, w, line)
				want += line
				if i%10 == 0 {
					r.read(t, Mark{})
				}
			}
			end := s.Mark()
			write(t, w, "of the next run\n")
			if got := r.read(t, end); got != want {
				t.Errorf("%d bytes, want %d: …%q", len(got), len(want), got[max(0, len(got)-50):])
			}
			if got := r.read(t, end); got != want || r.lost {
				t.Errorf("after the end there is more: %q; lost: %v", got[len(want):], r.lost)
			}
			parsed, err := MarkOf(r.at.Text())
			if err != nil || parsed != r.at {
				t.Errorf("%v, %v, want %v", parsed, err, r.at)
			}
		})
	}
}

// What is gone is said to be, once, and what is left is read.
func TestRawSaysWhatIsLost(t *testing.T) {
	t.Parallel()
	p, _ := startPump(t)
	dir := t.TempDir()
	s, w := openStream(t, p, Target{Path: filepath.Join(dir, "a.log")})
	write(t, w, "begin\n")
	r := &rawReader{s: s, at: s.Mark()}
	write(t, w, "lost\n")
	if err := s.Rotate(); err != nil {
		t.Fatal(err)
	}
	for _, name := range rotatedNames(listFolder(dir), filepath.Join(dir, "a.log")) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, w, "kept\n")
	if got := r.read(t, Mark{}); got != "kept\n" || !r.lost {
		t.Errorf("%q, lost: %v", got, r.lost)
	}
	r.lost = false
	write(t, w, "more\n")
	if got := r.read(t, Mark{}); got != "kept\nmore\n" || r.lost {
		t.Errorf("%q, lost: %v", got, r.lost)
	}
	if _, _, _, err := s.Raw(Mark{}, Mark{}, make([]byte, 10)); err == nil {
		t.Error("what can't be read back is read")
	}
}
