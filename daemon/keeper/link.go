package keeper

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	patience    = 10 * time.Second // for a keeper that is to tell a new daemon everything
	collectWait = 2 * time.Second  // for its answer to Collect
	closeFlush  = time.Second      // for what waits when the link is closed
)

// Link is the daemon's end; its methods may be called from any goroutine, and only
// Collect and Answers wait for the keeper.
//
// A message is handed to the kernel before the method returns, so that it reaches
// the keeper even if the daemon is killed in the next instant. Only when the socket
// is full (the keeper is stopped, or starved) messages wait in a queue.
type Link struct {
	file   *os.File
	raw    syscall.RawConn
	keeper int
	child  *os.Process // the keeper, if this daemon started it: to be reaped

	leases  atomic.Bool // it knows them
	leaving atomic.Bool // it has been told that this daemon ends
	lost    chan struct{}
	begun   chan struct{} // closed when the keeper has begun
	wake    chan struct{} // capacity 1: the queue has something in it
	shut    chan struct{}
	ended   sync.WaitGroup

	// Held for memory and for one send that never waits (MSG_DONTWAIT).
	mu      sync.Mutex
	queue   []message // their descriptors are duplicates of the queue's own
	closed  bool
	waiting map[int][]chan int64 // pid → who waits for its status
}

// Estate is what the keeper kept: what daemons before this one had put and not dropped.
type Estate struct {
	Entries []Entry
	Before  string // how the daemon before this one ended ("was killed by SIGKILL", HandedOver); "": there was none
	// Elsewhere: what the daemon before this one had started, and nobody was told of, has
	// not fallen to the keeper: that came after it (Spawn).
	Elsewhere bool
	Refused   string // why the binary of an update was given up and the old one is back; "" otherwise
}

// HandedOver is how a daemon ended that left nothing undone.
const HandedOver = "handed over"

// Entry is one key's. The files are the caller's to close.
type Entry struct {
	Key   string
	Main  Main
	Note  []byte
	Files []*os.File
}

// Attach makes a Link of the inherited socket, and reads what the keeper kept. A new
// daemon finds all of that, or its first part, in the socket: nobody has to be asked.
func Attach(fd int) (*Link, Estate, error) {
	if err := packetSocket(fd); err != nil {
		return nil, Estate{}, err
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, Estate{}, fmt.Errorf("cannot ask for the keeper's pid: %w", err)
	}
	l, err := newLink(fd, int(cred.Pid))
	if err != nil {
		return nil, Estate{}, err
	}
	estate, err := l.inherit()
	if err != nil {
		estate.close()
		l.file.Close()
		return nil, Estate{}, err
	}
	close(l.begun)
	l.begin()
	return l, estate, nil
}

func newLink(fd, keeper int) (*Link, error) {
	file, err := asFile(fd, "keeper link")
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot set up the link to the keeper: %w", err)
	}
	return &Link{
		file: file, raw: raw, keeper: keeper, waiting: map[int][]chan int64{},
		lost: make(chan struct{}), begun: make(chan struct{}), wake: make(chan struct{}, 1), shut: make(chan struct{}),
	}, nil
}

func (l *Link) begin() {
	l.ended.Go(l.listen) // ended by the keeper's death or by Close, which waits for it
	l.ended.Go(l.drain)  // ended by Close, which waits for it
}

// inherit reads the welcome and the entries that it announces.
func (l *Link) inherit() (Estate, error) {
	_ = l.file.SetReadDeadline(time.Now().Add(patience))
	defer l.file.SetReadDeadline(time.Time{})
	in := &inbox{}
	m, err := l.next(in)
	if err == nil && m.verb != verbWelcome {
		err = fmt.Errorf("it says %q instead of welcome", m.verb)
	}
	if err != nil {
		return Estate{}, fmt.Errorf("cannot take over from the keeper: %w", err)
	}
	g := decodeGreeting(m.note)
	if g.room > 0 {
		unix.Close(g.room) // it has served
	}
	l.leases.Store(g.leases)
	estate := Estate{Before: g.before, Elsewhere: g.elsewhere, Refused: g.refused, Entries: make([]Entry, 0, m.number)}
	for len(estate.Entries) < cap(estate.Entries) {
		m, err := l.next(in)
		if err == nil && m.verb != verbEntry {
			err = fmt.Errorf("it says %q instead of an entry", m.verb)
		}
		if err != nil {
			return estate, fmt.Errorf("cannot take over from the keeper: entry %d of %d: %w", len(estate.Entries)+1, cap(estate.Entries), err)
		}
		e := Entry{Key: m.key, Main: m.main, Note: slices.Clone(m.note)}
		for _, fd := range m.files {
			e.Files = append(e.Files, os.NewFile(uintptr(fd), m.key))
		}
		estate.Entries = append(estate.Entries, e)
	}
	return estate, nil
}

func (e Estate) close() {
	for _, entry := range e.Entries {
		for _, f := range entry.Files {
			f.Close()
		}
	}
}

// next waits for a packet.
func (l *Link) next(in *inbox) (m message, err error) {
	if e := l.raw.Read(func(fd uintptr) bool {
		m, err = in.receive(int(fd))
		return !errors.Is(err, errNone)
	}); e != nil {
		return message{}, e
	}
	return m, err
}

// Put keeps main and note under a key, and duplicates of files; without any files
// the key's present ones stay.
func (l *Link) Put(key string, main Main, note []byte, files ...*os.File) {
	m := message{verb: verbPut, key: key, main: main, note: note}
	withFDs(files, nil, func(fds []int) {
		m.files = fds
		l.tell(m)
	})
}

