package supervise

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// spawner is a thread that forks and does nothing else. It has a descriptor table
// of its own, because a fork copies the table and the exec closes what was copied:
// with 1,000 apps that was 5,000 descriptors for each start, two thirds of what a
// start cost. It also has a umask and a signal mask of its own. The streams of a
// program come to it through a socket. While there are few descriptors, waking the
// thread takes longer than copying them: then programs are started without it.
type spawner struct {
	mu     sync.Mutex // guards sending to orders
	orders chan order
	ended  chan struct{}
	send   int // descriptors go in here, in our table
	recv   int // and come out here, in the thread's
	null   int // in both tables
	fs     bool
	masked bool // our signal mask isn't empty: only the thread's is
	few    int  // so many programs may run for another to be started without the thread
	score  *scoreLender
}

// maxInherit is how many descriptors besides the streams are sent to the thread.
const maxInherit = 16

// waitingOrders is how many programs may wait with their streams already sent.
const waitingOrders = 16

// order is one program to be started; pid or the error goes to done.
type order struct {
	c       Command
	numbers []int // that the descriptors which were sent are to have
	done    chan<- started
}

type started struct {
	pid int
	err error
}

// newSpawner starts the thread, which close ends.
func newSpawner(score Score) (*spawner, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket pair: %v", err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(pair[0])
		unix.Close(pair[1])
		return nil, fmt.Errorf("cannot open %s: %v", os.DevNull, err)
	}
	receiveIgnored()
	s := &spawner{
		orders: make(chan order, waitingOrders), ended: make(chan struct{}),
		send: pair[0], recv: pair[1], null: null, masked: signalMask() != 0, few: 50, score: newScoreLender(score),
	}
	own := make(chan bool)
	go s.run(own) // ended by close, which waits for it
	if <-own {    // the thread has its copy
		unix.Close(s.recv)
	}
	return s, nil
}

// close ends the thread and with it its descriptors.
func (s *spawner) close() {
	close(s.orders)
	<-s.ended
	unix.Close(s.send)
	unix.Close(s.null)
	s.score.close()
}

// run is the thread. It never gives it back: what was changed of it ends with it.
func (s *spawner) run(own chan<- bool) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() { // /proc/self/fd would show the wrong table, and a main thread never ends
		elsewhere := make(chan bool)
		go s.run(elsewhere) // it gets another thread, this one being taken
		own <- <-elsewhere
		runtime.UnlockOSThread()
		return
	}
	defer close(s.ended)
	private := s.ownTable() == nil
	s.fs = unix.Unshare(unix.CLONE_FS) == nil
	setSignalMask(0)
	own <- private
	for o := range s.orders {
		pid, err := s.carryOut(o)
		o.done <- started{pid, err}
	}
	if !private {
		unix.Close(s.recv)
	}
}

// ownTable gives the thread a descriptor table with nothing in it but what it
// needs, and what the Go runtime uses on whatever thread it is: its epoll and
// eventfd. It needs Linux 5.9; without, the table stays shared and starting a
// program takes longer the more there are.
func (s *spawner) ownTable() error {
	keep := []int{0, 1, 2, s.recv, s.null}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if strings.HasSuffix(to, "[eventpoll]") || strings.HasSuffix(to, "[eventfd]") {
			keep = append(keep, fd)
		}
	}
	slices.Sort(keep)
	last := keep[len(keep)-1]
	if err := unix.CloseRange(uint(last+1), math.MaxUint32, unix.CLOSE_RANGE_UNSHARE); err != nil {
		return err
	}
	for i, fd := range keep[:len(keep)-1] {
		if next := keep[i+1]; next > fd+1 {
			_ = unix.CloseRange(uint(fd+1), uint(next-1), 0)
		}
	}
	return nil
}

