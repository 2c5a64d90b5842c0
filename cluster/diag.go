package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNotListening: the socket has no accept queue; it was shut down, or never
// listened.
var errNotListening = errors.New("not a listening socket")

// acceptQueue is how many connections wait in a listening socket and how many may.
// TCP_INFO of such a socket has these two in the place of other figures.
func acceptQueue(fd int) (waiting, limit int, err error) {
	const listening = 10 // TCP_LISTEN
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("cannot read an accept queue: %w", err)
	case info.State != listening:
		return 0, 0, errNotListening
	}
	return int(info.Unacked), int(info.Sacked), nil
}

const (
	sockDiagByFamily = unix.SOCK_DIAG_BY_FAMILY
	diagInfo         = 2    // INET_DIAG_INFO: the attribute that is a struct tcp_info
	diagV6Only       = 11   // INET_DIAG_SKV6ONLY: one byte
	diagBytecode     = 1    // INET_DIAG_REQ_BYTECODE
	diagMessage      = 72   // the size of struct inet_diag_msg
	mostPorts        = 1000 // that a request names; with more the kernel shows all
	dumpTries        = 3
)

// connections lists the TCP connections with one of these local ports: open ones,
// those that the client has closed, and half-open ones. IPv4 connections of a
// dual-stack socket are among them. The kernel walks all its connections for that,
// however few are ours.
func connections(ports []uint16) ([]connection, error) {
	ports = slices.Compact(slices.Sorted(slices.Values(ports)))
	if len(ports) == 0 {
		return nil, nil
	}
	var all []connection
	buf := make([]byte, 64<<10) // the kernel's messages have at most half of that
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		some, err := listFamily(diagRequest(family, ports), buf)
		switch {
		case err == nil:
			all = append(all, some...)
		case family == unix.AF_INET6 && errors.Is(err, unix.ENOENT): // a kernel without IPv6
		default:
			return nil, fmt.Errorf("cannot list TCP connections (sock_diag): %w", err)
		}
	}
	if len(ports) > mostPorts {
		all = slices.DeleteFunc(all, func(c connection) bool {
			_, ours := slices.BinarySearch(ports, c.port)
			return !ours
		})
	}
	return all, nil
}

// listFamily asks again when the kernel says that the list was torn by changes or
// that it has dropped a part.
func listFamily(request, buf []byte) (found []connection, err error) {
	for range dumpTries {
		var d dump
		if d, err = dumpOnce(request, buf); err == nil && !d.torn {
			return d.found, nil
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return nil, err
		}
		found = d.found // torn, again and again: better than nothing
	}
	return found, err
}

