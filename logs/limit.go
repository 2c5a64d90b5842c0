package logs

import "bytes"

const (
	// slack is how far a file may pass its limit while no line ends.
	slack = 1 << 20
	// maxMargin is the room before the limit in which no unfinished line is begun.
	maxMargin = 64 << 10
)

// limit is the size a log file may have; 0 = any.
type limit int64

// margin: a line that is begun with less room than this before it might not fit, so
// the file is rotated first. An eighth of a small limit, so that files get full.
func (l limit) margin() int64 { return min(maxMargin, int64(l)/8) }

// free says that n bytes more, whatever they are, don't come near the limit.
func (l limit) free(off, n int64) bool {
	return l <= 0 || off+n <= int64(l)-l.margin()
}

// plan says how many of the bytes data, the next of a stream, go into a file
// that has off bytes now, or that it is to be rotated first. mid: the file ends
// within a line. Lines stay whole and files within the limit, except that a line
// longer than the margin may pass it, by at most slack; there it is cut.
func (l limit) plan(off int64, mid bool, data []byte) (n int, rotate bool) {
	if l.free(off, int64(len(data))) {
		return len(data), false
	}
	if room := min(int64(l)-off, int64(len(data))); room > 0 {
		if i := bytes.LastIndexByte(data[:room], '\n'); i >= 0 {
			return i + 1, false
		}
	}
	if off > 0 && !mid {
		return 0, true
	}
	hard := min(int64(l)+slack-off, int64(len(data)))
	if hard <= 0 {
		return 0, true
	}
	if i := bytes.IndexByte(data[:hard], '\n'); i >= 0 {
		return i + 1, false
	}
	return int(hard), false
}
