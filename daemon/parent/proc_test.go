package parent

import (
	"fmt"
	"os"
	"reflect"
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
		"plain":          {"12 (node) S" + tail, proc{pid: 12, ppid: 1, pgrp: 2, start: 4711, name: "node"}, true},
		"zombie":         {"12 (node) Z" + tail, proc{pid: 12, ppid: 1, pgrp: 2, start: 4711, name: "node", zombie: true}, true},
		"hostile name":   {"12 (a) S 9 9 (b) R" + tail, proc{pid: 12, ppid: 1, pgrp: 2, start: 4711, name: "a) S 9 9 (b"}, true},
		"name of digits": {"12 (1 2 3) R" + tail, proc{pid: 12, ppid: 1, pgrp: 2, start: 4711, name: "1 2 3"}, true},
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
		again := fmt.Appendf(nil, "%d (%s) %s %d %d 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 %d", p.pid, p.name, state, p.ppid, p.pgrp, p.start)
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

func TestDescendants(t *testing.T) {
	t.Parallel()
	all := []proc{
		{pid: 1, ppid: 0}, {pid: 5, ppid: 4}, {pid: 4, ppid: 2}, {pid: 2, ppid: 1}, {pid: 3, ppid: 1},
		{pid: 8, ppid: 9}, {pid: 9, ppid: 8}, // a circle, as a torn list may show it
	}
	pids := func(procs []proc) (list []int) {
		for _, p := range procs {
			list = append(list, p.pid)
		}
		return list
	}
	for root, want := range map[int][]int{2: {4, 5}, 3: nil, 8: {9, 8}, 77: nil} {
		if got := pids(descendants(all, root)); !reflect.DeepEqual(got, want) {
			t.Errorf("below %d: %v, want %v", root, got, want)
		}
	}
}
