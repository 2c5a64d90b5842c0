package keeper

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pauseLaden is how long a sender waits when too many descriptors are on their way;
// nothing tells when there are fewer.
const pauseLaden = 10 * time.Millisecond

// conn is the keeper's end of the link to one daemon. Its goroutines only wait; what
// is received and sent passes through the keeper's own goroutine, so that at any
// instant a message is either in the kernel or done.
type conn struct {
	fd       int
	file     *os.File
	raw      syscall.RawConn
	in       inbox
	queue    []message // what the socket has no room for
	readable chan struct{}
	writable chan struct{}
	quit     chan struct{}
	ended    sync.WaitGroup
}

func newConn(fd int) (*conn, error) {
	file, err := asFile(fd, "daemon link")
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{
		fd: fd, file: file, raw: raw,
		readable: make(chan struct{}), writable: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	c.ended.Go(c.watch) // ended by close, which waits for it
	return c, nil
}

// watch tells whenever there is something to receive, the end included.
func (c *conn) watch() {
	for {
		if err := c.raw.Read(func(fd uintptr) bool { return ready(fd, unix.POLLIN) }); err != nil {
			return
		}
		select {
		case c.readable <- struct{}{}:
		case <-c.quit:
			return
		}
	}
}

// send never waits for the daemon. The descriptors of a message that has to wait
// must stay open until it is sent.
func (c *conn) send(m message) {
	c.queue = append(c.queue, m)
	if len(c.queue) == 1 {
		c.flush()
	}
}

// flush sends what waits, as far as there is room, and has itself called again.
func (c *conn) flush() {
	done := 0
	for _, m := range c.queue {
		r := postMessage(c.fd, m)
		if r != sent {
			c.await(r)
			break
		}
		done++
	}
	c.queue = slices.Delete(c.queue, 0, done)
	if len(c.queue) == 0 {
		c.queue = nil
	}
}

// await has writable told when it makes sense to try again.
func (c *conn) await(r room) {
	c.ended.Go(func() { // ended by room in the socket or by close, which waits for it
		if r == laden {
			select {
			case <-time.After(pauseLaden):
			case <-c.quit:
				return
			}
		} else if err := c.raw.Write(func(fd uintptr) bool { return ready(fd, unix.POLLOUT) }); err != nil {
			return
		}
		c.writable <- struct{}{} // there is room: only one of us waits at a time
	})
}

// close returns when nothing of the connection is left; what waited is not sent.
func (c *conn) close() {
	close(c.quit)
	_ = c.file.Close()
	c.ended.Wait()
}
