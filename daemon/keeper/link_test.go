package keeper

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// far is the keeper's end of a link, played by the test.
type far struct {
	*testing.T
	fd int
	in *inbox
}

// linked is a Link, attached after what the packets say, and the other end of it.
func linked(t *testing.T, packets ...string) (*Link, Estate, *far) {
	t.Helper()
	near, fd, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	f := &far{t, near, &inbox{}}
	if len(packets) == 0 {
		packets = []string{"2 welcome 0\n"}
	}
	for _, p := range packets {
		post(near, []byte(p), nil)
	}
	link, estate, err := Attach(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(f.fd); link.Close() })
	return link, estate, f
}

func (f *far) next() message {
	f.Helper()
	var m message
	var err error
	eventually(f, "a message", func() bool {
		m, err = f.in.receive(f.fd)
		return err != errNone
	})
	if err != nil {
		f.Fatal(err)
	}
	return m
}

func (f *far) expect(want message) {
	f.Helper()
	got := f.next()
	closeAll(got.files)
	if len(got.files) != len(want.files) {
		f.Errorf("%d descriptors, want %d", len(got.files), len(want.files))
	}
	got.files, want.files = nil, nil
	if !reflect.DeepEqual(got, want) {
		f.Errorf("got %+v, want %+v", got, want)
	}
}

