package keeper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// daemon is the one that runs now.
type daemon struct {
	pid     int
	ours    bool // our child; else gone tells its end
	started time.Time
	conn    *conn         // nil: it gave up its link
	gone    chan struct{} // closed at the end of a daemon that is not our child
	watch   *os.File      // its pidfd, for the same
	ready   bool          // it has served
	leaving bool          // it has said that it ends on purpose
}

// start runs a daemon and gives it everything. What fits into the socket is there
// before the daemon is.
func (k *keeper) start(binary string) error {
	k.followLog()
	near, far, err := pair()
	if err != nil {
		return fmt.Errorf("no link to it: %w", err)
	}
	defer unix.Close(far)
	conn, err := newConn(near)
	if err != nil {
		unix.Close(near)
		return err
	}
	room := tableRoom(k.store.files())
	conn.send(k.welcome(room))
	for _, e := range k.store.list {
		conn.send(message{verb: verbEntry, key: e.key, main: e.main, note: e.note, files: e.files})
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		conn.close()
		return err
	}
	defer null.Close()
	handshake := null
	if k.opts.Handshake != nil {
		handshake = k.opts.Handshake
	}
	files := withRoom([]uintptr{0, 1, 2, handshake.Fd(), uintptr(far)}, room)
	attr := &syscall.ProcAttr{Env: k.opts.Environ, Files: files}
	if k.opts.Foreground != nil { // a terminal's Ctrl-C comes to us, and it gets that once
		attr.Sys = &syscall.SysProcAttr{Setpgid: true}
	}
	var pid int
	withoutMask(func() { pid, err = syscall.ForkExec(binary, k.opts.Daemon, attr) })
	if err != nil {
		conn.close()
		return fmt.Errorf("%s: %w", binary, err)
	}
	k.daemon = &daemon{pid: pid, ours: true, started: time.Now(), conn: conn}
	return nil
}

func (k *keeper) welcome(room int) message {
	g := greeting{before: k.before.how, elsewhere: k.before.elsewhere, refused: k.update.refused, room: room, leases: true}
	return message{verb: verbWelcome, number: int64(len(k.store.list)), note: g.encode()}
}

// guestDaemon is one that ran before this keeper: not its child. Without a pidfd (-1)
// it has ended already.
func guestDaemon(pid, link, watch int) (*daemon, error) {
	d := &daemon{pid: pid, started: time.Now(), gone: make(chan struct{})}
	var err error
	if d.conn, err = newConn(link); err != nil {
		return nil, err
	}
	if watch < 0 {
		close(d.gone)
		return d, nil
	}
	if d.watch, err = asFile(watch, "daemon's end"); err != nil {
		return nil, err
	}
	raw, err := d.watch.SyscallConn()
	if err != nil {
		return nil, err
	}
	go func() { // ended by the daemon's end, or by close of its pidfd; nobody has to wait
		if raw.Read(func(fd uintptr) bool { return ready(fd, unix.POLLIN) }) == nil {
			close(d.gone)
		}
	}()
	return d, nil
}

