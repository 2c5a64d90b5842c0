package supervise

import (
	"encoding/json"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestIdleProcessesAreSmall: a daemon may have a thousand of them. Not parallel:
// it measures the whole test process.
func TestIdleProcessesAreSmall(t *testing.T) {
	const many, limit = 1000, 12 << 10
	use := func() uint64 {
		runtime.GC()
		runtime.GC() // the first frees, the second shrinks stacks that were freed
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := use()
	k := &fakeKernel{}
	var all []*Process
	for range many {
		all = append(all, New(Config{Policy: testPolicy(), Kernel: k}))
	}
	for _, p := range all {
		p.Start()
		await(t, p, "alive", func(n Snapshot) bool { return n.Pid != 0 })
	}
	each := (use() - before) / many
	t.Logf("%d bytes each", each)
	if each > limit {
		t.Errorf("%d bytes each, want at most %d", each, limit)
	}
	for i, p := range all {
		p.Stop()
		await(t, p, "stopping", func(n Snapshot) bool { return n.Status == StatusStopping })
		k.all[i].die(Exit{}, false)
		p.Close()
	}
}

// BenchmarkCrash is the time from kill -9 to the successor's exec.
func BenchmarkCrash(b *testing.B) {
	pol := testPolicy()
	pol.MinUptime, pol.BackoffStart = 0, 0 // restart at once, whatever happens
	c := Command{Argv: []string{"/bin/sleep", "1000"}, Marker: []string{"pm_id=3"}}
	alive, last := make(chan int, 1), 0
	p := New(Config{
		Command: c, Policy: pol, Kernel: newTestKernel(b), Clock: SystemClock(),
		Keep: func(m Machine) {
			if _, err := json.Marshal(m); err != nil {
				b.Error(err)
			}
			if m.Run.Pid != 0 && m.Run.Pid != last {
				last = m.Run.Pid
				alive <- last
			}
		},
	})
	defer p.Close()
	p.Start()
	pid := <-alive
	for b.Loop() {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			b.Fatal(err)
		}
		pid = <-alive
	}
}
