package daemon

import "gopm/logs"

// marks are where the output of a run begins.
type marks struct{ out, err logs.Mark }

// numbers is marks as the state document has them.
func (m *marks) numbers() []int64 {
	if m == nil {
		return nil
	}
	return []int64{int64(m.out.Inode), m.out.Offset, m.out.Ahead, int64(m.err.Inode), m.err.Offset, m.err.Ahead}
}

// savedMarks are those of the present run, then of the run before it.
func savedMarks(in *instance) []int64 {
	now := in.marks.Load()
	if now == nil {
		return nil
	}
	return append(now.numbers(), in.before.Load().numbers()...)
}

// restoreMarks lets the next daemon tell what a run has written from what was there
// before, as this one does.
func (in *instance) restoreMarks(numbers []int64) {
	const each = 6
	for i, to := range []interface{ Store(*marks) }{&in.marks, &in.before} {
		if len(numbers) < (i+1)*each {
			return
		}
		n := numbers[i*each:]
		to.Store(&marks{
			out: logs.Mark{Inode: uint64(n[0]), Offset: n[1], Ahead: n[2]},
			err: logs.Mark{Inode: uint64(n[3]), Offset: n[4], Ahead: n[5]},
		})
	}
}
