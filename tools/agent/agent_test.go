package agent

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err := check(); err != nil; err = check() {
		select {
		case <-deadline:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

func begin(t *testing.T, o Options) *Agent {
	t.Helper()
	a, err := Start(t.TempDir(), o)
	must(t, err)
	t.Cleanup(a.Kill)
	return a
}

// missing says that a key isn't there.
func missing(t *testing.T, a *Agent, key string) {
	t.Helper()
	if value, is, err := a.Get(key); is || err != nil {
		t.Fatalf("%s is %q (%v), want none", key, value, err)
	}
}

// TestAgent asks one agent all that can be asked, lets it forget, and stops it for good.
func TestAgent(t *testing.T) {
	t.Parallel()
	a := begin(t, Options{Node: "host-a"})
	must(t, a.Put("some/key", "a value"))
	if value, is, err := a.Get("some/key"); value != "a value" || !is || err != nil {
		t.Errorf("the key is %q, %v, %v", value, is, err)
	}
	must(t, a.Delete("some/"))
	missing(t, a, "some/key")
	web := map[string]any{"ID": "web:0", "Name": "web", "Port": 8123, "Tags": []string{"i0"}, "Check": map[string]any{"CheckID": "web:0:ttl", "TTL": "30s"}}
	must(t, a.Ask(http.MethodPut, "/v1/agent/service/register", web, nil))
	must(t, a.Ask(http.MethodPut, "/v1/agent/check/warn/web:0:ttl?note=half", nil, nil))
	eventually(t, func() error {
		entries, err := a.Health("web")
		if err == nil && (len(entries) != 1 || entries[0].Status() != "warning" || entries[0].Checks["web:0:ttl"].Output != "half" || entries[0].Node != "host-a" || entries[0].Port != 8123) {
			err = fmt.Errorf("the catalog has %+v", entries)
		}
		return err
	})
	if said, err := a.Dig("i0.web.service.consul", "SRV"); err != nil || !strings.Contains(said, " 8123 ") {
		t.Errorf("dig: %v\n%s", err, said)
	}
	pid := a.Pid()
	a.Stop()
	must(t, a.Begin())
	if services, err := a.Services(); err != nil || len(services) > 0 || a.Pid() == pid {
		t.Errorf("pid %d after %d has %v (%v)", a.Pid(), pid, services, err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	a := begin(t, Options{ACL: true})
	must(t, a.Put("key", "a value"))
	reader, err := a.NewToken("reader", `key_prefix "" { policy = "read" }`)
	must(t, err)
	b := a.As(reader)
	if value, is, err := b.Get("key"); value != "a value" || !is || err != nil {
		t.Errorf("who may read has %q, %v, %v", value, is, err)
	}
	if err := b.Put("key", "another"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("who may only read has written: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a := begin(t, Options{TLS: true, Client: true})
	must(t, a.Put("key", "a value"))
	for _, address := range []string{"http://" + a.HostPort(), a.Address()} { // plainly, and by somebody who doesn't know the authority
		answer, err := http.Get(address + "/v1/status/leader")
		if err == nil && answer.StatusCode == http.StatusOK {
			t.Errorf("%s has answered", address)
		}
	}
}

// TestProxy sees each fault befall whom it is meant for.
func TestProxy(t *testing.T) {
	t.Parallel()
	a := begin(t, Options{})
	p, err := NewProxy(a.Address())
	must(t, err)
	t.Cleanup(p.Close)
	get := func(path string) error {
		client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Get(p.Address() + path)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var text [2000]byte
		for err == nil {
			_, err = answer.Body.Read(text[:])
		}
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		if err.Error() == "EOF" {
			return nil
		}
		return err
	}
	must(t, get("/v1/status/leader"))
	for fault, want := range map[Fault]string{Fail: "500", Silent: "deadline exceeded", Cut: "unexpected EOF"} {
		p.Set(fault, "/v1/status")
		if err := get("/v1/status/leader"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("fault %d: %v, want %q", fault, err, want)
		}
		must(t, get("/v1/agent/self"))
	}
	p.Set(Slow, "")
	began := time.Now()
	must(t, get("/v1/status/leader"))
	if took := time.Since(began); took < time.Second {
		t.Errorf("the slow one took %v", took)
	}
	if n := p.Seen(); n != 8 {
		t.Errorf("%d requests seen, want 8", n)
	}
}

// TestNet has a server on a machine of its own; another, with an agent that is none, is cut off and
// joined again.
func TestNet(t *testing.T) {
	t.Parallel()
	w, err := NewNet(2)
	must(t, err)
	t.Cleanup(w.Close)
	server := begin(t, Options{Node: "s", Machine: w.Machines[0], Servers: 1})
	a := begin(t, Options{Node: "a", Machine: w.Machines[1], Join: []string{w.Machines[0].Address}})
	must(t, a.Put("key", "a value"))
	must(t, w.Cut(w.Machines[1]))
	impatient := *a.asks
	impatient.Timeout = 2 * time.Second
	if err := (&Agent{http: a.http, asks: &impatient}).Put("key", "another"); err == nil {
		t.Error("who is cut off has written")
	}
	if out, err := w.Machines[1].Command("ip", "-brief", "link").CombinedOutput(); err != nil || !strings.Contains(string(out), "eth0") {
		t.Errorf("%v: %s", err, out)
	}
	if value, _, err := server.Get("key"); value != "a value" || err != nil {
		t.Errorf("the others have %q, %v", value, err)
	}
	must(t, w.Join(w.Machines[1]))
	eventually(t, func() error { return a.Put("key", "another") })
	a.Kill()
	must(t, a.BeginEmpty())
	must(t, a.Put("key", "a third"))
	if _, err := os.Stat(a.data()); err != nil {
		t.Error(err)
	}
}