// spawn starts a program when others of that number run.
func (s *spawner) spawn(c Command, l Launch, others int) (pid int, e error) {
	if c.Bounds != nil || len(l.Groups) > 0 {
		return s.bound(c, l, others)
	}
	s.score.lend()
	defer s.score.back()
	if l.Thread != nil || len(l.Inherit) > maxInherit {
		return s.alone(c, l)
	}
	if others > s.few || c.Umask != nil || s.masked {
		return s.delegate(c, l)
	}
	pid, e = fork(c, c.Argv, s.descriptors(l))
	runtime.KeepAlive(l)
	return pid, e
}

// delegate hands a program to the thread and waits. Several may be waiting: the
// thread goes from one to the next without anybody being woken in between.
func (s *spawner) delegate(c Command, l Launch) (pid int, e error) {
	var numbers, fds []int
	for i, f := range append([]*os.File{l.In, l.Out, l.Err}, l.Inherit...) {
		if f != nil {
			numbers, fds = append(numbers, i), append(fds, int(f.Fd()))
		}
	}
	done := make(chan started, 1)
	s.mu.Lock() // messages and orders must have one sequence
	if len(fds) > 0 {
		e = unix.Sendmsg(s.send, []byte{0}, unix.UnixRights(fds...), nil, 0)
	}
	if e == nil {
		s.orders <- order{c, numbers, done}
	}
	s.mu.Unlock()
	runtime.KeepAlive(l)
	if e != nil {
		return 0, fmt.Errorf("cannot pass on the program's descriptors: %w", e)
	}
	r := <-done
	return r.pid, r.err
}

// carryOut runs in the thread.
func (s *spawner) carryOut(o order) (int, error) {
	files := s.descriptors(Launch{})
	if len(o.numbers) > 0 {
		fds, err := s.receive()
		if err != nil {
			return 0, fmt.Errorf("cannot take the program's descriptors: %w", err)
		}
		for i, fd := range fds {
			if o.numbers[i] < len(files) {
				files[o.numbers[i]] = uintptr(fd)
			} else {
				files = append(files, uintptr(fd)) // what is inherited has no gaps
			}
			defer unix.Close(fd)
		}
	}
	if mask := o.c.Umask; mask != nil && s.fs {
		defer unix.Umask(unix.Umask(*mask))
	}
	return fork(o.c, o.c.argv(s.fs), files)
}

// argv is what is executed by a thread that can, or can't, have a umask of its own. If
// it can't, a shell does it: ours must not change, not even for a moment.
func (c Command) argv(canMask bool) []string {
	if c.Umask == nil || canMask {
		return c.Argv
	}
	return append([]string{"/bin/sh", "-c", fmt.Sprintf(`umask %04o; exec "$0" "$@"`, *c.Umask)}, c.Argv...)
}

// descriptors are what a program gets, by its numbers.
func (s *spawner) descriptors(l Launch) []uintptr {
	fds := []uintptr{uintptr(s.null), uintptr(s.null), uintptr(s.null)}
	for i, f := range []*os.File{l.In, l.Out, l.Err} {
		if f != nil {
			fds[i] = f.Fd()
		}
	}
	for _, f := range l.Inherit {
		fds = append(fds, f.Fd())
	}
	return fds
}

// fork starts a program in a group of its own.
func fork(c Command, argv []string, files []uintptr) (int, error) {
	env := c.Env
	if env == nil {
		env = []string{} // nil would mean ours
	}
	sys := &syscall.SysProcAttr{Setpgid: !c.Session, Setsid: c.Session}
	if u := c.User; u != nil && !isSelf(u) {
		sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	return syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Dir: c.Dir, Env: env, Files: files, Sys: sys})
}

// receive takes the descriptors that spawn sent.
func (s *spawner) receive() ([]int, error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace((3+maxInherit)*4))
	_, n, _, _, err := unix.Recvmsg(s.recv, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("the message is without descriptors")
	}
	return unix.ParseUnixRights(&messages[0])
}

// isSelf says that there is nothing to change: an ordinary user may name itself
// as the user of an app, but may not call setgroups.
func isSelf(u *Credential) bool {
	return os.Geteuid() != 0 && int(u.UID) == os.Geteuid() && int(u.GID) == os.Getegid()
}
