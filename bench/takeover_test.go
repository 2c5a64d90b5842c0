package main

import "testing"

func TestSteeredAfterTheLastThatWasLost(t *testing.T) {
	t.Parallel()
	const tick = 1_000_000 // a millisecond
	for _, c := range []struct {
		name   string
		served map[int64]bool
		want   float64
	}{
		{"at once", map[int64]bool{11 * tick: true, 12 * tick: true}, 1},
		{"after the third", map[int64]bool{11 * tick: true, 12 * tick: false, 13 * tick: false, 14 * tick: true, 16 * tick: true}, 4},
		{"never", map[int64]bool{11 * tick: true, 15 * tick: false}, 5},
	} {
		if got := steeredAfter(10*tick, c.served); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestFieldsOfAWebApp(t *testing.T) {
	t.Parallel()
	node := web{script: "/s.js", instances: 2, more: map[string]any{"spares": 1}}
	if f := node.fields(gopmName); f["exec_mode"] != "cluster" || f["spares"] != 1 || f["interpreter"] != "node" || f["instances"] != 2 {
		t.Error(f)
	}
	if f := node.fields(pm2Name); f["exec_mode"] != "cluster" || f["spares"] != nil {
		t.Error(f)
	}
	static := web{instances: 1}
	if f := static.fields(pm2Name); f["exec_mode"] != nil || f["script"] != nil { // pm2 can cluster only node
		t.Error(f)
	}
	if f := static.fields(gopmName); f["exec_mode"] != "cluster" {
		t.Error(f)
	}
}
