package keeper

import (
	"slices"

	"golang.org/x/sys/unix"
)

// TableRoom is the number of a descriptor that the daemon gets only so that its
// table has room. The kernel makes room for more by doubling, and where there are
// threads each time waits for a grace period of about 10 ms; in the daemon's first
// thread, before the exec, it costs nothing.
const TableRoom = 1023

// spares are the descriptors that the keeper doesn't keep anything in: it needs some
// to start a daemon.
const spares = 32

// spare says whether enough would be left beside these; the kernel always gives the
// lowest number.
func spare(files []int) bool {
	var limit unix.Rlimit
	if len(files) == 0 || unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return true
	}
	return uint64(slices.Max(files))+spares < limit.Cur
}

// tableRoom is the same for a daemon that is given so many descriptors; each of
// them soon has another one beside it (a log file, a pidfd). 0: the limit forbids it.
func tableRoom(files int) int {
	room := TableRoom
	for room-TableRoom/2 < 2*files {
		room = 2*room + 1
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	for room > 0 && limit.Cur < uint64(room)+spares {
		room /= 2
	}
	if room < TableRoom {
		return 0
	}
	return room
}

// withRoom adds stdin as that descriptor.
func withRoom(files []uintptr, room int) []uintptr {
	if room == 0 {
		return files
	}
	for len(files) < room {
		files = append(files, ^uintptr(0)) // none
	}
	return append(files, 0)
}
