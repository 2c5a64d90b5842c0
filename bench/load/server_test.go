package load

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a fact may take.
const patience = 20 * time.Second

// script is a server whose answers are written out by hand. act answers one request on a connection and says whether
// the connection goes on; all that it has ends with the test.
func script(t *testing.T, network string, act func(conn net.Conn, id, path string) bool) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/sock"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil || !act(conn, r.Header.Get("X-Id"), r.URL.String()) {
						return
					}
				}
			})
		}
	})
	return l.Addr().String()
}

// good is a complete answer of the server "7".
func good(id string) string {
	body := "7 " + id + "\n"
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Pid: 7\r\nX-Id: %s\r\nContent-Length: %d\r\n\r\n%s", id, len(body), body)
}

// sends answers with a text and goes on.
func sends(text func(id string) string) func(net.Conn, string, string) bool {
	return func(conn net.Conn, id, _ string) bool {
		_, err := conn.Write([]byte(text(id)))
		return err == nil
	}
}

// vanish ends a connection by a reset, as the kernel does for a process that has died with bytes unread.
func vanish(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// whole checks that every request is in exactly one count, and that every failure is told.
func whole(t *testing.T, r Result) {
	t.Helper()
	sum := r.OK + r.Refused + r.Reset + r.ResetReused + r.Cut + r.TimedOut + r.Wrong + r.Local
	if sum != r.Requests || r.Failed() != len(r.Failures) {
		t.Errorf("the counts don't add up: %+v", r)
	}
	served := 0
	for _, n := range r.Servers {
		served += n
	}
	if served != r.OK {
		t.Errorf("%d good answers, but the servers gave %d", r.OK, served)
	}
}

// run carries out a plan and checks the counts, which are the ones that differ from 0 except Requests.
func run(t *testing.T, p Plan, want Counts) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := Run(ctx, p)
	whole(t, r)
	if r.Counts != want {
		t.Errorf("counted %+v\nwant    %+v\n%s", r.Counts, want, r.Text())
	}
	return r
}

func mention(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %q", part, text)
		}
	}
}
