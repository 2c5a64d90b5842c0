package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/tools/stranger"
)

// doorDeadline is more than anything here may take.
const doorDeadline = 20 * time.Second

// doorway is a door with a server behind it.
type doorway struct {
	*testing.T
	door *door
	path string

	mu   sync.Mutex
	said []string
}

// newDoorway serves a handler behind a door that everybody can reach, as with modes that are wrong.
func newDoorway(t *testing.T, limits func(*doorLimits), handle http.HandlerFunc) *doorway {
	t.Helper()
	dir, err := os.MkdirTemp("", "d") // t.TempDir is in a folder that others can't enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	e := &doorway{T: t, path: filepath.Join(dir, "sock")}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: e.path, Net: "unix"})
	for _, err := range []error{err, os.Chmod(dir, 0o777), os.Chmod(e.path, 0o777)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	e.door = newDoor(e.say)
	if limits != nil {
		limits(&e.door.limits)
	}
	srv := &http.Server{Handler: e.door.guard(handle), ReadHeaderTimeout: e.door.limits.headerTime, MaxHeaderBytes: maxHeader, ConnContext: introduce}
	srv.SetKeepAlivesEnabled(false)
	ended := make(chan struct{})
	go func() { srv.Serve(e.door.at(l)); close(ended) }()
	t.Cleanup(func() { srv.Close(); <-ended })
	return e
}

func (e *doorway) say(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, fmt.Sprintf(format, args...))
}

func (e *doorway) lines() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.said...)
}

func (e *doorway) connect() net.Conn {
	e.Helper()
	conn, err := net.Dial("unix", e.path)
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(doorDeadline))
	return conn
}

// answered is the status and the error of what comes on a connection.
func (e *doorway) answered(conn net.Conn) (int, api.Error) {
	e.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		e.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	var answer api.Error
	text, err := io.ReadAll(resp.Body)
	if err != nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge { // net/http's own, which ends with the connection
		e.Fatalf("half an answer: %q, %v", text, err)
	}
	_ = json.Unmarshal(text, &answer) // what is no error has none
	return resp.StatusCode, answer
}

// ask sends a request and returns the answer.
func (e *doorway) ask(request string) (int, api.Error) {
	e.Helper()
	conn := e.connect()
	_, _ = io.WriteString(conn, request) // who refuses doesn't read all of it
	return e.answered(conn)
}

const plainly = "GET /x HTTP/1.1\r\nHost: gopm\r\n\r\n"

// eventually waits for a fact.
func (e *doorway) eventually(what string, is func() bool) {
	e.Helper()
	for end := time.Now().Add(doorDeadline); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			e.Fatalf("never: %s", what)
		}
	}
}

func (e *doorway) isServing(n int) func() bool {
	return func() bool {
		e.door.mu.Lock()
		defer e.door.mu.Unlock()
		return e.door.served == n
	}
}

// Others are refused though the socket's mode and its folder's let them through; they are
// told why, and the log is told once who it was.
func TestDoorRefusesStrangers(t *testing.T) {
	t.Parallel()
	e := newDoorway(t, nil, func(http.ResponseWriter, *http.Request) {})
	const uid, tries = 54321, 20
	for range tries {
		var conn net.Conn
		err := stranger.Do(uid, func() (err error) { conn, err = net.Dial("unix", e.path); return err })
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(doorDeadline))
		_, _ = io.WriteString(conn, plainly)
		status, answer := e.answered(conn)
		if status != 403 || answer.Kind != api.KindForbidden || !strings.Contains(answer.Message, "you are uid 54321") {
			t.Fatalf("status %d, %+v", status, answer)
		}
	}
	if status, _ := e.ask(plainly); status != 200 {
		t.Errorf("we ourselves: status %d", status)
	}
	said := e.lines()
	if len(said) != 1 || !strings.Contains(said[0], fmt.Sprintf("refused: uid %d (pid %d, ", uid, os.Getpid())) {
		t.Errorf("the log was told %q", said)
	}
	if e.door.refusals.more != tries-1 {
		t.Errorf("%d refusals are still to be told", e.door.refusals.more)
	}
}

// Root may ask everybody's daemon, and a user his own.
func TestDoorAdmitsItsUserAndRoot(t *testing.T) {
	t.Parallel()
	o := &door{owner: 1000}
	for uid, want := range map[int]bool{0: true, 1000: true, 1001: false, 65534: false} {
		if o.admits(uid) != want {
			t.Errorf("uid %d: admitted %v", uid, !want)
		}
	}
}

// Connections that say nothing go when there are too many of them, the oldest first, and
// are told to come again; who asks something is served all the while.
func TestDoorSendsTheOldestAway(t *testing.T) {
	t.Parallel()
	e := newDoorway(t, func(l *doorLimits) { l.waiting = 4 }, func(http.ResponseWriter, *http.Request) {})
	var idle []net.Conn
	for range 40 {
		idle = append(idle, e.connect())
		if status, answer := e.ask(plainly); status != 200 {
			t.Fatalf("status %d, %+v", status, answer)
		}
	}
	if status, answer := e.answered(idle[0]); status != 503 || answer.Kind != api.KindAgain {
		t.Errorf("the oldest: status %d, %+v", status, answer)
	}
	last := idle[len(idle)-1]
	_, _ = io.WriteString(last, plainly)
	if status, _ := e.answered(last); status != 200 {
		t.Errorf("the newest: status %d", status)
	}
}

