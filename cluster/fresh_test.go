package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denyKey is an environment variable with system calls that this process is to be
// refused: "NUMBER=ERRNO", or "NUMBER/SECOND_ARGUMENT=ERRNO", and a comma between them.
const denyKey = "CLUSTER_DENY"

// underDenial runs the test once more in a process that is refused some calls, as in a
// container; in that one it is true.
func underDenial(t *testing.T, calls string) bool {
	t.Helper()
	if os.Getenv(denyKey) == calls {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can refuse calls without no_new_privs")
	}
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command("/proc/self/exe", "-test.run="+pattern, "-test.v", "-test.timeout=100s")
	cmd.Env = append(os.Environ(), denyKey+"="+calls)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("with %s refused: %v\n%s", calls, err, out)
	}
	return false
}

// deny refuses this process, all of its threads, and its children some calls.
func deny(calls string) error {
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offNumber}}
	for _, c := range strings.Split(calls, ",") {
		what, errno, _ := strings.Cut(c, "=")
		number, argument, _ := strings.Cut(what, "/")
		n, err := strconv.Atoi(number)
		e, bad := strconv.Atoi(errno)
		if err != nil || bad != nil {
			return fmt.Errorf("what is %q?", c)
		}
		refuse := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(e)}
		if argument == "" {
			program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(n), Jf: 1}, refuse)
			continue
		}
		a, err := strconv.ParseUint(argument, 0, 32)
		if err != nil {
			return err
		}
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(n), Jf: 4},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offArg1},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(a), Jf: 1},
			refuse, program[0])
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retAllow})
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	const allThreads = 1
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, 1, allThreads, uintptr(unsafe.Pointer(&p))); e != 0 {
		return e
	}
	return nil
}

var (
	noTaking  = fmt.Sprintf("%d=%d", unix.SYS_PIDFD_GETFD, unix.EPERM)
	noReading = fmt.Sprintf("%d=%d", unix.SYS_PROCESS_VM_READV, unix.EPERM)
	noFilter  = fmt.Sprintf("%d=%d", unix.SYS_SECCOMP, unix.EPERM)
)

// TestFreshSocket: where a program's socket can't be had, it is given one of ours, and
// shares the port and outlives the process as any other.
func TestFreshSocket(t *testing.T) {
	for name, calls := range map[string]string{
		"pidfd_getfd":                      noTaking,
		"an old kernel":                    fmt.Sprintf("%d=%d", unix.SYS_PIDFD_GETFD, unix.ENOSYS),
		"pidfd_getfd and process_vm_readv": noTaking + "," + noReading,
		"process_vm_readv":                 noReading,
	} {
		t.Run(name, func(t *testing.T) {
			if !underDenial(t, calls) {
				return
			}
			testFreshSocket(t)
		})
	}
}

func testFreshSocket(t *testing.T) {
	s := newScene(t)
	for _, host := range []string{"127.0.0.1", "[::]", "[::1]"} {
		at := fmt.Sprintf("%s:%d", host, freePort(t))
		to := strings.Replace(at, "[::]", "127.0.0.1", 1)
		one, two := s.Open(app("web"+host), 0), s.Open(app("web"+host), 1)
		a := start(t, one, 1, "listen", at, "accept", "serve")
		b := start(t, two, 1, "listen", at, "accept", "serve")
		a.expect("listen " + at)
		b.expect("listen " + at)
		seen := map[int]int{}
		for range 60 {
			seen[ask(t, to)]++
		}
		if seen[a.pid] == 0 || seen[b.pid] == 0 || seen[a.pid]+seen[b.pid] != 60 {
			t.Fatalf("%s: answers by pid: %v, want both of %d and %d", at, seen, a.pid, b.pid)
		}
		a.kill()
		b.kill()
		one.Follow(Condition{Inc: 2, Alive: true})
		two.Follow(Condition{Inc: 2, Down: true})
		c := start(t, one, 2, "listen", at, "accept", "serve")
		answer := make(chan int)
		go func() { answer <- ask(t, to) }()
		if pid := <-answer; pid != c.pid {
			t.Errorf("%s: answered by %d, want the successor %d", at, pid, c.pid)
		}
		if v := one.View(); !v.Ready || len(v.Addresses) != 1 || v.Trouble != "" {
			t.Errorf("%s: its view is %+v", at, v)
		}
		c.kill()
		one.Close()
		two.Close()
	}
	if n := strings.Count(s.log(), "sockets of programs can't be had"); s.poor && n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, s.log())
	}
}

