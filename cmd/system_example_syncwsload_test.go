package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The load of the synchronous web service: each request has its own connection and is counted
// in exactly one way, and each answer has to be the one to its request.

// hungAfter is when a request without an answer is called hung: it should have had its 408 long since.
const hungAfter = (longTimeout + 30) * time.Second

// rpcLoad counts requests.
type rpcLoad struct {
	t      *testing.T
	target string
	begun  time.Time
	all    sync.WaitGroup // the requests, and who begins them
	end    chan struct{}  // closed: no more are begun

	mu          sync.Mutex
	requests    int
	counts      map[int]int // by status
	reset, hung int
	wrong       []string        // answers to somebody else, and failures that have no count
	took        []time.Duration // of the good answers
	workers     map[string]int  // by whom they were done
	servers     map[string]int  // and sent, by pid
	span        time.Duration
}

// load runs what begins requests, and waits for their ends.
func (s *syncService) load(asks func(l *rpcLoad)) *rpcLoad {
	s.Helper()
	l := &rpcLoad{t: s.T, target: s.target, begun: time.Now(), end: make(chan struct{}),
		counts: map[int]int{}, workers: map[string]int{}, servers: map[string]int{}}
	asks(l)
	close(l.end)
	l.all.Wait()
	l.span = time.Since(l.begun)
	return l
}

// open begins so many requests a second, of all kinds in turn: n of them, or with 0 until the load ends.
func (l *rpcLoad) open(ctx context.Context, rate, n int, kinds ...string) {
	pace := func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; n == 0 || i < n; i++ {
			l.begin(1, kinds[i%len(kinds)])
			select {
			case <-tick.C:
			case <-l.end:
				return
			case <-ctx.Done():
				return
			}
		}
	}
	if n > 0 {
		pace()
		return
	}
	l.all.Go(pace)
}

// closed has so many clients ask n times each, again when they are answered.
func (l *rpcLoad) closed(clients, n int, kind string) {
	for range clients {
		l.all.Go(func() {
			for range n {
				l.ask(kind)
			}
		})
	}
}

// begin begins n requests at once.
func (l *rpcLoad) begin(n int, kind string) {
	for range n {
		l.all.Go(func() { l.ask(kind) })
	}
}

// ask is one request to its end.
func (l *rpcLoad) ask(kind string) {
	l.mu.Lock()
	l.requests++
	id := fmt.Sprintf("%s %d", kind, l.requests)
	l.mu.Unlock()
	begun := time.Now()
	status, pid, body, err := askOnce(l.target+kind, map[string]string{kind: id})
	took := time.Since(begun)
	l.mu.Lock()
	defer l.mu.Unlock()
	var late net.Error
	switch {
	case err == nil:
		l.counts[status]++
	case errors.As(err, &late) && late.Timeout():
		l.hung++
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		err != nil && strings.HasSuffix(err.Error(), "server closed idle connection"): // in the instant in which it was used again
		l.reset++
	default:
		l.wrong = append(l.wrong, err.Error())
	}
	if status != http.StatusOK {
		return
	}
	if body[kind] != id {
		l.wrong = append(l.wrong, fmt.Sprintf("%s has the answer %v", id, body))
	}
	l.took = append(l.took, took)
	l.workers[body["by"]]++
	l.servers[pid]++
}

// askOnce posts to the service, on a connection of its own.
func askOnce(url string, body any) (status int, pid string, answer map[string]string, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, "", nil, err
	}
	if raw, is := body.(string); is {
		text = []byte(raw)
	}
	client := http.Client{Timeout: hungAfter, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Post(url, "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	err = json.NewDecoder(response.Body).Decode(&answer)
	return response.StatusCode, response.Header.Get("X-Pid"), answer, err
}

// more waits for so many more good answers.
func (l *rpcLoad) more(n int) {
	l.t.Helper()
	good := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.counts[http.StatusOK]
	}
	before := good()
	eventually(l.t, time.Minute, func() error {
		if now := good(); now < before+n {
			return fmt.Errorf("%d good answers, want %d", now, before+n)
		}
		return nil
	})
}

// wantAnswered says that nothing but good answers came.
func (l *rpcLoad) wantAnswered(what string) {
	l.t.Helper()
	if l.counts[http.StatusOK] != l.requests || len(l.wrong) > 0 {
		l.t.Errorf("%s: %v", what, l)
	}
}

func (l *rpcLoad) perSecond() float64 { return float64(l.counts[http.StatusOK]) / l.span.Seconds() }

func (l *rpcLoad) percentile(p int) time.Duration {
	if len(l.took) == 0 {
		return 0
	}
	slices.Sort(l.took)
	return l.took[(len(l.took)-1)*p/100]
}

func (l *rpcLoad) String() string {
	return fmt.Sprintf("%d requests in %v: by status %v, %d reset, %d hung, done by %v, sent by %v, wrong %q",
		l.requests, l.span, l.counts, l.reset, l.hung, l.workers, l.servers, l.wrong)
}

// connectionsTo is how many connections a port of this machine has.
func connectionsTo(t *testing.T, port int) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == fmt.Sprintf("0100007F:%04X", port) && f[3] == "01" {
			n++
		}
	}
	return n
}
