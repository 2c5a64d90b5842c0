package api

import "time"

// Run has an app that doesn't run always run now. With End it ends that run instead.
type Run struct {
	Target string `json:"target"`
	End    uint64 `json:"end,omitempty"`
}

// Running is a run that was begun.
type Running struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	Inc  uint64 `json:"incarnation"`
}

// RunPart is a part of what a run writes, byte by byte; the last one has its end.
type RunPart struct {
	Out   []byte  `json:"out,omitempty"`
	Err   []byte  `json:"err,omitempty"`
	OutAt string  `json:"out_at,omitempty"` // where to go on: the query of who asks again
	ErrAt string  `json:"err_at,omitempty"`
	Note  string  `json:"note,omitempty"` // what can't be shown, and why
	End   *RunEnd `json:"end,omitempty"`
}

// RunEnd is how a run ended.
type RunEnd struct {
	Exit *Exit     `json:"exit,omitempty"` // nil: it is not known any more
	At   time.Time `json:"at"`
}
