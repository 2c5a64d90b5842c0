package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"time"
)

// askLimit bounds a question.
const askLimit = 15 * time.Second

// client is who asks in the name of the tests.
func (a *Agent) client() *http.Client {
	t := &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext}
	if a.opts.Machine != nil {
		t.DialContext = a.opts.Machine.Dial
	}
	if a.Certs != nil {
		t.TLSClientConfig = a.Certs.config()
	}
	return &http.Client{Transport: t, Timeout: askLimit}
}

// As is the agent for somebody with another token. It can only be asked.
func (a *Agent) As(token string) *Agent {
	return &Agent{Node: a.Node, Token: token, DNS: a.DNS, http: a.http, opts: a.opts, asks: a.asks}
}

// At is an agent that somebody else has started, by the addresses (host:port) of its HTTP
// API and of its DNS. It can only be asked.
func At(http, dns string) *Agent {
	a := &Agent{http: http, DNS: dns}
	a.asks = a.client()
	return a
}

// errMissing is status 404.
var errMissing = errors.New("404")

// Ask makes a request of Consul's HTTP API. in is sent as it is if it is a string, else as
// JSON; out gets the answer's JSON, or if it is a *string the answer as it is. Both may
// be nil.
func (a *Agent) Ask(method, path string, in, out any) error {
	var body io.Reader
	switch in := in.(type) {
	case nil:
	case string:
		body = strings.NewReader(in)
	default:
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, a.Address()+path, body)
	if err != nil {
		return err
	}
	if a.Token != "" {
		request.Header.Set("X-Consul-Token", a.Token)
	}
	answer, err := a.asks.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s %s: %w", method, path, errMissing)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	if said, is := out.(*string); is {
		*said = string(text)
		return nil
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// Listed is nil when the agent has a leader, and the catalog a node.
func (a *Agent) Listed(node string) error {
	var leader string
	if err := a.Ask(http.MethodGet, "/v1/status/leader", nil, &leader); err != nil {
		return err
	}
	if leader == "" {
		return errors.New("no leader")
	}
	var found struct{ Node *struct{ Node string } }
	if err := a.Ask(http.MethodGet, "/v1/catalog/node/"+url.PathEscape(node), nil, &found); err != nil {
		return err
	}
	if found.Node == nil {
		return fmt.Errorf("%s isn't in the catalog", node)
	}
	return nil
}

// Put writes a key.
func (a *Agent) Put(key, value string) error {
	return a.Ask(http.MethodPut, "/v1/kv/"+key, value, nil)
}

// Get reads a key; false: there is none.
func (a *Agent) Get(key string) (value string, is bool, err error) {
	err = a.Ask(http.MethodGet, "/v1/kv/"+key+"?raw", nil, &value)
	if errors.Is(err, errMissing) {
		return "", false, nil
	}
	return value, err == nil, err
}

// Delete removes a key, or all with a prefix that ends in a slash.
func (a *Agent) Delete(key string) error {
	if strings.HasSuffix(key, "/") {
		key += "?recurse"
	}
	return a.Ask(http.MethodDelete, "/v1/kv/"+key, nil, nil)
}

// Entry is an instance of a service in the catalog.
type Entry struct {
	Node    string
	ID      string
	Address string // "" = the node's
	Port    int
	Tags    []string
	Meta    map[string]string
	Checks  map[string]Check // by ID; the node's, too
}

// Check is one of an entry.
type Check struct{ CheckID, Status, Output string }

// Status is the worst of the entry's checks, as whoever asks for the passing ones sees it.
func (e Entry) Status() string {
	worst := "passing"
	for _, c := range e.Checks {
		if c.Status == "critical" || c.Status == "warning" && worst == "passing" {
			worst = c.Status
		}
	}
	return worst
}

// Health is what the catalog has of a service, with the state of its checks.
func (a *Agent) Health(service string) ([]Entry, error) {
	var found []struct {
		Node    struct{ Node string }
		Service struct {
			ID, Address string
			Port        int
			Tags        []string
			Meta        map[string]string
		}
		Checks []Check
	}
	if err := a.Ask(http.MethodGet, "/v1/health/service/"+url.PathEscape(service), nil, &found); err != nil {
		return nil, err
	}
	var entries []Entry
	for _, f := range found {
		e := Entry{f.Node.Node, f.Service.ID, f.Service.Address, f.Service.Port, f.Service.Tags, f.Service.Meta, map[string]Check{}}
		for _, c := range f.Checks {
			e.Checks[c.CheckID] = c
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Services are the IDs of what this agent was told of, and their names.
func (a *Agent) Services() (map[string]string, error) {
	var found map[string]struct{ Service string }
	if err := a.Ask(http.MethodGet, "/v1/agent/services", nil, &found); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for id, s := range found {
		names[id] = s.Service
	}
	return names, nil
}

// NewToken makes a token that may do what the rules say: `key_prefix "" { policy = "read" }`.
func (a *Agent) NewToken(name, rules string) (string, error) {
	var made struct{ SecretID string }
	if err := a.Ask(http.MethodPut, "/v1/acl/policy", map[string]any{"Name": name, "Rules": rules}, nil); err != nil {
		return "", err
	}
	policies := []map[string]string{{"Name": name}}
	err := a.Ask(http.MethodPut, "/v1/acl/token", map[string]any{"Policies": policies}, &made)
	return made.SecretID, err
}

// Dig asks the agent's DNS: Dig("web.service.consul", "SRV").
func (a *Agent) Dig(name, kind string) (string, error) {
	host, port, err := net.SplitHostPort(a.DNS)
	if err != nil {
		return "", err
	}
	args := []string{"@" + host, "-p", port, "+time=3", "+tries=2", name, kind}
	cmd := exec.Command("dig", args...)
	if a.opts.Machine != nil {
		cmd = a.opts.Machine.Command("dig", args...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("dig: %v: %s", err, out)
	}
	return string(out), nil
}
