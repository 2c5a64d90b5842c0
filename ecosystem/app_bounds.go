package ecosystem

// This file has the part of an App that says what its program may not do, and how much
// it may use.

// Bounds is what an App says about that.
type Bounds struct {
	NoNewPrivs bool     `json:"no_new_privs,omitempty"`
	Nice       *int     `json:"nice,omitempty"`    // nil = gopm's own
	Rlimits    []Rlimit `json:"rlimits,omitempty"` // by name
	Limits     Limits   `json:"limits,omitzero"`
}

// Rlimit is one resource limit of a process, as prlimit shows it.
type Rlimit struct {
	Name string `json:"name"` // one of RlimitNames
	Soft int64  `json:"soft"` // Unlimited, or bytes, seconds, a number
	Hard int64  `json:"hard"`
}

// Unlimited is a Rlimit without an end.
const Unlimited = -1

// Limits are what an instance may use with everything that it starts: the kernel's, by a
// cgroup. What is 0 isn't limited.
type Limits struct {
	CPU      float64 `json:"cpu,omitempty"`    // in processors: 0.5 is half of one
	Memory   int64   `json:"memory,omitempty"` // bytes
	Pids     int     `json:"pids,omitempty"`   // processes and threads
	Required bool    `json:"required,omitempty"`
}

// IsSet says whether there is one.
func (l Limits) IsSet() bool { return l.CPU > 0 || l.Memory > 0 || l.Pids > 0 }
