package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Fault is what a Proxy does to a request.
type Fault int

const (
	Pass     Fault = iota
	Fail           // answers 500, as an agent without a leader
	Silent         // takes the request and never answers
	Cut            // breaks the connection off in the middle of the answer
	Slow           // lets it pass, after two seconds
	Stranger       // answers 404, as a web server that knows nothing of Consul
)

// Proxy stands between somebody and an agent.
type Proxy struct {
	target *url.URL
	server *http.Server
	at     string
	ended  chan struct{} // closed when it no longer listens

	mu    sync.Mutex // guards the rest
	fault Fault
	path  string
	under *underWay
	seen  int
}

// underWay are the requests that began since the fault was set.
type underWay struct {
	sync.WaitGroup
	over chan struct{} // closed when the fault changes
}

func newUnderWay() *underWay { return &underWay{over: make(chan struct{})} }

// NewProxy stands before an agent, by its Address, on a port of its own.
func NewProxy(address string) (*Proxy, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, at: l.Addr().String(), ended: make(chan struct{}), under: newUnderWay()}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve)}
	go func() {
		_ = p.server.Serve(l) // until it is closed
		close(p.ended)
	}()
	return p, nil
}

// Address is what who asks is told.
func (p *Proxy) Address() string { return "http://" + p.at }

// Set lets the fault befall all requests whose path begins like this ("" = all). Those
// under way are broken off: none of them is answered when it returns.
func (p *Proxy) Set(f Fault, path string) {
	p.mu.Lock()
	before := p.under
	p.fault, p.path, p.under = f, path, newUnderWay()
	p.mu.Unlock()
	close(before.over)
	before.Wait()
}

// Seen is how many requests there were.
func (p *Proxy) Seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// Close ends it; nobody listens there then.
func (p *Proxy) Close() {
	p.Set(Pass, "")
	_ = p.server.Close()
	<-p.ended
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen++
	fault, under := p.fault, p.under
	under.Add(1)
	defer under.Done()
	if !strings.HasPrefix(r.URL.Path, p.path) {
		fault = Pass
	}
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-under.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	switch fault {
	case Fail:
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return
	case Stranger:
		http.NotFound(w, r)
		return
	case Silent:
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	case Cut:
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `[{"Node":`)
		_ = http.NewResponseController(w).Flush() // an error: who asked has gone
		panic(http.ErrAbortHandler)
	case Slow:
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
		}
	case Pass:
	}
	p.forward(w, r.WithContext(ctx))
	if ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
}

// forward asks the agent.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	through := &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(p.target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			panic(http.ErrAbortHandler)
		},
	}
	through.ServeHTTP(w, r)
}
