// Package agent starts real agents of Consul for tests: on ports that nobody else has, each
// with a folder of its own, ready when they can be asked. It also cuts networks between
// them, and lies between them and who asks them (Proxy).
//
// The program is the one that tools/parts builds. What is started here ends with the
// process that started it, however that ends.
//
// Goroutines: one that starts processes, as long as this process lives; one for each agent,
// until it has ended; those of a Proxy, until it is closed.
package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"gopm/bench/load"
)

// version is the one of tools/consul/go.mod.
const version = "consul-1.13.9"

// Options say what an agent is. The zero value: a server on its own, with everything in
// memory, on loopback, for everybody.
type Options struct {
	Node    string   // "" = "n1"
	ACL     bool     // nobody may do anything without a token; Agent.Token is the one that may do all
	TLS     bool     // HTTPS instead of HTTP, with a certificate of an authority of its own: Agent.Certs
	Client  bool     // with TLS: who asks needs a certificate of the same authority
	Machine *Machine // where it runs; nil = here. There it has the ports that everybody knows: 8500, 8600
	Join    []string // the addresses of others
	Servers int      // so many agents elect a leader: this is one of them. 0 and nobody to join: it is the only one, in memory
	Log     string   // level; "" = "info"
}

// Agent is one that has been started.
type Agent struct {
	Node  string
	Token string // who has it may do all; "" without ACL
	Certs *Certs // nil without TLS
	DNS   string // host:port
	http  string // host:port
	opts  Options
	dir   string
	asks  *http.Client

	mu      sync.Mutex // guards the rest
	running *running
}

// running is the process of an agent.
type running struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed
}

