package consul

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"gopm/tools/agent"
)

// realAgent is one that ends with the test.
func realAgent(t *testing.T, o agent.Options) *agent.Agent {
	t.Helper()
	a, err := agent.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Kill)
	return a
}

// question is something that is asked of an agent.
type question func(c *api.Client, ctx context.Context) error

func services(c *api.Client, ctx context.Context) error {
	_, err := c.Agent().ServicesWithFilterOpts("", (&api.QueryOptions{}).WithContext(ctx))
	return err
}

func read(c *api.Client, ctx context.Context) error {
	_, _, err := c.KV().Get("key", (&api.QueryOptions{}).WithContext(ctx))
	return err
}

func write(c *api.Client, ctx context.Context) error {
	_, err := c.KV().Put(&api.KVPair{Key: "key", Value: []byte("a value")}, (&api.WriteOptions{}).WithContext(ctx))
	return err
}

func register(c *api.Client, ctx context.Context) error {
	return c.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{ID: "web:1", Name: "web"}, api.ServiceRegisterOpts{}.WithContext(ctx))
}

func renew(c *api.Client, ctx context.Context) error {
	_, _, err := c.Session().Renew("11111111-2222-3333-4444-555555555555", (&api.WriteOptions{}).WithContext(ctx))
	return err
}

// fault is a connection that doesn't work, and what is said about it.
type fault struct {
	what  string
	by    Connection
	ask   question
	kind  Kind
	words string
}

// run asks, and compares what it hears.
func (f fault) run(t *testing.T) {
	t.Helper()
	c, err := Open(f.by, nil)
	if err != nil {
		t.Errorf("%s: %v", f.what, err)
		return
	}
	defer c.Close()
	err = c.do(t.Context(), 0, func(ctx context.Context) error { return f.ask(c.api, ctx) })
	var e *Error
	if !errors.As(err, &e) || e.Kind != f.kind || !strings.Contains(err.Error(), f.words) || !strings.HasPrefix(err.Error(), "consul at "+f.by.Address+": ") {
		t.Errorf("%s: %v (%+v), want kind %d and %q", f.what, err, e, f.kind, f.words)
	}
	if s := c.Status(); s.Down != (f.kind == KindDown) || s.Down && !strings.Contains(s.Error, f.words) {
		t.Errorf("%s: its status is %+v", f.what, s)
	}
	if f.by.Token != "" && strings.Contains(err.Error(), f.by.Token) {
		t.Errorf("%s: the token is in %v", f.what, err)
	}
}

func TestFaultsOfTokens(t *testing.T) {
	t.Parallel()
	a := realAgent(t, agent.Options{ACL: true})
	reader, err := a.NewToken("reader", `key_prefix "" { policy = "read" }`)
	if err != nil {
		t.Fatal(err)
	}
	at := func(token string) Connection { return Connection{Address: a.Address(), Token: token} }
	for _, f := range []fault{
		{"no token", at(""), read, KindDenied, "it wants a token"},
		{"no token for a service", at(""), register, KindDenied, "it wants a token"},
		{"an unknown token", at("0f0f0f0f-0000"), services, KindDenied, "it doesn't know the token"},
		{"an unknown token for a session", at("0f0f0f0f-0000"), renew, KindDenied, "it doesn't know the token"},
		{"a token that may only read", at(reader), write, KindDenied, "lacks permission 'key:write'"},
		{"a token without services", at(reader), register, KindDenied, "the token may not do that"},
	} {
		f.run(t)
	}
}

