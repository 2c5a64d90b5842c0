package daemon

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gopm/daemon/api"
)

// three apps: web with ids 0 and 2, worker (id 1) in the namespace jobs, and one
// that is named like a namespace would be.
func sampleTable() *table {
	web, worker := spec("web"), spec("worker")
	worker.Namespace = "jobs"
	t := have("/f", web, worker)
	t.apps[0].instances = []*instance{{id: 0, name: "web"}, {id: 2, index: 1, name: "web"}}
	t.apps[1].instances = []*instance{{id: 1, name: "worker"}}
	return t
}

func TestSelection(t *testing.T) {
	t.Parallel()
	tests := []struct {
		targets []string
		ids     []int
		kind    api.Kind
	}{
		{[]string{"all"}, []int{0, 2, 1}, ""},
		{[]string{"web"}, []int{0, 2}, ""},
		{[]string{"jobs"}, []int{1}, ""},
		{[]string{"default"}, []int{0, 2}, ""},
		{[]string{"2"}, []int{2}, ""},
		{[]string{"/^w/"}, []int{0, 2, 1}, ""},
		{[]string{"worker", "all"}, []int{1, 0, 2}, ""},
		{[]string{"web", "0", "web"}, []int{0, 2}, ""},
		{nil, nil, ""},
		{[]string{"nosuch"}, nil, api.KindNotFound},
		{[]string{"web", "nosuch"}, nil, api.KindNotFound},
		{[]string{"99"}, nil, api.KindNotFound},
		{[]string{"/nosuch/"}, nil, api.KindNotFound},
		{[]string{"/(/"}, nil, api.KindInvalid},
		{[]string{"//"}, nil, api.KindNotFound},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.targets, " "), func(t *testing.T) {
			t.Parallel()
			picked, err := sampleTable().selection(tt.targets)
			var apiErr *api.Error
			if errors.As(err, &apiErr) != (tt.kind != "") || apiErr != nil && apiErr.Kind != tt.kind {
				t.Fatalf("error %v, want kind %q", err, tt.kind)
			}
			var ids []int
			for _, in := range picked {
				ids = append(ids, in.id)
			}
			if !slices.Equal(ids, tt.ids) {
				t.Errorf("ids %v, want %v", ids, tt.ids)
			}
		})
	}
}

func TestTableWithout(t *testing.T) {
	t.Parallel()
	before := sampleTable()
	after := before.without(before.apps[0].instances[1:])
	if n := after.app("web").spec.Scale.Instances; n != 1 {
		t.Errorf("web has %d instances left, want 1", n)
	}
	if n := before.app("web").spec.Scale.Instances; n != 1 || len(before.app("web").instances) != 2 {
		t.Error("the table before the change was changed")
	}
	after = after.without(after.all())
	if len(after.apps) != 0 || after.nextID() != 0 {
		t.Errorf("an empty table has %d apps and begins at id %d", len(after.apps), after.nextID())
	}
}

func TestNextID(t *testing.T) {
	t.Parallel()
	if id := sampleTable().nextID(); id != 3 {
		t.Errorf("next id %d, want 3", id)
	}
}

func TestFreeIndexFillsAGap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		taken []int
		want  int
	}{{nil, 0}, {[]int{0, 1}, 2}, {[]int{1}, 0}, {[]int{2, 0}, 1}} {
		var all []*instance
		for _, index := range tt.taken {
			all = append(all, &instance{index: index})
		}
		if got := freeIndex(all); got != tt.want {
			t.Errorf("with %v taken the next is %d, want %d", tt.taken, got, tt.want)
		}
	}
}

func TestHubCoalesces(t *testing.T) {
	t.Parallel()
	var h hub
	f := h.subscribe()
	a, b := &instance{id: 1}, &instance{id: 2}
	for range 1000 {
		h.tell(a)
	}
	h.tell(b)
	<-f.wake
	if got := f.take(); !slices.Equal(got, []any{a, b}) {
		t.Errorf("%d remarks, want one per instance", len(got))
	}
	h.unsubscribe(f)
	h.tell(a)
	if got := f.take(); got != nil {
		t.Errorf("a follower that has left was told %v", got)
	}
}
