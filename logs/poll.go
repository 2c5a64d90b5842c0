package logs

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller is an epoll of our own for the pipes. Go's netpoller only watches this
// one descriptor, so that neither a thread is blocked nor every line of every
// app wakes the runtime: a pipe is armed for one event (EPOLLONESHOT) and stays
// silent until it is armed again.
type poller struct {
	file   *os.File // the epoll descriptor, known to Go's netpoller
	raw    syscall.RawConn
	try    func(fd uintptr) bool // allocated once
	events [64]unix.EpollEvent
	n      int

	mu   sync.Mutex // guards bell, so that a late ring never hits a reused number
	bell int        // eventfd; -1 after close
}

func newPoller() (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot create an epoll for log pipes: %v", err)
	}
	// Only a non-blocking descriptor is handed to Go's netpoller by NewFile.
	if err := unix.SetNonblock(ep, true); err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("cannot create an epoll for log pipes: %v", err)
	}
	p := &poller{file: os.NewFile(uintptr(ep), "epoll"), bell: -1}
	p.try = func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), p.events[:], 0)
		p.n = max(n, 0)
		return p.n > 0 || err != nil
	}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("cannot watch log pipes: %v", err)
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("cannot create an eventfd for log pipes: %v", err)
	}
	if err := p.control(unix.EPOLL_CTL_ADD, p.bell, unix.EPOLLIN); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// soon waits a moment for events, in the kernel: in a flood the next bytes are
// there before Go's scheduler has put this goroutine to sleep and woken it again.
func (p *poller) soon() []unix.EpollEvent {
	const moment = 1 // ms
	p.n = 0
	p.raw.Control(func(fd uintptr) {
		n, _ := unix.EpollWait(int(fd), p.events[:], moment) // an error: none, and wait will see it
		p.n = max(n, 0)
	})
	return p.events[:p.n]
}

// wait returns the ready events; with block it waits for one, until the deadline if there is one.
func (p *poller) wait(block bool, deadline time.Time) []unix.EpollEvent {
	p.n = 0
	if !block {
		p.raw.Control(func(fd uintptr) { p.try(fd) })
		return p.events[:p.n]
	}
	if !deadline.IsZero() {
		p.file.SetReadDeadline(deadline)
		defer p.file.SetReadDeadline(time.Time{})
	}
	p.raw.Read(p.try) // its error is the deadline, or a signal in the way: no events
	return p.events[:p.n]
}

// add registers a pipe, not yet armed.
func (p *poller) add(fd int) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLONESHOT)
}

// arm asks for the next event; one comes at once if there is something to read.
func (p *poller) arm(fd int) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN|unix.EPOLLONESHOT)
}

func (p *poller) control(op, fd int, events uint32) (err error) {
	ev := unix.EpollEvent{Events: events, Fd: int32(fd)}
	if e := p.raw.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), op, fd, &ev) }); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("cannot watch a log pipe: %v", err)
	}
	return nil
}

// ring wakes the goroutine in wait; anyone may call it at any time.
func (p *poller) ring() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bell >= 0 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		unix.Write(p.bell, one[:]) // EAGAIN: it rings already
	}
}

// rung says whether the event was the bell and silences it.
func (p *poller) rung(fd int32) bool {
	if int(fd) != p.bell {
		return false
	}
	var b [8]byte
	unix.Read(p.bell, b[:])
	return true
}

func (p *poller) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.bell)
	p.bell = -1
	p.file.Close()
}