// TestTokenFile has the token of a file followed.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	a := realAgent(t, agent.Options{ACL: true})
	file := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("not-yet")
	c, err := Open(Connection{Address: a.Address(), TokenFile: file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	try := func() error {
		return c.do(t.Context(), 0, func(ctx context.Context) error { return write(c.api, ctx) })
	}
	if err := try(); !IsDenied(err) {
		t.Errorf("with a wrong token: %v", err)
	}
	put(a.Token)
	if err := try(); err != nil {
		t.Errorf("with the right one: %v", err)
	}
}

func TestFaultsOfTLS(t *testing.T) {
	t.Parallel()
	plain, secure, strict := realAgent(t, agent.Options{}), realAgent(t, agent.Options{TLS: true}), realAgent(t, agent.Options{TLS: true, Client: true})
	foreign, err := agent.NewCerts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	known := TLS{CAFile: strict.Certs.CA}
	for _, f := range []fault{
		{"plainly to one with TLS", Connection{Address: secure.HostPort()}, services, KindDown, "it wants HTTPS"},
		{"TLS to a plain one", Connection{Address: "https://" + plain.HostPort()}, services, KindDown, "it speaks plain HTTP"},
		{"TLS by a switch to a plain one", Connection{Address: plain.HostPort(), TLS: TLS{On: true}}, services, KindDown, "it speaks plain HTTP"},
		{"an unknown authority", Connection{Address: secure.Address()}, services, KindDown, "ca_file, or CONSUL_CACERT"},
		{"another authority", Connection{Address: secure.Address(), TLS: TLS{CAFile: foreign.CA}}, services, KindDown, "signed by nobody who is known"},
		{"another name", Connection{Address: secure.Address(), TLS: TLS{CAFile: secure.Certs.CA, ServerName: "consul.example"}}, services, KindDown, "CONSUL_TLS_SERVER_NAME"},
		{"no certificate", Connection{Address: strict.Address(), TLS: known}, services, KindDown, "doesn't accept our certificate (certificate required)"},
		{"a foreign certificate", Connection{Address: strict.Address(), TLS: TLS{CAFile: known.CAFile, CertFile: foreign.Client, KeyFile: foreign.ClientKey}}, services, KindDown, "CONSUL_CLIENT_CERT"},
	} {
		f.run(t)
	}
	for what, by := range map[string]Connection{
		"one with TLS":         {Address: secure.Address(), TLS: TLS{CAFile: secure.Certs.CA}},
		"one that is believed": {Address: secure.HostPort(), TLS: TLS{On: true, Insecure: true}},
		"one that is strict":   {Address: strict.Address(), TLS: TLS{CAFile: known.CAFile, CertFile: strict.Certs.Client, KeyFile: strict.Certs.ClientKey}},
	} {
		c, err := Open(by, nil)
		if err == nil {
			err = c.do(t.Context(), 0, func(ctx context.Context) error { return write(c.api, ctx) })
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestFaultsOfFiles are those that are known before anybody is asked.
func TestFaultsOfFiles(t *testing.T) {
	t.Parallel()
	certs, err := agent.NewCerts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const missing = "/nonexistent/file"
	for words, by := range map[string]Connection{
		"token file " + missing:                     {Address: "127.0.0.1:1", TokenFile: missing},
		"CA File: open " + missing:                  {Address: "127.0.0.1:1", TLS: TLS{CAFile: missing}},
		"Couldn't parse PEM":                        {Address: "127.0.0.1:1", TLS: TLS{CAFile: certs.ServerKey}},
		"both client cert and client key":           {Address: "127.0.0.1:1", TLS: TLS{CertFile: certs.Client}},
		"private key does not match":                {Address: "127.0.0.1:1", TLS: TLS{CertFile: certs.Client, KeyFile: certs.ServerKey}},
		"write host:port, https://host:port, or un": {Address: "127.0.0.1:85OO"},
		"that is no address":                        {Address: "https://"},
		"Unknown protocol scheme: ftp":              {Address: "ftp://127.0.0.1:21"},
		"CONSUL_HTTP_AUTH=user:password":            {Address: "http://me:secret@127.0.0.1:8500"},
		"no password belongs into an address":       {Address: "http://me:%secret@127.0.0.1:8500"},
	} {
		where := by.Address[strings.LastIndex(by.Address, "@")+1:]
		if _, err := Open(by, nil); err == nil || !strings.Contains(err.Error(), words) || !strings.HasPrefix(err.Error(), "consul at "+where+": ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v, want %q", by, err, words)
		}
	}
}

// TestFaultsOfAddresses asks those who are no agents. None may be believed that a key is
// missing, or that a service is registered.
func TestFaultsOfAddresses(t *testing.T) {
	t.Parallel()
	serve := func(h http.HandlerFunc) Connection {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return Connection{Address: s.URL}
	}
	missing := serve(http.NotFound)
	page := serve(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	text := serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "hello")
	})
	away := serve(http.RedirectHandler("http://elsewhere.invalid/", http.StatusMovedPermanently).ServeHTTP)
	shouting := listen(t, func(c net.Conn) {
		fmt.Fprint(c, "SSH-2.0-OpenSSH_9.2\r\n")
		_ = c.Close()
	})
	port := agentless(t)
	for _, f := range []fault{
		{"nobody", Connection{Address: port}, services, KindDown, "connection refused: no agent listens there"},
		{"no socket", Connection{Address: "unix:///nonexistent/consul.sock"}, services, KindDown, "no such socket"},
		{"no host", Connection{Address: "consul.invalid:8500"}, services, KindDown, "there is no host consul.invalid"},
		{"a page about services", page, services, KindDown, "somebody else: 200 OK"},
		{"a page about a key", page, read, KindDown, "somebody else"},
		{"a page for a write", page, write, KindDown, "somebody else"},
		{"a page for a service", page, register, KindDown, "somebody else"},
		{"no page about a key", missing, read, KindDown, "somebody else: 404"},
		{"no page about a session", missing, renew, KindDown, "somebody else: 404"},
		{"no page about a service", missing, register, KindDown, "somebody else: 404"},
		{"a text", text, services, KindDown, "somebody else"},
		{"sent away to read", away, read, KindDown, "it sends us to http://elsewhere.invalid"},
		{"sent away to write", away, write, KindDown, "it sends us to http://elsewhere.invalid"},
		{"another protocol", shouting, services, KindDown, "doesn't speak HTTP"},
	} {
		f.run(t)
	}
}

// listen serves connections by hand.
func listen(t *testing.T, serve func(net.Conn)) Connection {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return Connection{Address: l.Addr().String()}
}

// agentless is an address at which nobody listens.
func agentless(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestFaultsOfAgents asks real ones that are in trouble.
func TestFaultsOfAgents(t *testing.T) {
	t.Parallel()
	a := realAgent(t, agent.Options{})
	p, err := agent.NewProxy(a.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	at := Connection{Address: p.Address()}
	for set, f := range map[agent.Fault]fault{
		agent.Fail:   {"one that answers 500", at, services, KindDown, "500 No cluster leader"},
		agent.Cut:    {"one that breaks off", at, services, KindDown, "in the middle of an answer"},
		agent.Silent: {"one that never answers", at, services, KindDown, "no answer within 10s"},
	} {
		p.Set(set, "")
		f.run(t)
	}
	options := func(ctx context.Context) *api.WriteOptions { return (&api.WriteOptions{}).WithContext(ctx) }
	for _, f := range []fault{
		{"a session that has ended", Connection{Address: a.Address()}, func(c *api.Client, ctx context.Context) error {
			_, _, err := c.KV().Acquire(&api.KVPair{Key: "key", Session: "11111111-2222-3333-4444-555555555555"}, options(ctx))
			return err
		}, KindRefused, "invalid session"},
		{"an unknown check", Connection{Address: a.Address()}, func(c *api.Client, ctx context.Context) error {
			return c.Agent().UpdateTTLOpts("unknown", "", "passing", (&api.QueryOptions{}).WithContext(ctx))
		}, KindMissing, "Unknown check"},
		{"a value that is too long", Connection{Address: a.Address()}, func(c *api.Client, ctx context.Context) error {
			_, err := c.KV().Put(&api.KVPair{Key: "key", Value: make([]byte, 600<<10)}, options(ctx))
			return err
		}, KindRefused, "too large"},
	} {
		f.run(t)
	}
}

// TestTurns has an agent go and come back: each turn is told once, and since when it is so.
func TestTurns(t *testing.T) {
	t.Parallel()
	a := realAgent(t, agent.Options{})
	p, err := agent.NewProxy(a.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	var turns atomic.Int32
	c, err := Open(Connection{Address: p.Address()}, func(Status) { turns.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	ask := func() { _ = c.do(t.Context(), 0, func(ctx context.Context) error { return services(c.api, ctx) }) } // the status has it
	want := func(down bool, n int32) Status {
		t.Helper()
		s := c.Status()
		if s.Down != down || turns.Load() != n || (s.Error != "") != down {
			t.Errorf("%+v after %d turns, want down %v and %d", s, turns.Load(), down, n)
		}
		return s
	}
	ask()
	want(false, 0)
	p.Set(agent.Fail, "")
	ask()
	first := want(true, 1)
	p.Set(agent.Cut, "")
	ask()
	if second := want(true, 1); second.Since != first.Since || second.Error == first.Error {
		t.Errorf("down for another reason: %+v, before %+v", second, first)
	}
	p.Set(agent.Pass, "")
	ask()
	want(false, 2)
}

// TestAskedNoMore is no fault of the agent's: who asked has lost interest.
func TestAskedNoMore(t *testing.T) {
	t.Parallel()
	c, err := Open(Connection{Address: agentless(t)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.do(ctx, 0, func(ctx context.Context) error { return services(c.api, ctx) }); !errors.Is(err, context.Canceled) || c.Status().Down {
		t.Errorf("%v, %+v", err, c.Status())
	}
}

// TestAskedForAWhile is by somebody who has less time than the agent may take: the error
// says what has not come, and the agent isn't down for that.
func TestAskedForAWhile(t *testing.T) {
	t.Parallel()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	c, err := Open(Connection{Address: silent.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = c.do(ctx, 0, func(ctx context.Context) error { return services(c.api, ctx) })
	if !IsDown(err) || !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "consul at "+silent.URL+": no answer within ") || c.Status().Down {
		t.Errorf("%v, %+v", err, c.Status())
	}
}

// TestExplain are errors that no agent makes on demand.
func TestExplain(t *testing.T) {
	t.Parallel()
	expired := x509.CertificateInvalidError{Cert: &x509.Certificate{NotAfter: time.Unix(0, 0)}, Reason: x509.Expired, Detail: "current time is after 1970"}
	for words, err := range map[string]error{
		"isn't valid at what this machine takes for now":   fmt.Errorf("tls: failed to verify certificate: %w", expired),
		"nobody there accepts connections (waited 3s)":     &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded},
		"the connection was broken off":                    &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)},
		"403 Permission denied: the token may not do that": api.StatusError{Code: 403, Body: "Permission denied"},
		"502 Bad Gateway":                      api.StatusError{Code: 502},
		"something that nobody has thought of": errors.New("something that nobody has thought of"),
	} {
		if got := explain(err); !strings.Contains(got, words) {
			t.Errorf("%v: %q, want %q", err, got, words)
		}
	}
	if got := explain(nil); got != "" {
		t.Errorf("nothing is wrong: %q", got)
	}
}
