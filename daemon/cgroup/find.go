// Package cgroup limits what a program may use with everything that it starts, by the
// kernel's control groups: of version 2 where we were given one of our own, else of version
// 1 where we may write. It has no goroutines. What we may do is looked up each time: it is
// asked only when a program with limits is started, shown or has ended.
package cgroup

import (
	"slices"

	"gopm/daemon/room"
)

// hierarchy is a tree of cgroups, and where in it we are.
type hierarchy struct {
	version     int
	controllers []string // of version 1: those that are there; of version 2 the files say
	mount       string   // where the tree is
	dir         string   // our own cgroup in it
}

// locate reads /proc/self/cgroup and /proc/self/mountinfo. Of trees of one kind the first
// counts.
func locate(groups, mounts string) (all []hierarchy) {
	own := room.Memberships([]byte(groups))
	for _, m := range room.Mounts([]byte(mounts)) {
		dir, is := m.Own(own)
		if !is {
			continue
		}
		h := hierarchy{version: 1, controllers: m.Controllers, mount: "/" + m.Point, dir: "/" + dir}
		if m.Unified {
			h.version = 2
		}
		if !slices.ContainsFunc(all, func(o hierarchy) bool { return o.version == h.version && slices.Equal(o.controllers, h.controllers) }) {
			all = append(all, h)
		}
	}
	return all
}
