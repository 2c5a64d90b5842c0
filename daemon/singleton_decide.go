package daemon

// Of a singleton one instance may run over all machines: the one that its machine has let
// in while it held the lock. This file decides for one app on one machine; singleton.go
// carries it out. What is known of a process goes by its incarnation.

// lockView is what of the app's lock matters here.
type lockView struct {
	held, lost bool
	term       uint64 // grows from one time that it is held to the next
}

// claim is what there is to see of an instance.
type claim[K comparable] struct {
	stint[K]
	waits bool // it is about to be started, and has to be let in before
	begun bool // it was let in, or is being ended, and may get a process yet
	alive bool // it has a process, or something is left of it
}

// isOver says that nothing of an incarnation lives, nor will.
func (c claim[K]) isOver(inc uint64) bool {
	return c.inc > inc || c.inc == inc && !c.alive && !c.begun
}

// tenure is who runs under the lock on this machine.
type tenure[K comparable] struct {
	stint[K]
	has   bool
	spent uint64 // the term that was given back last: it is not held any more, whatever is seen
}

// motion is what is to be done.
type motion[K comparable] struct {
	do  measure
	who stint[K]
}

type measure int

const (
	admit   measure = iota // let it be started
	dismiss                // kill it: it has no lock
	yield                  // all is dead: give the lock back
	allow                  // one may become active
	forbid                 // none may any more
)

// look goes on with what is seen of the lock, and of all instances. In an app that keeps
// running when its lock is lost nobody is dismissed for that.
func (t tenure[K]) look(v lockView, all []claim[K], keeps bool) (tenure[K], []motion[K]) {
	if v.term != 0 && v.term <= t.spent {
		v.held, v.lost = false, false
	}
	over := t.has && isOver(all, t.stint)
	switch {
	case v.held && over && !keeps && len(t.others(all)) > 0: // they were let in by nobody
		return t, t.others(all)
	case v.held && over, v.lost && keeps:
		return t.give(v)
	case v.held && t.has:
		return t, t.others(all)
	case v.held:
		return t.appoint(v, all, keeps)
	case keeps:
		t.has = t.has && !over
		return t, nil
	}
	t.has = t.has && !over
	dead := t.others(all)
	if t.has {
		dead = append(dead, motion[K]{dismiss, t.stint})
	}
	if v.lost && len(dead) == 0 {
		return t.give(v)
	}
	return t, dead
}

// give gives the lock back.
func (t tenure[K]) give(v lockView) (tenure[K], []motion[K]) {
	t.has, t.stint, t.spent = false, stint[K]{}, v.term
	return t, []motion[K]{{do: yield}}
}

// appoint gives a lock that nobody runs under to the first who waits for it. Who runs
// without was let in by nobody, or has gone on when the lock was lost.
func (t tenure[K]) appoint(v lockView, all []claim[K], keeps bool) (tenure[K], []motion[K]) {
	for _, c := range all {
		if c.alive && keeps {
			t.has, t.stint = true, c.stint
			return t, t.others(all)
		}
	}
	if strays := t.others(all); len(strays) > 0 {
		return t, strays
	}
	for _, c := range all {
		if c.waits {
			t.has, t.stint = true, c.stint
			return t, []motion[K]{{admit, c.stint}}
		}
	}
	return t.give(v)
}

// others are to be dismissed: they live, and it is not they who may.
func (t tenure[K]) others(all []claim[K]) (dead []motion[K]) {
	for _, c := range all {
		if c.alive && (!t.has || c.stint != t.stint) {
			dead = append(dead, motion[K]{dismiss, c.stint})
		}
	}
	return dead
}

// wants says whether somebody has a use for the lock.
func (t tenure[K]) wants(all []claim[K]) bool {
	for _, c := range all {
		if c.waits || c.alive {
			return true
		}
	}
	return t.has
}

func isOver[K comparable](all []claim[K], s stint[K]) bool {
	for _, c := range all {
		if c.who == s.who {
			return c.isOver(s.inc)
		}
	}
	return false // it is always among them
}
