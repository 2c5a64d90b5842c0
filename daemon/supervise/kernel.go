package supervise

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// KernelOptions is what the real Kernel has to be told.
type KernelOptions struct {
	// Keeper is the pid of the child subreaper that orphans of our children fall to,
	// or this process's own if it is one; it may change. nil or 0: none, then only
	// process groups are cleared.
	Keeper func() int
	// Orphaned says that it has died, and Keeper is who is there in its place, as init is:
	// what is below that may be anybody's. nil: never.
	Orphaned func() bool
	// Collect has the keeper wait for an ended child of its own, which an adopted
	// process is, and says how it ended; nil: that is never known.
	Collect func(pid int) (unix.WaitStatus, bool)
	// Score is what our children get back.
	Score Score
}

// OSKernel is the real Kernel, shared by all processes of a daemon: one epoll
// for all pidfds and one goroutine that reads it, and one thread that forks.
type OSKernel struct {
	keeper   func() int
	orphaned func() bool
	collect  func(pid int) (unix.WaitStatus, bool)
	proc     procfs
	spawner  *spawner
	oom      *oomCounter
	census   chan *census // one place: who took it owns it

	epoll *os.File
	done  chan struct{} // closed when the goroutine has ended
	mu    sync.Mutex    // guards the rest
	last  uint64
	exits map[uint64]func() // by the number that watch gave; a descriptor's number may be another's by the time its event is read
	mains map[int]struct{}  // pids of main processes not yet reaped
}

// NewKernel opens what is shared and starts the goroutine that Close ends. It
// marks all descriptors of this process close-on-exec, so that nothing we were
// started with by chance (a terminal, a lock) is passed on to an app.
func NewKernel(o KernelOptions) (*OSKernel, error) {
	keepDescriptors()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create an epoll: %v", err)
	}
	k := &OSKernel{
		keeper:   o.Keeper,
		orphaned: o.Orphaned,
		collect:  o.Collect,
		proc:     procfs{root: "/proc"},
		oom:      newOOMCounter("/proc", "/sys/fs/cgroup"),
		census:   make(chan *census, 1),
		done:     make(chan struct{}),
		exits:    map[uint64]func(){},
		mains:    map[int]struct{}{},
	}
	if k.keeper == nil {
		k.keeper = func() int { return 0 }
	}
	if k.orphaned == nil {
		k.orphaned = func() bool { return false }
	}
	if k.collect == nil {
		k.collect = func(int) (unix.WaitStatus, bool) { return 0, false }
	}
	k.census <- &census{}
	// Non-blocking, so that Go's netpoller waits for the epoll as it does for a
	// socket, and no thread sits in epoll_wait.
	_ = unix.SetNonblock(fd, true)
	k.epoll = os.NewFile(uintptr(fd), "epoll")
	conn, err := k.epoll.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot watch the epoll: %v", err)
	}
	if k.spawner, err = newSpawner(o.Score); err != nil { // after the netpoller is there: see ownTable
		k.epoll.Close()
		return nil, err
	}
	go func() { // ended by Close, which waits for done
		defer close(k.done)
		k.watchExits(conn.Read)
	}()
	return k, nil
}

// keepDescriptors keeps them from children; Go opens its own that way already.
func keepDescriptors() {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	} // not before Linux 5.11
	names, _ := os.ReadDir("/proc/self/fd")
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// Close ends the goroutine; exits are no longer seen.
func (k *OSKernel) Close() {
	k.epoll.Close()
	<-k.done
	k.spawner.close()
	k.oom.close()
}

// watch calls f once, from the kernel's goroutine, when the process of pidfd has ended.
func (k *OSKernel) watch(pidfd int, f func()) (id uint64, err error) {
	k.mu.Lock()
	k.last++
	id = k.last
	k.exits[id] = f
	k.mu.Unlock()
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(id), Pad: int32(id >> 32)}
	if err := k.control(unix.EPOLL_CTL_ADD, pidfd, &ev); err != nil {
		k.take(id)
		return 0, fmt.Errorf("cannot watch the process: %v", err)
	}
	return id, nil
}

// unwatch must come before pidfd is closed.
func (k *OSKernel) unwatch(id uint64, pidfd int) {
	_ = k.control(unix.EPOLL_CTL_DEL, pidfd, nil)
	k.take(id)
}

func (k *OSKernel) control(op, fd int, ev *unix.EpollEvent) error {
	conn, err := k.epoll.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := conn.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), op, fd, ev) }); cerr != nil {
		return cerr
	}
	return err
}

// watchExits runs until the epoll is closed.
func (k *OSKernel) watchExits(read func(func(fd uintptr) bool) error) {
	events := make([]unix.EpollEvent, 32)
	for {
		n := 0
		err := read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			if f := k.take(uint64(uint32(ev.Pad))<<32 | uint64(uint32(ev.Fd))); f != nil {
				f()
			}
		}
	}
}

func (k *OSKernel) take(id uint64) func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.exits[id]
	delete(k.exits, id)
	return f
}

// setMain notes that pid is one of our children, or no longer.
func (k *OSKernel) setMain(pid int, is bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if is {
		k.mains[pid] = struct{}{}
	} else {
		delete(k.mains, pid)
	}
}

func (k *OSKernel) isMain(pid int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, is := k.mains[pid]
	return is
}

// running is how many of our children are main processes.
func (k *OSKernel) running() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.mains)
}
