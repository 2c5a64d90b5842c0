package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// ordinaryUser is an ordinary user; only root can be somebody else.
func ordinaryUser(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

func actor(words ...string) []string { return append([]string{"/proc/self/exe", "actor"}, words...) }

// TestTakenByAStranger: the user is told who has the port, once.
func TestTakenByAStranger(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	stranger := exec.Command("/proc/self/exe", "actor", "listen", at, "serve")
	out, err := stranger.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stranger.Path, err = os.Executable()
	if err == nil {
		err = stranger.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}

	slot := s.Open(app("web"), 0)
	for inc := range uint64(2) {
		p := start(t, slot, inc+1, "listen", at)
		p.expect("address already in use")
		p.kill()
	}
	port := at[strings.LastIndex(at, ":")+1:]
	want := fmt.Sprintf("port %s is taken: cluster.test (pid %d, user %s) listens on %s", port, stranger.Process.Pid, userName(fmt.Sprint(os.Getuid())), at)
	if v := slot.View(); v.Refused != want {
		t.Errorf("its view says %q, want %q", v.Refused, want)
	}
	if s.log() != "web:0: "+want {
		t.Errorf("the log says %q, want %q once", s.log(), want)
	}
	_ = stranger.Process.Kill()
	_ = stranger.Wait()
	p := start(t, slot, 3, "listen", at, "serve")
	p.expect("listen")
	if v := slot.View(); v.Refused != "" {
		t.Errorf("when it has the port its view still says %q", v.Refused)
	}
	p.kill()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p = start(t, slot, 4, "listen", l.Addr().String(), "serve")
	p.expect("address already in use")
	slot.Follow(Condition{Inc: 4, Alive: true, Settled: true})
	if v := slot.View(); v.Refused == "" {
		t.Error("a process that goes on without its port has no refusal in its view")
	}
	p.kill()
	start(t, slot, 5, "serve").expect("serving")
	slot.Follow(Condition{Inc: 5, Alive: true, Settled: true})
	if v := slot.View(); v.Refused != "" {
		t.Errorf("when a process has settled without a port its view still says %q", v.Refused)
	}
}

func TestOccupants(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 71 1 00 100 0 0 10 0
   1: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 72 1 00 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C000 06 00000000:00000000 03:00000000 00000000     0        0 0 3 00
   3: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:C000 01 00000000:00000000 00:00000000 00000000    33        0 73 1 00 20 4 30 10 -1
   4: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 74 1 00 100 0 0 10 0
   5: 0100007F:1F9`
	a, err := parseKey("127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range occupants([]byte(table), a) {
		got = append(got, fmt.Sprintf("%d %s %s", o.inode, o.uid, o.text()))
	}
	want := "71 1000 listens on 127.0.0.1:8080; 0 0 has a connection from 127.0.0.1:8080; 73 33 has a connection from 127.0.0.1:8080; 74 0 listens on [::]:8080"
	if have := strings.Join(got, "; "); have != want {
		t.Errorf("got %q, want %q", have, want)
	}
}

// TestHolderIsTheParent: of processes that have one socket the one is named that has started the
// others, wherever it comes in the list; and not a gopm.
func TestHolderIsTheParent(t *testing.T) {
	p := procDir(t.TempDir())
	for pid, has := range map[string]string{"1000": "(gopm-keeper) S 1", "150": "(worker) S 99", "99": "(master) S 1", "990": "(worker) S 99"} {
		fds := filepath.Join(string(p), pid, "fd")
		name := strings.Trim(strings.Fields(has)[0], "()")
		for _, err := range []error{os.MkdirAll(fds, 0o700), os.Symlink("socket:[7]", fds+"/3"), os.WriteFile(fds+"/../stat", []byte(pid+" "+has), 0o600), os.WriteFile(fds+"/../comm", []byte(name), 0o600)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := p.pidsOf([]occupant{{inode: 7}}); got[7] != 99 {
		t.Errorf("got %v, want 99", got)
	}
}

// TestUnseenHolder: an ordinary user can't look into another's processes.
func TestUnseenHolder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := parseKey(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink("/proc/thread-self", dir+"/thread-self"); err != nil {
		t.Fatal(err)
	}
	got := procDir(dir).whoHas(a)
	if want := fmt.Sprintf("a process of the user %s that can't be seen from here listens on %s", userName(fmt.Sprint(os.Getuid())), a); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTwoAppsShare: with the consent of both, and the processes of one user.
func TestTwoAppsShare(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	web, api := app("web"), app("api")
	web.Share, api.Share = true, true
	one, two := s.Open(web, 0), s.Open(api, 0)
	a := start(t, one, 1, "listen", at, "accept", "serve")
	a.expect("listen")
	b := start(t, two, 1, "listen", at, "accept", "serve")
	b.expect("listen")
	seen := map[int]int{}
	for range 60 {
		seen[ask(t, at)]++
	}
	if seen[a.pid] == 0 || seen[b.pid] == 0 || seen[a.pid]+seen[b.pid] != 60 {
		t.Fatalf("answers by pid: %v, want both of %d and %d", seen, a.pid, b.pid)
	}
	a.kill()
	one.Follow(Condition{Inc: 1, Wait: 1})
	for range 20 {
		if pid := ask(t, at); pid != b.pid {
			t.Fatalf("answered by %d, want the other app's %d", pid, b.pid)
		}
	}
	c := startProgram(t, s.Open(api, 1), 1, actor("listen", at), ordinaryUser(t))
	c.expect("address already in use")
	if !strings.Contains(s.log(), "api:1: port") || !strings.Contains(s.log(), "runs as another user") {
		t.Errorf("the log says %q", s.log())
	}
}

// TestBoundIsTaken: a port that another app has bound is its own before it listens.
func TestBoundIsTaken(t *testing.T) {
	s := newScene(t)
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	a := start(t, s.Open(app("web"), 0), 1, "hold", at, "serve")
	a.expect("hold")
	b := start(t, s.Open(app("api"), 0), 1, "listen", at)
	b.expect("address already in use")
	if !strings.Contains(s.log(), "is the app web's") {
		t.Errorf("the log says %q", s.log())
	}
}

// freeLow is a privileged port that nobody has.
func freeLow(t *testing.T) int {
	t.Helper()
	for port := 1023; port > 600; port-- {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no privileged port is free")
	return 0
}

// TestPrivilegedPorts are lent to who names them, and are nobody else's without the
// capability.
func TestPrivilegedPorts(t *testing.T) {
	ordinary := ordinaryUser(t)
	capable := ordinaryUser(t)
	capable.AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE}
	pretender := ordinaryUser(t)
	pretender.Cloneflags = syscall.CLONE_NEWUSER
	pretender.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}}
	pretender.Credential = nil
	for _, c := range []struct {
		name  string
		as    *syscall.SysProcAttr
		named bool
		want  string
	}{
		{"nobody, not named", ordinary, false, "permission denied"},
		{"nobody, named", ordinary, true, "listen "},
		{"with the capability", capable, false, "listen "},
		{"with one of its own making", pretender, false, "permission denied"},
		{"root", nil, false, "listen "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			s.low = 1024
			port := freeLow(t)
			web := app("web")
			if c.named {
				web.Named = []int{port}
			}
			at := fmt.Sprintf("127.0.0.1:%d", port)
			for index := range 2 {
				p := startProgram(t, s.Open(web, index), 1, actor("listen", at, "serve"), c.as)
				p.expect(c.want)
			}
			if refused := strings.Contains(s.log(), "name it in cluster_ports"); refused != strings.HasPrefix(c.want, "permission") {
				t.Errorf("the log says %q", s.log())
			}
		})
	}
}
