package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// Programs of any language can say how they are as they do it to systemd (sd_notify): by a
// datagram to the socket that NOTIFY_SOCKET names. It has an abstract name, for those that
// run as another user can't look into the home; so anybody can send to it, and what counts
// is the sender's number, which the kernel adds: it has to be an instance's main process or
// one below it. Descriptors that come with a message are closed by the kernel when it is
// taken out of the socket, which is what a sender of BARRIER=1 waits for.

// postbox is that socket, and what was said there.
type postbox struct {
	tell func(event)
	all  func() []*instance
	name string     // of the socket; "": it could not be made. Set before anything is supervised
	ear  sync.Mutex // guards fd, and is held while the socket is read
	fd   int        // -1: none
	mu   sync.Mutex // guards the rest, and the watchdogs of all instances
	// early are letters of processes that are nobody's yet: an instance's main process may
	// be faster than what tells us its number.
	early    []letter
	patience *time.Timer     // for these; nil: there are none
	refused  map[string]bool // of whom that was said
	dogs     map[*instance]*watchdog
	closed   bool
}

// letter is a message with its sender, and who is above that.
type letter struct {
	from []supervise.Run
	pid  int
	who  string // looked up when the sender is nobody's
	text string
	at   time.Time
}

// barrier is a message that wants nothing but its descriptor closed.
const barrier = "BARRIER=1"

const (
	maxLetter     = 4096            // as systemd's
	maxHeard      = 1024            // letters at a time: more than the kernel keeps waiting (net.unix.max_dgram_qlen)
	maxEarly      = 64              // letters of which the sender isn't known yet
	earlyPatience = 2 * time.Second // how long that may be so
	maxRefused    = 256             // programs of which is said that they were refused
)

// words are what a run says of itself.
type words struct {
	inc      uint64
	status   string
	stopping bool
	told     time.Time // when the status was written to the log
}

func newPostbox(d *Daemon) *postbox {
	return &postbox{
		tell: d.tell, all: d.everyone, fd: -1, name: notifyName(d.cfg.Home.Dir),
		refused: map[string]bool{}, dogs: map[*instance]*watchdog{},
	}
}

// notifyName is the socket's for a home, as long as that is there. The folder itself counts and not only its path:
// containers that share a network, as those of one pod do, share these names, and mostly have the same paths.
func notifyName(home string) string {
	const enough = 8
	folder := home
	var st unix.Stat_t
	if unix.Stat(home, &st) == nil {
		folder = fmt.Sprintf("%s %d %d", home, st.Dev, st.Ino)
	}
	sum := sha256.Sum256([]byte(folder))
	return "@gopm/" + hex.EncodeToString(sum[:enough]) + "/notify"
}

// adopt takes the socket of the daemon before, with its name, which may be that of an older release.
func (p *postbox) adopt(f *os.File) {
	fd, err := ownDescriptor(f)
	f.Close()
	if err != nil { // it is made anew, if nobody has the name
		return
	}
	p.fd = fd
	if at, err := unix.Getsockname(fd); err == nil {
		if local, is := at.(*unix.SockaddrUnix); is && local.Name != "" {
			p.name = local.Name
		}
	}
}

// open makes the socket if there is none. Where its name is taken gopm goes on without.
func (p *postbox) open(hold func(string, []byte, ...int)) {
	if p.fd >= 0 {
		return
	}
	fd, err := bindNotify(p.name)
	if err != nil {
		p.tell(daemonEvent("apps cannot tell gopm by sd_notify how they are, for its socket (%s) cannot be made: %v", p.name, err))
		p.name = ""
		return
	}
	p.fd = fd
	p.entrust(hold)
}

func bindNotify(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: name})
	}
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.EADDRINUSE):
		err = errors.New("another process has one of that name: ss -xlp shows which")
	}
	unix.Close(fd)
	return -1, err
}

// entrust gives the keeper the socket.
func (p *postbox) entrust(hold func(string, []byte, ...int)) {
	if p.fd >= 0 {
		hold(keyNotify, []byte("{}"), p.fd)
	}
}

