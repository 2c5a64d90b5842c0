package cluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	loadtest "gopm/bench/load"

	"golang.org/x/sys/unix"
)

// The tests run this test binary as the program that is clustered: what it does is in
// its arguments, after the word actor.
func TestMain(m *testing.M) {
	if calls := os.Getenv(denyKey); calls != "" && (len(os.Args) < 2 || os.Args[1] != "actor") {
		if err := deny(calls); err != nil {
			panic(err)
		}
	}
	if len(os.Args) > 1 && os.Args[1] == "actor" {
		act(os.Args[2:])
		os.Exit(0)
	}
	if role, is := roles()[os.Getenv(roleKey)]; is {
		os.Exit(role())
	}
	os.Exit(m.Run())
}

// act is a program that does what its words say, one after the other, and prints what
// came of each: "listen ADDRESS", "bind ADDRESS" (and close it again), "hold ADDRESS"
// (bound, and never listened on), "close", "wait FILE", "serve" for ever.
func act(words []string) {
	out := bufio.NewWriter(os.Stdout)
	say := func(format string, args ...any) {
		fmt.Fprintf(out, format+"\n", args...)
		out.Flush()
	}
	var held []net.Listener
	for len(words) > 0 {
		verb := words[0]
		words = words[1:]
		switch verb {
		case "listen", "bind":
			l, err := net.Listen("tcp", words[0])
			words = words[1:]
			if err != nil {
				say("%s: %v", verb, err)
				continue
			}
			say("%s %s", verb, l.Addr())
			if verb == "bind" {
				l.Close()
				continue
			}
			held = append(held, l)
		case "storm":
			storm(words[0])
		case "many":
			say("%s", bindMany(words[0]))
			words = words[1:]
		case "hide":
			if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
				say("hide: %v", err)
			}
		case "like":
			say("%s", likeness(words[0], words[1]))
			words = words[2:]
		case "nowhere":
			bindFromNowhere(say)
		case "udp":
			say("udp %s", answerDatagrams(words[0]))
			words = words[1:]
		case "udpask":
			say("%s", sendFrom(words[0], words[1]))
			words = words[2:]
		case "unix":
			_, err := net.Listen("unix", words[0])
			if err == nil {
				say("unix %s", words[0])
			} else {
				say("unix: %v", err)
			}
			words = words[1:]
		case "plain", "plain6only": // without what Go does around it
			l, err := plainListener(words[0], verb == "plain6only")
			words = words[1:]
			if err != nil {
				say("plain: %v", err)
				continue
			}
			say("listen %s", l.Addr())
			held = append(held, l)
		case "hold":
			say("hold: %v", holdBound(words[0]))
			words = words[1:]
		case "accept": // answers every connection with its pid
			for _, l := range held {
				go func() { // ends with the program
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						fmt.Fprintf(c, "%d\n", os.Getpid())
						c.Close()
					}
				}()
			}
		case "close": // the sockets
			for _, l := range held {
				l.Close()
			}
			held = nil
		case "serve":
			say("serving")
			select {}
		case "wait": // for a file
			for _, err := os.Stat(words[0]); err != nil; _, err = os.Stat(words[0]) {
				<-time.After(time.Millisecond)
			}
			words = words[1:]
		default:
			say("what is %s?", verb)
			os.Exit(2)
		}
	}
}

// holdBound binds a socket for ever.
func holdBound(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())})
}

// plainSocket is one as C programs make it: blocking, and kept over exec.
func plainSocket(address string, only bool) (int, error) {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, err
	}
	family := unix.AF_INET
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(ap.Port())}
	if ap.Addr().Is6() {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: ap.Addr().As16(), Port: int(ap.Port())}
	} else {
		to = &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err == nil && only {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, to)
	}
	if err == nil {
		err = unix.Listen(fd, 5)
	}
	return fd, err
}

func plainListener(address string, only bool) (net.Listener, error) {
	fd, err := plainSocket(address, only)
	if err != nil {
		return nil, err
	}
	return net.FileListener(os.NewFile(uintptr(fd), address))
}

// likeness is what a listening socket of that kind is like after bind and listen.
func likeness(network, address string) string {
	var fd int
	var err error
	switch network {
	case "tcp", "tcp6":
		l, e := net.Listen(network, address)
		if e != nil {
			return e.Error()
		}
		raw, e := l.(*net.TCPListener).SyscallConn()
		if e != nil {
			return e.Error()
		}
		err = raw.Control(func(n uintptr) { fd = int(n) })
	default:
		fd, err = plainSocket(address, network == "plain6only")
	}
	if err != nil {
		return err.Error()
	}
	mode, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	kept, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	only, _ := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	return fmt.Sprintf("nonblock=%v cloexec=%v only=%d", mode&unix.O_NONBLOCK != 0, kept&unix.FD_CLOEXEC != 0, only)
}

