package api

import "time"

// Registration is what Consul's agent knows of an instance.
type Registration struct {
	Agent   string    `json:"agent"`             // its address
	Service string    `json:"service"`           // the service's name
	ID      string    `json:"id"`                // of the entry: "gopm:host:web:0"
	Status  string    `json:"status,omitempty"`  // as the agent was told: passing, warning, critical; "" = it isn't registered
	Output  string    `json:"output,omitempty"`  // what was said of it besides
	Leaving bool      `json:"leaving,omitempty"` // it is in maintenance: nobody is sent to it
	Port    int       `json:"port,omitempty"`
	Absence string    `json:"absence,omitempty"` // why it isn't registered though all is as it should be
	Trouble string    `json:"trouble,omitempty"` // why it isn't as it should be
	Down    time.Time `json:"down,omitzero"`     // since when the agent is not to be reached
	Error   string    `json:"error,omitempty"`   // why
	NextTry time.Time `json:"next_try,omitzero"` // of reaching it
}
