package daemon

import (
	"testing"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
)

// TestLifeKeys: the keys of the first life are as they always were.
func TestLifeKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]lifeID{"i/3": {3, 0}, "i/0": {0, 0}, "i/12.1": {12, 1}, "i/3.18446744073709551615": {3, 1<<64 - 1}} {
		if got := want.key(); got != key {
			t.Errorf("%v has the key %q, want %q", want, got, key)
		}
		if got, err := parseLifeID(key[len(keyRun):]); got != want || err != nil {
			t.Errorf("%q is %v (%v), want %v", key, got, err, want)
		}
	}
	for _, bad := range []string{"", "x", "3.x", ".1", "3.-1"} {
		if l, err := parseLifeID(bad); err == nil {
			t.Errorf("%q is %v", bad, l)
		}
	}
}

// TestLivesApart: the two processes of one id write into the same pipes; each is found
// by its own life.
func TestLivesApart(t *testing.T) {
	t.Parallel()
	e := estate{runs: map[lifeID]keeper.Entry{{3, 0}: {Key: "i/3"}, {3, 1}: {Key: "i/3.1"}}}
	if run, is := e.run(api.SavedInstance{ID: 3, Life: 1}); !is || run.Key != "i/3.1" {
		t.Errorf("life 1 is %v, %v", run, is)
	}
	if _, is := e.run(api.SavedInstance{ID: 3, Life: 2}); is {
		t.Error("there is no life 2")
	}
	pipes := api.SavedInstance{Out: api.SavedLog{Pipe: 7}, Err: api.SavedLog{Pipe: 8}}
	h := &heir{in: &instance{id: 3, name: "web", life: 1}, was: pipes}
	for _, c := range []struct {
		stray supervise.Stray
		want  bool
	}{
		{supervise.Stray{ID: 3, Name: "web", Life: 1, Pipes: [2]uint64{7, 8}}, true},
		{supervise.Stray{ID: 3, Name: "web", Life: 0, Pipes: [2]uint64{7, 8}}, false},
		{supervise.Stray{ID: 3, Name: "web", Life: 1}, true},
		{supervise.Stray{ID: -1, Pipes: [2]uint64{7, 9}}, true},
		{supervise.Stray{ID: -1, Pipes: [2]uint64{9, 9}}, false},
	} {
		if got := h.owns(c.stray); got != c.want {
			t.Errorf("%+v: %v", c.stray, got)
		}
	}
	if a, b := h.in.lifeEntry(), (&instance{id: 3}).lifeEntry(); a != "GOPM_LIFE=1" || b != "GOPM_LIFE=0" {
		t.Error(a, b)
	}
}
