package cmd_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// stops sends SIGSTOP, as a fault does that no signal but SIGKILL ends.
func stops(t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
}

// TestAStoppedInstanceIsReplaced: connections that waited in its queue are answered by
// its successor, and nobody touches the other instance.
func TestAStoppedInstanceIsReplaced(t *testing.T) {
	for _, kind := range webKinds {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			g.startWeb("web", kind, "-account "+target, `"instances": 2, "hang_timeout": "500ms"`)
			answering(t, target)
			before := g.pids()
			r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
				stops(t, before["web:0"])
				eventually(t, soon, func() error { return g.isReplaced("web:0", before["web:0"]) })
			})
			a, err := g.account(r, "web")
			must(t, err)
			// What it had accepted ends with it; a connection or two.
			if lost := r.Reset + r.Cut; r.Failed() > lost || lost > 5 || len(a.Twice) > 0 {
				t.Errorf("%s; %s", r.Text(), a.Text())
			}
			if now := g.pids()["web:1"]; now != before["web:1"] {
				t.Errorf("web:1 is pid %d, was %d", now, before["web:1"])
			}
			contains(t, "info", g.run("info", "0"), "last restart because", "hang: ", "none accepted for")
			contains(t, "the daemon's log", g.log(), "web:0", "was killed, for it did not accept connections (hang: ")
			t.Log(hangLine(g.log()))
		})
	}
}

// hangLine is the first line of the daemon's log about a hang.
func hangLine(log string) string {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "(hang: ") {
			return line
		}
	}
	return "no line about a hang"
}

// conversation is a kept connection to a server that is known.
type conversation struct {
	net.Conn
	pid string
}

// converse opens connections until there is one to each of n servers.
func converse(t *testing.T, target string, n int) map[string]conversation {
	t.Helper()
	all := map[string]conversation{}
	eventually(t, soon, func() error {
		c, err := net.DialTimeout("tcp", target, soon)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		must(t, c.SetReadDeadline(time.Now().Add(soon)))
		for in := bufio.NewScanner(c); in.Scan() && in.Text() != ""; {
			if name, value, _ := strings.Cut(in.Text(), ": "); strings.EqualFold(name, "X-Pid") {
				all[value] = conversation{c, value}
			}
		}
		if len(all) < n {
			return fmt.Errorf("%d of %d servers answer", len(all), n)
		}
		return nil
	})
	return all
}

// allAnswer waits until each of n servers has answered, and leaves no connection behind.
func allAnswer(t *testing.T, target string, n int) {
	t.Helper()
	eventually(t, soon, func() error {
		r := load.Run(context.Background(), load.Plan{Target: target, Count: 10 * n, Timeout: soon})
		if len(r.Servers) < n {
			return fmt.Errorf("%d of %d servers answer", len(r.Servers), n)
		}
		return nil
	})
}

