package load

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestGoodAnswersAreGood(t *testing.T) {
	for name, text := range map[string]func(id string) string{
		"of a test server": good,
		"chunked": func(string) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
		},
		"to its length": func(string) string { return "HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nabcde" },
	} {
		for _, network := range []string{"tcp", "unix"} {
			for _, keep := range []bool{true, false} {
				target := script(t, network, sends(text))
				p := Plan{Target: target, KeepAlive: keep, Clients: 3, Count: 30}
				if name != "of a test server" {
					p.Body = "abcde"
				}
				want := Counts{Requests: 30, OK: 30, Connections: 30}
				if keep {
					want.Connections = 3
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				r := Run(ctx, p)
				cancel()
				whole(t, r)
				if keep { // a client may find that the others have done it all
					want.Connections = min(r.Connections, want.Connections)
				}
				if r.Counts != want {
					t.Errorf("%s, %s, keep %v: %+v\n%s", name, network, keep, r.Counts, r.Text())
				}
			}
		}
	}
}

func TestAnswersThatEndWithTheConnection(t *testing.T) {
	for name, head := range map[string]string{"old": "HTTP/1.0 200 OK\r\n\r\n", "said": "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"} {
		target := script(t, "tcp", func(conn net.Conn, _, _ string) bool {
			fmt.Fprint(conn, head+"all of it")
			return false
		})
		t.Run(name, func(t *testing.T) {
			run(t, Plan{Target: target, KeepAlive: true, Count: 5, Body: "all of it"}, Counts{Requests: 5, OK: 5, Connections: 5})
		})
	}
}

func TestEachFailureHasItsName(t *testing.T) {
	first := func(act func(net.Conn, string)) func(net.Conn, string, string) bool {
		var n atomic.Int32
		return func(conn net.Conn, id, _ string) bool {
			if n.Add(1) == 1 {
				act(conn, id)
				return false
			}
			_, err := conn.Write([]byte(good(id)))
			return err == nil
		}
	}
	for _, c := range []struct {
		name string
		act  func(net.Conn, string)
		want Counts
		says string
	}{
		{"end without an answer", func(c net.Conn, _ string) { c.Close() }, Counts{Reset: 1}, "reset before the answer"},
		{"reset without an answer", func(c net.Conn, _ string) { vanish(c) }, Counts{Reset: 1}, "connection reset by peer"},
		{"end in the head", func(c net.Conn, id string) { fmt.Fprint(c, good(id)[:20]) }, Counts{Cut: 1}, "in the middle"},
		{"end in the body", func(c net.Conn, id string) { fmt.Fprint(c, good(id)[:len(good(id))-1]) }, Counts{Cut: 1}, "unexpected EOF"},
		{"end in a chunk", func(c net.Conn, _ string) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
		}, Counts{Cut: 1}, "unexpected EOF"},
		{"another's answer", func(c net.Conn, _ string) { fmt.Fprint(c, good("x-1")) }, Counts{Wrong: 1}, `was given to`},
		{"a body that isn't ours", func(c net.Conn, id string) {
			fmt.Fprint(c, strings.Replace(good(id), "7 "+id, "8 "+id, 1))
		}, Counts{Wrong: 1}, "instead of"},
		{"a bad status", func(c net.Conn, _ string) {
			fmt.Fprint(c, "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy")
		}, Counts{Wrong: 1}, "status 503"},
		{"no HTTP", func(c net.Conn, _ string) { fmt.Fprint(c, "SSH-2.0\r\n") }, Counts{Wrong: 1}, "not an answer"},
		{"an absurd length", func(c net.Conn, _ string) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n") }, Counts{Wrong: 1}, "not an answer"},
		{"an absurd chunk", func(c net.Conn, _ string) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		}, Counts{Wrong: 1}, "chunk of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Requests, c.want.OK, c.want.Connections = 3, 2, 2
			target := script(t, "tcp", first(c.act))
			r := run(t, Plan{Target: target, KeepAlive: true, Count: 3}, c.want)
			mention(t, r.Text(), "2 ok, 1 failed", "failed: 1 ", c.says)
		})
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	run(t, Plan{Target: free, Count: 4}, Counts{Requests: 4, Refused: 4})
	run(t, Plan{Target: t.TempDir() + "/none", Count: 4}, Counts{Requests: 4, Refused: 4})
}

// The difference decides whether a lost request is the race of every kept connection or a fault.
func TestAResetOnAReusedConnectionIsCountedApart(t *testing.T) {
	target := script(t, "tcp", func(conn net.Conn, id, path string) bool {
		if path == "/slow" { // every second request: always on a connection that has carried an answer
			vanish(conn)
			return false
		}
		_, err := conn.Write([]byte(good(id)))
		return err == nil
	})
	run(t, Plan{Target: target, KeepAlive: true, Count: 6, SlowPath: "/slow", SlowShare: 0.5},
		Counts{Requests: 6, OK: 3, ResetReused: 3, Connections: 3})
}