// TestFreshSocketIsLike the program's own: its mode, close-on-exec, and IPv6 alone.
func TestFreshSocketIsLike(t *testing.T) {
	if !underDenial(t, noTaking) {
		return
	}
	s := newScene(t)
	for _, c := range []struct{ network, host, options string }{
		{"tcp6", "[::]", "nonblock=true cloexec=true only=1"},
		{"tcp", "[::]", "nonblock=true cloexec=true only=0"},
		{"plain4", "127.0.0.1", "nonblock=false cloexec=false only=0"},
		{"plain6", "[::]", "nonblock=false cloexec=false only=0"},
		{"plain6only", "[::]", "nonblock=false cloexec=false only=1"},
	} {
		at := fmt.Sprintf("%s:%d", c.host, freePort(t))
		slot := s.Open(app(c.network), 0)
		for inc := range uint64(2) {
			p := start(t, slot, inc+1, "like", c.network, at, "serve")
			p.expect(c.options)
			p.kill()
		}
		if v := slot.View(); len(v.Addresses) != 1 {
			t.Errorf("%s: its view is %+v", c.network, v)
		}
		slot.Close()
	}
}

// TestOneNamedPort: neither address nor socket can be had, but the configuration says
// which port it must be.
func TestOneNamedPort(t *testing.T) {
	if !underDenial(t, noTaking) {
		return
	}
	s := newScene(t)
	s.read = func(int, uint64, int) ([]byte, error) { return nil, unix.EPERM } // /proc/PID/mem is no call that could be refused
	port := freePort(t)
	web := app("web")
	web.Named = []int{port}
	var pids []int
	at := fmt.Sprintf("127.0.0.1:%d", port)
	for index := range 2 {
		p := start(t, s.Open(web, index), 1, "plain", at, "accept", "serve")
		p.expect("listen")
		pids = append(pids, p.pid)
	}
	seen := map[int]int{}
	for range 60 {
		seen[ask(t, at)]++
	}
	if seen[pids[0]] == 0 || seen[pids[1]] == 0 || seen[pids[0]]+seen[pids[1]] != 60 {
		t.Fatalf("answers by pid: %v, want both of %v", seen, pids)
	}
	slot := s.Open(app("api"), 0)
	p := start(t, slot, 1, "plain", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "serve")
	p.expect("listen")
	if v := slot.View(); !strings.Contains(v.Trouble, "name its one port") {
		t.Errorf("without a named port its view is %+v", v)
	}
}

// TestNotToBeLookedInto: a program that hides itself from an ordinary user's gopm runs
// as in fork mode.
func TestNotToBeLookedInto(t *testing.T) {
	if !asOrdinaryUser(t) {
		return
	}
	s := newScene(t)
	slot := s.Open(app("web"), 0)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := start(t, slot, 1, "hide", "listen", at, "accept", "serve")
	p.expect("listen")
	if v := slot.View(); !v.NoNewPrivs || !strings.Contains(v.Trouble, "doesn't let itself be looked into") {
		t.Errorf("its view is %+v", v)
	}
	if pid := ask(t, at); pid != p.pid {
		t.Errorf("answered by %d, want %d", pid, p.pid)
	}
	if n := strings.Count(s.log(), "looked into"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, s.log())
	}
}

// asOrdinaryUser runs the test once more as a user without privileges; in that process
// it is true.
func asOrdinaryUser(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	dir, err := os.MkdirTemp("", "ordinary")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary := dir + "/cluster.test" // go test's own folder is for root only
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	syscall.ForkLock.RLock() // a child that is forked meanwhile would have it open for writing
	err = os.WriteFile(binary, text, 0o755)
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=100s")
	cmd.Dir, cmd.SysProcAttr = "/", ordinaryUser(t)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
	return false
}

// TestNoFilter: where the kernel refuses to watch calls the program runs all the same.
func TestNoFilter(t *testing.T) {
	for name, c := range map[string]struct{ calls, want string }{
		"forbidden":        {noFilter, "the container forbids the seccomp call"},
		"unknown":          {fmt.Sprintf("%d=%d", unix.SYS_SECCOMP, unix.ENOSYS), "since Linux 5.0"},
		"without ADDFD":    {fmt.Sprintf("%d/%#x=%d", unix.SYS_IOCTL, ioctlAddFD, unix.EINVAL), "SECCOMP_IOCTL_NOTIF_ADDFD), since Linux 5.9"},
		"without CONTINUE": {fmt.Sprintf("%d/%#x=%d", unix.SYS_IOCTL, ioctlSend, unix.EINVAL), "SECCOMP_USER_NOTIF_FLAG_CONTINUE), since Linux 5.5"},
	} {
		t.Run(name, func(t *testing.T) {
			if !underDenial(t, c.calls) {
				return
			}
			s := newScene(t)
			at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			one, two := s.Open(app("web"), 0), s.Open(app("web"), 1)
			a := start(t, one, 1, "listen", at, "accept", "serve")
			a.expect("listen")
			b := start(t, two, 1, "listen", at)
			b.expect("address already in use")
			if v := one.View(); !strings.Contains(v.Trouble, c.want) {
				t.Errorf("its view is %+v", v)
			}
			if !strings.Contains(s.log(), c.want) {
				t.Errorf("the log says %q", s.log())
			}
		})
	}
}
