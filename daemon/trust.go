package daemon

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/logs"
)

// What the keeper holds for the next daemon, by key.
const (
	keyAPI    = "api"   // the listening socket: who connects while no daemon is there waits in its queue
	keyState  = "state" // the state document
	keyOrder  = "order" // what is to be started in the foreground
	keyEnv    = "env/"  // + name: an inherited environment
	keyRun    = "i/"    // + id, or id.life: where an instance is, and its two pipes
	keySecond = "b/"    // + id + /out or /err: the second pipe of a stream
	keyLine   = "t/"    // + id, or id.life: what is talked with a run by
	keyNotify = "notify"
	keyHook   = "hook/" // + pid: a hook that runs

	keyCluster = "c/" // what the cluster keeps
)

// trust is the daemon's side of the keeper. Without one it does nothing.
type trust struct {
	link atomic.Pointer[keeper.Link]
	api  *net.UnixListener // set before the daemon serves

	leases leases
}

func (t *trust) pid() int {
	if l := t.link.Load(); l != nil {
		return l.Pid()
	}
	return 0
}

// lost is closed when the keeper has died.
func (t *trust) lost() <-chan struct{} {
	if l := t.link.Load(); l != nil {
		return l.Lost()
	}
	return nil
}

// put gives the keeper a file, or with nil has it forget what it has.
func (t *trust) put(key string, f *os.File) {
	switch l := t.link.Load(); {
	case l == nil:
	case f == nil:
		l.Drop(key)
	default:
		l.Put(key, keeper.Main{}, nil, f)
	}
}

// second tells of the second pipe of a stream, nil when it is gone.
func (t *trust) second(key string, pipe *os.File) { t.put(keySecond+key, pipe) }

// hold gives the keeper what the cluster wants kept; neither note nor descriptors: it is
// to forget the key.
func (t *trust) hold(key string, note []byte, fds ...int) {
	switch l := t.link.Load(); {
	case l == nil:
	case note == nil && fds == nil:
		l.Drop(key)
	default:
		l.PutDescriptors(key, note, fds)
	}
}

// note is what the keeper has of an instance.
type note struct {
	supervise.Machine
	Marks []int64 `json:"marks,omitempty"`
	Slot  uint64  `json:"slot,omitempty"` // its place in the cluster; 0: none
	Name  string  `json:"name,omitempty"` // for one that is in no list
	Index int     `json:"index,omitempty"`

	Permit *permit `json:"permit,omitempty"` // nil: it runs under no lock
}

// keep tells where an instance is. It is called before the effects of each
// transition, by the instance's actor alone.
func (t *trust) keep(in *instance, m supervise.Machine) error {
	l := t.link.Load()
	if l == nil {
		return nil
	}
	var pipes []*os.File
	if in.trusted != l {
		for _, s := range []*logs.Stream{in.out, in.err} {
			f, err := s.Pipe()
			if err != nil {
				return fmt.Errorf("cannot give its log pipes to the keeper: %w", err)
			}
			defer f.Close()
			pipes = append(pipes, f)
		}
	}
	l.Put(in.lifeID().key(), keeper.Main{Pid: m.Run.Pid, Start: m.Run.StartTime}, encode(note{m, savedMarks(in), in.slotNumber(), in.name, in.index, in.permit.Load()}), pipes...)
	in.trusted = l
	return nil
}

// forget is for an instance that was deleted.
func (t *trust) forget(in *instance) {
	t.endLease(in.lifeID().key())
	t.put(in.lifeID().key(), nil)
}

// serve gives the keeper the socket of the API.
func (t *trust) serve(l *net.UnixListener) error {
	t.api = l
	return t.tellAPI()
}

func (t *trust) tellAPI() error {
	if t.link.Load() == nil {
		return nil
	}
	f, err := t.api.File()
	if err != nil {
		return fmt.Errorf("cannot give the socket to the keeper: %w", err)
	}
	defer f.Close()
	t.put(keyAPI, f)
	return nil
}

// kernelOptions are what the kernel asks the keeper for. Orphans fall to our parent:
// the keeper, or what is there after its death.
func (t *trust) kernelOptions() supervise.KernelOptions {
	return supervise.KernelOptions{
		Keeper:   os.Getppid,
		Orphaned: func() bool { return t.pid() != os.Getppid() },
		Score:    oomScore(),
		Collect: func(pid int) (unix.WaitStatus, bool) {
			if l := t.link.Load(); l != nil {
				return l.Collect(pid)
			}
			return 0, false
		},
	}
}

// keeperAgain is the pause between two tries to start a keeper.
const keeperAgain = time.Second

// newKeeper starts a keeper in the place of one that has died, and gives it everything.
func (d *Daemon) newKeeper() error {
	dead := d.trust.link.Load()
	l, err := keeper.Spawn(d.cfg.Home.Dir)
	if err != nil {
		return err
	}
	d.trust.link.Store(l)
	dead.Close()
	if err := d.trust.tellAPI(); err != nil {
		return err
	}
	d.store.retell()
	for _, in := range d.everyone() {
		in.proc.Renew()
	}
	d.pump.Entrust()
	d.host.Retell()
	d.talk.retell()
	d.trust.retellLeases()
	l.Ready()
	d.tellOfDaemon("the keeper (pid %d) has died; a new one is started", dead.Pid())
	return nil
}
