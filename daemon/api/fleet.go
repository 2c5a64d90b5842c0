package api

import "time"

// Paths of what is about other machines. Consul knows them; the daemon asks it.
const (
	PathFleet          = "/v1/fleet"           // POST FleetQuery -> Fleet
	PathFleetEndpoints = "/v1/fleet/endpoints" // POST FleetQuery -> Endpoints
	PathFleetBegin     = "/v1/fleet/begin"     // POST FleetOrder -> Rollout, when it is written down
	PathFleetChange    = "/v1/fleet/change"    // POST FleetChange -> Rollout, when it is written down
	PathFleetRollout   = "/v1/fleet/rollout"   // POST FleetFollow -> Rollout, when it has changed, or after some seconds
)

// FleetQuery asks for the machines of a fleet. Environ has the variables of Consul's
// tools (CONSUL_HTTP_ADDR and so on) of who asks.
type FleetQuery struct {
	App     string   `json:"app,omitempty"`   // "" = all apps
	Hosts   []string `json:"hosts,omitempty"` // none = all
	Environ []string `json:"environ,omitempty"`
	Here    bool     `json:"here,omitempty"` // of the endpoints: those of this daemon alone, of an app or a namespace, without Consul
}

// Fleet is the machines that run gopm, by name.
type Fleet struct {
	Consul   string         `json:"consul"` // the agent that was asked
	Machines []FleetMachine `json:"machines"`
}

// FleetMachine is one gopm: a machine may have several, each with a home of its own.
type FleetMachine struct {
	Host      string     `json:"host"` // as it is called in Consul's IDs
	Home      string     `json:"home"`
	Here      bool       `json:"here,omitempty"` // it is the one that was asked: no ssh is needed
	SSH       string     `json:"ssh"`            // how others reach it: "host", "user@host", "user@host:2222"
	Address   string     `json:"address"`        // of its Consul agent
	Version   string     `json:"version"`        // of gopm
	Down      string     `json:"down,omitempty"` // why it does not answer; "" = it does
	Apps      []FleetApp `json:"apps"`
	Instances []Instance `json:"instances"`            // what its daemon has told Consul last: no usage
	Unlisted  int        `json:"unlisted,omitempty"`   // instances that Consul has no room for
	Live      bool       `json:"live,omitempty"`       // the instances are what it has just told itself, by ssh
	LiveError string     `json:"live_error,omitempty"` // why they are not, where that was asked for
}

// FleetApp is an app of a machine.
type FleetApp struct {
	Name    string `json:"name"`
	Fleet   bool   `json:"fleet"`             // it takes part in rollouts
	Release string `json:"release,omitempty"` // name of the folder that deploy's link led to when its processes were started; "" = there is none
	Spec    string `json:"spec,omitempty"`    // a short sum of what its file says: equal where that is
}

// Endpoints are where a service's instances listen, for balancers.
type Endpoints struct {
	Service string     `json:"service"`
	Consul  string     `json:"consul"` // "" = it wasn't asked
	Passing []Endpoint `json:"passing"`
	Others  int        `json:"others"` // instances that are not passing, or have no port
}

// Endpoint is one of them.
type Endpoint struct {
	ID      string `json:"id"`
	Node    string `json:"node"`
	Address string `json:"address"`
	Port    int    `json:"port"`
	Weight  int    `json:"weight"`
}

// FleetOrder begins a rollout.
type FleetOrder struct {
	App      string   `json:"app"`
	Verb     string   `json:"verb"`            // Verb…
	Max      int      `json:"max,omitempty"`   // machines at once after the first one; 0 = 1
	Hosts    []string `json:"hosts,omitempty"` // none = all
	Rollback bool     `json:"rollback,omitempty"`
	By       string   `json:"by"` // "user@host"
	Environ  []string `json:"environ,omitempty"`
}

// What a rollout may ask for.
const (
	VerbReload  = "reload"
	VerbRestart = "restart"
	VerbStart   = "start"
	VerbStop    = "stop"
)

// FleetChange changes what becomes of a rollout.
type FleetChange struct {
	App     string   `json:"app"`
	Do      string   `json:"do"` // Change…
	By      string   `json:"by"`
	Environ []string `json:"environ,omitempty"`
}

// What may be done about a rollout.
const (
	ChangeContinue = "continue" // machines that have failed take another turn
	ChangeAbort    = "abort"    // no machine begins its turn any more
	ChangeRollback = "rollback" // each machine goes back to the release that it had
)

// FleetFollow asks what has become of a rollout.
type FleetFollow struct {
	App     string   `json:"app"`
	After   uint64   `json:"after,omitempty"` // answer when its index is another one; 0 = at once
	Environ []string `json:"environ,omitempty"`
}

// Rollout is the record of one in Consul's KV: the only truth about it.
type Rollout struct {
	Format   int              `json:"format"`
	ID       string           `json:"id"`
	App      string           `json:"app"`
	Verb     string           `json:"verb"`
	Max      int              `json:"max"`
	Rollback bool             `json:"rollback,omitempty"` // if a machine fails, all go back
	State    string           `json:"state"`              // Rollout…
	By       string           `json:"by"`
	Began    time.Time        `json:"began"`
	Ended    time.Time        `json:"ended,omitzero"`
	Note     string           `json:"note,omitempty"` // who has continued or aborted it
	Machines []RolloutMachine `json:"machines"`

	Index uint64 `json:"index,omitempty"` // of the record in KV; not part of it
}

// RolloutMachine is one machine of a rollout.
type RolloutMachine struct {
	Host    string    `json:"host"`
	Home    string    `json:"home"`
	State   string    `json:"state"`             // Turn…
	Session string    `json:"session,omitempty"` // of the daemon that has the turn
	Began   time.Time `json:"began,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Result  string    `json:"result,omitempty"` // for people
	Before  string    `json:"before,omitempty"` // the release that it had: a name, for people
	After   string    `json:"after,omitempty"`  // and has since
}

// What a rollout's state is.
const (
	RolloutRunning = "running"
	RolloutDone    = "done"
	RolloutHalted  = "failed"       // a machine has failed: nothing more is begun
	RolloutAborted = "aborted"      // by a person
	RolloutUndoing = "rolling back" // machines go back, one after the other
	RolloutUndone  = "rolled back"
)

// What a machine's turn is.
const (
	TurnWaiting = "waiting"
	TurnTaken   = "at work"
	TurnDone    = "done"
	TurnFailed  = "failed"
	TurnSkipped = "skipped" // it was down when the rollout began
	TurnUndoing = "going back"
	TurnUndone  = "rolled back"
	TurnStuck   = "not rolled back" // it could not go back
)

// IsOver says that no machine has anything to do about it.
func (r Rollout) IsOver() bool { return r.State != RolloutRunning && r.State != RolloutUndoing }
