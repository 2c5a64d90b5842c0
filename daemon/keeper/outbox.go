package keeper

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The daemon's way out: at once if the socket has room, else by a queue.

// tell sends a message, or queues it behind those that are waiting.
func (l *Link) tell(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if len(l.queue) == 0 && l.post(m) {
		return
	}
	m.note = slices.Clone(m.note)
	m.files = duplicates(m.files)
	l.queue = enqueue(l.queue, m)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// duplicates are for a message that has to wait: the caller may close its files.
func duplicates(files []int) []int {
	var copies []int
	for _, fd := range files {
		if c, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			copies = append(copies, c)
		}
	}
	return copies
}

// enqueue adds a message, in order. What a newer message makes void goes, so that
// the queue is bounded by the live keys; descriptors that a put doesn't replace
// move on to it.
func enqueue(queue []message, m message) []message {
	if m.verb == verbUntil {
		queue = slices.DeleteFunc(queue, func(q message) bool { return q.verb == verbUntil && q.key == m.key })
	}
	if m.verb != verbPut && m.verb != verbDrop {
		return append(queue, m)
	}
	same := func(q message) bool { return q.verb == verbPut && q.key == m.key }
	if i := slices.IndexFunc(queue, same); i >= 0 {
		old := queue[i].files
		if m.verb == verbPut && len(m.files) == 0 {
			m.files, old = old, nil
		}
		closeAll(old)
		queue = slices.Delete(queue, i, i+1)
	}
	return append(queue, m)
}

// post reports whether the message needs no further care.
func (l *Link) post(m message) bool {
	r := sent
	if err := l.raw.Control(func(fd uintptr) { r = postMessage(int(fd), m) }); err != nil {
		return true // closed
	}
	return r == sent
}

// drain sends the queue whenever the socket has room again.
func (l *Link) drain() {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-l.wake:
		case <-again.C:
		case <-l.shut:
			l.flush()
			l.abandon()
			return
		}
		if l.flush() == laden {
			again.Reset(pauseLaden)
		}
	}
}

// flush returns when the queue is empty, when the link is closed or over, or when
// nothing tells when there will be room.
func (l *Link) flush() (r room) {
	_ = l.raw.Write(func(fd uintptr) (done bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for len(l.queue) > 0 {
			if r = postMessage(int(fd), l.queue[0]); r != sent {
				return r == laden // else the netpoller calls again when there is room
			}
			closeAll(l.queue[0].files)
			l.queue = slices.Delete(l.queue, 0, 1)
		}
		return true
	})
	return r
}

// abandon ends the link.
func (l *Link) abandon() {
	_ = l.file.Close() // wakes listen
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.queue {
		closeAll(m.files)
	}
	l.queue = nil
}

// withFDs calls f with the descriptors of files, which can't be closed meanwhile.
// A closed file is left out.
func withFDs(files []*os.File, fds []int, f func([]int)) {
	if len(files) == 0 {
		f(fds)
		return
	}
	raw, err := files[0].SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { withFDs(files[1:], append(fds, int(fd)), f) })
	}
	if err != nil {
		withFDs(files[1:], fds, f)
	}
}
