package api

import "time"

// Config is what an app is configured with by keys in Consul.
type Config struct {
	App      string          `json:"app"`
	Agent    string          `json:"agent"`
	Env      string          `json:"env,omitempty"` // the key of its variables
	OnChange string          `json:"on_change"`
	Vars     []ConfigVar     `json:"vars,omitempty"` // by name
	Files    []ConfigFile    `json:"files,omitempty"`
	Refused  []ConfigRefusal `json:"refused,omitempty"`
	Missing  []string        `json:"missing,omitempty"` // keys that aren't there
	Secrets  []string        `json:"secrets,omitempty"` // names of variables that the app calls so, besides those that look so
	ConfigNow
	Running []ConfigRun `json:"running,omitempty"`
}

// ConfigNow is how it is with that.
type ConfigNow struct {
	Number  uint64     `json:"number,omitempty"` // the index of the values that it has; 0: none yet
	Read    time.Time  `json:"read,omitzero"`    // when they were, first
	Stale   bool       `json:"stale,omitempty"`  // they may be others by now
	Mute    time.Time  `json:"mute,omitzero"`    // since then not all is answered; zero: it is, or it was never asked
	Never   bool       `json:"never,omitempty"`  // nothing was answered since gopm began
	Trouble string     `json:"trouble,omitempty"`
	Pending uint64     `json:"pending,omitempty"` // the index of values that it is about to get
	Failed  *ConfigBad `json:"failed,omitempty"`  // newer values that it could not run with
}

// ConfigVar is a variable.
type ConfigVar struct {
	Name  string  `json:"name"`
	Value string  `json:"value"`
	Key   string  `json:"key"`
	Index uint64  `json:"index"`
	Over  *string `json:"over,omitempty"` // what the app's file says instead
}

// ConfigFile is a file that has the value of a key.
type ConfigFile struct {
	Path  string `json:"path"`
	Key   string `json:"key"`
	Index uint64 `json:"index,omitempty"` // 0: it is not there yet
	Bytes int    `json:"bytes"`
}

// ConfigRefusal is a variable that the app doesn't get.
type ConfigRefusal struct {
	Name string `json:"name"`
	Key  string `json:"key"`
	Why  string `json:"why"`
}

// ConfigBad are values that an app has failed with.
type ConfigBad struct {
	Number uint64    `json:"number"`
	At     time.Time `json:"at"`
	Why    string    `json:"why"`
}

// ConfigRun is an instance, and the index of the values that its process was begun with.
type ConfigRun struct {
	ID     int    `json:"id"`
	Index  int    `json:"index"`
	Number uint64 `json:"number"`
}