// PutDescriptors is Put for descriptors that no os.File may have: it would change how
// the socket of a program behaves.
func (l *Link) PutDescriptors(key string, note []byte, fds []int) {
	l.tell(message{verb: verbPut, key: key, note: note, files: fds})
}

// Drop lets go of a key.
func (l *Link) Drop(key string) { l.tell(message{verb: verbDrop, key: key}) }

// Ready says that this daemon serves: it has taken over what it was given and put
// what it found. From now on the keeper reaps what is no entry's main process.
func (l *Link) Ready() { l.tell(message{verb: verbReady}) }

// Deadline has the group that m leads killed d from now, unless Deadline is called
// again for the key; 0 takes it back. It outlives the daemon.
func (l *Link) Deadline(key string, m Main, d time.Duration) {
	ms := min(max(d, 0), maxLimit).Milliseconds()
	if d > 0 && ms == 0 {
		ms = 1
	}
	l.tell(message{verb: verbDeadline, key: key, main: m, number: ms})
}

// DeadlineAt has all killed that runs under a key when CLOCK_BOOTTIME is at, unless it is
// called again for the key; 0 takes it back. That is m with its group, or without m
// whatever main process the key's entry has, or is put later; all that has the
// entries of marker in its environment; and the descendants of those. A time that is over
// counts at once, and for as long as it isn't changed. It outlives the daemon.
//
// A keeper that is older than this gets a Deadline instead, for m alone.
func (l *Link) DeadlineAt(key string, m Main, at time.Duration, marker ...string) {
	if !l.leases.Load() {
		if left := at - Boottime(); at != 0 {
			l.Deadline(key, m, max(left, 1))
		} else {
			l.Deadline(key, m, 0)
		}
		return
	}
	ms := at.Milliseconds()
	if at != 0 {
		ms = min(max(ms, 1), maxBoottime)
	}
	l.tell(message{verb: verbUntil, key: key, main: m, number: ms, note: joinMarker(marker)})
}

// HandOver says that this daemon is about to end, and that the next one, and then
// the keeper itself, are to be this binary.
func (l *Link) HandOver(binary *os.File) {
	l.leaving.Store(true)
	withFDs([]*os.File{binary}, nil, func(fds []int) {
		l.tell(message{verb: verbHandOver, files: fds})
	})
}

// Leaving says that the daemon ends on purpose: the keeper follows it.
func (l *Link) Leaving() {
	l.leaving.Store(true)
	l.tell(message{verb: verbLeaving})
}

// Lost is closed when the keeper has died.
func (l *Link) Lost() <-chan struct{} { return l.lost }

// Begun is closed when the keeper has begun: one that was spawned just now has the home's
// lock then, and starts another daemon after this one's death.
func (l *Link) Begun() <-chan struct{} { return l.begun }

// Pid is the keeper's, for the user and for finding orphans.
func (l *Link) Pid() int { return l.keeper }

// Collect has the keeper reap an ended process of which it is the parent. False: the
// keeper has no such child that has ended, or doesn't answer.
func (l *Link) Collect(pid int) (unix.WaitStatus, bool) {
	status, answered := l.collect(pid)
	if !answered || status < 0 {
		return 0, false
	}
	return unix.WaitStatus(status), true
}

// Answers says whether the keeper does: it may be stopped, or starved. It is asked for
// a process that hasn't ended, which changes nothing.
func (l *Link) Answers() bool {
	_, answered := l.collect(os.Getpid())
	return answered
}

func (l *Link) collect(pid int) (status int64, answered bool) {
	answer := make(chan int64, 1)
	l.mu.Lock()
	l.waiting[pid] = append(l.waiting[pid], answer)
	l.mu.Unlock()
	defer l.forget(pid, answer)
	l.tell(message{verb: verbCollect, main: Main{Pid: pid}})
	limit := time.NewTimer(collectWait)
	defer limit.Stop()
	select {
	case status := <-answer:
		return status, true
	case <-l.lost:
	case <-l.shut:
	case <-limit.C:
	}
	return 0, false
}

func (l *Link) forget(pid int, answer chan int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := slices.DeleteFunc(l.waiting[pid], func(c chan int64) bool { return c == answer })
	if l.waiting[pid] = rest; len(rest) == 0 {
		delete(l.waiting, pid)
	}
}

// listen takes in answers until the end of the socket. What a later keeper might say
// is passed over.
func (l *Link) listen() {
	in := &inbox{}
	for {
		m, err := l.next(in)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil && !errors.As(err, new(*packetError)):
			if !l.leaving.Load() { // else it waits for our end
				l.reapKeeper()
			}
			close(l.lost)
			return
		case err == nil && m.verb == verbCollected:
			l.answer(m)
		case err == nil && m.verb == verbWelcome:
			l.leases.Store(decodeGreeting(m.note).leases)
			select {
			case <-l.begun:
			default:
				close(l.begun)
			}
		default:
			closeAll(m.files)
		}
	}
}

// answer gives the status to the first who waits for it: it is there once.
func (l *Link) answer(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if waiting := l.waiting[m.main.Pid]; len(waiting) > 0 {
		waiting[0] <- m.number // has room: one answer each
		l.waiting[m.main.Pid] = waiting[1:]
	}
}

func (l *Link) reapKeeper() {
	if l.child != nil {
		_, _ = l.child.Wait()
	}
}

// Close closes the socket, after giving what is queued a second to be sent.
func (l *Link) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.mu.Unlock()
	if again {
		return nil
	}
	_ = l.file.SetWriteDeadline(time.Now().Add(closeFlush))
	close(l.shut)
	l.ended.Wait()
	return nil
}
