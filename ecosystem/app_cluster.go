package ecosystem

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"time"
)

// This file has the part of an App that is about sharing ports and about changing
// processes without a gap.

// Sharing is what an App says about that.
type Sharing struct {
	Cluster Cluster `json:"cluster"`
	Reload  Reload  `json:"reload"`
	Drain   Drain   `json:"drain"`
	Standby Standby `json:"standby"`
}

// Cluster says how the instances of an app in cluster mode share their ports. Of
// these an app in fork mode uses Listen and Backlog alone.
type Cluster struct {
	Ports   []int         `json:"cluster_ports,omitempty"` // only these are shared; none = all
	Share   bool          `json:"share,omitempty"`         // with other apps that say so too
	Balance string        `json:"balance"`                 // Balance…; never "" in an App that is complete
	Backlog int           `json:"backlog"`                 // least length of an accept queue
	Hold    time.Duration `json:"hold_timeout"`            // how long connections wait for a successor; 0 = not at all
	Hang    time.Duration `json:"hang_timeout,omitempty"`  // how long an accept queue may stand still; 0 = for ever
	Listen  []Listen      `json:"listen,omitempty"`        // sockets that are given to the program
}

// How connections are spread over instances.
const (
	BalanceEven   = "even"   // the same number of established connections
	BalanceRandom = "random" // by chance
	BalanceSource = "source" // by the client's address: one client, one instance
)

// Listen is a socket that the program finds open, as from systemd. Network and
// Address mean what they mean to net.Listen: of "[::]:80" tcp is dual stack, tcp6 is
// IPv6 alone.
type Listen struct {
	Network string `json:"network"`        // "tcp", "tcp4", "tcp6" or "unix"
	Address string `json:"address"`        // "127.0.0.1:80", ":80", an absolute path, or "@name"
	Name    string `json:"name,omitempty"` // in LISTEN_FDNAMES; "" = none was given
}

// Reload says how an app's processes are replaced by new ones. Surge and
// Unavailable are never both 0.
type Reload struct {
	Surge       int           `json:"surge"`            // new ones that may run beside all the old ones
	Unavailable int           `json:"unavailable"`      // old ones that may go before their successors are ready
	Canary      time.Duration `json:"canary,omitempty"` // how long the first new one is watched alone; 0 = not
	Ready       time.Duration `json:"listen_timeout"`   // time in which a new one has to be ready
}

// Drain says how the connections of an instance end before it is stopped.
type Drain struct {
	Mode    string        `json:"mode"`    // Drain…
	Timeout time.Duration `json:"timeout"` // the most that it may take
	Idle    time.Duration `json:"idle"`    // silence after which a kept connection is closed from outside
}

// Who ends the connections.
const (
	DrainOutside = "outside" // gopm: the program is told to end when they are gone
	DrainSignal  = "signal"  // the program, which is told to end at once
	DrainOff     = "off"     // nobody
)

// Standby says how an instance that may be a spare is told whether it is active.
type Standby struct {
	Promote Hook `json:"promote"`
	Demote  Hook `json:"demote"`
}

// Hook is a request or a command that tells a program something. At most one of
// URL and Exec is set; without both there is nothing to do.
type Hook struct {
	URL     string            `json:"url,omitempty"` // {port} in it stands for the instance's port
	Method  string            `json:"method,omitempty"`
	Body    string            `json:"body,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Exec    string            `json:"exec,omitempty"` // for a shell, in the app's folder
	Timeout time.Duration     `json:"timeout,omitempty"`
}

// IsSet says whether there is something to do.
func (h Hook) IsSet() bool { return h.URL != "" || h.Exec != "" }

// IsCluster says whether the app's instances share ports.
func (a *App) IsCluster() bool { return a.Scale.ExecMode == "cluster" }

// Total is how many instances there are, spares included. Without ports to share there
// are none.
func (s Scale) Total() int {
	if s.ExecMode != "cluster" {
		return s.Instances
	}
	return s.Instances + s.Spares
}

// Complete fills in what an App lacks that an earlier release has written, as in an
// app of which nothing was said. What a file made is complete: there a time of 0 is
// what was asked for.
func (a *App) Complete() {
	d := defaults()
	if a.Cluster.Balance == "" {
		a.Cluster.Balance, a.Cluster.Hold = d.Cluster.Balance, cmp.Or(a.Cluster.Hold, d.Cluster.Hold)
	}
	if a.Drain.Mode == "" {
		a.Drain = Drain{d.Drain.Mode, cmp.Or(a.Drain.Timeout, d.Drain.Timeout), cmp.Or(a.Drain.Idle, d.Drain.Idle)}
	}
	a.Ready.Timeout = cmp.Or(a.Ready.Timeout, d.Ready.Timeout)
	a.Cluster.Backlog = cmp.Or(a.Cluster.Backlog, d.Cluster.Backlog)
	a.Reload.Ready = cmp.Or(a.Reload.Ready, d.Reload.Ready)
	if a.Reload.Surge == 0 && a.Reload.Unavailable == 0 {
		a.Reload.Surge = d.Reload.Surge
	}
	a.Ready.By = cmp.Or(a.Ready.By, a.usualReady())
	a.completeFleet()
}

// Port is the PORT of an instance, as far as the app's own settings say one; 0 = none.
func (a *App) Port(index int) int {
	base, err := strconv.Atoi(a.Env.Vars["PORT"])
	if err != nil || base <= 0 {
		return 0
	}
	step := a.Scale.PortStep
	if a.Scale.IncrementVar == "PORT" {
		step++
	}
	if port := base + index*step; port <= maxPort {
		return port
	}
	return 0
}

// NamedPorts are the ports that the app's settings name (cluster_ports, port or
// PORT, listen): these the daemon may open for it although they are below 1024.
func (a *App) NamedPorts() []int {
	ports := slices.Clone(a.Cluster.Ports)
	for index := range a.Scale.Total() {
		if port := a.Port(index); port != 0 {
			ports = append(ports, port)
		}
	}
	for _, l := range a.Cluster.Listen {
		if _, text, err := net.SplitHostPort(l.Address); err == nil && l.Network != "unix" {
			if port, err := strconv.Atoi(text); err == nil {
				ports = append(ports, port)
			}
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

const maxPort = 65535
