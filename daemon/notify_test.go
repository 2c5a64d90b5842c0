package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// borrowed is a kernel whose programs are a process that is there already.
type borrowed struct {
	noKernel
	pid  int
	gate chan struct{} // a spawn is answered when it is closed
}

func (k borrowed) Spawn(supervise.Command, supervise.Launch, func()) (supervise.Child, error) {
	<-k.gate
	return k, nil
}

func (k borrowed) Identity() (int, uint64) {
	m, _ := keeper.MainOf(k.pid)
	return k.pid, m.Start
}
func (borrowed) Signal(syscall.Signal, bool) error                     { return nil }
func (borrowed) Reap(bool, func(supervise.Exit)) (r supervise.Remains) { return r }
func (borrowed) Clear(syscall.Signal, func())                          {}
func (borrowed) Release()                                              {}

// A daemon goes on with the socket of the one before, whatever name a release before gave it, and two folders with the
// same path have two names.
func TestNotifyNameGoesWithTheSocket(t *testing.T) {
	old := newReader(t, os.Getpid(), ecosystem.App{})
	dup, err := unix.FcntlInt(uintptr(old.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	next := &postbox{name: "@gopm/another/notify", fd: -1}
	next.adopt(os.NewFile(uintptr(dup), "notify"))
	defer unix.Close(next.fd)
	if next.fd < 0 || next.name != old.name {
		t.Errorf("descriptor %d with the name %q, want %q", next.fd, next.name, old.name)
	}
	home := t.TempDir() + "/home"
	name := func() string {
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		return notifyName(home)
	}
	first := name()
	if err := os.Rename(home, home+"2"); err != nil { // so that its number isn't given to the next
		t.Fatal(err)
	}
	if second := name(); first == second {
		t.Errorf("%s and %s", first, second)
	}
}

// reader is a postbox with a socket of its own and one instance, whose main process is pid.
type reader struct {
	*testing.T
	*postbox
	in   *instance
	gate chan struct{}
	mu   sync.Mutex // guards said
	said []string
}

func newReader(t *testing.T, pid int, spec ecosystem.App) *reader {
	t.Helper()
	r := &reader{T: t, in: &instance{name: "a"}, gate: make(chan struct{})}
	r.postbox = &postbox{
		name: fmt.Sprintf("@gopm/test/%d/%s", os.Getpid(), t.Name()), fd: -1, refused: map[string]bool{}, dogs: map[*instance]*watchdog{},
		all: func() []*instance { return []*instance{r.in} },
		tell: func(e event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.said = append(r.said, e.text)
		},
	}
	r.open(func(string, []byte, ...int) {})
	if r.fd < 0 {
		t.Fatal(r.told())
	}
	r.in.version.Store(&app{spec: spec})
	pol := supervise.Policy{Autorestart: true, MinUptime: time.Millisecond, KillTimeout: time.Minute}
	if spec.Ready.By == ecosystem.ReadyMessage {
		pol.Ready = time.Minute
	}
	r.in.proc = supervise.New(supervise.Config{
		Kernel: borrowed{pid: pid, gate: r.gate}, Policy: pol,
		OnChange: func(s supervise.Snapshot) { r.follow(r.in, s) },
	})
	t.Cleanup(func() {
		r.in.proc.Abandon()
		r.postbox.close()
	})
	r.in.proc.Start()
	return r
}

func (r *reader) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.said, "\n")
}

// lives lets the process be known.
func (r *reader) lives() {
	r.Helper()
	close(r.gate)
	r.awaits("its pid", func(s supervise.Snapshot) bool { return s.Pid != 0 })
}

func (r *reader) awaits(what string, is func(supervise.Snapshot) bool) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if s, err := r.in.proc.Await(ctx, is); err != nil {
		r.Fatalf("%s: %v, %+v", what, err, s)
	}
}

// posts sends a message to the socket as the test itself, with descriptors.
func (r *reader) posts(text string, fds ...int) {
	r.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer unix.Close(fd)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(fd, []byte(text), rights, &unix.SockaddrUnix{Name: r.name}, 0); err != nil {
		r.Fatal(err)
	}
}

func isReady(s supervise.Snapshot) bool { return s.Ready == supervise.Reached }

var byMessage = ecosystem.App{Life: ecosystem.Life{Ready: ecosystem.Ready{By: ecosystem.ReadyMessage, Timeout: time.Minute}}}

