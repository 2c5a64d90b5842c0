package ecosystem

import "time"

// This file has the part of an App that is about other machines: what Consul knows of
// it, what it knows from Consul, and whether it runs on one machine alone.

// Fleet is what an App says about that.
type Fleet struct {
	Consul    Consul    `json:"consul,omitzero"`
	Singleton Singleton `json:"singleton,omitzero"`
}

// Consul says what an app has to do with Consul. The zero value: nothing.
type Consul struct {
	On      bool          `json:"on,omitempty"` // the file says consul, and not false
	Agent   ConsulAgent   `json:"agent,omitzero"`
	Service ConsulService `json:"service,omitzero"`
	Config  ConsulConfig  `json:"config,omitzero"`
	Fleet   bool          `json:"fleet,omitempty"` // it takes part in rollouts, and machines take turns on a change of its configuration
}

// ConsulAgent says where the agent is. What is empty is taken from CONSUL_HTTP_ADDR and
// the like in the app's environment. Paths are absolute.
type ConsulAgent struct {
	Address    string `json:"address,omitempty"` // "127.0.0.1:8500", "https://consul:8501", "unix:///run/consul.sock"
	Token      string `json:"token,omitempty"`
	TokenFile  string `json:"token_file,omitempty"`
	Datacenter string `json:"datacenter,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Partition  string `json:"partition,omitempty"`
	CAFile     string `json:"ca_file,omitempty"`
	CAPath     string `json:"ca_path,omitempty"`
	CertFile   string `json:"cert_file,omitempty"`
	KeyFile    string `json:"key_file,omitempty"`
	ServerName string `json:"server_name,omitempty"`
	Insecure   bool   `json:"insecure,omitempty"` // the certificate isn't checked
}

// ConsulService says how each instance is registered.
type ConsulService struct {
	Off             bool              `json:"off,omitempty"`  // service: false
	Name            string            `json:"name,omitempty"` // never "" in an App that is complete and On
	Tags            []string          `json:"tags,omitempty"` // "{instance}" in one stands for the instance's number
	Meta            map[string]string `json:"meta,omitempty"`
	Address         string            `json:"address,omitempty"` // "" = the agent's own
	Port            int               `json:"port,omitempty"`    // 0 = what the instance is seen to listen on
	Checks          []ConsulCheck     `json:"checks,omitempty"`  // besides the one that gopm keeps
	WeightPassing   int               `json:"weight_passing,omitempty"`
	WeightWarning   int               `json:"weight_warning,omitempty"`
	DeregisterAfter time.Duration     `json:"deregister_after,omitempty"` // of being critical: Consul removes it then; at least a minute
	DeregisterDelay time.Duration     `json:"deregister_delay,omitempty"` // before an instance is stopped it is out of the catalog's passing ones for so long
}

// ConsulCheck is one that Consul makes. One of HTTP, TCP and GRPC is set; {port} in it
// stands for the instance's port.
type ConsulCheck struct {
	Name     string              `json:"name,omitempty"`
	HTTP     string              `json:"http,omitempty"`
	TCP      string              `json:"tcp,omitempty"`
	GRPC     string              `json:"grpc,omitempty"`
	Method   string              `json:"method,omitempty"`
	Headers  map[string][]string `json:"headers,omitempty"`
	Body     string              `json:"body,omitempty"`
	Interval time.Duration       `json:"interval,omitempty"`
	Timeout  time.Duration       `json:"timeout,omitempty"`
	Insecure bool                `json:"tls_skip_verify,omitempty"`
	TLS      bool                `json:"grpc_use_tls,omitempty"`
}

// ConsulConfig is what an app is configured with by keys in Consul.
type ConsulConfig struct {
	Env      string        `json:"env,omitempty"` // a prefix, each key under it a variable, or one key with JSON or dotenv; "" = none
	Files    []ConsulFile  `json:"files,omitempty"`
	OnChange string        `json:"on_change,omitempty"` // OnChange…, or a signal: "SIGHUP"; never "" in an App that is complete and On
	Debounce time.Duration `json:"debounce,omitempty"`  // of silence after a change
	Allow    []string      `json:"allow,omitempty"`     // variables that Env may set though they can run a program
}

// ConsulFile is a file that holds the value of a key.
type ConsulFile struct {
	Path  string `json:"path"` // absolute
	Key   string `json:"key"`
	Mode  uint32 `json:"mode,omitempty"`  // 0 = 0600
	Owner string `json:"owner,omitempty"` // a user's name or number; "" = who the app runs as
	Group string `json:"group,omitempty"`
}

// IsSet says whether there is something to be watched.
func (c ConsulConfig) IsSet() bool { return c.Env != "" || len(c.Files) > 0 }

// What is done about values that have changed, besides a signal.
const (
	OnChangeReload  = "reload"
	OnChangeRestart = "restart"
	OnChangeNothing = "nothing"
)

// Singleton says that over all machines one instance of the app is active.
type Singleton struct {
	Lock   string        `json:"lock,omitempty"`    // the key that is locked; "" = the app is no singleton
	Mode   string        `json:"mode,omitempty"`    // Singleton…; never "" in an App that is complete and has a Lock
	OnLost string        `json:"on_lost,omitempty"` // OnLost…; never "" in the same
	TTL    time.Duration `json:"ttl,omitempty"`     // of the session: 10s and more
	Signal string        `json:"signal,omitempty"`  // to a process whose role has changed; "" = none
}

// IsSet says whether the app is a singleton.
func (s Singleton) IsSet() bool { return s.Lock != "" }

// What the instances do that are not active.
const (
	SingletonCold = "cold" // they are not started
	SingletonHot  = "hot"  // they are booted: held as warm spares, or told by standby.promote
	SingletonRole = "role" // they run, and know by GOPM_ROLE, a signal and their hooks which of them is the leader
)

// What is done when a lock can't be held any more.
const (
	OnLostStop = "stop" // the process is killed before another may hold it
	OnLostKeep = "keep" // it goes on: two may be active
)
