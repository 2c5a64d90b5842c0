package keeper

import (
	"fmt"
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const tail = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	tests := map[string]struct {
		text string
		want proc
		ok   bool
	}{
		"plain":          {"12 (node) S" + tail, proc{pid: 12, ppid: 1, group: 2, start: 4711}, true},
		"zombie":         {"12 (node) Z" + tail, proc{pid: 12, ppid: 1, group: 2, start: 4711, zombie: true}, true},
		"hostile name":   {"12 (a) S 9 9 (b) R" + tail, proc{pid: 12, ppid: 1, group: 2, start: 4711}, true},
		"name of digits": {"12 (1 2 3) R" + tail, proc{pid: 12, ppid: 1, group: 2, start: 4711}, true},
		"empty":          {"", proc{}, false},
		"cut":            {"12 (node) S 1 2", proc{}, false},
		"no brackets":    {"12 node S" + tail, proc{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := parseStat([]byte(test.text))
			if ok != test.ok || ok && got != test.want {
				t.Errorf("got %+v %v, want %+v %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20"))
	f.Add([]byte(")("))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, ok := parseStat(text)
		if !ok {
			return
		}
		state := "S"
		if p.zombie {
			state = "Z"
		}
		again := fmt.Appendf(nil, "%d (x) %s %d %d 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %d", p.pid, state, p.ppid, p.group, p.start)
		if q, ok := parseStat(again); !ok || p != q {
			t.Errorf("%q reads as %+v, %q as %+v", text, p, again, q)
		}
	})
}

func TestLookAtOneself(t *testing.T) {
	t.Parallel()
	p, ok := look(os.Getpid())
	if !ok || p.pid != os.Getpid() || p.ppid != os.Getppid() || p.start == 0 || p.zombie {
		t.Errorf("%+v %v", p, ok)
	}
}
