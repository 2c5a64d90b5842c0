package load

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// byConnection answers as a different server on each connection, in turn.
func byConnection(t *testing.T, servers ...string) string {
	var mu sync.Mutex
	of := map[net.Conn]string{}
	return script(t, "tcp", func(conn net.Conn, id, _ string) bool {
		mu.Lock()
		pid := of[conn]
		if pid == "" {
			pid = servers[len(of)%len(servers)]
			of[conn] = pid
		}
		mu.Unlock()
		body := pid + " " + id + "\n"
		_, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Pid: %s\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s", pid, id, len(body), body)
		return err == nil
	})
}

func TestHoldSaysWhoHasHowMany(t *testing.T) {
	for _, over := range []time.Duration{0, 50 * time.Millisecond} {
		target := byConnection(t, "1", "1", "2")
		h, err := Hold(context.Background(), Holding{Target: target, Connections: 9, Over: over})
		if err != nil {
			t.Fatal(err)
		}
		if h.Text() != "9 connections: 1=6 2=3" || h.Spread(2) != 3 || h.Spread(3) != 6 {
			t.Errorf("over %v: %s, spread %d and %d", over, h.Text(), h.Spread(2), h.Spread(3))
		}
		for range 2 {
			if r := h.Ask(); r.OK != 9 || r.Requests != 9 || r.Connections != 0 || r.IdleClosed != 0 {
				t.Error(r.Text())
			}
		}
		h.Close()
	}
}

func TestABurstConnectsBeforeItAsks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // accepts only when all five are there
		_, err := Hold(context.Background(), Holding{Target: l.Addr().String(), Connections: 5, Timeout: patience})
		ended <- err
	}()
	var conns []net.Conn
	for range 5 {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	l.Close()
	select {
	case err := <-ended:
		t.Fatalf("it ended before anybody answered: %v", err)
	default:
	}
	for _, conn := range conns {
		conn.Close()
	}
	if err := <-ended; err == nil {
		t.Error("nobody answered, and all is well")
	}
}

func TestHoldFailsWhereAConnectionDoes(t *testing.T) {
	var n atomic.Int32
	target := script(t, "tcp", func(conn net.Conn, id, _ string) bool {
		if n.Add(1) == 3 {
			return false
		}
		_, err := conn.Write([]byte(good(id)))
		return err == nil
	})
	_, err := Hold(context.Background(), Holding{Target: target, Connections: 5, Over: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "reset before the answer") {
		t.Error(err)
	}
}

func TestAskOpensAgainWhatWasClosed(t *testing.T) {
	gone := make(chan struct{}, 10)
	target := script(t, "tcp", func(conn net.Conn, id, _ string) bool {
		fmt.Fprint(conn, good(id))
		conn.Close()
		gone <- struct{}{}
		return false
	})
	h, err := Hold(context.Background(), Holding{Target: target, Connections: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for range 3 {
		<-gone
	}
	if r := h.Ask(); r.OK != 3 || r.IdleClosed != 3 || r.Connections != 3 {
		t.Errorf("%+v", r.Counts)
	}
}

func TestFirstTriesUntilSomebodyIsThere(t *testing.T) {
	var n atomic.Int32
	target := script(t, "tcp", func(conn net.Conn, id, _ string) bool {
		if n.Add(1) < 4 {
			return false
		}
		fmt.Fprint(conn, good(id))
		return false
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a, failed, err := First(ctx, target, "/", patience)
	if err != nil || failed != 3 || a.Pid != "7" {
		t.Error(a, failed, err)
	}
	cancel()
	if _, failed, err = First(ctx, t.TempDir()+"/none", "/", patience); err == nil || failed != 0 {
		t.Error("an ended context gives", failed, err)
	}
}

func TestAuditComparesTheLogWithTheAnswers(t *testing.T) {
	r := Result{Counts: Counts{Requests: 7}, run: "ab", failed: map[int]bool{4: true, 5: true, 6: true}}
	log := `0|web | ab-0 begin
ab-0 end
ab-1 begin
other-3 begin
ab-2 begin
ab-2 end
ab-2 begin
ab-2 end
ab-4 begin
ab-5 begin
ab-5 end
ab-1000 began
listening
ab-x begin
ab-1 end and more`
	a, err := r.Audit(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	if a.Clean() {
		t.Error("clean")
	}
	got := fmt.Sprint(a.Executed, a.Twice, a.Half, a.Unanswered, a.Missing)
	if want := "5 [ab-2] [ab-1 ab-4] [ab-5] [ab-3]"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	mention(t, a.Text(), "5 executed, 1 twice, 2 half, 1 executed but not answered, 1 answered but not in the log", "ab-2")
	if a, err = r.Audit(strings.NewReader("")); err != nil || len(a.Missing) != 4 {
		t.Error(a, err)
	}
}
