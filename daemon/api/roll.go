package api

// A roll exchanges the processes of an app one after the other, or ends some of them
// when it is scaled down. It goes on whoever waits for it; its steps are told by the
// stream of PathRoll: all so far, then each that is new;
// the last one is RollDone or RollFailed.

// What a step has done.
const (
	RollBegan    = "began"    // a new process was started
	RollReplaced = "replaced" // it has the place of the old one, which is being ended
	RollEnded    = "ended"    // the old one has ended
	RollRefused  = "refused"  // the new one didn't become ready: the old one goes on
	RollDone     = "done"
	RollFailed   = "failed"
)

// RollStep is one step.
type RollStep struct {
	App    string   `json:"app"`
	Index  int      `json:"index"`
	ID     int      `json:"id"`
	Did    string   `json:"did"`
	Pid    int      `json:"pid,omitempty"`        // of the new process
	Before int      `json:"pid_before,omitempty"` // of the old one
	Drain  *Drain   `json:"drain,omitempty"`      // RollEnded: how its connections ended
	Why    string   `json:"why,omitempty"`        // RollRefused, RollFailed
	Last   []string `json:"last_stderr,omitempty"`
}

// Drain is how the connections of an old process ended.
type Drain struct {
	TookMS  int64  `json:"took_ms"`
	Closed  int    `json:"idle_closed,omitempty"`
	Cut     int    `json:"requests_cut,omitempty"`
	Waiting int    `json:"connections_left,omitempty"`
	Text    string `json:"text"`
}

// IsEnd says that no step follows.
func (s RollStep) IsEnd() bool { return s.Did == RollDone || s.Did == RollFailed }
