package parent

import (
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// linked is a Link and the socket at the keeper's end of it.
func linked(t *testing.T) (*Link, *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far := os.NewFile(uintptr(pair[0]), "far end")
	link, err := Connect(pair[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close(); link.Close() })
	far.SetReadDeadline(time.Now().Add(10 * time.Second))
	return link, far
}

func read(t *testing.T, far *os.File) message {
	t.Helper()
	var buf [maxPacket]byte
	n, err := far.Read(buf[:])
	if err != nil {
		t.Fatal(err)
	}
	m, err := decode(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLinkTells(t *testing.T) {
	t.Parallel()
	link, far := linked(t)
	link.Spawned(50, 77, int(unix.SIGINT), 1500*time.Millisecond)
	link.Spawned(51, 78, int(unix.SIGTERM), 100*time.Hour)
	link.Gone(50)
	link.Leaving()
	for _, want := range []message{
		{kindSpawned, 50, 77, unix.SIGINT, 1500 * time.Millisecond},
		{kindSpawned, 51, 78, unix.SIGTERM, maxGrace},
		{kind: kindGone, pid: 50},
		{kind: kindLeaving},
	} {
		if got := read(t, far); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if link.Pid() != os.Getpid() {
		t.Errorf("pid %d, want %d", link.Pid(), os.Getpid())
	}
}

// A keeper that doesn't read must not delay a spawn; once it reads, nothing is
// missing or out of order.
func TestLinkQueuesWhenTheSocketIsFull(t *testing.T) {
	t.Parallel()
	const many = 3000
	link, far := linked(t)
	for pid := 2; pid < 2+many; pid++ {
		link.Spawned(pid, 1, 15, 0)
	}
	link.mu.Lock()
	waiting := len(link.queue)
	link.mu.Unlock()
	if waiting == 0 {
		t.Fatal("the socket took everything; send more to test the queue")
	}
	link.Gone(1 + many) // the last one, which still waits: neither message is sent
	link.Leaving()
	for pid := 2; pid < 1+many; pid++ {
		if got := read(t, far); got.pid != pid {
			t.Fatalf("got %+v, want pid %d", got, pid)
		}
	}
	if got := read(t, far); got.kind != kindLeaving {
		t.Errorf("got %+v, want leaving", got)
	}
}

func TestLinkCloseSendsWhatWaits(t *testing.T) {
	t.Parallel()
	link, far := linked(t)
	const many = 1000
	for pid := 2; pid < 2+many; pid++ {
		link.Spawned(pid, 1, 15, 0)
	}
	closed := make(chan struct{})
	go func() { // ended by Close, waited for below
		link.Close()
		close(closed)
	}()
	for pid := 2; pid < 2+many; pid++ {
		if got := read(t, far); got.pid != pid {
			t.Fatalf("got %+v, want pid %d", got, pid)
		}
	}
	<-closed
	if n, err := far.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("want the end of the socket, got %d bytes, %v", n, err)
	}
	link.Leaving() // after Close: nothing happens
}

func TestLinkLost(t *testing.T) {
	t.Parallel()
	link, far := linked(t)
	far.Close()
	select {
	case <-link.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("the keeper's death was not noticed")
	}
	link.Spawned(5, 1, 15, 0) // must not raise SIGPIPE, block or queue
	link.mu.Lock()
	defer link.mu.Unlock()
	if len(link.queue) > 0 {
		t.Errorf("queued for nobody: %v", link.queue)
	}
}

func TestConnectRefusesOtherDescriptors(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := Connect(int(r.Fd())); err == nil {
		t.Error("a pipe was accepted as a link")
	}
}

func TestEnqueue(t *testing.T) {
	t.Parallel()
	spawned := func(pid int) message { return message{kind: kindSpawned, pid: pid} }
	gone := func(pid int) message { return message{kind: kindGone, pid: pid} }
	var queue []message
	for _, m := range []message{spawned(2), gone(9), spawned(3), gone(2), spawned(2), gone(3), gone(3)} {
		queue = enqueue(queue, m)
	}
	if want := []message{gone(9), spawned(2), gone(3)}; !reflect.DeepEqual(queue, want) {
		t.Errorf("got %v, want %v", queue, want)
	}
}

// A signal meant for a process whose pid was given to another must not arrive.
func TestSendChecksTheStartTime(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, ok := look(cmd.Process.Pid)
	if !ok {
		t.Fatal("no process")
	}
	if err := send(order{pid: p.pid, start: p.start + 1, sig: unix.SIGKILL}); err != nil {
		t.Error(err)
	}
	if err := send(order{pid: p.pid, start: p.start, sig: unix.SIGTERM}); err != nil {
		t.Error(err)
	}
	cmd.Wait()
	if got := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != unix.SIGTERM {
		t.Errorf("ended by %v, want the second signal only", got)
	}
	if err := send(order{pid: p.pid, start: p.start, sig: unix.SIGTERM}); err != nil {
		t.Errorf("a process that is gone is no error: %v", err)
	}
}
