package daemon

import (
	"cmp"
	"slices"

	"gopm/cluster"
	"gopm/ecosystem"
)

// An app with spares has that many instances more than it has places. Which of them
// are active is decided by the cluster, and changes: the instance that dies comes back
// as a spare.

// isStandby says that an instance is a spare at the moment, or will be one if it was
// never started.
func (in *instance) isStandby() bool {
	if slot := in.slot.Load(); slot != nil {
		return slot.View().Standby
	}
	a := in.app.Load()
	return a != nil && a.spec.Scale.Total() > a.spec.Scale.Instances && in.index >= a.spec.Scale.Instances
}

// isHeld says that it is one that could take a place at once.
func (in *instance) isHeld() bool {
	slot := in.slot.Load()
	return slot != nil && slot.View().Held
}

// whoStays divides the instances of an app for a new number of them: of the active
// ones and of the spares those with the highest numbers go. A spare stays where there
// are fewer active ones than there should be, for it is going to be one.
func whoStays(all []*instance, want ecosystem.Scale, isStandby func(*instance) bool) (kept, surplus []*instance) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b *instance) int { return cmp.Compare(a.index, b.index) })
	active, standby := 0, 0
	for _, in := range all {
		if !isStandby(in) {
			active++
		}
	}
	room := want.Total() - want.Instances + max(0, want.Instances-active)
	active = 0
	for _, in := range all {
		isSpare := isStandby(in)
		switch {
		case isSpare && standby < room:
			standby++
			kept = append(kept, in)
		case !isSpare && active < want.Instances:
			active++
			kept = append(kept, in)
		default:
			surplus = append(surplus, in)
		}
	}
	return kept, surplus
}

// inRollOrder has the spares exchanged first: then it is new ones that take the places
// of the old active ones.
func inRollOrder(a, b *instance) int {
	first := map[bool]int{true: 0, false: 1}
	return cmp.Or(cmp.Compare(first[a.isStandby()], first[b.isStandby()]), cmp.Compare(a.index, b.index))
}

// countSpares is how many of some instances are spares at the moment.
func countSpares(all []*instance) int {
	n := 0
	for _, in := range all {
		if in.isStandby() {
			n++
		}
	}
	return n
}

// scaleFor is the scale of an app that has that many instances, spares among them as
// far as it may have any.
func scaleFor(s ecosystem.Scale, instances, spares int) ecosystem.Scale {
	if s.Total() > s.Instances {
		s.Spares = max(0, min(spares, instances-1))
	}
	s.Instances = instances - (s.Total() - s.Instances)
	return s
}

// placeChanged tells those who watch an instance that what is shown of its place has.
func (d *Daemon) placeChanged(slot *cluster.Slot) {
	d.store.changed()
	for _, in := range d.everyone() {
		if in.slot.Load() == slot {
			in.lookReady()
			d.hub.tell(in)
		}
	}
}
