package api

import (
	"encoding/json"
	"fmt"
	"time"
)

// RuntimeVariable is in the environment of a daemon, and of its keeper, that a command
// runs in the foreground: its Runtime as JSON.
const RuntimeVariable = "GOPM_RUNTIME"

// Runtime is how a daemon in the foreground behaves, as in a container.
type Runtime struct {
	ExitOn string        `json:"exit_on"`         // one of the constants below
	Form   string        `json:"form,omitempty"`  // how lines of the apps are written, one of those, too
	Width  int           `json:"width,omitempty"` // of what precedes them in FormNamed
	Grace  time.Duration `json:"grace,omitempty"` // for everything to end in; 0: as long as it takes
}

// Whose end is the end of a runtime.
const (
	ExitOnFirst   = "first"   // the first instance that has ended for good
	ExitOnLast    = "last"    // the last one
	ExitOnFailure = "failure" // the first that has failed for good, else the last one
	ExitOnNever   = "never"   // a signal only
)

// How a runtime writes lines.
const (
	FormRaw   = "raw"
	FormJSON  = "json"
	FormNamed = "formatted" // 0|app  | line
	FormPairs = "pairs"     // timestamp=… app=… id=… type=out message=…
)

// RuntimeOrder is what a daemon in the foreground starts with. It can have secrets, and
// is passed as the descriptor of a file without a name.
type RuntimeOrder struct {
	Applies []Apply       `json:"applies"`
	Delay   time.Duration `json:"delay,omitempty"` // before anything is started
}

// Grace is how long everything may take to end: a little less than Docker's ten seconds,
// or what the apps were given, and a second.
func (o RuntimeOrder) Grace() time.Duration {
	const usual = 9 * time.Second
	longest := time.Duration(0)
	for _, a := range o.Applies {
		for _, app := range a.Apps {
			longest = max(longest, app.Stop.Timeout)
		}
	}
	return max(usual, longest+time.Second)
}

// Width is that of the widest column.
func (o RuntimeOrder) Width() (width int) {
	count, name := 0, 0
	for _, a := range o.Applies {
		for _, app := range a.Apps {
			count += app.Scale.Total()
			name = max(name, len(app.Name))
		}
	}
	return len(fmt.Sprintf("%d|", max(count-1, 0))) + name
}

// Words is a line of gopm's own on a runtime's stderr.
func (r Runtime) Words(now time.Time, text string) string {
	if r.Form != FormJSON {
		return "gopm: " + text + "\n"
	}
	line, err := json.Marshal(map[string]string{"timestamp": now.UTC().Format("2006-01-02T15:04:05.000Z"), "type": "gopm", "message": text})
	if err != nil {
		return "{}\n" // texts have no wrong values
	}
	return string(line) + "\n"
}

// Column is what precedes the lines of an instance in FormNamed.
func (r Runtime) Column(id int, app string) string {
	return fmt.Sprintf("%-*s | ", r.Width, fmt.Sprintf("%d|%s", id, app))
}
