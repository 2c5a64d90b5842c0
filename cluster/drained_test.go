package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestDrainOfKeptConnections(t *testing.T) {
	t.Parallel()
	const guests = 12
	h := newHouse(t, "server", unix.AF_INET, false)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var lost []string
	for i := range guests {
		g := h.guest("127.0.0.1", fmt.Sprint("guest", i))
		g.get(t, "/")
		wg.Go(func() {
			g.visit(t, uint64(i), 700*time.Millisecond, func(id string) {
				mu.Lock()
				defer mu.Unlock()
				lost = append(lost, id)
			})
		})
	}
	r := drain(context.Background(), h.drainee(), DrainOptions{Timeout: 40 * time.Second, Idle: 300 * time.Millisecond})
	wg.Wait()
	if r.Closed != guests || r.Cut != 0 || r.Waiting != 0 {
		t.Errorf("report %+v", r)
	}
	h.end()
	for _, id := range lost { // it came after the end: the client may send it again
		if h.heard("begin "+id) > 0 {
			t.Errorf("request %s was executed and got no answer", id)
		}
	}
	t.Logf("%s; %d requests met the end", r.Text(), len(lost))
}

func TestDrainLetsAnAnswerPause(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "server", unix.AF_INET, false)
	g := h.guest("127.0.0.1", "guest")
	g.get(t, "/")
	id, err := g.send("/pause")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.in.Peek(1); err != nil { // the header is there, the body isn't
		t.Fatal(err)
	}
	done := make(chan DrainReport)
	go func() { done <- drain(context.Background(), h.drainee(), DrainOptions{}) }()
	if _, err := g.receive(id); err != nil {
		t.Errorf("an answer that paused: %v", err)
	}
	if r := <-done; r.Closed != 1 || r.Cut != 0 || !g.ended(10*time.Second) {
		t.Errorf("report %+v", r)
	}
}

func TestDrainOfForkedServers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "forker", unix.AF_INET, false)
	a, b := h.guest("127.0.0.1", "a"), h.guest("127.0.0.1", "b")
	a.get(t, "/")
	id, err := b.send("/slow")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is being worked on", func() bool { return h.heard("begin "+id) == 1 })
	r := drain(context.Background(), h.drainee(), DrainOptions{Timeout: 30 * time.Second, Idle: 500 * time.Millisecond})
	if r.Closed != 2 || r.Cut != 0 {
		t.Errorf("report %+v", r)
	}
	if _, err := b.receive(id); err != nil || !a.ended(10*time.Second) || !b.ended(10*time.Second) {
		t.Errorf("slow request: %v", err)
	}
}

func TestDrainOfBothFamilies(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "server", unix.AF_INET6, false)
	for i, ip := range []string{"127.0.0.1", "::1"} {
		g := h.guest(ip, fmt.Sprint("guest", i))
		g.get(t, "/")
		id, err := g.send("/slow")
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the request is being worked on", func() bool { return h.heard("begin "+id) == 1 })
		defer func() {
			if _, err := g.receive(id); err != nil || !g.ended(10*time.Second) {
				t.Errorf("%s: %v", ip, err)
			}
		}()
	}
	r := drain(context.Background(), h.drainee(), DrainOptions{Timeout: 30 * time.Second, Idle: 500 * time.Millisecond})
	if r.Closed != 2 || r.Cut != 0 {
		t.Errorf("report %+v", r)
	}
}

func TestDrainOfHandshakes(t *testing.T) {
	t.Parallel()
	for name, family := range map[string]int{"IPv4": unix.AF_INET, "IPv4 of a dual-stack socket": unix.AF_INET6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drainHandshakes(t, family)
		})
	}
}

func drainHandshakes(t *testing.T, family int) {
	h := newHouse(t, "server", family, true)
	var guests []*guest
	for i := range 5 {
		guests = append(guests, h.guest("127.0.0.1", fmt.Sprint("guest", i)))
	}
	eventually(t, "all are half open", func() bool { return len(seen(t, h.port)) == len(guests) })
	d := newDrainer(h.drainee(), DrainOptions{Timeout: 30 * time.Second, Idle: 200 * time.Millisecond})
	looked := make(chan struct{})
	var once sync.Once
	d.wait = func(ctx context.Context, d time.Duration) {
		once.Do(func() { close(looked) })
		pause(ctx, d)
	}
	done := make(chan DrainReport)
	go func() { done <- d.run(context.Background()) }()
	<-looked
	for _, g := range guests {
		g.get(t, "/")
	}
	if r := <-done; r.Closed != len(guests) || r.Cut != 0 {
		t.Errorf("report %+v", r)
	}
}

