// Package consul keeps the local Consul agent equal to what runs: services and their
// checks, locks, values that configure apps, rollouts. It knows nothing of gopm's
// processes; what it is to say of them it is told.
//
// Every request is bounded in time, and nobody who runs a program waits for one.
package consul

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
)

// Connection says where Consul's agent is, and who asks. It is comparable: apps with
// equal ones share a Client.
type Connection struct {
	Address    string `json:"address,omitempty"` // "127.0.0.1:8500", "https://consul:8501", "unix:///run/consul.sock"; "" = 127.0.0.1:8500
	Token      string `json:"token,omitempty"`
	TokenFile  string `json:"token_file,omitempty"`
	Auth       string `json:"auth,omitempty"` // "user:password" of a proxy before it
	Datacenter string `json:"datacenter,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Partition  string `json:"partition,omitempty"`
	TLS
}

// TLS says how to speak with an agent that wants it. Paths are absolute.
type TLS struct {
	On         bool   `json:"on,omitempty"` // also where the address doesn't say https
	CAFile     string `json:"ca_file,omitempty"`
	CAPath     string `json:"ca_path,omitempty"`
	CertFile   string `json:"cert_file,omitempty"`
	KeyFile    string `json:"key_file,omitempty"`
	ServerName string `json:"server_name,omitempty"`
	Insecure   bool   `json:"insecure,omitempty"` // the certificate isn't checked
}

// Filled takes what the connection leaves open from the variables that every tool of
// Consul's reads. Who names another agent isn't given the token of the first.
func (c Connection) Filled(env func(name string) string) Connection {
	fill := func(to *string, name string) {
		if *to == "" {
			*to = env(name)
		}
	}
	if c.Address == "" {
		fill(&c.Address, api.HTTPAddrEnvName)
		fill(&c.Auth, api.HTTPAuthEnvName)
		if c.Token == "" && c.TokenFile == "" {
			c.Token, c.TokenFile = env(api.HTTPTokenEnvName), env(api.HTTPTokenFileEnvName)
		}
		c.On = c.On || isTrue(env(api.HTTPSSLEnvName))
		c.Insecure = c.Insecure || isFalse(env(api.HTTPSSLVerifyEnvName))
		fill(&c.CAFile, api.HTTPCAFile)
		fill(&c.CAPath, api.HTTPCAPath)
		fill(&c.CertFile, api.HTTPClientCert)
		fill(&c.KeyFile, api.HTTPClientKey)
		fill(&c.ServerName, api.HTTPTLSServerName)
		fill(&c.Namespace, api.HTTPNamespaceEnvName)
		fill(&c.Partition, api.HTTPPartitionEnvName)
	}
	if c.Address == "" {
		c.Address = "127.0.0.1:8500"
	}
	return c
}

func isTrue(s string) bool {
	return s == "1" || strings.EqualFold(s, "true") || strings.EqualFold(s, "t")
}
func isFalse(s string) bool {
	return s == "0" || strings.EqualFold(s, "false") || strings.EqualFold(s, "f")
}

// Status is whether the agent answers.
type Status struct {
	Down  bool
	Since time.Time // that it is down, or up
	Error string    // why it is down, for people

	refused bool // it is down because nobody listens there
}

// Client talks with one agent. It may be used by many goroutines, and has none itself.
type Client struct {
	api   *api.Client
	conns *http.Transport
	where string

	mu      sync.Mutex // guards the rest
	status  Status
	changed func(Status)
}

// requestLimit bounds a request, besides what a query asks the agent to wait; dialLimit,
// how long somebody may take to listen.
const (
	requestLimit = 10 * time.Second
	dialLimit    = 3 * time.Second
)

// Open makes a client. It asks nobody yet: an error is one of the connection's files.
// changed is told when the agent goes down or comes up; it must not block.
func Open(c Connection, changed func(Status)) (*Client, error) {
	where, conns := c.Address, transport()
	address, err := c.dialled(conns)
	if err != nil {
		return nil, fmt.Errorf("consul at %s: %v", where[strings.LastIndex(where, "@")+1:], err)
	}
	secured, err := api.NewHttpClient(conns, api.TLSConfig{Address: c.ServerName, CAFile: c.CAFile, CAPath: c.CAPath, CertFile: c.CertFile, KeyFile: c.KeyFile, InsecureSkipVerify: c.Insecure})
	if err != nil {
		return nil, fmt.Errorf("consul at %s: %v", where, err)
	}
	secured.Transport, secured.CheckRedirect = wary{secured.Transport, c.TokenFile}, stay
	config := &api.Config{
		Address: address, Token: c.Token, TokenFile: c.TokenFile, Datacenter: c.Datacenter, Namespace: c.Namespace, Partition: c.Partition, HttpClient: secured,
	}
	if c.On {
		config.Scheme = "https"
	}
	if name, password, is := strings.Cut(c.Auth, ":"); is || name != "" {
		config.HttpAuth = &api.HttpBasicAuth{Username: name, Password: password}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("consul at %s: %v", where, err)
	}
	return &Client{api: client, conns: conns, where: where, status: Status{Since: time.Now()}, changed: changed}, nil
}

// dialled is the address as the library understands it. That of a socket it would dial
// without any bound.
func (c Connection) dialled(conns *http.Transport) (string, error) {
	if path, is := strings.CutPrefix(c.Address, "unix://"); is {
		conns.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, "unix", path)
		}
		return "localhost", nil
	}
	full := c.Address
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(full, "@"):
		return "", errors.New("no password belongs into an address: CONSUL_HTTP_AUTH=user:password")
	case err != nil || u.Hostname() == "":
		return "", errors.New("that is no address: write host:port, https://host:port, or unix:///a/socket")
	}
	return c.Address, nil
}

// transport keeps some connections to the one agent there is.
func transport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialLimit}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
		Proxy:               http.ProxyFromEnvironment,
	}
}

// Close ends the connections that are kept.
func (c *Client) Close() { c.conns.CloseIdleConnections() }

// Where is the agent's address.
func (c *Client) Where() string { return c.where }

// Status is whether the agent answered last.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// do makes a request that takes no longer than it may, and besides what it asks the
// agent to wait. What comes of it is noted in the status.
func (c *Client) do(ctx context.Context, wait time.Duration, ask func(ctx context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, requestLimit+wait+wait/16)
	defer cancel()
	began := time.Now()
	err := ask(bounded)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err() // whoever asked doesn't want to know any more
	case ctx.Err() != nil: // or could not wait for longer, which says little of the agent
		return &Error{Kind: KindDown, Where: c.where, why: fmt.Sprintf("no answer within %v", time.Since(began).Round(time.Second)), err: ctx.Err()}
	}
	why := explain(err)
	c.note(isDown(err), why, isNobody(err))
	if err == nil {
		return nil
	}
	return &Error{Kind: kindOf(err), Where: c.where, why: why, err: err}
}

// note remembers whether the agent is there.
func (c *Client) note(down bool, why string, nobody bool) {
	c.mu.Lock()
	next := c.status
	next.Error, next.refused = "", nobody
	if down {
		next.Error = why
	}
	if down != c.status.Down {
		next.Down, next.Since = down, time.Now()
	}
	turned := next.Down != c.status.Down
	c.status = next
	c.mu.Unlock()
	if turned && c.changed != nil {
		c.changed(next)
	}
}

// Kind is what an error is about.
type Kind int

const (
	KindDown    Kind = iota // nobody answers, or not as an agent does
	KindDenied              // the token may not do that
	KindMissing             // what was asked for isn't there
	KindRefused             // the agent says that the request makes no sense
)

// Error is a request that has failed.
type Error struct {
	Kind  Kind
	Where string
	why   string
	err   error
}

func (e *Error) Error() string { return fmt.Sprintf("consul at %s: %s", e.Where, e.why) }
func (e *Error) Unwrap() error { return e.err }

// IsDenied, IsMissing and IsDown are what an error is about; Error says it to people.
func IsDenied(err error) bool  { return hasKind(err, KindDenied) }
func IsMissing(err error) bool { return hasKind(err, KindMissing) }
func IsDown(err error) bool    { return hasKind(err, KindDown) }

func hasKind(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}

func kindOf(err error) Kind {
	var status api.StatusError
	switch {
	case !errors.As(err, &status), wantsHTTPS(status):
		return KindDown
	case status.Code == http.StatusForbidden || status.Code == http.StatusUnauthorized:
		return KindDenied
	case status.Code == http.StatusNotFound:
		return KindMissing
	case status.Code == http.StatusInternalServerError && isRefusal(status.Body):
		return KindRefused
	case status.Code >= http.StatusInternalServerError || status.Code == http.StatusTooManyRequests:
		return KindDown
	}
	return KindRefused
}

// isNobody says that nobody listens where the agent should be.
func isNobody(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

func isDown(err error) bool { return err != nil && kindOf(err) == KindDown }

// explain says what is wrong, and what to do where that is known.
func explain(err error) string {
	var status api.StatusError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var link *url.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &status):
		return explainStatus(status)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: no agent listens there"
	case errors.As(err, &unknown):
		return "its certificate is signed by nobody who is known: name the authority (ca_file, or CONSUL_CACERT)"
	case errors.As(err, &name):
		return fmt.Sprintf("its certificate is for another name (%v): say that one (server_name, or CONSUL_TLS_SERVER_NAME)", name)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it speaks plain HTTP, and was asked for HTTPS"
	case strings.Contains(err.Error(), "malformed HTTP response"), strings.Contains(err.Error(), "%!w(<nil>)"): // it spoke first, says net/http
		return "it doesn't speak HTTP; does it want HTTPS?"
	}
	if text := explainRest(err); text != "" {
		return text
	}
	if errors.As(err, &link) {
		return link.Err.Error()
	}
	return err.Error()
}