// Start starts an agent with its files in a folder, and waits until it has a leader, and
// is in the catalog.
func Start(dir string, o Options) (*Agent, error) {
	a := &Agent{Node: o.Node, opts: o, dir: dir}
	if a.Node == "" {
		a.Node = "n1"
	}
	if o.ACL {
		a.Token = "11111111-2222-3333-4444-555555555555"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if o.TLS {
		certs, err := NewCerts(filepath.Join(dir, "tls"))
		if err != nil {
			return nil, err
		}
		a.Certs = certs
	}
	if err := a.configure(); err != nil {
		return nil, err
	}
	a.asks = a.client()
	return a, a.Begin()
}

// Address is what CONSUL_HTTP_ADDR says of it.
func (a *Agent) Address() string {
	if a.opts.TLS {
		return "https://" + a.http
	}
	return "http://" + a.http
}

// HostPort is where it listens.
func (a *Agent) HostPort() string { return a.http }

// configure writes what the agent reads.
func (a *Agent) configure() error {
	ports := map[string]int{"http": 8500, "dns": 8600, "server": 8300, "serf_lan": 8301, "serf_wan": -1, "grpc": -1, "https": -1}
	bind := "127.0.0.1"
	if m := a.opts.Machine; m != nil {
		bind = m.Address
	} else {
		for _, name := range []string{"http", "dns", "server", "serf_lan"} {
			port, err := load.FreePort()
			if err != nil {
				return err
			}
			ports[name] = port
		}
	}
	a.http, a.DNS = fmt.Sprintf("127.0.0.1:%d", ports["http"]), fmt.Sprintf("127.0.0.1:%d", ports["dns"])
	config := map[string]any{
		"node_name": a.Node, "bind_addr": bind, "client_addr": "127.0.0.1", "ports": ports,
		"disable_update_check": true, "skip_leave_on_interrupt": true, "leave_on_terminate": false,
	}
	if a.opts.Servers > 0 {
		config["server"], config["bootstrap_expect"] = true, a.opts.Servers
	}
	if a.keeps() {
		config["data_dir"] = a.data()
		config["performance"] = map[string]any{"raft_multiplier": 1}
	}
	if len(a.opts.Join) > 0 {
		config["retry_join"], config["retry_interval"] = a.opts.Join, "500ms"
	}
	if a.opts.ACL {
		tokens := map[string]string{"initial_management": a.Token, "agent": a.Token}
		config["acl"] = map[string]any{"enabled": true, "default_policy": "deny", "tokens": tokens}
	}
	if a.opts.TLS {
		ports["https"], ports["http"] = ports["http"], -1
		files := map[string]any{"ca_file": a.Certs.CA, "cert_file": a.Certs.Server, "key_file": a.Certs.ServerKey, "verify_incoming": a.opts.Client}
		config["tls"] = map[string]any{"https": files}
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(a.config(), text, 0o600)
}

// keeps says whether the agent remembers, in its folder, what it was told.
func (a *Agent) keeps() bool    { return a.opts.Servers > 0 || len(a.opts.Join) > 0 }
func (a *Agent) config() string { return filepath.Join(a.dir, "agent.json") }
func (a *Agent) data() string   { return filepath.Join(a.dir, "data") }
func (a *Agent) log() string    { return filepath.Join(a.dir, "consul.log") }

// Log is what the agent has written.
func (a *Agent) Log() string {
	text, _ := os.ReadFile(a.log()) // none yet
	return string(text)
}

// Begin starts the agent again: one in memory is empty then, another remembers.
func (a *Agent) Begin() error {
	if err := a.launch(); err != nil {
		return err
	}
	return a.ready()
}

// BeginEmpty forgets before what the agent was told.
func (a *Agent) BeginEmpty() error {
	if err := os.RemoveAll(a.data()); err != nil {
		return err
	}
	return a.Begin()
}

func (a *Agent) launch() error {
	program, err := Program()
	if err != nil {
		return err
	}
	level := a.opts.Log
	if level == "" {
		level = "info"
	}
	args := []string{"agent", "-config-file", a.config(), "-log-level", level}
	if !a.keeps() {
		args = append(args, "-dev")
	}
	cmd := exec.Command(program, args...)
	if a.opts.Machine != nil {
		cmd = a.opts.Machine.Command(program, args...)
	}
	log, err := os.OpenFile(a.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running != nil {
		return errors.New("the agent runs already")
	}
	if err := start(cmd); err != nil {
		return err
	}
	r := &running{cmd: cmd, ended: make(chan struct{})}
	a.running = r
	go func() {
		_ = cmd.Wait() // it was ended by a signal
		close(r.ended)
	}()
	return nil
}

// readyLimit is for a crowded machine; alone, one agent takes half a second and three
// that elect a leader five.
const readyLimit = time.Minute

// ready waits until the agent knows a leader, and the catalog the agent: without that no
// session can be made.
func (a *Agent) ready() error {
	deadline := time.After(readyLimit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	a.mu.Lock()
	r := a.running
	a.mu.Unlock()
	for {
		err := a.Listed(a.Node)
		if err == nil {
			return nil
		}
		select {
		case <-r.ended:
			return fmt.Errorf("the agent has ended:\n%s", tail(a.Log()))
		case <-deadline:
			return fmt.Errorf("the agent isn't ready after %v: %v\n%s", readyLimit, err, tail(a.Log()))
		case <-tick.C:
		}
	}
}

func tail(text string) []byte {
	lines := bytes.SplitAfter([]byte(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-30):], nil)
}

// Pid is the agent's process; 0: it doesn't run.
func (a *Agent) Pid() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil {
		return 0
	}
	return a.running.cmd.Process.Pid
}

// Stop ends the agent as a machine that is shut down does; Kill, as a power cut.
func (a *Agent) Stop() { a.end(syscall.SIGTERM) }
func (a *Agent) Kill() { a.end(syscall.SIGKILL) }

// Pause and Continue: one that listens, and doesn't answer.
func (a *Agent) Pause()    { a.signal(syscall.SIGSTOP) }
func (a *Agent) Continue() { a.signal(syscall.SIGCONT) }

func (a *Agent) signal(s os.Signal) *running {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running != nil {
		_ = a.running.cmd.Process.Signal(s) // an error: it has ended by itself
	}
	return a.running
}

// end returns when the agent has ended.
func (a *Agent) end(s os.Signal) {
	r := a.signal(s)
	if r == nil {
		return
	}
	a.signal(syscall.SIGCONT)
	impatient := time.AfterFunc(10*time.Second, func() { a.signal(syscall.SIGKILL) })
	<-r.ended
	impatient.Stop()
	a.asks.CloseIdleConnections()
	a.mu.Lock()
	a.running = nil
	a.mu.Unlock()
}

// Program is where consul is.
func Program() (string, error) {
	parts := os.Getenv("GOPM_PARTS")
	if parts == "" {
		cache := os.Getenv("GOPM_CACHE")
		if cache == "" {
			base, err := os.UserCacheDir()
			if err != nil {
				return "", err
			}
			cache = filepath.Join(base, "gopm")
		}
		parts = filepath.Join(cache, "parts")
	}
	program := filepath.Join(parts, version, "consul")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("no consul: run tools/parts test (%v)", err)
	}
	return program, nil
}
