package logs

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// fullGrace is how long a full FIFO or terminal may keep a program waiting, since
// it last took something, before bytes are dropped instead.
const fullGrace = time.Second

// errFull: nobody takes the bytes out of a FIFO or terminal.
var errFull = errors.New("it is full and nobody reads it")

// sink is an open target, shared by all streams that write to that file. The
// pump's goroutine owns it.
type sink struct {
	opened
	target  Target // the latest stream's: one file has one limit
	streams int
	queue   bool   // of a buffered stream: when it is full, nobody waits
	off     int64  // where the next byte goes, in a regular file
	mid     bool   // the last byte written wasn't a newline (for what can't be read back)
	rest    []byte // goes in before anything else: the end of an interrupted line
	trouble trouble
	index   index

	rotations int
	rotated   time.Time // when last
	due       int64     // the size at which it is rotated because it is time to; 0 = it isn't
	retry     time.Time // it isn't opened again before
	looked    time.Time // when it was last seen at its path
	unlimited time.Time // until then it isn't rotated
}

// trouble is why a sink takes nothing at the moment.
type trouble struct {
	err       error
	full      time.Time // since when it is merely full
	said      time.Time // when the daemon's log was last told
	owing     bool      // it was told, and has not been told of the end
	unrotated time.Time // when it was last told that rotation fails
}

func newSink(o opened, t Target) *sink {
	k := &sink{opened: o, target: t, off: o.size, trouble: trouble{err: o.why}}
	if k.kind == kindFile {
		k.index.grown(k.id.ino, k.off, o.written)
	}
	return k
}

// spliced: bytes go there without passing our memory.
func (k *sink) spliced() bool {
	return k.kind == kindNull || k.kind == kindFile && !k.append
}

// owned: it has one writing pump.
func (k *sink) owned() bool { return k.kind == kindFile || k.kind == kindAbsent }

// limit is the size at which the file is rotated; none while that has just failed.
func (k *sink) limit(now time.Time) limit {
	if k.kind != kindFile || k.path == "" || now.Before(k.unlimited) {
		return 0
	}
	l := limit(k.target.Rotation.MaxSize)
	if k.due > 0 && (l <= 0 || k.due < int64(l)) {
		l = limit(k.due)
	}
	return l
}

// share switches to appending through our memory: there is a second writer, or splice isn't possible.
func (k *sink) share() {
	if k.append || k.kind != kindFile {
		return
	}
	k.append = true
	unix.FcntlInt(uintptr(k.fd), unix.F_SETFL, unix.O_APPEND)
}

// look compares the file with what we know of it; an error: it has to be opened again.
func (k *sink) look() error {
	switch k.kind {
	case kindAbsent:
		return k.why
	case kindFile:
	default:
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(k.fd, &st); err != nil {
		return err
	}
	if st.Nlink == 0 && k.path != "" {
		return errRemoved
	}
	if st.Size < k.off { // truncated by somebody: go on from there
		k.index.renewed(k.id.ino)
		k.due = 0
	}
	k.off = st.Size
	return nil
}

// midline says whether the file ends within a line.
func (k *sink) midline() bool {
	if k.kind != kindFile || !k.readable {
		return k.mid
	}
	if k.off == 0 {
		return false
	}
	var b [1]byte
	n, err := retryInt(func() (int, error) { return unix.Pread(k.fd, b[:], k.off-1) })
	return err == nil && n == 1 && b[0] != '\n'
}

// put writes at the end and says how much was taken.
func (k *sink) put(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := retryInt(func() (int, error) { return k.write(b[done:]) })
		if n > 0 {
			done += n
			k.off += int64(n)
			k.mid = b[done-1] != '\n'
		}
		if err != nil {
			return done, err
		}
		if n <= 0 {
			return done, unix.EIO
		}
	}
	return done, nil
}

func (k *sink) write(b []byte) (int, error) {
	switch {
	case k.spliced():
		return unix.Pwrite(k.fd, b, k.off)
	case k.kind == kindSpecial && k.shared: // O_NONBLOCK isn't ours to set
		n, err := unix.SendmsgN(k.fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.ENOTSOCK {
			return n, err
		}
		if !writable(k.fd) {
			return 0, unix.EAGAIN
		}
		return unix.Write(k.fd, b[:min(len(b), surePiece)])
	}
	return unix.Write(k.fd, b)
}

// surePiece is what a FIFO takes at once that takes anything (PIPE_BUF). A terminal may
// have less room, and keep us waiting for its reader.
const surePiece = 4096

// patient: its programs wait for as long as nobody reads it.
func (k *sink) patient() bool { return k.target.Patient && k.kind == kindSpecial && !k.queue }

// whyFull is why a sink that is full takes nothing.
func (k *sink) whyFull() error {
	if k.queue {
		return errBehind
	}
	return errFull
}

// writable says that a FIFO or terminal has room, or an error to tell. Small writes may
// fit into the last page of a full FIFO; that nobody reads it shows only here.
func writable(fd int) bool { return writableWithin(fd, 0) }

func writableWithin(fd int, d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := retryInt(func() (int, error) { return unix.Poll(fds, int(max(d, 0).Milliseconds())) })
	return err == nil && n == 1
}

// awaitReader gives who reads a full FIFO or terminal some time, for what is there is all
// that comes; none if nobody has been reading for long.
func (s *Stream) awaitReader(by time.Time) bool {
	now := s.pump.now()
	for i := range s.outs {
		k := s.outs[i].sink
		if k == nil || k.kind != kindSpecial || k.queue || writable(k.fd) {
			continue
		}
		if k.trouble.full.IsZero() {
			k.trouble.full = now
		}
		if by = earlier(by, k.trouble.full.Add(fullGrace)); !now.Before(by) || !writableWithin(k.fd, by.Sub(now)) {
			return false
		}
	}
	return now.Before(by)
}

// endLine has what the file ends with be a line of its own.
func (k *sink) endLine() {
	if len(k.rest) == 0 && k.midline() {
		k.rest = []byte{'\n'}
	}
}

// putRest writes what must precede everything else.
func (k *sink) putRest() error {
	if len(k.rest) == 0 {
		return nil
	}
	n, err := k.put(k.rest)
	k.rest = k.rest[n:]
	if len(k.rest) == 0 {
		k.rest = nil
	}
	return err
}

func (k *sink) close() {
	if k.fd >= 0 { // it is absent, or its queue goes on as a basin
		unix.Close(k.fd)
	}
	k.fd = -1
}