// TestLastWordsOfADaemonThatDidNotListen: one that is killed before it has read what it was
// told has its last words heard nevertheless.
func TestLastWordsOfADaemonThatDidNotListen(t *testing.T) {
	near, fd, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(near)
	post(near, []byte("2 welcome 0\n"), nil)
	for _, key := range []string{"i/1", "i/2"} {
		if postMessage(fd, message{verb: verbPut, key: key}) != sent {
			t.Fatal("not sent")
		}
	}
	unix.Close(fd)
	in := &inbox{}
	for _, want := range []string{"i/1", "i/2"} {
		if m, err := in.receive(near); err != nil || m.verb != verbPut || m.key != want {
			t.Errorf("%v %q, %v; want a put of %s", m.verb, m.key, err, want)
		}
	}
	if _, err := in.receive(near); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestLinkTells(t *testing.T) {
	t.Parallel()
	link, _, far := linked(t)
	link.Put("i/1", Main{50, 77}, []byte("a\nb"), os.Stdin, os.Stdout)
	link.Put("i/1", Main{}, nil)
	link.Drop("i/1")
	link.Ready()
	link.Deadline("x", Main{50, 77}, 1500*time.Millisecond)
	link.Deadline("x", Main{50, 77}, time.Microsecond)
	link.Deadline("x", Main{}, 0)
	link.HandOver(os.Stdin)
	link.Leaving()
	for _, want := range []message{
		{verb: verbPut, key: "i/1", main: Main{50, 77}, note: []byte("a\nb"), files: []int{0, 1}},
		{verb: verbPut, key: "i/1"},
		{verb: verbDrop, key: "i/1"},
		{verb: verbReady},
		{verb: verbDeadline, key: "x", main: Main{50, 77}, number: 1500},
		{verb: verbDeadline, key: "x", main: Main{50, 77}, number: 1},
		{verb: verbDeadline, key: "x"},
		{verb: verbHandOver, files: []int{0}},
		{verb: verbLeaving},
	} {
		far.expect(want)
	}
	if link.Pid() != os.Getpid() {
		t.Errorf("pid %d, want %d", link.Pid(), os.Getpid())
	}
}

// A note that no packet can hold arrives as well, in both directions.
func TestLongNotes(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	link, _, far := linked(t)
	link.Put("i/1", Main{2, 3}, long, os.Stdin)
	far.expect(message{verb: verbPut, key: "i/1", main: Main{2, 3}, note: long, files: []int{0}})
	link.Put("i/1", Main{}, long[:maxNote])
	far.expect(message{verb: verbPut, key: "i/1", note: long[:maxNote]})

	near, fd, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(near)
	post(near, []byte("2 welcome 1\n"), nil)
	postMessage(near, message{verb: verbEntry, key: "k", note: long, files: []int{0, 1}})
	link, estate, err := Attach(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	defer estate.close()
	if e := estate.Entries[0]; !bytes.Equal(e.Note, long) || len(e.Files) != 2 {
		t.Errorf("a note of %d bytes, %d files", len(e.Note), len(e.Files))
	}
}

// queued is how many messages wait for room.
func (l *Link) queued() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// A keeper that doesn't read must not delay a spawn; once it reads, nothing that
// still counts is missing or out of order, and descriptors come along.
func TestLinkQueuesWhenTheSocketIsFull(t *testing.T) {
	t.Parallel()
	link, _, far := linked(t)
	n := 0
	for ; link.queued() == 0; n++ {
		link.Put(fmt.Sprintf("k%d", n), Main{}, []byte("note"))
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	link.Put("new", Main{}, []byte("1"), r, w)
	r.Close()
	w.Close()
	for i := range 1000 { // the descriptors of the first one stay
		link.Put("new", Main{}, fmt.Append(nil, i))
	}
	link.Put("dropped", Main{}, nil)
	link.Drop("dropped")
	link.Leaving()
	if got := link.queued(); got != 4 {
		t.Errorf("%d messages wait, want 4", got)
	}
	for i := range n {
		far.expect(message{verb: verbPut, key: fmt.Sprintf("k%d", i), note: []byte("note")})
	}
	far.expect(message{verb: verbPut, key: "new", note: []byte("999"), files: []int{0, 0}})
	far.expect(message{verb: verbDrop, key: "dropped"})
	far.expect(message{verb: verbLeaving})
}

func TestLinkCloseSendsWhatWaits(t *testing.T) {
	t.Parallel()
	link, _, far := linked(t)
	many := 0
	for ; link.queued() < 20; many++ {
		link.Put(fmt.Sprintf("k%d", many), Main{}, nil)
	}
	closed := make(chan struct{})
	go func() { // ended by Close, waited for below
		link.Close()
		close(closed)
	}()
	for i := range many {
		far.expect(message{verb: verbPut, key: fmt.Sprintf("k%d", i)})
	}
	<-closed
	if m, err := far.in.receive(far.fd); err == nil || err == errNone {
		t.Errorf("want the end of the socket, got %+v, %v", m, err)
	}
	link.Leaving() // after Close: nothing happens
}

func TestLinkLost(t *testing.T) {
	t.Parallel()
	link, _, far := linked(t)
	answers := make(chan bool, 1)
	go func() { // ended by the keeper's end
		_, ok := link.Collect(77)
		answers <- ok
	}()
	far.expect(message{verb: verbCollect, main: Main{Pid: 77}})
	unix.Shutdown(far.fd, unix.SHUT_RDWR)
	select {
	case <-link.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("the keeper's death was not noticed")
	}
	if <-answers {
		t.Error("collected by nobody")
	}
	link.Put("k", Main{}, nil) // must not raise SIGPIPE, block or queue
	link.mu.Lock()
	defer link.mu.Unlock()
	if len(link.queue) > 0 {
		t.Errorf("queued for nobody: %v", link.queue)
	}
}

// Answers find who waits for them, in whatever order they come.
func TestCollect(t *testing.T) {
	t.Parallel()
	link, _, far := linked(t)
	type result struct {
		pid    int
		status unix.WaitStatus
		ok     bool
	}
	results := make(chan result)
	pids := []int{10, 11, 12, 12}
	for _, pid := range pids {
		go func() { // ended by the answers below
			status, ok := link.Collect(pid)
			results <- result{pid, status, ok}
		}()
	}
	for range pids {
		far.next()
	}
	post(far.fd, []byte("3 what a later keeper says\n"), nil)
	for _, packet := range []string{"2 collected 99 0\n", "2 collected 12 256\n", "2 collected 11 -\n", "2 collected 10 9\n", "2 collected 12 -\n"} {
		post(far.fd, []byte(packet), nil)
	}
	var got []string
	for range pids {
		r := <-results
		got = append(got, fmt.Sprint(r.pid, r.status, r.ok))
	}
	slices.Sort(got)
	if want := []string{"10 9 true", "11 0 false", "12 0 false", "12 256 true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(link.waiting) != 0 {
		t.Errorf("still waiting: %v", link.waiting)
	}
}

func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, _, err := Attach(int(r.Fd())); err == nil {
		t.Error("a pipe was accepted as a link")
	}
	for packets, want := range map[string]string{
		"3 welcome 0\n":             `version "3", want 2`,
		"2 ready\n":                 `"ready" instead of welcome`,
		"2 welcome 1\n|2 ready\n":   `entry 1 of 1: it says "ready"`,
		"2 welcome 1\n|2 entry x\n": "entry 1 of 1: cannot read message",
		"2 welcome 1\n|":            "entry 1 of 1: EOF",
	} {
		near, fd, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		for p := range strings.SplitSeq(packets, "|") {
			if p != "" {
				post(near, []byte(p), nil)
			}
		}
		unix.Close(near)
		if _, _, err := Attach(fd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", packets, err, want)
		}
	}
}

// Descriptors that don't fit into the receiver's table must not take the note along.
func TestNoRoomForDescriptors(t *testing.T) {
	t.Parallel()
	m, err := decode([]byte("2 put i/1 5 6 2\nnote"), nil, true)
	if err != nil || !m.cut || string(m.note) != "note" {
		t.Errorf("%+v %v", m, err)
	}
	if _, err := decode([]byte("2 handover\n"), nil, true); err == nil {
		t.Error("a hand-over to nothing")
	}
	s := newStore()
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	s.put("i/1", Main{}, nil, []int{fd}, false)
	s.put("i/1", Main{5, 6}, []byte("note"), nil, true)
	if e := s.byKey["i/1"]; len(e.files) != 0 || e.main.Pid != 5 {
		t.Errorf("%+v", e)
	}
}
