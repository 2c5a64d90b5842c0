package daemon

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// own adds what there is to know of gopm itself.
func (x *exposition) own(d *Daemon) {
	x.set(buildInfo, 1, label("version", d.cfg.Version), label("goversion", runtime.Version()))
	boot := bootTime(time.Now())
	for _, p := range []struct {
		name string
		pid  int
	}{{"daemon", os.Getpid()}, {"keeper", d.trust.pid()}} {
		line, is := x.all.of[p.pid]
		if !is {
			continue
		}
		which := label("process", p.name)
		x.set(processCPU, line.cpu.Seconds(), which)
		x.set(processMemory, float64(line.memory), which)
		x.set(processThreads, float64(line.threads), which)
		x.set(processStart, seconds(line.started(boot)), which)
		if files := countFiles(p.pid); files > 0 {
			x.set(processFiles, float64(files), which)
		}
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		x.set(processMaxFiles, float64(limit.Cur), label("process", "daemon"))
	}
	x.set(daemonGoroutines, float64(runtime.NumGoroutine()))
	x.set(daemonRevivals, float64(d.store.done.revivals))
	x.set(daemonEvents, float64(d.events.told()))
	x.set(daemonEventsMissed, float64(d.events.missed.Load()))
	x.set(daemonFollowers, float64(d.events.readers.Load()), label("of", "events"))
	x.set(daemonFollowers, float64(d.feed.count()), label("of", "logs"))
	x.set(daemonLogDropped, float64(d.journal.lost.Load()))
	x.set(stateWrites, float64(d.store.done.writes.Load()))
	x.set(stateFailures, float64(d.store.done.failures.Load()))
	x.set(stateBytes, float64(d.store.done.size.Load()))
	x.set(stateWritable, oneIf(d.store.trouble.Load() == nil))
}
