package daemon

// Instances of a singleton may be there before their machine has the lock: booted and
// held back from working, or scheduled. The license is that one of them may be active. This
// file decides about it for one app on one machine; singleton.go carries it out.
//
// Of a claim here: waits is that it could be active at once, begun that it is about to be
// without anybody's help, and alive that it is active, or that something of such a run is
// left.

// license is whether one may be active.
type license struct {
	on    bool
	spent uint64 // as a tenure's
}

// look goes on with what is seen of the lock, and of all instances.
func (l license) look(v lockView, all []claim[*instance], keeps bool) (license, []motion[*instance]) {
	if v.term != 0 && v.term <= l.spent {
		v.held, v.lost = false, false
	}
	var active []motion[*instance]
	fit, begun := false, false
	for _, c := range all {
		fit, begun = fit || c.waits, begun || c.begun
		if c.alive {
			active = append(active, motion[*instance]{dismiss, c.stint})
		}
	}
	give := func() (license, []motion[*instance]) {
		l.spent = v.term
		return l, []motion[*instance]{{do: yield}}
	}
	switch {
	case v.held && (fit || len(active) > 0):
		if l.on {
			return l, nil
		}
		l.on = true
		return l, []motion[*instance]{{do: allow}}
	case l.on: // what is seen after that is what counts: until then another may have become active
		l.on = false
		return l, []motion[*instance]{{do: forbid}}
	case v.lost && keeps:
		return give()
	case len(active) > 0 && !keeps:
		return l, active
	case begun:
		return l, nil
	case v.held, v.lost:
		return give()
	}
	return l, nil
}