// answerDatagrams answers each with the pid.
func answerDatagrams(address string) string {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err.Error()
	}
	go func() { // ends with the program
		b := make([]byte, 100)
		for {
			if _, from, err := c.ReadFrom(b); err == nil {
				_, _ = c.WriteTo([]byte(strconv.Itoa(os.Getpid())), from)
			}
		}
	}()
	return c.LocalAddr().String()
}

// sendFrom sends a datagram from an address, and waits for the answer.
func sendFrom(from, to string) string {
	local, err := net.ResolveUDPAddr("udp", from)
	if err != nil {
		return err.Error()
	}
	remote, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return err.Error()
	}
	c, err := net.DialUDP("udp", local, remote)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = c.Write([]byte("x"))
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err != nil {
		return err.Error()
	}
	return "answered"
}

// scene is a host whose keeper is a map.
type scene struct {
	*Host
	t     *testing.T
	mu    sync.Mutex
	kept  keeper
	said  []string
	stuck []Hang

	close func()
}

func newScene(t *testing.T) *scene {
	t.Helper()
	return newSceneWith(t, keeper{})
}

// newSceneWith has a keeper that other hosts may have given something.
func newSceneWith(t *testing.T, kept keeper) *scene {
	t.Helper()
	s := &scene{t: t, kept: kept}
	s.Host = NewHost(Options{
		Log: func(format string, args ...any) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.said = append(s.said, fmt.Sprintf(format, args...))
		},
		Keep: func(key string, note []byte, fds ...int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.kept.keep(key, note, fds)
		},
		Changed: func(*Slot) {},
		Stuck: func(_ *Slot, h Hang) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.stuck = append(s.stuck, h)
		},
	})
	s.close = sync.OnceFunc(s.Host.Close)
	t.Cleanup(s.close)
	return s
}

// keys are what the keeper has below a prefix.
func (s *scene) keys(prefix string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.kept {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (s *scene) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n")
}

// app is one with a name and what an app has that says nothing.
func app(name string) App { return App{Name: name, Backlog: 1024, Hold: 10 * time.Second} }

// program is a process in a slot.
type program struct {
	t     *testing.T
	slot  *Slot
	inc   uint64
	pid   int
	lines *bufio.Reader
	ended bool
}

// start runs an actor in a slot as the daemon would.
func start(t *testing.T, slot *Slot, inc uint64, words ...string) *program {
	t.Helper()
	return startProgram(t, slot, inc, append([]string{"/proc/self/exe", "actor"}, words...))
}

// startProgram runs a program, as another user if sys says so.
func startProgram(t *testing.T, slot *Slot, inc uint64, argv []string, sys ...*syscall.SysProcAttr) *program {
	t.Helper()
	return startUnder(t, slot, inc, slot.Enter(inc), argv, sys...)
}

// startUnder runs a program under a filter that a hook installs.
func startUnder(t *testing.T, slot *Slot, inc uint64, hook func() error, argv []string, sys ...*syscall.SysProcAttr) *program {
	t.Helper()
	sys = append(sys, nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	slot.Follow(Condition{Inc: inc, Alive: true})
	type result struct {
		pid int
		err error
	}
	done := make(chan result)
	var fork func()
	fork = func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			go fork()
			select {} // a main thread doesn't end; the test does
		}
		if err := hook(); err != nil {
			done <- result{0, err}
			return
		}
		pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, w.Fd(), 2}, Sys: sys[0]})
		done <- result{pid, err}
	}
	go fork()
	got := <-done
	w.Close()
	if got.err != nil {
		t.Fatal(got.err)
	}
	p := &program{t: t, slot: slot, inc: inc, pid: got.pid, lines: bufio.NewReader(r)}
	t.Cleanup(func() {
		p.kill()
		r.Close()
	})
	return p
}

// expect reads the program's next line.
func (p *program) expect(want string) {
	p.t.Helper()
	line, err := p.lines.ReadString('\n')
	if err != nil && err != io.EOF {
		p.t.Fatal(err)
	}
	if line = strings.TrimSuffix(line, "\n"); !strings.Contains(line, want) {
		p.t.Fatalf("the program says %q, want %q", line, want)
	}
}

// kill ends it and waits; the slot is told by who wants to.
func (p *program) kill() {
	if p.ended {
		return
	}
	p.ended = true
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	_, _ = syscall.Wait4(p.pid, nil, 0, nil)
}

// freePort is one that nobody has, or gets.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := loadtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ask connects and reads who answers; -1: nobody does.
func ask(t *testing.T, address string) int {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return -1
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	text, err := io.ReadAll(c)
	if err != nil {
		return -1
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	return pid
}

func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !fact(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
		runtime.Gosched()
		<-time.After(2 * time.Millisecond)
	}
}

// have is a program that has to be there.
func have(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
