package daemon

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A daemon that is out of descriptors can neither answer nor restart what crashes, and
// its logs cannot rotate. So new instances are refused while some are left for what
// runs. Go raises the soft limit of open files to the hard one at its start, for us,
// and gives children both as they were. The hard limit is not raised, also not by
// root, who could: the children would get ours then.
const (
	perInstance  = 5  // two pipes, two logs, a pidfd
	perRestart   = 2  // the ends that a new process gets; all instances may be restarted at once
	spareFiles   = 32 // requests, rotations
	plentyOfEach = 16 // if there are so many for each instance they need not be counted
)

// roomFor says whether there are descriptors for the new instances of stages, beside
// the instances that there are.
func roomFor(stages []stage, have int) error {
	fresh, need, name := 0, 0, ""
	for _, st := range stages {
		if fresh == 0 && len(st.fresh) > 0 {
			name = st.want.Name
		}
		fresh += len(st.fresh)
		need += len(st.fresh) * (perInstance + st.app.lines())
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); fresh == 0 || err != nil {
		return nil // without the limit the kernel has the last word alone
	}
	if uint64((fresh+have+spareFiles)*plentyOfEach) < limit.Cur {
		return nil
	}
	used, err := openFiles()
	kept := spareFiles + (fresh+have)*perRestart
	if err != nil || uint64(used+need+kept) <= limit.Cur {
		return nil
	}
	return fmt.Errorf("cannot start %s: gopm may open %d files, of which %d are in use and %d are kept for what runs; this needs %d; "+
		"raise the limit (ulimit -n, or LimitNOFILE in the unit of gopm startup), then: gopm kill && gopm resurrect", name, limit.Cur, used, kept, need)
}

func openFiles() (int, error) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names) - 1, err // less the folder's own
}