func TestDrainOfClientsThatNeverStop(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "server", unix.AF_INET, false)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 4 {
		g := h.guest("127.0.0.1", fmt.Sprint("guest", i))
		g.get(t, "/")
		wg.Go(func() {
			for ctx.Err() == nil {
				g.get(t, "/slow")
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
	r := drain(context.Background(), h.drainee(), DrainOptions{Timeout: 1500 * time.Millisecond})
	cancel()
	wg.Wait()
	if r.Cut == 0 || r.Closed != 0 || r.Cut+r.Waiting != 4 || !strings.Contains(r.Text(), "cut") {
		t.Errorf("report %+v: %s", r, r.Text())
	}
}

func TestDrainOfAProgramThatEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "server", unix.AF_INET, false)
	g := h.guest("127.0.0.1", "guest")
	id, err := g.send("/slow")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is being worked on", func() bool { return h.heard("begin "+id) == 1 })
	h.end()
	if r := drain(context.Background(), h.drainee(), DrainOptions{Timeout: time.Minute}); !strings.Contains(r.Note, "ended by itself") {
		t.Errorf("report %+v", r)
	}
}

// confinedRole drains where pidfd_getfd is refused, as some containers do.
func confinedRole() int {
	refuse := []unix.SockFilter{ // the number of the call, on every architecture
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PIDFD_GETFD, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(refuse)), Filter: &refuse[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	pid, bad := strconv.Atoi(os.Getenv("CLUSTER_DRAINED"))
	if err != nil || errno != 0 || bad != nil {
		fmt.Println(err, errno, bad)
		return 1
	}
	of := drainee{sockets: []int{3}, ports: []uint16{boundPort(3)}, pids: func() []int { return []int{pid} }}
	fmt.Print(drain(context.Background(), of, DrainOptions{Timeout: 30 * time.Second, Idle: 300 * time.Millisecond}).Text())
	return 0
}

func TestDrainWhereDescriptorsCannotBeTaken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "server", unix.AF_INET, false)
	a, b := h.guest("127.0.0.1", "a"), h.guest("127.0.0.1", "b")
	a.get(t, "/")
	id, err := b.send("/slow")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is being worked on", func() bool { return h.heard("begin "+id) == 1 })
	dup, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(dup), "socket")
	defer socket.Close()
	confined := exec.Command("/proc/self/exe")
	confined.Env = append(os.Environ(), roleKey+"=confined", fmt.Sprint("CLUSTER_DRAINED=", h.cmd.Process.Pid))
	confined.ExtraFiles = []*os.File{socket}
	out, err := confined.CombinedOutput()
	want := "2 kept connections left to end with the program; connections can't be ended from outside (operation not permitted)"
	if err != nil || !strings.HasSuffix(string(out), want) {
		t.Errorf("%q (%v), want %q", out, err, want)
	}
	if _, err := b.receive(id); err != nil || a.ended(time.Millisecond) || b.ended(time.Millisecond) {
		t.Errorf("%v; the connections must be left open", err)
	}
}

func TestDrainOfASlot(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	port := freePort(t)
	address := fmt.Sprint("127.0.0.1:", port)
	one, two := s.Open(app("a"), 0), s.Open(app("a"), 1)
	// It answers on another port only.
	deaf := start(t, one, 1, "listen", "127.0.0.1:0", "accept", "listen", address, "serve")
	deaf.expect("listen")
	deaf.expect("listen " + address)
	waiting := dial(t, "127.0.0.1", uint16(port))
	live := start(t, two, 1, "listen", address, "accept", "serve")
	live.expect("listen")
	one.Retire()
	if got := ask(t, address); got != live.pid {
		t.Errorf("%d answers, want %d", got, live.pid)
	}
	pids := func() []int { return []int{deaf.pid} }
	if r := one.Drain(context.Background(), pids, DrainOptions{Timeout: 300 * time.Millisecond}); r.Cut != 1 {
		t.Errorf("one waits in the queue, and the report is %+v", r)
	}
	waiting.Close()
	done := make(chan DrainReport)
	go func() { done <- one.Drain(context.Background(), pids, DrainOptions{Timeout: time.Minute}) }()
	one.Close() // shuts its queue down, whoever waits for it
	if r := <-done; r.Cut != 0 {
		t.Errorf("report %+v", r)
	}
	if r := one.Drain(context.Background(), pids, DrainOptions{}); r != (DrainReport{}) {
		t.Errorf("a slot without sockets: %+v", r)
	}
}
