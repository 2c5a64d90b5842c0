package daemon

import (
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// stage is an app's new version with the logs of all its instances open: nothing
// can be refused any more.
type stage struct {
	decision
	ready
	kept    []*instance // those that were there and stay
	surplus []*instance // those that were there and go
	fresh   []*instance // those that it lacked
}

// stageAll opens what the apps need. When one of them cannot have it, what was
// made for the others is taken back.
func (d *Daemon) stageAll(todo []decision, prepared []ready, id int) ([]stage, error) {
	stages := make([]stage, len(todo))
	for i, dec := range todo {
		st := stage{decision: dec, ready: prepared[i]}
		st.kept, st.surplus = whoStays(prepared[i].app.instances, dec.want.Scale, (*instance).isStandby)
		st.app.instances = slices.Clone(st.kept)
		st.fresh = st.app.enlist(&id)
		stages[i] = st
	}
	if err := d.equip(stages); err != nil {
		return nil, err
	}
	for _, st := range stages {
		for _, in := range st.kept {
			if err := d.retarget(st.ready, in); err != nil {
				for _, st := range stages {
					d.disposeAll(st.fresh)
				}
				return nil, err
			}
		}
	}
	return stages, nil
}

// enlist adds the instances that an app lacks, the first with the id; their
// streams and processes are made by equip. Each takes the lowest number that is
// free: one may have been deleted.
func (a *app) enlist(id *int) (fresh []*instance) {
	for len(a.instances) < a.spec.Scale.Total() {
		in := &instance{id: *id, index: freeIndex(a.instances), name: a.spec.Name}
		in.tally = newTally(nil)
		in.setPidFile(a.spec)
		a.instances = append(a.instances, in)
		fresh = append(fresh, in)
		*id++
	}
	return fresh
}

func freeIndex(instances []*instance) int {
	for index := 0; ; index++ {
		if !slices.ContainsFunc(instances, func(in *instance) bool { return in.index == index }) {
			return index
		}
	}
}

// equip opens the logs of new instances, all or none, and makes their processes.
// Nothing is started.
func (d *Daemon) equip(stages []stage) error {
	var to []logs.Target
	var name []string
	for _, st := range stages {
		for _, in := range st.fresh {
			out, err := targets(st.app.spec, in, st.account, d.logPlace())
			to, name = append(to, out, err), append(name, in.name+": cannot log stdout", in.name+": cannot log stderr")
		}
	}
	if err := roomFor(stages, len(d.table.Load().all())); err != nil {
		return err
	}
	streams, bad, err := d.pump.OpenAll(to)
	if err != nil {
		return fmt.Errorf("%s: %v", name[bad], err)
	}
	for _, st := range stages {
		for _, in := range st.fresh {
			in.out, in.err, streams = streams[0], streams[1], streams[2:]
			in.proc = supervise.New(d.processConfig(st.ready, in, supervise.Snapshot{}))
		}
	}
	return nil
}

// makeRoom lets the kernel make room for the descriptors of many instances in one
// go, while their start is being prepared: otherwise it doubles the table several
// times, and with threads waits for a grace period of some 10 ms each time. The
// returned function waits for it.
func makeRoom(todo []decision) (wait func()) {
	const each = 6 // two pipes, two logs, a pidfd, a channel
	need := 0
	for _, dec := range todo {
		need += each * dec.want.Scale.Total()
	}
	if need < keeper.TableRoom {
		return func() {}
	}
	var wg sync.WaitGroup
	wg.Go(func() { // ends by itself; waited for by wait
		if fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, need); err == nil { // an error: it is going to be slower
			unix.Close(fd)
		}
	})
	return wg.Wait
}