// close has nothing more be done. What was said before is known to those whom it concerns.
func (p *postbox) close() {
	p.ear.Lock()
	defer p.ear.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, dog := range p.dogs {
		dog.timer.Stop()
	}
	if p.patience != nil {
		p.patience.Stop()
	}
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

// entries are for a program's environment. What its app says itself counts.
func (p *postbox) entries(spec ecosystem.App) (all []string) {
	if _, own := spec.Env.Vars["NOTIFY_SOCKET"]; p.name == "" || own {
		return nil
	}
	all = append(all, "NOTIFY_SOCKET="+p.name)
	if w := spec.Health.Watchdog; w > 0 {
		all = append(all, "WATCHDOG_USEC="+strconv.FormatInt(w.Microseconds(), 10))
	}
	return all
}

// hear reads all that waits, and no more: who writes without end holds up nobody.
func (p *postbox) hear() { p.hearSome(maxHeard) }

// hearSome reads so many letters at most. A letter is taken out of the socket after it was
// acted upon.
func (p *postbox) hearSome(most int) {
	p.ear.Lock()
	defer p.ear.Unlock()
	buf := make([]byte, maxLetter)
	control := make([]byte, unix.CmsgSpace(unix.SizeofUcred)) // no room for descriptors, so that none come
	for range most {
		if p.fd < 0 {
			return
		}
		n, oob, flags, _, err := unix.Recvmsg(p.fd, buf, control, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return
		}
		pid, text := senderOf(control[:oob]), string(buf[:n])
		switch {
		case text == barrier:
		case flags&unix.MSG_TRUNC != 0:
			p.tooLong(programOf(pid), pid)
		default:
			p.receive(letter{from: supervise.Ancestry(pid), pid: pid, text: text, at: time.Now()})
		}
		_, _, _ = unix.Recvfrom(p.fd, buf[:1], unix.MSG_DONTWAIT) // an error is seen next time
	}
}

// senderOf is the number that the kernel has added; 0: one that we can't see.
func senderOf(control []byte) int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for i := range messages {
		if cred, err := unix.ParseUnixCredentials(&messages[i]); err == nil {
			return int(cred.Pid)
		}
	}
	return 0
}

// programOf is what a process calls itself.
func programOf(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	switch {
	case pid == 0:
		return "a process outside of this container"
	case err != nil:
		return "a process that has ended"
	}
	return strings.TrimSpace(string(name))
}

