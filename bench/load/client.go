package load

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// client makes one request after the other, on one connection if it may be kept. It belongs to one goroutine at a
// time and counts for itself, so that counting costs the measured machine nothing.
type client struct {
	d      *Driver
	from   string
	conn   net.Conn
	reused bool // the connection has carried an answer
	in     *bufio.Reader
	out    []byte
	last   string // who gave the newest answer
	tally
}

// tally is what a client has counted.
type tally struct {
	counts Counts
	fast   []time.Duration
	slow   []time.Duration
	of     map[string]int // answers by server
	failed map[int]Failure
}

// kind is how a request ended.
type kind string

const (
	ok          kind = ""
	refused     kind = "refused"
	reset       kind = "reset before the answer"
	resetReused kind = "reset on a reused connection"
	cut         kind = "cut in the middle of the answer"
	timedOut    kind = "timed out"
	wrong       kind = "wrong answer"
	local       kind = "not sent, a fault of the client's side"
)

// request makes request n and counts how it ended.
func (c *client) request(n int, due time.Time) {
	begun := time.Now()
	path, slow := c.d.plan.path(n)
	id := fmt.Sprintf("%s-%d", c.d.run, n)
	a, end, err := c.exchange(path, id, time.Now().Add(c.d.plan.Timeout))
	if err != nil || !a.keep || !c.d.plan.KeepAlive {
		c.hangUp()
	} else {
		c.reused = true
	}
	took := time.Since(due)
	c.counts.add(end)
	if end != ok {
		if c.failed == nil {
			c.failed = map[int]Failure{}
		}
		c.failed[n] = Failure{ID: id, Path: path, Kind: string(end), Text: err.Error(), After: time.Since(c.d.begun), Begun: begun, Ended: time.Now()}
		return
	}
	c.d.oks.Add(1)
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.last = orElse(a.Pid, unknown)
	c.of[c.last]++
	if slow {
		c.slow = append(c.slow, took)
	} else {
		c.fast = append(c.fast, took)
	}
}

// exchange is one request and its answer. A kept connection that the server has closed meanwhile is replaced before
// the request is sent, as any good client does; what is lost after that is lost.
func (c *client) exchange(path, id string, deadline time.Time) (Answer, kind, error) {
	if c.conn != nil && closed(c.conn) {
		c.counts.IdleClosed++
		c.hangUp()
	}
	if err := c.connect(deadline); err != nil {
		return Answer{}, dialKind(err), err
	}
	_ = c.conn.SetDeadline(deadline) // fails only on a closed connection, and then so does the next line
	c.out = appendRequest(c.out[:0], path, id, c.d.plan.KeepAlive)
	if _, err := c.conn.Write(c.out); err != nil {
		return Answer{}, c.earlyKind(err), err
	}
	if _, err := c.in.Peek(1); err != nil {
		return Answer{}, c.earlyKind(err), err
	}
	a, err := readAnswer(c.in)
	if err != nil {
		return a, lateKind(err), err
	}
	if err := a.check(id, c.d.plan.Body); err != nil {
		return a, wrong, err
	}
	return a, ok, nil
}

// connect makes a connection unless there is one.
func (c *client) connect(deadline time.Time) error {
	if c.conn != nil {
		return nil
	}
	conn, err := dial(c.d.plan.Target, c.from, deadline)
	if err != nil {
		return err
	}
	c.counts.Connections++
	c.conn, c.reused = conn, false
	if c.in == nil {
		c.in = bufio.NewReader(conn)
	}
	c.in.Reset(conn)
	return nil
}

func (c *client) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// earlyKind judges an error before the first byte of the answer.
func (c *client) earlyKind(err error) kind {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	case c.reused:
		return resetReused
	}
	return reset
}

// lateKind judges an error after the first byte.
func lateKind(err error) kind {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	case errors.Is(err, errMalformed):
		return wrong
	}
	return cut
}

func dialKind(err error) kind {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EAGAIN): // the last two: of unix sockets
		return refused
	case errors.Is(err, syscall.ECONNRESET):
		return reset
	case errors.As(err, &timeout) && timeout.Timeout():
		return timedOut
	}
	return local
}

// dial connects to a target, from an address of ours unless it is empty.
func dial(target, from string, deadline time.Time) (net.Conn, error) {
	d := net.Dialer{Deadline: deadline}
	if strings.Contains(target, "/") {
		return d.Dial("unix", target)
	}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	d.SetMultipathTCP(false)
	return d.Dial("tcp", target)
}

// closed looks, without waiting, whether the other side has hung up.
func closed(conn net.Conn) bool {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		// Bytes that nobody asked for stay where they are: the next answer is then a wrong one, and counted.
		gone = !(err == syscall.EAGAIN || err == nil && n > 0)
		return true
	})
	return gone || err != nil
}
