package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
)

// Besides signals gopm talks with programs over node's channel (channel.go), a pipe to
// their standard input (stdin.go) and the socket of sd_notify (notify.go). One goroutine
// listens to all of them, with an epoll of its own: a channel that is silent takes two
// descriptors and no goroutine. The keeper has gopm's ends, too, so that no program
// notices the death of a daemon; and what a program has said is taken out of its socket
// only when it has been acted upon, so that the next daemon hears it again.

// switchboard has gopm's ends of all of that.
type switchboard struct {
	news  func(event)
	hold  func(key string, note []byte, fds ...int)
	poll  *os.File      // an epoll
	done  chan struct{} // closed when the goroutine has ended; nil: it hasn't begun
	mail  *postbox      // of sd_notify
	pause pause         // of the mail
	left  map[lifeID]keeper.Entry
	mu    sync.Mutex // guards the rest
	last  uint64
	lines map[uint64]*line
}

// line is what is talked with one run by.
type line struct {
	in     *instance
	inc    uint64
	number uint64     // of the event; 0: there is none
	mu     sync.Mutex // guards the descriptors: once closed, their numbers may be another's
	// -1: none
	channel, stdin int
	skips, told    bool // the listener's: the rest of a message is passed over; that was said
	pause          pause
}

// speech is what an instance and gopm talk by, and what was said.
type speech struct {
	line  atomic.Pointer[line]  // of the present run; nil: none. Set by its actor
	words atomic.Pointer[words] // of the present run or one before it
}

// lineNote is what the keeper has of a line, with the descriptors in this order.
type lineNote struct {
	Inc     uint64 `json:"inc"`
	Channel bool   `json:"channel,omitempty"`
	Stdin   bool   `json:"stdin,omitempty"`
}

// mailNumber is the number of events of the socket of sd_notify; lines have higher ones.
const mailNumber = 1

func newSwitchboard(d *Daemon) (*switchboard, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	_ = unix.SetNonblock(fd, true) // Go's netpoller waits for it, and no thread
	b := &switchboard{news: d.tell, hold: d.trust.hold, poll: os.NewFile(uintptr(fd), "epoll"), last: mailNumber, lines: map[uint64]*line{}}
	b.mail = newPostbox(d)
	return b, nil
}

// inherit takes what the daemon before has left, for resume and begin.
func (b *switchboard) inherit(lines map[lifeID]keeper.Entry, mail *os.File) {
	b.left = lines
	if mail != nil {
		b.mail.adopt(mail)
	}
	b.mail.open(b.hold)
}

// begin starts to listen, once every instance that is to be found is there. Lines that
// were resumed for none are let go.
func (b *switchboard) begin() {
	for id, e := range b.left {
		for _, f := range e.Files {
			f.Close()
		}
		b.hold(id.under(keyLine), nil)
	}
	b.left = nil
	if b.mail.fd >= 0 {
		_ = b.control(unix.EPOLL_CTL_ADD, b.mail.fd, unix.EPOLLIN, mailNumber) // an error: nobody is heard, and apps that need it are not ready
	}
	conn, err := b.poll.SyscallConn()
	if err != nil {
		return // it is closed
	}
	b.done = make(chan struct{})
	go func() { // ended by close, which waits for done
		defer close(b.done)
		b.listen(conn.Read)
	}()
}

// close ends the listening. The descriptors stay: the next daemon has them, or the runs
// have ended before.
func (b *switchboard) close() {
	b.poll.Close()
	if b.done != nil {
		<-b.done
	}
	b.pause.end()
	b.mail.close()
}

func (b *switchboard) control(op, fd int, events uint32, number uint64) error {
	conn, err := b.poll.SyscallConn()
	if err != nil {
		return err
	}
	ev := unix.EpollEvent{Events: events, Fd: int32(number), Pad: int32(number >> 32)}
	if e := conn.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), op, fd, &ev) }); e != nil {
		return e
	}
	return err
}

// listen runs until the epoll is closed. Of each channel that has something to say one
// part is heard at a time, so that a talkative program doesn't keep the others waiting.
func (b *switchboard) listen(read func(func(fd uintptr) bool) error) {
	events := make([]unix.EpollEvent, 32)
	var buf []byte
	var busy []*line
	for {
		n := 0
		err := read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0 || len(busy) > 0
		})
		if err != nil {
			return
		}
		for _, ev := range events[:max(n, 0)] {
			switch number := uint64(uint32(ev.Pad))<<32 | uint64(uint32(ev.Fd)); {
			case number == mailNumber:
				b.hearMail()
			default:
				if ln := b.find(number); ln != nil {
					busy = append(busy, ln)
				}
			}
		}
		if len(busy) > 0 && buf == nil {
			buf = make([]byte, maxMessage)
		}
		var still []*line
		for _, ln := range busy {
			if b.heedAtPace(ln, buf) {
				still = append(still, ln)
			}
		}
		busy = still
	}
}

func (b *switchboard) find(number uint64) *line {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines[number]
}

// connect gives a run that is about to be spawned its ends of what it talks with gopm by.
func (b *switchboard) connect(in *instance, inc uint64, l *supervise.Launch) error {
	b.hangUp(in) // of the run before
	a := in.version.Load()
	if a == nil {
		return nil
	}
	l.Env = append(l.Env, b.mail.entries(a.spec)...)
	ln := &line{in: in, inc: inc, channel: -1, stdin: -1}
	var err error
	if a.node {
		err = ln.openChannel(l)
	}
	if err == nil && a.spec.Talk.Stdin {
		err = ln.openStdin(l)
	}
	if err != nil {
		ln.close()
		closeLaunch(l)
		return err
	}
	if ln.channel >= 0 || ln.stdin >= 0 {
		b.register(ln)
		b.tell(ln)
	}
	return nil
}

