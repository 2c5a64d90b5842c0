package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// drainee is what is drained: listening sockets of ours, the ports of these, and the
// processes that accept from them. Their descendants are found; when there are no
// processes any more, there is nothing to wait for.
type drainee struct {
	sockets []int
	ports   []uint16
	pids    func() []int
	trouble error // why not all sockets are here
}

// Drain waits until a retired slot has nothing to do, and ends from outside the
// connections that its program only keeps. It ends at the timeout, with ctx, or when
// none of the processes lives: pids are those of the instance, whose descendants are
// found.
func (s *Slot) Drain(ctx context.Context, pids func() []int, o DrainOptions) DrainReport {
	of := drainee{pids: pids}
	s.h.mu.Lock()
	for _, k := range s.sockets {
		// A duplicate, because the slot may be closed meanwhile. That shuts the socket down,
		// so this one doesn't keep anybody waiting.
		of.ports = append(of.ports, k.address.port)
		fd, err := unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			of.trouble = fmt.Errorf("cannot watch the accept queue of %s: %w", k.address, err)
			continue
		}
		of.sockets = append(of.sockets, fd)
	}
	s.h.mu.Unlock()
	defer func() {
		for _, fd := range of.sockets {
			unix.Close(fd)
		}
	}()
	return drain(ctx, of, o)
}

func drain(ctx context.Context, of drainee, o DrainOptions) DrainReport {
	if len(of.ports) == 0 {
		return DrainReport{} // it serves nobody
	}
	return newDrainer(of, o).run(ctx)
}

func newDrainer(of drainee, o DrainOptions) *drainer {
	return &drainer{options: o.withDefaults(), look: of.look, hangUp: hangUp, now: time.Now, wait: pause}
}

// pause waits, but not longer than ctx lives.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// look takes the parts of a sight in their order: queues, processes, connections.
func (of drainee) look() (s sight) {
	if of.trouble != nil {
		s.troubles = append(s.troubles, of.trouble)
	}
	for _, fd := range of.sockets {
		waiting, _, err := acceptQueue(fd)
		if err != nil && !errors.Is(err, errNotListening) {
			s.troubles = append(s.troubles, err)
		}
		s.waiting += waiting
	}
	s.census = proc.owners(proc.tree(of.pids()...))
	var err error
	if s.connections, err = connections(of.ports); err != nil {
		s.blind, s.troubles = true, append(s.troubles, err)
	}
	return s
}

// hangUp ends a connection of another process, unless bytes have come in since it was
// listed. SHUT_RDWR and not SHUT_RD: the end goes out at once instead of when the
// program reacts, and a request that comes later is answered by the kernel with a
// reset, so it is never executed without an answer.
func hangUp(h holder, c connection) error {
	fd, err := takeFD(h.pid, h.fd)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EBADF) {
		return errGone
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if cookie(fd) != c.cookie {
		return errGone // the descriptor is another one's by now
	}
	unmute := mute(fd)
	defer unmute()
	if received, state, err := progress(fd); err != nil || received != c.received || state != c.state {
		return errMoved
	}
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
		return errGone // ENOTCONN: ended by one of the two
	}
	if received, _, err := progress(fd); err == nil && received != c.received {
		return errLate
	}
	return nil
}

func progress(fd int) (received uint64, state byte, err error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, 0, err
	}
	return info.Bytes_received, info.State, nil
}

// mute lets nothing come in: between the look at the socket and its end there is no
// moment at which a request could slip in. What is dropped meanwhile the client's
// kernel sends again. It is done by asking for packets that haven't passed any router
// and began with the highest count, which hardly any system sends; a socket filter
// would need CAP_NET_ADMIN on newer kernels.
func mute(fd int) (unmute func()) {
	const highest = 255
	undo := []func(){}
	for _, o := range []struct{ level, option int }{{unix.IPPROTO_IP, unix.IP_MINTTL}, {unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT}} {
		was, err := unix.GetsockoptInt(fd, o.level, o.option)
		if err == nil && unix.SetsockoptInt(fd, o.level, o.option, highest) == nil {
			undo = append(undo, func() { _ = unix.SetsockoptInt(fd, o.level, o.option, was) })
		}
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}
