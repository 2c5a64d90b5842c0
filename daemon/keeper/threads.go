package keeper

import (
	"runtime"
	"sync"
)

// More threads than a daemon or a keeper was seen to need under some load; each takes 17 KB.
const (
	DaemonThreads = 32
	keeperThreads = 10
)

// ReserveThreads has the runtime make threads while it can: one that it can't make later
// ends the whole process, and an app that forks until its user's limit of processes is
// reached (ulimit -u, pids.max) takes threads, too. The runtime keeps those that it has.
func ReserveThreads(n int) {
	var there, done sync.WaitGroup
	release := make(chan struct{})
	there.Add(n)
	for range n {
		done.Go(func() { // ends at once
			runtime.LockOSThread() // while it waits, nobody else has its thread
			defer runtime.UnlockOSThread()
			there.Done()
			<-release
		})
	}
	there.Wait()
	close(release)
	done.Wait()
}
