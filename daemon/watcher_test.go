package daemon

import (
	"testing"

	"gopm/daemon/watch"
	"gopm/ecosystem"
)

func TestBurstText(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]watch.Burst{
		"a":                 {Files: []string{"a"}, Count: 1},
		"a, b":              {Files: []string{"a", "b"}, Count: 2},
		"a, b and 1 more":   {Files: []string{"a", "b", "c"}, Count: 3},
		"a, b and 998 more": {Files: []string{"a", "b", "c", "d", "e"}, Count: 1000},
	} {
		if got := burstText(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWaywardIsSaidOnce, after the same file has changed five times in a row.
func TestWaywardIsSaidOnce(t *testing.T) {
	t.Parallel()
	said := 0
	d := eventsOnly()
	d.log = func(string, ...any) { said++ }
	w := newWatcher(d)
	a := &app{spec: ecosystem.App{}}
	a.spec.Name = "web"
	d.table.Store(&table{apps: []*app{a}})
	b := watch.Burst{Files: []string{"state"}, Count: 1}
	for i, want := range []int{0, 0, 0, 0, 1, 1, 1} {
		if w.record(a, b); said != want {
			t.Fatalf("after %d times it was said %d times", i+1, said)
		}
	}
	w.record(a, watch.Burst{Files: []string{"server.js"}, Count: 1})
	for range 3 {
		w.record(a, b)
	}
	if said != 1 {
		t.Errorf("said %d times", said)
	}
	d.table.Store(&table{})
	if w.record(&app{}, b); len(w.history) != 1 {
		t.Errorf("apps that are gone are remembered: %v", w.history)
	}
}

// TestChangesAreKept until something is done about them.
func TestChangesAreKept(t *testing.T) {
	t.Parallel()
	w := newWatcher(nil)
	w.note("web", watch.Burst{Files: []string{"a"}, Count: 1})
	w.note("web", watch.Burst{Files: []string{"b"}, Count: 2})
	if b := w.take("web"); b.Count != 3 || b.Files[0] != "a" {
		t.Errorf("%v", b)
	}
	if b := w.take("web"); b.Count != 0 {
		t.Errorf("%v is left", b)
	}
}