// Who was told that nothing was done must not be served after all.
func TestDoorServesNobodyItSentAway(t *testing.T) {
	t.Parallel()
	o := newDoor(t.Logf)
	o.limits.waiting = 1
	near, far := net.Pipe()
	defer far.Close()
	go io.Copy(io.Discard, far)
	g := o.seat(near)
	o.seat(near) // g goes
	defer func() {
		if what := recover(); what != http.ErrAbortHandler {
			t.Errorf("recovered %v", what)
		}
	}()
	err := o.enter(g, false)
	t.Errorf("it came in: %v", err)
}

func TestDoorBoundsWhatIsServed(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hold := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x" {
			<-release
		}
	}
	e := newDoorway(t, func(l *doorLimits) { l.served, l.lasting = 5, 4 }, hold)
	follow := "GET " + api.PathLogs + "?follow=1 HTTP/1.1\r\nHost: gopm\r\n\r\n"
	var held []net.Conn
	for i := range 4 {
		conn := e.connect()
		held = append(held, conn)
		_, _ = io.WriteString(conn, follow)
		e.eventually("it is served", e.isServing(i+1))
	}
	if status, answer := e.ask(follow); status != 503 || answer.Kind != api.KindBusy || !strings.Contains(answer.Message, "followers") {
		t.Errorf("one follower too many: status %d, %+v", status, answer)
	}
	if status, _ := e.ask(plainly); status != 200 {
		t.Errorf("who only asks: status %d", status)
	}
	conn := e.connect()
	held = append(held, conn)
	_, _ = io.WriteString(conn, "GET /waits HTTP/1.1\r\nHost: gopm\r\n\r\n")
	e.eventually("it is served", e.isServing(5))
	if status, answer := e.ask(plainly); status != 503 || answer.Kind != api.KindBusy || !strings.Contains(answer.Message, "5 are under way") {
		t.Errorf("one request too many: status %d, %+v", status, answer)
	}
	close(release)
	for _, conn := range held {
		if status, _ := e.answered(conn); status != 200 {
			t.Errorf("one that was served: status %d", status)
		}
	}
	e.eventually("nothing is served", e.isServing(0))
	if status, _ := e.ask(plainly); status != 200 {
		t.Errorf("afterwards: status %d", status)
	}
}

// A request that is too large, or doesn't come, gets an answer that says so.
func TestDoorBoundsRequests(t *testing.T) {
	t.Parallel()
	take := posted(func(_ context.Context, in api.Scale) (int, error) { return in.Count, nil })
	e := newDoorway(t, func(l *doorLimits) {
		l.body, l.bodies = 1<<20, 3<<20
		l.headerTime, l.bodyTime = 2*time.Second, 5*time.Second
	}, func(w http.ResponseWriter, r *http.Request) { route{handle: take}.ServeHTTP(w, r) })
	post := func(size int, body string) string {
		return fmt.Sprintf("POST /x HTTP/1.1\r\nHost: gopm\r\nContent-Length: %d\r\n\r\n%s", size, body)
	}
	long := `{"name":"` + strings.Repeat("x", 1<<20) + `"}`
	for what, c := range map[string]struct{ request, says string }{
		"too large":         {post(len(long), long), "larger than 1 MB"},
		"half a body":       {post(1000, `{"name":`), "did not come whole within 5s"},
		"half a header":     {"GET /x HTTP/1.1\r\nHo", "did not come within 2s"},
		"nothing":           {"", "did not come within 2s"},
		"no JSON":           {post(3, "x y"), "cannot read the request"},
		"too long a header": {"GET /x?" + strings.Repeat("x", 2*maxHeader) + " HTTP/1.1\r\nHost: gopm\r\n\r\n", ""},
	} {
		status, answer := e.ask(c.request)
		if c.says == "" && status != 431 || c.says != "" && (status != 400 || !strings.Contains(answer.Message, c.says)) {
			t.Errorf("%s: status %d, %+v", what, status, answer)
		}
	}
	if status, answer := e.ask(post(2, "{}")); status != 200 {
		t.Errorf("a good one: status %d, %+v", status, answer)
	}
	e.eventually("nothing is counted any more", func() bool { return e.door.bodies.Load() == 0 })
	e.door.bodies.Store(e.door.limits.bodies)
	if status, answer := e.ask(post(len(long)/2, long)); status != 503 || answer.Kind != api.KindBusy {
		t.Errorf("beside others that are large: status %d, %+v", status, answer)
	}
}

// Who never reads an answer doesn't keep it in memory.
func TestDoorWaitsForNoReader(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	e := newDoorway(t, func(l *doorLimits) { l.answerTime = 200 * time.Millisecond }, func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, 32<<20))
		failed <- err
	})
	_, _ = io.WriteString(e.connect(), plainly)
	select {
	case err := <-failed:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("written: %v", err)
		}
	case <-time.After(doorDeadline):
		t.Fatal("it is still written")
	}
	e.eventually("nothing is served", e.isServing(0))
}

func TestLimitsLeaveDescriptors(t *testing.T) {
	t.Parallel()
	for descriptors, want := range map[uint64][3]int{64: {8, 16, 12}, 1024: {128, 256, 204}, 20000: {500, 3000, 2400}, 1 << 40: {500, 3000, 2400}} {
		l := limitsFor(descriptors)
		if got := [3]int{l.waiting, l.served, l.lasting}; got != want {
			t.Errorf("%d descriptors: %v, want %v", descriptors, got, want)
		}
	}
}
