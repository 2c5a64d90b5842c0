package keeper

import "slices"

// entry is what the daemon keeps under one key. The descriptors are the keeper's
// own duplicates.
type entry struct {
	key   string
	main  Main
	note  []byte
	files []int
}

// store is what the daemon would need to go on, in the order of the keys' first
// put. It is owned by the goroutine that runs the keeper.
type store struct {
	list  []*entry
	byKey map[string]*entry
}

func newStore() *store { return &store{byKey: map[string]*entry{}} }

// put replaces main and note of a key, and its descriptors if there are new ones;
// lost says that there should be, but they could not be received: then it has none,
// for the old ones would be of something else.
func (s *store) put(key string, main Main, note []byte, files []int, lost bool) {
	e := s.byKey[key]
	if e == nil {
		e = &entry{key: key}
		s.byKey[key] = e
		s.list = append(s.list, e)
	}
	e.main = main
	if cap(e.note) > 2*len(note)+512 { // an outlier must not stay for ever
		e.note = nil
	}
	e.note = append(e.note[:0], note...)
	if len(files) > 0 || lost {
		closeAll(e.files)
		e.files = slices.Clone(files)
	}
}

func (s *store) drop(key string) {
	e := s.byKey[key]
	if e == nil {
		return
	}
	closeAll(e.files)
	delete(s.byKey, key)
	s.list = slices.DeleteFunc(s.list, func(o *entry) bool { return o == e })
}

// holds says whether a pid is the main process of an entry: such a one is reaped
// only when the daemon asks, so that its exit code can't be lost and its number
// can't become another's.
func (s *store) holds(pid int) bool {
	return slices.ContainsFunc(s.list, func(e *entry) bool { return e.main.Pid == pid })
}

// files is how many descriptors are kept.
func (s *store) files() int {
	n := 0
	for _, e := range s.list {
		n += len(e.files)
	}
	return n
}