func dumpOnce(request, buf []byte) (d dump, err error) {
	nl, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return d, err
	}
	defer unix.Close(nl)
	// The kernel answers while we read; the limit is for one that doesn't.
	if err := unix.SetsockoptTimeval(nl, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return d, err
	}
	if err := unix.Sendto(nl, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return d, err
	}
	for !d.done {
		n, _, flags, from, err := unix.Recvmsg(nl, buf, nil, 0)
		switch sender, _ := from.(*unix.SockaddrNetlink); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return d, errors.New("no answer from the kernel")
		case err != nil:
			return d, err
		case sender == nil || sender.Pid != 0: // not the kernel
		case flags&unix.MSG_TRUNC != 0:
			return d, errors.New("an answer of the kernel is too long")
		default:
			if err := d.read(buf[:n]); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

// diagRequest is a netlink message: nlmsghdr, struct inet_diag_req_v2 and the filter
// as an attribute.
func diagRequest(family byte, ports []uint16) []byte {
	const headers, states = 16 + 56, 1<<established | 1<<synRecv | 1<<closeWait
	ne := binary.NativeEndian
	b := make([]byte, headers, headers+4+20*len(ports))
	ne.PutUint16(b[4:], sockDiagByFamily)
	ne.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b[16], b[17], b[18] = family, unix.IPPROTO_TCP, 1<<(diagInfo-1)
	ne.PutUint32(b[20:], states)
	if len(ports) <= mostPorts {
		code := portFilter(ports)
		b = ne.AppendUint16(b, uint16(4+len(code)))
		b = ne.AppendUint16(b, diagBytecode)
		b = append(b, code...)
	}
	ne.PutUint32(b, uint32(len(b)))
	return b
}

// portFilter is a program for the kernel's walk: "is the local port one of these?".
// Its operations (struct inet_diag_bc_op) say how many bytes to go on if so, and if
// not; to arrive at the end means yes, 4 bytes behind it no. For each port there are
// two comparisons, whose second half is the port, and a jump to the end, which the
// last doesn't need.
func portFilter(ports []uint16) []byte {
	const jump, atLeast, atMost = 1, 2, 3
	ne := binary.NativeEndian
	op := func(b []byte, code, yes byte, no, port uint16) []byte {
		b = append(b, code, yes)
		b = ne.AppendUint16(b, no)
		if code == jump {
			return b
		}
		return ne.AppendUint16(append(b, 0, 0), port)
	}
	var b []byte
	for i, port := range ports {
		b = op(b, atLeast, 8, 20, port) // if not: to the next port's, or 4 bytes behind the end
		b = op(b, atMost, 8, 12, port)
		if rest := len(ports) - i - 1; rest > 0 {
			b = op(b, jump, 4, uint16(4+20*rest-4), 0)
		}
	}
	return b
}

// dump is what has been read of the kernel's answer.
type dump struct {
	found []connection
	done  bool
	torn  bool // something may be missing
}

// read takes one datagram of netlink messages.
func (d *dump) read(b []byte) error {
	const header = 16
	ne := binary.NativeEndian
	for len(b) > 0 {
		if len(b) < header {
			return errors.New("a message of the kernel is cut short")
		}
		size, kind, flags := int(ne.Uint32(b)), ne.Uint16(b[4:]), ne.Uint16(b[6:])
		if size < header || size > len(b) {
			return errors.New("a message of the kernel has a wrong length")
		}
		body := b[header:size]
		d.torn = d.torn || flags&unix.NLM_F_DUMP_INTR != 0
		switch kind {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			d.done = true
			if len(body) >= 4 {
				if errno := -int32(ne.Uint32(body)); errno > 0 {
					return unix.Errno(errno)
				}
			}
			return nil
		case sockDiagByFamily:
			if c, ok := readConnection(body); ok {
				d.found = append(d.found, c)
			}
		}
		b = b[min(len(b), align(size)):]
	}
	return nil
}

// readConnection reads struct inet_diag_msg and the attributes behind it. What an
// older kernel doesn't tell stays 0.
func readConnection(b []byte) (c connection, ok bool) {
	if len(b) < diagMessage {
		return c, false
	}
	ne := binary.NativeEndian
	c = connection{
		state: b[1], port: binary.BigEndian.Uint16(b[4:]), ends: [36]byte(b[4:40]), cookie: ne.Uint64(b[44:]),
		unread: ne.Uint32(b[56:]), unsent: ne.Uint32(b[60:]), inode: ne.Uint32(b[68:]),
	}
	for a := b[diagMessage:]; len(a) >= 4; {
		size := int(ne.Uint16(a))
		if size < 4 || size > len(a) {
			break
		}
		switch kind := ne.Uint16(a[2:]); {
		case kind == diagV6Only && size > 4:
			c.only = a[4] != 0
		case kind == diagInfo:
			var t unix.TCPInfo
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t)), a[4:size])
			c.lastSent, c.lastRecv, c.lastAck = t.Last_data_sent, t.Last_data_recv, t.Last_ack_recv
			c.sent, c.received, c.bare = t.Bytes_sent, t.Bytes_received, t.Segs_out-t.Data_segs_out
		}
		a = a[min(len(a), align(size)):]
	}
	return c, true
}

// align rounds up to where the next netlink message or attribute begins.
func align(n int) int { return (n + 3) &^ 3 }