// receive acts upon a letter, or keeps it until its sender is known.
func (p *postbox) receive(l letter) {
	if in, inc := p.sender(l); in != nil {
		if p.read(in, inc, l) {
			in.announce(inc)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	l.who = programOf(l.pid)
	if !mayBeOurs(l.from, os.Getpid(), os.Getppid()) {
		p.refuse(l)
		return
	}
	p.early = append(p.early, l)
	if len(p.early) > maxEarly {
		p.refuse(p.early[0])
		p.early = p.early[1:]
	}
	if p.patience == nil {
		p.patience = time.AfterFunc(earlyPatience, p.giveUp) // ended by itself; close stops it
	}
}

// mayBeOurs says that a process of which nothing is known yet can be one of an instance
// that is just being started: it is below the daemon, or below the keeper, as whose parent
// has ended. With the keeper as process 1, where such a line ends, all can be.
func mayBeOurs(from []supervise.Run, daemon, keeper int) bool {
	return keeper == 1 || slices.ContainsFunc(from, func(r supervise.Run) bool { return r.Pid == daemon || r.Pid == keeper })
}

// sender is the instance whose process has sent a letter, with the run; nil: there is none.
func (p *postbox) sender(l letter) (*instance, uint64) {
	all := p.all()
	for _, up := range l.from {
		for _, in := range all {
			if s := in.proc.Snapshot(); s.Pid == up.Pid && s.StartTime == up.StartTime {
				return in, s.Incarnation
			}
		}
	}
	return nil, 0
}

// follow is told by an instance's actor what has become of its process: who has written
// early may be known now.
func (p *postbox) follow(in *instance, s supervise.Snapshot) {
	p.mind(in, s)
	type known struct {
		in  *instance
		inc uint64
		l   letter
	}
	var found []known
	p.mu.Lock()
	p.early = slices.DeleteFunc(p.early, func(l letter) bool {
		from, inc := p.sender(l)
		if from != nil {
			found = append(found, known{from, inc, l})
		}
		return from != nil
	})
	p.mu.Unlock()
	for _, k := range found {
		if p.read(k.in, k.inc, k.l) {
			k.in.proc.Ready(k.inc)
		}
	}
}

// giveUp refuses the early letters of which nobody has become known in time.
func (p *postbox) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patience = nil
	if p.closed {
		return
	}
	p.early = slices.DeleteFunc(p.early, func(l letter) bool {
		late := time.Since(l.at) >= earlyPatience
		if late {
			p.refuse(l)
		}
		return late
	})
	if len(p.early) > 0 {
		p.patience = time.AfterFunc(earlyPatience-time.Since(p.early[0].at), p.giveUp)
	}
}

// refuse says once of each program that it was not believed, of some hundred at most.
func (p *postbox) refuse(l letter) {
	pid := 0
	if len(l.from) > 0 {
		pid = l.from[0].Pid
	}
	p.once(l.who, "%s (pid %d) has sent %q to the notify socket, and is somebody else: no process of an instance, nor below one; it is not believed", tame(l.who), pid, tame(firstLine(l.text)))
}

// tooLong says that a message was not read.
func (p *postbox) tooLong(who string, pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.once(who+" at length", "%s (pid %d) has sent more than %d bytes to the notify socket; it is not read", tame(who), pid, maxLetter)
}

// once tells something about a program that was not told yet.
func (p *postbox) once(key, format string, args ...any) {
	if p.refused[key] || len(p.refused) >= maxRefused {
		return
	}
	p.refused[key] = true
	p.tell(daemonEvent(format, args...))
}

// read does what a letter of a run says, but for what it returns: whether the run is ready.
func (p *postbox) read(in *instance, inc uint64, l letter) (ready bool) {
	for entry := range strings.Lines(l.text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(entry, "\n"), "=")
		switch {
		case name == "READY" && value == "1":
			a := in.version.Load()
			ready = a != nil && a.spec.Ready.By == ecosystem.ReadyMessage
		case name == "STATUS":
			p.note(in, inc, func(w *words) { w.status = tame(value) })
		case name == "STOPPING" && value == "1":
			p.note(in, inc, func(w *words) { w.stopping = true })
		case name == "WATCHDOG":
			p.pet(in, inc, value)
		}
	}
	return ready
}

// note changes what a run has said of itself.
func (p *postbox) note(in *instance, inc uint64, change func(*words)) {
	now := words{inc: inc}
	if was := in.words.Load(); was != nil && was.inc == inc {
		now = *was
	}
	was := now
	change(&now)
	const often = time.Second
	switch {
	case now.stopping && !was.stopping:
		p.tell(in.event(api.EventSays, "says that it is stopping"))
	case now.status != was.status && time.Since(was.told) >= often: // one that changes all the time is in info only
		now.told = time.Now()
		p.tell(in.event(api.EventSays, "says: %s", now.status))
	}
	in.words.Store(&now)
}

// saying is what the present run says of itself, for people.
func (in *instance) saying() string {
	w, s := in.words.Load(), in.proc.Snapshot()
	if w == nil || w.inc != s.Incarnation || s.Pid == 0 {
		return ""
	}
	text := w.status
	if w.stopping {
		text = strings.TrimPrefix(text+"; it is stopping", "; ")
	}
	return text
}

// tame makes a text of a program harmless: of one line, not too long, and printable.
func tame(text string) string {
	const most = 200
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(text, "?") {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if !strconv.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
