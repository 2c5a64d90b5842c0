package daemon

import (
	"slices"
	"testing"

	"gopm/ecosystem"
)

func TestWhoStays(t *testing.T) {
	for name, c := range map[string]struct {
		standby           []int // of instances 0 to 3
		instances, spares int
		want              []int
	}{
		"all":                         {[]int{3}, 3, 1, []int{0, 1, 2, 3}},
		"one spare less":              {[]int{1}, 3, 0, []int{0, 2, 3}},
		"one active less":             {[]int{1}, 2, 1, []int{0, 1, 2}},
		"a spare becomes active":      {[]int{1}, 4, 0, []int{0, 1, 2, 3}},
		"an active makes room":        {nil, 3, 1, []int{0, 1, 2}},
		"more than there are":         {[]int{0, 1}, 4, 2, []int{0, 1, 2, 3}},
		"fewer of both":               {[]int{0, 1}, 1, 1, []int{0, 2}},
		"spares stay where they must": {[]int{0, 1, 2}, 2, 1, []int{0, 1, 3}},
	} {
		var all []*instance
		for _, index := range []int{2, 0, 3, 1} {
			all = append(all, &instance{index: index})
		}
		scale := ecosystem.Scale{Instances: c.instances, Spares: c.spares, ExecMode: "cluster"}
		kept, surplus := whoStays(all, scale, func(in *instance) bool { return slices.Contains(c.standby, in.index) })
		var got []int
		for _, in := range kept {
			got = append(got, in.index)
		}
		if !slices.Equal(got, c.want) || len(kept)+len(surplus) != len(all) {
			t.Errorf("%s: %v stay and %d go, want %v to stay", name, got, len(surplus), c.want)
		}
	}
}

func TestScaleFor(t *testing.T) {
	for _, c := range []struct {
		mode                               string
		instances, spares                  int
		left, among, wantActive, wantSpare int
	}{
		{"cluster", 2, 1, 2, 1, 1, 1},
		{"cluster", 2, 1, 2, 0, 2, 0},
		{"cluster", 2, 2, 1, 2, 1, 0},
		{"cluster", 3, 0, 2, 0, 2, 0},
		{"fork", 3, 1, 2, 1, 2, 1}, // that spares do nothing in fork mode is said elsewhere
	} {
		s := scaleFor(ecosystem.Scale{Instances: c.instances, Spares: c.spares, ExecMode: c.mode}, c.left, c.among)
		if s.Instances != c.wantActive || s.Spares != c.wantSpare {
			t.Errorf("%+v: %d and %d spares", c, s.Instances, s.Spares)
		}
	}
}