// TestBothInEndlessLoops: then there is nobody to steer to, and still nobody is refused.
func TestBothInEndlessLoops(t *testing.T) {
	for _, kind := range []string{"go", "node"} {
		t.Run(kind, func(t *testing.T) {
			g := newGopm(t)
			target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
			g.startWeb("web", kind, "-account "+target, `"instances": 2, "hang_timeout": "500ms"`)
			answering(t, target)
			before := g.pids()
			both := converse(t, target, 2)
			r := underLoad(t, load.Plan{Target: target, Rate: 60, Timeout: 2 * soon}, func() {
				for _, c := range both {
					_, err := fmt.Fprintf(c, "GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
					must(t, err)
				}
				for name, pid := range before {
					eventually(t, soon, func() error { return g.isReplaced(name, pid) })
				}
			})
			a, err := g.account(r, "web")
			must(t, err)
			if lost := r.Reset + r.Cut; r.Failed() > lost || lost > 10 || len(a.Twice) > 0 {
				t.Errorf("%s; %s", r.Text(), a.Text())
			}
			t.Log(hangLine(g.log()))
		})
	}
}

// serial is a server that takes one connection at a time: a queue is all that there is
// of concurrency. /hang never returns; any other path takes 50 ms.
const serial = `import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while self.path == "/hang": pass
        time.sleep(0.05)
        body = (str(os.getpid()) + " " + self.headers.get("X-Id", "") + "\n").encode()
        self.send_response(200)
        self.send_header("X-Pid", str(os.getpid()))
        self.send_header("X-Id", self.headers.get("X-Id", ""))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
`

// startSerial starts it and waits until it answers.
func (g *gopm) startSerial(name, fields string) (target string) {
	g.Helper()
	port := freePort(g.T)
	target = fmt.Sprintf("127.0.0.1:%d", port)
	script := g.file(name+".py", serial)
	g.run("start", g.file(name+".json", fmt.Sprintf(`{"apps": [{"name": %q, "script": %q, "args": "%d", %s}]}`, name, script, port, fields)))
	answering(g.T, target)
	return target
}

// TestSlowAndIdleAreNotStuck: more come than are served, so the queue only grows; then
// nobody comes at all. And the same program is found out when it stops.
func TestSlowAndIdleAreNotStuck(t *testing.T) {
	g := newGopm(t)
	target := g.startSerial("slow", `"instances": 2, "hang_timeout": "300ms"`)
	g.startSerial("idle", `"instances": 2, "hang_timeout": "300ms"`)
	before := g.pids()
	r := underLoad(t, load.Plan{Target: target, Rate: 80, Duration: 3 * time.Second, Timeout: 4 * soon}, func() {})
	if r.Failed() > 0 {
		t.Error(r.Text())
	}
	for name, pid := range before {
		if now := g.pids()[name]; now != pid {
			t.Errorf("%s was %d, is %d: %s", name, pid, now, hangLine(g.log()))
		}
	}
	if r.Fast.Max < time.Second {
		t.Errorf("no queue has grown: %s", r.Text())
	}
	stops(t, before["slow:0"])
	underLoad(t, load.Plan{Target: target, Rate: 20, Timeout: 2 * soon}, func() {
		eventually(t, soon, func() error { return g.isReplaced("slow:0", before["slow:0"]) })
	})
}

// TestAQueueThatHangsEverybody: each successor takes the next of the requests that hang
// it. After a few the rest are refused, and the app serves again.
func TestAQueueThatHangsEverybody(t *testing.T) {
	g := newGopm(t)
	target := g.startSerial("poisoned", `"exec_mode": "cluster", "hang_timeout": "300ms"`)
	var waiting []net.Conn
	for range 8 {
		c, err := net.DialTimeout("tcp", target, soon)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = fmt.Fprintf(c, "GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		waiting = append(waiting, c)
	}
	for i, c := range waiting { // all are told in the end, by a reset or an end
		must(t, c.SetReadDeadline(time.Now().Add(2*soon)))
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
			t.Errorf("client %d: %d bytes, %v", i, n, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*soon)
	defer cancel()
	_, _, err := load.First(ctx, target, "/", soon)
	must(t, err)
	log := g.log()
	contains(t, "the daemon's log", log, "those who wait are refused")
	if n := strings.Count(log, "(hang: "); n != 3 {
		t.Errorf("%d processes were killed for it, want 3:\n%s", n, log)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestConnectionsThatStayAreEven: as many long-lived connections on each instance, give
// or take what comes between two looks.
func TestConnectionsThatStayAreEven(t *testing.T) {
	for _, kind := range []string{"go", "node"} {
		for _, instances := range []int{2, 4} {
			t.Run(fmt.Sprint(kind, instances), func(t *testing.T) {
				g := newGopm(t)
				target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
				g.startWeb("web", kind, target, fmt.Sprintf(`"instances": %d`, instances))
				allAnswer(t, target, instances)
				held, err := load.Hold(context.Background(), load.Holding{Target: target, Connections: 32, Over: 2 * time.Second})
				must(t, err)
				defer held.Close()
				t.Log(held.Text())
				if d := held.Spread(instances); d > 3 {
					t.Errorf("%d apart: %s", d, held.Text())
				}
			})
		}
	}
}

// TestABurstIsEvenedOut: connections that all come at once fall by chance; those that
// come later make up for it.
func TestABurstIsEvenedOut(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "go", target, `"instances": 4`)
	allAnswer(t, target, 4)
	burst, err := load.Hold(context.Background(), load.Holding{Target: target, Connections: 40})
	must(t, err)
	defer burst.Close()
	later, err := load.Hold(context.Background(), load.Holding{Target: target, Connections: 40, Over: 2 * time.Second})
	must(t, err)
	defer later.Close()
	all := burst.Servers()
	for pid, n := range later.Servers() {
		all[pid] += n
	}
	least, most := 80, 0
	for _, n := range all {
		least, most = min(least, n), max(most, n)
	}
	t.Logf("burst: %s; later: %s", burst.Text(), later.Text())
	if len(all) != 4 || most-least > 4 {
		t.Errorf("after the burst %v, %d apart", all, most-least)
	}
}

// TestASuccessorFillsUp: the one that has lost its connections gets those that come next.
func TestASuccessorFillsUp(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "go", target, `"instances": 2`)
	allAnswer(t, target, 2)
	before, err := load.Hold(context.Background(), load.Holding{Target: target, Connections: 40, Over: time.Second})
	must(t, err)
	defer before.Close()
	killed := g.pids()["web:0"]
	g.killHard(killed)
	eventually(t, soon, func() error { return g.isReplaced("web:0", killed) })
	later, err := load.Hold(context.Background(), load.Holding{Target: target, Connections: 16, Over: time.Second})
	must(t, err)
	defer later.Close()
	t.Logf("before: %s; after: %s", before.Text(), later.Text())
	if n := later.Servers()[fmt.Sprint(g.pids()["web:0"])]; n < 13 {
		t.Errorf("the successor has %d of 16 new connections, the other has %s as well", n, before.Text())
	}
}

// TestSameClientSameInstance: by the address of the client.
func TestSameClientSameInstance(t *testing.T) {
	g := newGopm(t)
	target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.startWeb("web", "go", target, `"instances": 3, "balance": "source"`)
	serverOf := func(from string) string {
		t.Helper()
		r := load.Run(context.Background(), load.Plan{Target: target, Count: 5, From: []string{from}})
		if r.OK != 5 || len(r.Servers) != 1 {
			t.Fatalf("from %s: %s", from, r.Text())
		}
		for pid := range r.Servers {
			return pid
		}
		return ""
	}
	eventually(t, soon, func() error { // all three are there
		seen := map[string]bool{}
		for i := range 30 {
			r := load.Run(context.Background(), load.Plan{Target: target, Count: 1, From: []string{fmt.Sprintf("127.0.1.%d", i+1)}})
			for pid := range r.Servers {
				seen[pid] = true
			}
		}
		if len(seen) != 3 {
			return fmt.Errorf("30 clients are served by %d instances", len(seen))
		}
		return nil
	})
	before, pids := map[string]string{}, g.pids()
	for i := range 20 {
		from := fmt.Sprintf("127.0.2.%d", i+1)
		before[from] = serverOf(from)
	}
	killed := pids["web:1"]
	g.killHard(killed)
	eventually(t, soon, func() error { return g.isReplaced("web:1", killed) })
	now := fmt.Sprint(g.pids()["web:1"])
	answering(t, target)
	eventually(t, soon, func() error { // its successor listens
		for from, was := range before {
			if was == fmt.Sprint(killed) && serverOf(from) != now {
				return fmt.Errorf("%s isn't served by the successor", from)
			}
		}
		return nil
	})
	for from, was := range before {
		if is := serverOf(from); was != fmt.Sprint(killed) && is != was {
			t.Errorf("%s was served by %s, now by %s, though %d was killed", from, was, is, killed)
		}
	}
}
