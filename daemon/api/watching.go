package api

import "time"

// Watching is how the files of an app are watched.
type Watching struct {
	Now     bool      `json:"now,omitempty"` // not while nothing of the app runs
	Folders int       `json:"folders,omitempty"`
	PollMS  int64     `json:"poll_ms,omitempty"` // they are looked at so often; 0: the kernel tells of changes
	Trouble string    `json:"trouble,omitempty"` // what can't be watched, and what to do
	Missing []string  `json:"missing,omitempty"` // paths that are not there
	Last    string    `json:"last,omitempty"`    // the files of the last restart
	LastAt  time.Time `json:"last_at,omitzero"`
}
