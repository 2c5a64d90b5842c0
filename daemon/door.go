package daemon

import (
	"bytes"
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// The modes of the socket and of its folder keep other users out. The door doesn't rely
// on them, for a umask or a chmod can be wrong: it asks the kernel who has connected. And
// what those who may come in can have open at one time is bounded, so that a program that
// connects for ever doesn't take the daemon's memory, nor the other commands their turn.
const (
	maxWaiting = 500         // connections whose request isn't there yet: some 20 KB each
	maxServed  = 3000        // requests under way, the followers among them
	maxHeader  = 64 << 10    // bytes: the names of some thousand targets
	maxBody    = 64 << 20    // bytes: some ten thousand apps
	maxBodies  = 2 * maxBody // of all requests under way
	refusalLog = time.Minute // between two remarks on refused strangers
)

// door is the listener that lets in whom the daemon is for.
type door struct {
	*net.UnixListener
	owner  int // besides root
	tell   func(format string, args ...any)
	limits doorLimits
	bodies atomic.Int64 // bytes of requests under way

	mu      sync.Mutex // guards what follows
	waiting *list.List // of *guest, the one that waits longest in front
	served  int
	lasting int // of these, the ones that last

	refusals refusals
}

type doorLimits struct {
	waiting, served, lasting int
	body, bodies             int64
	headerTime               time.Duration // for the first line and the headers of a request
	bodyTime                 time.Duration // for the rest of it
	answerTime               time.Duration // for an answer to be taken
}

// refusals are those that the log wasn't told of; they are the accepting goroutine's.
type refusals struct {
	said time.Time
	more int
}

// guest is a connection.
type guest struct {
	net.Conn
	door  *door
	place *list.Element // while it waits; the door's lock guards it
	sent  bool          // away: its request, should it have come by now, isn't answered; the same
}

func newDoor(tell func(string, ...any)) *door {
	return &door{owner: os.Geteuid(), tell: tell, limits: limitsFor(openFilesLimit()), waiting: list.New()}
}

// limitsFor leaves most descriptors to what gopm runs.
func limitsFor(descriptors uint64) doorLimits {
	share := func(most, part int) int { return int(max(8, min(uint64(most), descriptors/uint64(part)))) }
	l := doorLimits{
		waiting: share(maxWaiting, 8), served: share(maxServed, 4), body: maxBody, bodies: maxBodies,
		headerTime: 5 * time.Second, bodyTime: 30 * time.Second, answerTime: time.Minute,
	}
	l.lasting = l.served * 4 / 5 // who only asks or orders something always finds room
	return l
}

func openFilesLimit() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	return limit.Cur
}

// at is the door at a socket.
func (o *door) at(l *net.UnixListener) *door {
	o.UnixListener = l
	return o
}

// Accept is for the server: it returns the next one that may come in.
func (o *door) Accept() (net.Conn, error) {
	for {
		conn, err := o.AcceptUnix()
		if err != nil {
			return nil, err
		}
		who, err := peerOf(conn)
		if err == nil && !o.admits(int(who.Uid)) {
			o.refuse(conn, who)
			continue
		}
		if err != nil {
			sendAway(conn, api.Errorf(api.KindForbidden, "refused: cannot see who asks: %v", err))
			continue
		}
		return o.seat(conn), nil
	}
}

func (o *door) admits(uid int) bool { return uid == 0 || uid == o.owner }

// whom is for people.
func (o *door) whom() string {
	if o.owner == 0 {
		return "root"
	}
	return fmt.Sprintf("uid %d and root", o.owner)
}

// peerOf is who connected, as the kernel saw it then.
func peerOf(conn *net.UnixConn) (who *unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if e := raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		return nil, e
	}
	return who, err
}

// refuse answers a stranger, and says so in the log: the first at once, others together.
func (o *door) refuse(conn net.Conn, who *unix.Ucred) {
	sendAway(conn, api.Errorf(api.KindForbidden, "refused: this gopm is for %s, and you are uid %d; set GOPM_HOME to a folder of your own", o.whom(), who.Uid))
	r, now := &o.refusals, time.Now()
	if now.Sub(r.said) < refusalLog {
		r.more++
		return
	}
	more := ""
	if r.more > 0 {
		more = fmt.Sprintf(" (and %d more before, since %s)", r.more, r.said.Format(time.TimeOnly))
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", who.Pid)) // it may have ended
	o.tell("refused: uid %d (pid %d, %s) has connected to the socket, which is for %s%s; look at the modes of %s",
		who.Uid, who.Pid, printable(strings.TrimSpace(string(name))), o.whom(), more, o.Addr())
	*r = refusals{said: now}
}

// sendAway answers a connection without having read its request. What it takes fits into
// the socket of somebody who has just connected.
func sendAway(conn net.Conn, why *api.Error) {
	_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	var body bytes.Buffer
	_ = json.NewEncoder(&body).Encode(why) // two strings
	status := why.Kind.Status()
	fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), body.Len(), body.Bytes())
	_ = conn.Close()
}