// signal can't hit another: a child is not reaped yet, of others we hold a pidfd.
func (d *daemon) signal(sig unix.Signal) error {
	switch {
	case d.ours:
		return unix.Kill(d.pid, sig)
	case d.watch == nil:
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(int(d.watch.Fd()), sig, nil, 0)
}

// close lets go of a daemon, which may live on.
func (d *daemon) close() {
	d.hangUp()
	if d.watch != nil {
		d.watch.Close()
		d.watch = nil
	}
}

func (d *daemon) hangUp() {
	if d.conn != nil {
		d.conn.close()
		d.conn = nil
	}
}

// hear takes in all that the daemon has said.
func (k *keeper) hear() {
	d := k.daemon
	for d.conn != nil {
		m, err := d.conn.in.receive(d.conn.fd)
		switch {
		case errors.Is(err, errNone):
			return
		case errors.Is(err, io.EOF):
			d.hangUp() // what counts is the daemon's end
		case err != nil:
			k.logf("%v", err)
		default:
			k.obey(d, m)
		}
	}
}

// obey does what the daemon says.
func (k *keeper) obey(d *daemon, m message) {
	if len(d.conn.queue) > 0 && d.conn.queue[len(d.conn.queue)-1].verb == verbEntry {
		// What it changes now may be what is just being given to it. No daemon of ours does that.
		closeAll(m.files)
		k.logf("the daemon (pid %d) spoke before it was told everything: killing it", d.pid)
		_ = d.signal(unix.SIGKILL)
		return
	}
	switch m.verb {
	case verbPut:
		k.put(m)
	case verbDrop:
		k.store.drop(m.key)
		k.forgetLease(m.key)
		k.zombies.stale = true
	case verbReady:
		k.served(d)
	case verbCollect:
		d.conn.send(message{verb: verbCollected, main: m.main, number: collect(m.main.Pid)})
	case verbDeadline:
		k.extend(m)
	case verbUntil:
		k.deadMan.grant(m)
		k.alert(m.key)
	case verbHandOver:
		k.handOver(m.files[0])
	case verbLeaving:
		d.leaving = true
	default:
		closeAll(m.files)
		k.logf("the daemon (pid %d) says %q, which is the keeper's to say", d.pid, m.verb)
	}
}

// put keeps what fits: a daemon that gets no descriptors back looks for the pipes in
// /proc, but without a few spare ones no daemon can be started at all.
func (k *keeper) put(m message) {
	if m.cut || !spare(m.files) {
		closeAll(m.files)
		m.files, m.cut = nil, true
		k.logf("cannot keep the descriptors of %s: too many are open; raise the limit (ulimit -Hn)", m.key)
	}
	e := k.store.byKey[m.key]
	another := e == nil || e.main != m.main
	k.store.put(m.key, m.main, m.note, m.files, m.cut)
	if _, leased := k.deadMan.leases[m.key]; leased && another {
		k.deadMan.late(m.key)
		k.alert(m.key)
	}
	k.zombies.stale = true
}

// served: from now on this daemon counts as alive, and strangers are reaped.
func (k *keeper) served(d *daemon) {
	if d.ready {
		return
	}
	d.ready = true
	if k.before.how != "" {
		k.logf("the daemon (pid %d) serves", d.pid)
	}
	k.update.refused = ""
	for _, sig := range k.missed.other {
		_ = d.signal(sig) // an error means that it has ended
	}
	k.missed.other = nil
	if k.missed.end != 0 {
		k.stop(k.missed.end)
	}
	k.zombies = zombies{held: true, stale: true}
	k.accepted()
}

// revive starts a daemon, and takes it as an ending if that fails.
func (k *keeper) revive() {
	k.next = time.Time{}
	binary := k.binary
	if k.update.trying {
		binary = k.update.path()
		k.update.limit = time.Now().Add(k.trial)
	}
	if err := k.start(binary); err != nil {
		k.decide(ending{how: "could not be started: " + err.Error(), code: 1, ours: true})
	}
}

// bury closes the books of a daemon that has ended.
func (k *keeper) bury(status unix.WaitStatus) {
	k.hear() // all it ever said is in the socket
	e := ending{how: describe(status), clean: status.Exited() && status.ExitStatus() == 0}
	e.code = exitCode(status, k.daemon.leaving)
	k.settle(e)
}

// buryGuest is for one whose exit code only its parent was told. It did serve, though
// we may not have been told yet.
func (k *keeper) buryGuest() {
	k.hear()
	e := ending{how: "ended (this keeper is not its parent: how is not known)", clean: k.daemon.leaving || !k.update.late}
	if !k.daemon.leaving {
		e.code = 1
	}
	k.settle(e)
}

func (k *keeper) settle(e ending) {
	d := k.daemon
	k.daemon = nil
	d.close()
	e.lived, e.ready, e.leaving, e.ours = time.Since(d.started), d.ready || !d.ours, d.leaving, d.ours
	k.decide(e)
}

// decide what comes after a daemon.
func (k *keeper) decide(e ending) {
	e.estate = len(k.store.list) > 0 || k.before.how != ""
	if k.update.binary >= 0 {
		k.afterTurn(e)
		return
	}
	k.before = k.before.next(e)
	v, wait := k.reviver.judge(e)
	switch v {
	case follow:
		if !e.leaving || e.code != 0 && k.opts.Foreground == nil {
			k.logf("the daemon %s", e.how)
		}
		k.end(e.code)
	case again:
		k.logf("the daemon %s%s; starting it again", e.how, e.after())
		k.next = time.Now().Add(wait)
	case giveUp:
		k.resign(e, wait)
	}
}

// resign leaves everything as it is for long, except that clients are refused at once
// instead of waiting for a daemon that doesn't come.
func (k *keeper) resign(e ending, wait time.Duration) {
	if len(k.store.list) == 0 {
		k.logf("the daemon %s, the %dth in a row that did not live for %s; it has left nothing to keep", e.how, maxRow, atOnce)
		k.end(e.code)
		return
	}
	if k.opts.Foreground != nil { // whoever runs us can do better
		k.logf("the daemon %s, the %dth in a row that did not live for %s: ending", e.how, maxRow, atOnce)
		k.end(max(e.code, 1))
		return
	}
	k.logf("the daemon %s, the %dth in a row that did not live for %s: giving up for %v. Apps go on without it; the lines above may say why. gopm start, or kill -USR1 %d, tries again at once",
		e.how, k.reviver.row, atOnce, wait, os.Getpid())
	k.store.drop(apiKey)
	k.next = time.Now().Add(wait)
	if k.missed.end != 0 {
		k.end(1)
	}
}

// apiKey is the one key with a meaning for the keeper: the socket that clients
// connect to.
const apiKey = "api"
