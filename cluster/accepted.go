package cluster

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// portsOf says which of these sockets are TCP connections that have come to one of the
// wanted ports, and to which; 0: it is none. Those that are closed meanwhile are left
// out.
func portsOf(sockets map[uint32]holder, wanted []uint16) (map[uint32]uint16, error) {
	ports := make(map[uint32]uint16, len(sockets))
	for number, h := range sockets {
		fd, err := takeFD(h.pid, h.fd)
		switch {
		case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EBADF):
			continue
		case err != nil: // a container may forbid it
			return portsListed(sockets, wanted)
		}
		if uint32(inode(fd)) == number { // else the number is another socket's by now
			ports[number] = 0
			if port := cameTo(fd); slices.Contains(wanted, port) {
				ports[number] = port
			}
		}
		unix.Close(fd)
	}
	return ports, nil
}

// cameTo is the local port of a TCP connection; 0: it is none.
func cameTo(fd int) uint16 {
	protocol, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if protocol != unix.IPPROTO_TCP || listens != 0 {
		return 0
	}
	return boundPort(fd)
}

// portsListed asks the kernel for all connections.
func portsListed(sockets map[uint32]holder, wanted []uint16) (map[uint32]uint16, error) {
	all, err := connections(wanted)
	if err != nil {
		return nil, err
	}
	ports := make(map[uint32]uint16, len(sockets))
	for inode := range sockets {
		ports[inode] = 0
	}
	for _, c := range all {
		if _, is := sockets[c.inode]; is {
			ports[c.inode] = c.port
		}
	}
	return ports, nil
}
