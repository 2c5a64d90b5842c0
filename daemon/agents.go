package daemon

import (
	"os"
	"strings"
	"sync"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/ecosystem"
)

// agents are the clients of Consul, one for all apps that connect in the same way. They
// are made when somebody asks for them, and have no goroutines.
type agents struct {
	d   *Daemon
	own map[string]string // the daemon's variables of Consul

	mu    sync.Mutex // guards the rest
	known map[consul.Connection]*consul.Client
	wrong map[consul.Connection]string // why there can't be one, as it was told
}

// newAgents takes the daemon's variables of Consul out of its environment: the client's
// library would give their token to whatever agent an app names.
func newAgents(d *Daemon) *agents {
	own := map[string]string{}
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "CONSUL_") {
			own[name] = value
			_ = os.Unsetenv(name) // an error: a name that can't be set isn't there
		}
	}
	return &agents{d: d, own: own, known: map[consul.Connection]*consul.Client{}, wrong: map[consul.Connection]string{}}
}

// of is the client of an app.
func (g *agents) of(a *app) (*consul.Client, error) { return g.client(g.connection(a)) }

// client is the one of a connection. An error is one of the connection's files; it is told
// once.
func (g *agents) client(c consul.Connection) (*consul.Client, error) {
	client, isNews, err := g.open(c)
	if isNews {
		g.d.tell(event{kind: api.EventConsul, text: err.Error()})
	}
	return client, err
}

func (g *agents) open(c consul.Connection) (client *consul.Client, isNews bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if have := g.known[c]; have != nil {
		return have, false, nil
	}
	client, err = consul.Open(c, func(s consul.Status) { g.turned(c, s) })
	if err != nil {
		isNews = g.wrong[c] != err.Error()
		g.wrong[c] = err.Error()
		return nil, isNews, err
	}
	delete(g.wrong, c)
	g.known[c] = client
	return client, false, nil
}

// turned tells that an agent has gone, or is there again.
func (g *agents) turned(c consul.Connection, s consul.Status) {
	if s.Down {
		g.d.tell(event{kind: api.EventConsul, text: "consul at " + c.Address + " is down: " + s.Error + "; what runs goes on"})
		return
	}
	g.d.tell(event{kind: api.EventConsul, text: "consul at " + c.Address + " answers"})
}

// look forgets the clients that no app has.
func (g *agents) look() {
	used := map[consul.Connection]bool{}
	for _, a := range g.d.table.Load().apps {
		if a.usesConsul() {
			used[g.connection(a)] = true
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for c, client := range g.known {
		if !used[c] {
			client.Close()
			delete(g.known, c)
		}
	}
	for c := range g.wrong {
		if !used[c] {
			delete(g.wrong, c)
		}
	}
}

func (g *agents) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, client := range g.known {
		client.Close()
	}
	clear(g.known)
}

// usesConsul says whether anything about an app needs an agent.
func (a *app) usesConsul() bool { return a.spec.Consul.On || a.spec.Singleton.IsSet() }

// connection is where an app's agent is: what its file says, else what the variables say
// that it has itself, or has inherited, or else that the daemon has.
func (g *agents) connection(a *app) consul.Connection {
	return connectionOf(a.spec.Consul.Agent).Filled(func(name string) string {
		if value, is := a.spec.Env.Vars[name]; is {
			return value
		}
		for _, entry := range a.inherited {
			if key, value, _ := strings.Cut(entry, "="); key == name {
				return value
			}
		}
		return g.own[name]
	})
}

func connectionOf(a ecosystem.ConsulAgent) consul.Connection {
	return consul.Connection{Address: a.Address, Token: a.Token, TokenFile: a.TokenFile, Datacenter: a.Datacenter, Namespace: a.Namespace, Partition: a.Partition,
		TLS: consul.TLS{CAFile: a.CAFile, CAPath: a.CAPath, CertFile: a.CertFile, KeyFile: a.KeyFile, ServerName: a.ServerName, Insecure: a.Insecure}}
}

// nodeName is what this machine is called in Consul: GOPM_NODE, or its host name.
func nodeName() string {
	if name := os.Getenv("GOPM_NODE"); name != "" {
		return name
	}
	name, _ := os.Hostname() // an error: ""
	return name
}
