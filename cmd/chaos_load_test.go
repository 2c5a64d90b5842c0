package cmd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// askers are clients of an HTTP server that ask all the time, some on a connection
// kept, some on a new one for every request.
type askers struct {
	stop    context.CancelFunc
	clients sync.WaitGroup
	asked   atomic.Int64
	failed  atomic.Int64
	first   atomic.Pointer[error]
}

const loadPause = 5 * time.Millisecond // of a client between two requests: the machine has other things to do

// newAskers begins to ask, once the server answers.
func newAskers(t *testing.T, port int) *askers {
	t.Helper()
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	eventually(t, soon, func() error { return fetch(http.DefaultClient, url) })
	ctx, cancel := context.WithCancel(context.Background())
	l := &askers{stop: cancel}
	for _, fresh := range []bool{false, false, true, true} {
		l.clients.Go(func() { l.ask(ctx, url, fresh) }) // ends with ctx, waited for by end
	}
	t.Cleanup(func() { l.stop(); l.clients.Wait() })
	return l
}

func (l *askers) ask(ctx context.Context, url string, fresh bool) {
	transport := &http.Transport{DisableKeepAlives: fresh, DialContext: (&net.Dialer{Timeout: soon}).DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: soon}
	pause := time.NewTicker(loadPause)
	defer pause.Stop()
	for ctx.Err() == nil {
		l.asked.Add(1)
		if err := fetch(client, url); err != nil {
			l.failed.Add(1)
			l.first.CompareAndSwap(nil, &err)
		}
		<-pause.C
	}
}

func fetch(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return err
}

// end stops asking; not one request may have failed.
func (l *askers) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.clients.Wait()
	if err := l.first.Load(); err != nil {
		t.Errorf("%d of %d requests failed, first: %v", l.failed.Load(), l.asked.Load(), *err)
	}
	t.Logf("%d requests", l.asked.Load())
}

// served is an HTTP server and loggers under steady requests. After everything done
// to gopm the same processes must run, none of them restarted.
type served struct {
	*gopm
	load   *askers
	before map[string]int
}

func serve(g *gopm) *served {
	g.Helper()
	port := freePort(g.T)
	g.cast(
		role{"web", fmt.Sprintf("-port %d -every 10ms -err", port), ""},
		role{"logger", "-every 1ms -batch 5 -err", `"max_size": "100K", "retain": 0`})
	return &served{g, newAskers(g.T, port), g.pids()}
}

// unharmed lets the clients ask for a while, and compares.
func (s *served) unharmed(what string) {
	s.Helper()
	enough := s.load.asked.Load() + 200
	eventually(s.T, soon, func() error {
		if n := s.load.asked.Load(); n < enough {
			return fmt.Errorf("%d requests, want %d", n, enough)
		}
		return nil
	})
	for _, e := range s.list() {
		if e.Env.Restarts != 0 || e.Env.Status != "online" || e.Pid != s.before[fmt.Sprintf("%s:%d", e.Name, e.Env.Instance)] {
			s.Errorf("after %s: %v; before: %v", what, e, s.before)
		}
	}
	now := s.actorsNow()
	if len(now) != len(s.before) {
		s.Errorf("after %s: %v run, before: %v", what, now, s.before)
	}
	for name, pids := range now {
		if len(pids) != 1 {
			s.Errorf("after %s: %s runs as %v", what, name, pids)
		}
	}
}

// end ends everything and counts the lines.
func (s *served) end() {
	s.Helper()
	s.load.end(s.T)
	s.run("kill")
	for _, name := range []string{"web", "logger"} {
		for _, stderr := range []bool{false, true} {
			if err := s.complete(name, stderr, 5); err != nil {
				s.Error(err)
			}
		}
	}
}

func TestLoadDaemonKilled(t *testing.T) {
	s := serve(newGopm(t))
	for range 3 {
		old := s.daemonNow()
		strike(old)
		s.another("daemon", s.daemonNow, old)
		s.unharmed("kill -9 of the daemon")
	}
	s.end()
}

func TestLoadKeeperKilled(t *testing.T) {
	s := serve(newGopm(t))
	for range 3 {
		daemon, old := s.daemonNow(), s.keeperNow()
		strike(old)
		s.another("keeper", s.keeperNow, old)
		s.unharmed("kill -9 of the keeper")
		if now := s.daemonNow(); now != daemon {
			t.Errorf("the daemon was %d and is %d", daemon, now)
		}
	}
	strike(s.daemonNow()) // the new keeper knows everything
	s.unharmed("kill -9 of the keeper, then of the daemon")
	s.end()
}

func TestLoadBothKilled(t *testing.T) {
	s := serve(newGopm(t))
	for range 2 {
		s.strikeBoth()
		s.run("resurrect")
		s.unharmed("kill -9 of both")
	}
	s.end()
}