// seat has a connection wait for its request. When there are too many the one that has
// waited longest goes: a command says what it wants as soon as it has connected.
func (o *door) seat(conn net.Conn) *guest {
	g := &guest{Conn: conn, door: o}
	var oldest *guest
	o.mu.Lock()
	if o.waiting.Len() >= o.limits.waiting {
		oldest = o.waiting.Front().Value.(*guest)
		oldest.sent = true
		oldest.stand()
	}
	g.place = o.waiting.PushBack(g)
	o.mu.Unlock()
	if oldest != nil {
		sendAway(oldest.Conn, api.Errorf(api.KindAgain, "%d connections wait to say what they want (the limit), and this one has waited longest: ask again", o.limits.waiting))
	}
	return g
}

// stand ends the waiting, whatever has come of it. The door's lock is held.
func (g *guest) stand() {
	if g.place != nil {
		g.door.waiting.Remove(g.place)
		g.place = nil
	}
}

// Read says why nothing more is read from who says nothing.
func (g *guest) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	g.door.mu.Lock()
	waits := g.place != nil
	g.stand()
	g.door.mu.Unlock()
	if waits {
		sendAway(g.Conn, api.Errorf(api.KindInvalid, "the request did not come within %s", g.door.limits.headerTime))
	}
	return n, err
}

// Close is the server's, or that of who is sent away.
func (g *guest) Close() error {
	g.door.mu.Lock()
	g.stand()
	g.door.mu.Unlock()
	return g.Conn.Close()
}

type guestKey struct{}

// introduce lets a request's handlers see on which connection it came.
func introduce(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, guestKey{}, conn)
}

// guard is passed by every request once its headers are there.
func (o *door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, _ := r.Context().Value(guestKey{}).(*guest) // nil: a test's
		lasts := lasts(r)
		if err := o.enter(g, lasts); err != nil {
			fail(w, err)
			return
		}
		defer o.leave(lasts)
		control := http.NewResponseController(w)
		b := &boundedBody{ReadCloser: http.MaxBytesReader(w, r.Body, o.limits.body), door: o, until: control.SetReadDeadline}
		defer b.forget()
		r.Body = b
		if !lasts {
			w = &answer{w, o.limits.answerTime}
		}
		next.ServeHTTP(w, r)
	})
}

// enter counts a request that is about to be served.
func (o *door) enter(g *guest, lasts bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if g != nil {
		if g.sent {
			panic(http.ErrAbortHandler) // it was told that nothing has been done
		}
		g.stand()
	}
	switch {
	case lasts && o.lasting >= o.limits.lasting:
		return api.Errorf(api.KindBusy, "too many followers of this gopm: there are %d (the limit) already; end some of them", o.lasting)
	case o.served >= o.limits.served:
		return api.Errorf(api.KindBusy, "too many requests at one time: %d are under way (the limit); end some of the commands that wait", o.served)
	}
	o.served++
	if lasts {
		o.lasting++
	}
	return nil
}

func (o *door) leave(lasts bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.served--
	if lasts {
		o.lasting--
	}
}

// boundedBody is what a request brings. It has to come within a time, and all that are
// read at one time share a limit. One goroutine reads it.
type boundedBody struct {
	io.ReadCloser
	door  *door
	until func(time.Time) error
	taken int64
	begun bool
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		_ = b.until(time.Now().Add(b.door.limits.bodyTime)) // an error: a test's, which has none
	}
	n, err := b.ReadCloser.Read(p)
	b.taken += int64(n)
	limits := b.door.limits
	if b.door.bodies.Add(int64(n)) > limits.bodies && err == nil {
		err = api.Errorf(api.KindBusy, "the requests under way are larger than %d MB together (the limit): ask again when they have ended", limits.bodies>>20)
	}
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return n, nil
	case errors.As(err, &large):
		err = api.Errorf(api.KindInvalid, "the request is larger than %d MB (the limit)", limits.body>>20)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = api.Errorf(api.KindInvalid, "the request did not come whole within %s", limits.bodyTime)
	}
	_ = b.until(time.Time{})
	return n, err
}

// forget is for the end of the request.
func (b *boundedBody) forget() { b.door.bodies.Add(-b.taken) }

// answer is one that its reader has to take within a time, each part of it.
type answer struct {
	http.ResponseWriter
	limit time.Duration
}

func (a *answer) Write(b []byte) (int, error) {
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now().Add(a.limit)) // an error: a test's, which has none
	return a.ResponseWriter.Write(b)
}

// Unwrap leads http.ResponseController to what can flush.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// lasts says that an answer has no end of its own. Its reader may rest for as long as it
// likes, as a pager does, for nothing is queued for it.
func lasts(r *http.Request) bool {
	switch r.URL.Path {
	case api.PathWatch, api.PathRoll, api.PathRunning, api.PathLock:
		return true
	case api.PathLogs, api.PathEvents:
		return r.URL.Query().Get("follow") != ""
	}
	return false
}
