package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Two gopm of one user, each with an app on the same port: the second is told, though the
// kernel would let them share.
func TestAnotherHostHasThePort(t *testing.T) {
	first, second := newScene(t), newScene(t)
	port := freePort(t)
	at := fmt.Sprintf("127.0.0.1:%d", port)
	theirs := first.Open(app("web"), 0)
	a := start(t, theirs, 1, "listen", at, "accept", "serve")
	a.expect("listen")

	ours := second.Open(app("shop"), 0)
	for inc, to := range []string{at, fmt.Sprintf("0.0.0.0:%d", port), fmt.Sprintf("[::]:%d", port)} {
		p := start(t, ours, uint64(inc+1), "listen", to)
		p.expect("address already in use")
		p.kill()
	}
	if said := second.log(); !strings.Contains(said, fmt.Sprintf("shop:0: port %d is taken: ", port)) {
		t.Errorf("the log says %q", said)
	}
	for range 20 {
		if pid := ask(t, at); pid != a.pid {
			t.Fatalf("answered by %d, want %d", pid, a.pid)
		}
	}
	p := start(t, ours, 4, "listen", fmt.Sprintf("127.0.0.2:%d", port), "serve") // that is nobody's
	p.expect("listen")
	p.kill()

	a.kill()
	theirs.Follow(Condition{Inc: 1, Down: true})
	next := start(t, ours, 5, "listen", at, "accept", "serve")
	next.expect("listen")
	if pid := ask(t, at); pid != next.pid {
		t.Errorf("answered by %d, want %d", pid, next.pid)
	}
	sibling := start(t, second.Open(app("shop"), 1), 1, "listen", at, "serve")
	sibling.expect("listen")
}

// Who listens is seen with its family, and with what it doesn't take.
func TestListeners(t *testing.T) {
	port := freePort(t)
	fd, err := plainSocket(fmt.Sprintf("[::]:%d", port), true)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for to, want := range map[string]bool{"[::1]:%d": true, "[::]:%d": true, "127.0.0.1:%d": false, "0.0.0.0:%d": false} {
		a, err := parseKey(fmt.Sprintf(to, port))
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(listeners(a), uint32(inode(fd))); got != want {
			t.Errorf("%s: seen %v, want %v", a, got, want)
		}
	}
}