// lines is how many descriptors that takes of an instance.
func (a *app) lines() (n int) {
	if a.node {
		n++
	}
	if a.spec.Talk.Stdin {
		n++
	}
	return n
}

// entries are what a program's environment says of that.
func (b *switchboard) entries(a *app) []string {
	all := b.mail.entries(a.spec)
	if a.node {
		all = withChannel(all, len(a.spec.Cluster.Listen))
	}
	return all
}

func closeLaunch(l *supervise.Launch) {
	for _, f := range append([]*os.File{l.In, l.Out, l.Err}, l.Inherit...) {
		if f != nil {
			f.Close()
		}
	}
}

// register has a line be the present one of its instance, and listened to.
func (b *switchboard) register(ln *line) {
	b.mu.Lock()
	b.last++
	ln.number = b.last
	b.lines[ln.number] = ln
	b.mu.Unlock()
	ln.in.line.Store(ln)
	if ln.channel >= 0 {
		// On its edge: half a message stays in the socket, and is no reason to look again.
		if err := b.control(unix.EPOLL_CTL_ADD, ln.channel, unix.EPOLLIN|unix.EPOLLET, ln.number); err != nil {
			b.news(ln.in.event(api.EventDaemon, "cannot listen to its messages: %v", err))
		}
	}
}

// tell gives the keeper a line.
func (b *switchboard) tell(ln *line) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	note := lineNote{Inc: ln.inc, Channel: ln.channel >= 0, Stdin: ln.stdin >= 0}
	var fds []int
	for _, fd := range []int{ln.channel, ln.stdin} {
		if fd >= 0 {
			fds = append(fds, fd)
		}
	}
	if len(fds) > 0 {
		b.hold(ln.in.lifeID().under(keyLine), encode(note), fds...)
	}
}

// retell gives everything to a new keeper.
func (b *switchboard) retell() {
	b.mu.Lock()
	var all []*line
	for _, ln := range b.lines {
		all = append(all, ln)
	}
	b.mu.Unlock()
	for _, ln := range all {
		b.tell(ln)
	}
	b.mail.entrust(b.hold)
}

// follow is told by an instance's actor what has become of its process.
func (b *switchboard) follow(in *instance, s supervise.Snapshot) {
	if ln := in.line.Load(); ln != nil && ln.isOver(s) {
		b.hangUp(in)
	}
	b.mail.follow(in, s)
}

// isOver says whether the line's run has ended.
func (ln *line) isOver(s supervise.Snapshot) bool {
	return s.Incarnation != ln.inc || s.Pid == 0 && s.Status != supervise.StatusLaunching
}

// forget is for an instance that is gone.
func (b *switchboard) forget(in *instance) {
	b.hangUp(in)
	b.mail.forget(in)
}

// hangUp lets go of an instance's line. It is called by its actor, or after that has ended.
func (b *switchboard) hangUp(in *instance) {
	ln := in.line.Swap(nil)
	if ln == nil {
		return
	}
	b.mu.Lock()
	delete(b.lines, ln.number)
	b.mu.Unlock()
	b.hold(in.lifeID().under(keyLine), nil)
	b.ignore(ln) // the keeper has it still for a moment, so that closing it doesn't do that
	ln.close()
}

// ignore has a channel not be listened to any more.
func (b *switchboard) ignore(ln *line) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.channel >= 0 {
		_ = b.control(unix.EPOLL_CTL_DEL, ln.channel, 0, 0) // an error: it isn't
	}
}

// close closes the descriptors.
func (ln *line) close() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.pause.end()
	for _, fd := range []*int{&ln.channel, &ln.stdin} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// resume gives an instance the line that its process has had under the daemon before.
func (b *switchboard) resume(in *instance) {
	e, is := b.left[in.lifeID()]
	s := in.proc.Snapshot()
	var note lineNote
	ln := &line{in: in, channel: -1, stdin: -1}
	if is && json.Unmarshal(e.Note, &note) == nil {
		ln.inc = note.Inc
	}
	if is && !ln.isOver(s) {
		if err := ln.take(e, note); err != nil {
			b.news(in.event(api.EventDaemon, "cannot go on talking with it: %v", err))
			ln.close()
		} else {
			delete(b.left, in.lifeID())
			b.register(ln)
		}
	}
	b.mail.follow(in, s)
}

// take makes the line's descriptors of those that were kept.
func (ln *line) take(e keeper.Entry, note lineNote) error {
	files := e.Files
	for _, part := range []struct {
		is bool
		fd *int
	}{{note.Channel, &ln.channel}, {note.Stdin, &ln.stdin}} {
		if !part.is {
			continue
		}
		if len(files) == 0 {
			return fmt.Errorf("it came with %d descriptors", len(e.Files))
		}
		fd, err := ownDescriptor(files[0])
		if err != nil {
			return err
		}
		*part.fd, files = fd, files[1:]
	}
	for _, f := range e.Files {
		f.Close()
	}
	return nil
}

// ownDescriptor is a duplicate that no os.File has, for that would be waited for by Go's
// netpoller.
func ownDescriptor(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }); e != nil {
		return -1, e
	}
	if err == nil {
		_ = unix.SetNonblock(fd, true)
	}
	return fd, err
}