func TestReadyByNotify(t *testing.T) {
	t.Parallel()
	for name, main := range map[string]int{"the main process itself": os.Getpid(), "one below it": os.Getppid()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t, main, byMessage)
			r.lives()
			r.posts("STATUS=almost\x1b[31m there\nREADY=0")
			r.hear()
			if r.in.proc.Snapshot().Ready == supervise.Reached || r.in.saying() != "almost [31m there" {
				t.Errorf("it says %q, %+v", r.in.saying(), r.in.proc.Snapshot())
			}
			r.posts("READY=1\nSTATUS=serving\nMAINPID=1\nFDSTORE=1\nSTOPPING=1")
			r.hear()
			r.awaits("ready", isReady)
			if got := r.in.saying(); got != "serving; it is stopping" {
				t.Errorf("it says %q", got)
			}
			if got := r.told(); !strings.Contains(got, "almost [31m there") || !strings.Contains(got, "is stopping") {
				t.Errorf("told: %s", got)
			}
		})
	}
}

// A program may be faster than what tells us its number.
func TestNotifyBeforeItsPidIsKnown(t *testing.T) {
	t.Parallel()
	r := newReader(t, os.Getpid(), byMessage)
	r.posts("READY=1")
	r.hear()
	if len(r.early) != 1 {
		t.Fatalf("%d letters wait, want 1", len(r.early))
	}
	r.lives()
	r.awaits("ready", isReady)
}

// Who isn't a process of the instance changes nothing, and is named once.
func TestNotifyOfSomebodyElse(t *testing.T) {
	t.Parallel()
	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
	})
	r := newReader(t, sleeper.Process.Pid, byMessage)
	r.lives()
	for range 2 * maxEarly {
		r.posts("READY=1\nSTATUS=mine")
		r.hear()
	}
	r.posts("WATCHDOG=trigger")
	r.posts(barrier)
	r.posts(strings.Repeat("x", 2*maxLetter))
	r.hear()
	r.giveUp()
	s := r.in.proc.Snapshot()
	if s.Ready == supervise.Reached || s.LastExit != nil || r.in.saying() != "" {
		t.Errorf("%+v, it says %q", s, r.in.saying())
	}
	for _, words := range []string{"somebody else", "more than 4096 bytes"} {
		if n := strings.Count(r.told(), words); n != 1 {
			t.Errorf("%q was said %d times: %s", words, n, r.told())
		}
	}
}

// BARRIER=1 waits until the descriptor that comes with it is closed; so does anything else.
func TestNotifyClosesDescriptors(t *testing.T) {
	t.Parallel()
	r := newReader(t, os.Getpid(), byMessage)
	r.lives()
	for _, text := range []string{barrier, "READY=1", "FDSTORE=1\nFDNAME=x"} {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pipe[0])
		r.posts(text, pipe[1], pipe[1], pipe[1])
		unix.Close(pipe[1])
		if _, err := unix.Read(pipe[0], make([]byte, 1)); err != unix.EAGAIN {
			t.Errorf("%s: the pipe was closed too early: %v", text, err)
		}
		r.hear()
		if n, err := unix.Read(pipe[0], make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("%s: the pipe is still held: %d, %v", text, n, err)
		}
	}
}

func TestWatchdog(t *testing.T) {
	t.Parallel()
	spec := ecosystem.App{Life: ecosystem.Life{Health: ecosystem.Health{Watchdog: 300 * time.Millisecond}}}
	hung := func(s supervise.Snapshot) bool { return s.Status == supervise.StatusStopping }
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, os.Getpid(), spec)
		r.lives()
		r.awaits("its end", hung)
		if f := r.in.proc.Machine().Fault; f != "watchdog: silent for 300ms" {
			t.Errorf("fault %q", f)
		}
	})
	t.Run("says so", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, os.Getpid(), ecosystem.App{Life: ecosystem.Life{Health: ecosystem.Health{Watchdog: time.Hour}}})
		r.lives()
		r.awaits("online", func(s supervise.Snapshot) bool { return s.Status == supervise.StatusOnline })
		r.posts("WATCHDOG=trigger")
		r.hear()
		r.awaits("its end", hung)
	})
	t.Run("heard though nobody has come to it yet", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, os.Getpid(), ecosystem.App{Life: ecosystem.Life{Health: ecosystem.Health{Watchdog: time.Hour}}})
		r.lives()
		r.awaits("online", func(s supervise.Snapshot) bool { return s.Status == supervise.StatusOnline })
		r.posts("WATCHDOG=1")
		r.postbox.mu.Lock()
		dog := r.dogs[r.in]
		dog.heard = time.Now().Add(-2 * time.Hour)
		r.postbox.mu.Unlock()
		r.bark(r.in, dog)
		if s := r.in.proc.Snapshot(); s.Status != supervise.StatusOnline {
			t.Errorf("%+v", s)
		}
	})
}

func TestTame(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", " a b ": "a b", "a\x1b[31mb\x00\u202e": "a [31mb", "\xff": "?", "ä→": "ä→", strings.Repeat("x", 300): strings.Repeat("x", 200) + "…",
	} {
		if got := tame(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
