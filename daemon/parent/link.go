package parent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// closeFlush bounds how long Close waits for a keeper that doesn't read.
const closeFlush = time.Second

// Link is used by the daemon only; its methods may be called from any goroutine
// and never block on the keeper.
//
// A message is handed to the kernel before the method returns, so that it reaches
// the keeper even if the daemon is killed in the next instant. Only when the socket
// is full (the keeper is stopped, or starved) messages wait in a queue.
type Link struct {
	file   *os.File
	raw    syscall.RawConn
	keeper int
	lost   chan struct{}
	wake   chan struct{} // capacity 1: the queue has something in it
	shut   chan struct{}
	ended  sync.WaitGroup

	// Held for memory and for one send that never waits (MSG_DONTWAIT).
	mu     sync.Mutex
	queue  []message
	closed bool
}

// Connect makes a Link of the inherited socket.
func Connect(fd int) (*Link, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, fmt.Errorf("cannot use descriptor %d as the link to the keeper: not a packet socket", fd)
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for the keeper's pid: %w", err)
	}
	unix.Close(TableRoom) // it has served
	unix.CloseOnExec(fd)  // an app that held it would hide the daemon's death
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("cannot set up the link to the keeper: %w", err)
	}
	file := os.NewFile(uintptr(fd), "keeper link")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("cannot set up the link to the keeper: %w", err)
	}
	l := &Link{
		file: file, raw: raw, keeper: int(cred.Pid),
		lost: make(chan struct{}), wake: make(chan struct{}, 1), shut: make(chan struct{}),
	}
	l.ended.Add(2)
	go l.listen() // ended by the keeper's death or by Close, which waits for it
	go l.drain()  // ended by Close, which waits for it
	return l, nil
}

// Spawned tells the keeper of a process group to stop when the daemon dies:
// first sig, then after grace SIGKILL. start is the leader's start time.
func (l *Link) Spawned(pid int, start uint64, sig int, grace time.Duration) {
	grace = min(max(grace, 0), maxGrace)
	l.tell(message{kind: kindSpawned, pid: pid, start: start, sig: unix.Signal(sig), grace: grace})
}

// Gone takes a group back.
func (l *Link) Gone(pid int) { l.tell(message{kind: kindGone, pid: pid}) }

// Leaving tells the keeper that the daemon ends on purpose.
func (l *Link) Leaving() { l.tell(message{kind: kindLeaving}) }

// Lost is closed when the keeper has died.
func (l *Link) Lost() <-chan struct{} { return l.lost }

// Pid is the keeper's, for the user and for finding orphans.
func (l *Link) Pid() int { return l.keeper }

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

// tell sends a message, or queues it behind those that are waiting.
func (l *Link) tell(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if len(l.queue) == 0 && l.send(m) {
		return
	}
	l.queue = enqueue(l.queue, m)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// enqueue adds a message, in order. A group that is over before the keeper heard
// of it is dropped instead, so that the queue is bounded by the live groups.
func enqueue(queue []message, m message) []message {
	if m.kind == kindGone {
		known := func(q message) bool { return q.kind == kindSpawned && q.pid == m.pid }
		if i := slices.IndexFunc(queue, known); i >= 0 {
			return slices.Delete(queue, i, i+1)
		}
	}
	return append(queue, m)
}

// send reports whether the message needs no further care: the kernel has it, or
// nobody will ever read it. False means that the socket is full.
func (l *Link) send(m message) bool {
	full := false
	err := l.raw.Control(func(fd uintptr) {
		full = l.sendTo(int(fd), m)
	})
	return err != nil || !full
}

func (l *Link) sendTo(fd int, m message) (full bool) {
	for {
		err := unix.Send(fd, m.encode(), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS)
		}
	}
}

// drain sends the queue whenever the socket has room again.
func (l *Link) drain() {
	defer l.ended.Done()
	for {
		select {
		case <-l.wake:
			l.flush()
		case <-l.shut:
			l.flush()
			_ = l.file.Close() // wakes listen
			return
		}
	}
}

// flush returns when the queue is empty or the link is closed or over.
func (l *Link) flush() {
	_ = l.raw.Write(func(fd uintptr) (done bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for len(l.queue) > 0 {
			if l.sendTo(int(fd), l.queue[0]) {
				return false // the netpoller calls again when there is room
			}
			l.queue = slices.Delete(l.queue, 0, 1)
		}
		return true
	})
}

// listen waits for the end of the socket; the keeper says nothing in this version,
// and what a later one might say is passed over.
func (l *Link) listen() {
	defer l.ended.Done()
	var buf [maxPacket]byte
	for {
		n, err := l.file.Read(buf[:])
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if n <= 0 || err != nil {
			close(l.lost)
			return
		}
	}
}
