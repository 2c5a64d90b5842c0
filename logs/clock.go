package logs

import (
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// clock tells the times of a file's lines: from themselves where they carry one,
// else from the index, else by their place between the file's begin and end.
type clock struct {
	index      []IndexEntry // of this file, in the order of their offsets
	size       int64
	begin, end time.Time // when the file was begun and last written to
	oldest     time.Time // a line's own time isn't before that; zero: nobody knows when the file was begun
	stamps     stampReader
}

// ownSlack is how far a line's own time may be outside of the file's.
const ownSlack = 2 * time.Second

func newClock(s *Source, inode uint64, size int64, begin, end time.Time) *clock {
	c := &clock{size: size, begin: begin, end: end, stamps: newStampReader(s.Layout)}
	if begin.IsZero() || begin.After(end) {
		c.begin = end
	}
	if !begin.IsZero() {
		c.oldest = c.begin.Add(-ownSlack)
	}
	for _, e := range s.Index {
		if e.Inode == inode {
			c.index = append(c.index, e)
		}
	}
	return c
}

// of is the time of a line.
func (c *clock) of(s span) time.Time {
	t, unit, ok := c.stamps.read(s.text)
	if !ok || t.Before(c.oldest) || t.After(c.end.Add(ownSlack)) { // a program can write any time it likes
		return c.at(s.end)
	}
	if unit < time.Second || len(c.index) == 0 {
		return t
	}
	// Within its second, or all lines of stdout in it would come before those of stderr.
	switch at := c.at(s.end); {
	case at.Before(t):
		return t
	case at.Before(t.Add(unit)):
		return at
	}
	return t.Add(unit - 1)
}

// at is when the file had end bytes: the first time the index knows it to be that
// long. Up to the first entry, and without any, bytes are taken to have come evenly;
// an entry at 0 says that nothing was there before.
func (c *clock) at(end int64) time.Time {
	i := sort.Search(len(c.index), func(i int) bool { return c.index[i].Offset >= end })
	switch {
	case len(c.index) == 0:
		return between(c.begin, c.end, end, c.size)
	case i == len(c.index):
		return c.end
	case i == 0:
		first := c.index[0]
		return between(c.begin, first.Time, end, first.Offset)
	}
	return c.index[i].Time
}

// between is the time at part of whole.
func between(begin, end time.Time, part, whole int64) time.Time {
	if part = max(part, 0); part >= whole || !begin.Before(end) {
		return end
	}
	return begin.Add(time.Duration(float64(end.Sub(begin)) * float64(part) / float64(whole)))
}

// bornAt is when a file was made; zero where the file system doesn't know.
func bornAt(fd int) time.Time {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}
