package keeper

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// room says what became of a send.
type room int

const (
	sent  room = iota // the kernel has it, or nobody will ever read it
	full              // the socket has no room now
	laden             // too many descriptors of this user are on their way (ETOOMANYREFS)
)

// pair makes the two ends of a link: close-on-exec and never waiting.
func pair() (near, far int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fds[0], fds[1], err
}

// post sends a packet with its descriptors, and never waits.
func post(fd int, packet []byte, files []int) room {
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	for {
		err := unix.Sendmsg(fd, packet, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
			return full
		case errors.Is(err, unix.ETOOMANYREFS):
			return laden
		default:
			return sent
		}
	}
}

// postMessage sends a message; a note too long for a packet it sends in a memfd.
func postMessage(fd int, m message) room {
	m, memory, err := m.shorten()
	if err != nil {
		return laden
	}
	if memory >= 0 {
		defer unix.Close(memory)
	}
	return post(fd, m.encode(), m.files)
}

// inbox is where packets are received; one for all of them.
type inbox struct {
	packet [maxPacket]byte
	rights [1 << 10]byte // CMSG_SPACE of 253 descriptors is 1,032 bytes; 250 fit
}

// errNone says that nothing is there to be received now; io.EOF ends a link.
var errNone = errors.New("no packet")

// packetError is about one packet; the link goes on.
type packetError struct{ error }

// receive takes one packet out of the socket. The message is valid until the next
// receive, its descriptors belong to the caller.
func (in *inbox) receive(fd int) (message, error) {
	n, rn, flags, err := in.take(fd)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return message{}, errNone
	case err != nil || n == 0:
		return message{}, io.EOF
	}
	files := parseRights(in.rights[:rn])
	cut := flags&unix.MSG_CTRUNC != 0
	if cut {
		closeAll(files)
		files = nil
	}
	m, err := decode(in.packet[:n], files, cut)
	switch {
	case flags&unix.MSG_TRUNC != 0:
		err = fmt.Errorf("cannot read message %.40q: longer than %d bytes", in.packet[:n], maxPacket)
	case err == nil && m.long:
		last := len(files) - 1
		m.note, err = readAll(files[last])
		unix.Close(files[last])
		m.files, m.long, files = files[:last], false, files[:last]
	}
	if err != nil {
		closeAll(files)
		return message{}, &packetError{err}
	}
	return m, nil
}

// take goes on after ECONNRESET: it says once that the other end was closed before it had
// read all, and comes before what that end has sent.
func (in *inbox) take(fd int) (n, rn, flags int, err error) {
	for {
		n, rn, flags, _, err = unix.Recvmsg(fd, in.packet[:], in.rights[:], unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNRESET) {
			return n, rn, flags, err
		}
	}
}

func parseRights(rights []byte) []int {
	if len(rights) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	var files []int
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			files = append(files, fds...)
		}
	}
	return files
}

// shorten puts a note that is too long for a packet into a memfd, which the caller
// closes after the send (-1: none).
func (m message) shorten() (message, int, error) {
	if len(m.note) <= maxNote {
		return m, -1, nil
	}
	fd, err := writeAll("gopm note", m.note)
	if err != nil {
		return m, -1, err
	}
	m.files = append(m.files[:len(m.files):len(m.files)], fd)
	m.note, m.long = nil, true
	return m, fd, nil
}

// writeAll makes a memfd with a text in it.
func writeAll(name string, text []byte) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot make a file in memory: %w", err)
	}
	for done := 0; done < len(text); {
		n, err := unix.Pwrite(fd, text[done:], int64(done))
		if err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("cannot write a file in memory: %w", err)
		}
		done += n
	}
	return fd, nil
}

// readAll reads a memfd from its beginning, whatever its offset.
func readAll(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("cannot read a file in memory: %w", err)
	}
	text := make([]byte, st.Size)
	for done := 0; done < len(text); {
		n, err := unix.Pread(fd, text[done:], int64(done))
		if err != nil || n == 0 {
			return nil, fmt.Errorf("cannot read a file in memory: %d of %d bytes: %v", done, len(text), err)
		}
		done += n
	}
	return text, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// ready says without waiting whether a descriptor is readable or writable, or over.
func ready(fd uintptr, events int16) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(poll, 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN)
}

// packetSocket refuses a descriptor that can't be a link.
func packetSocket(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return fmt.Errorf("cannot use descriptor %d as the link: not a packet socket", fd)
	}
	return nil
}

// asFile gives the runtime a socket to wait for.
func asFile(fd int, name string) (*os.File, error) {
	unix.CloseOnExec(fd) // an app that held it would hide a death
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("cannot set up the %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