func TestIdleConnectionsThatAreClosedAreNoFailure(t *testing.T) {
	gone := make(chan struct{}, 100)
	target := script(t, "tcp", func(conn net.Conn, id, _ string) bool {
		fmt.Fprint(conn, good(id))
		conn.Close()
		gone <- struct{}{}
		return false
	})
	// The client thinks until the server has closed the connection it has.
	think := func() time.Duration { <-gone; return time.Millisecond }
	r := run(t, Plan{Target: target, KeepAlive: true, Count: 5, Think: think}, Counts{Requests: 5, OK: 5, Connections: 5, IdleClosed: 4})
	mention(t, r.Text(), "5 ok, 0 failed", "4 idle connections closed", "1 servers: 7=5")
}

func TestSlowAnswersDontHoldUpAnOpenLoop(t *testing.T) {
	release := make(chan struct{})
	var waiting atomic.Int32
	target := script(t, "tcp", func(conn net.Conn, id, _ string) bool {
		if waiting.Add(1) == 20 { // nobody is answered before all have asked
			close(release)
		}
		<-release
		_, err := conn.Write([]byte(good(id)))
		return err == nil
	})
	for _, keep := range []bool{false, true} {
		run(t, Plan{Target: target, Rate: 200, KeepAlive: keep, Clients: 20, Count: 20}, Counts{Requests: 20, OK: 20, Connections: 20})
	}
}

// A latency counts from the moment when the request was due, so that a client that was held up hides nothing.
func TestLatencyIsFromTheMomentDue(t *testing.T) {
	target := script(t, "tcp", sends(good))
	d := &Driver{plan: Plan{Target: target, Path: "/", Timeout: patience}, run: newRun(), begun: time.Now()}
	c := d.client()
	defer c.hangUp()
	c.request(0, time.Now().Add(-time.Minute))
	if r := d.sum(); r.OK != 1 || r.Fast.P50 < time.Minute {
		t.Error(r.Text())
	}
}

func TestTimeouts(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, some := range map[string]string{"nothing": "", "half": "HTTP/1.1 200 OK\r\n"} {
		target := script(t, "tcp", func(conn net.Conn, _, _ string) bool {
			fmt.Fprint(conn, some)
			<-release
			return false
		})
		t.Run(name, func(t *testing.T) {
			run(t, Plan{Target: target, KeepAlive: true, Count: 2, Timeout: 50 * time.Millisecond}, Counts{Requests: 2, TimedOut: 2, Connections: 2})
		})
	}
}

// What was begun is finished: the counts of a run that is stopped are whole.
func TestStopLetsRequestsFinish(t *testing.T) {
	for _, rate := range []float64{0, 500} {
		asked, release := make(chan struct{}, 1000), make(chan struct{})
		target := script(t, "tcp", func(conn net.Conn, id, _ string) bool {
			asked <- struct{}{}
			<-release
			_, err := conn.Write([]byte(good(id)))
			return err == nil
		})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		d := Start(ctx, Plan{Target: target, Rate: rate, Clients: 2})
		<-asked
		d.Stop()
		if d.Answers() != 0 {
			t.Error("it counts answers that nobody gave")
		}
		close(release)
		r := d.Wait()
		cancel()
		whole(t, r)
		if r.Failed() > 0 || r.OK == 0 || d.Answers() != r.OK {
			t.Error(r.Text())
		}
	}
}

func TestSlowRequestsAreSpreadEvenly(t *testing.T) {
	p := Plan{Path: "/", SlowPath: "/slow", SlowShare: 0.05}
	slow, last := 0, -20
	for n := range 1000 {
		if path, is := p.path(n); is {
			if path != "/slow" || n-last != 20 && last >= 0 {
				t.Errorf("slow at %d, after %d", n, last)
			}
			slow, last = slow+1, n
		}
	}
	if slow != 50 {
		t.Errorf("%d slow ones of 1000", slow)
	}
}

func TestLatencyPicksRanks(t *testing.T) {
	var values []time.Duration
	for i := range 1000 {
		values = append(values, time.Duration(1000-i))
	}
	if l := latency(values); l != (Latency{P50: 500, P99: 990, Max: 1000}) {
		t.Error(l)
	}
	if l := latency([]time.Duration{7}); l != (Latency{7, 7, 7}) {
		t.Error(l)
	}
}

func TestClientAddresses(t *testing.T) {
	from := make(chan string, 10)
	target := script(t, "tcp", func(conn net.Conn, id, _ string) bool {
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		from <- host
		_, err := conn.Write([]byte(good(id)))
		return err == nil
	})
	h, err := Hold(context.Background(), Holding{Target: target, Connections: 4, From: []string{"127.0.0.5", "127.0.0.6"}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, want := range []string{"127.0.0.5", "127.0.0.6", "127.0.0.5", "127.0.0.6"} {
		if got := <-from; got != want {
			t.Errorf("from %s, want %s", got, want)
		}
	}
}
