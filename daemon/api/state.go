package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"gopm/ecosystem"
)

// StateFormat is the version of the state file. A file of a later one is not read;
// fields that an earlier one lacks have their zero values.
const StateFormat = 1

// State is the file state.json: everything about the apps that is not a descriptor.
// The daemon writes it after each change of meaning. A command reads it when no
// daemon answers, to say what still lives.
type State struct {
	Format   int        `json:"format"`
	Version  string     `json:"gopm"`
	Boot     string     `json:"boot_id"` // of the machine's start in which the pids mean something
	Sequence uint64     `json:"sequence"`
	Written  time.Time  `json:"written"`
	Ended    string     `json:"ended,omitempty"`    // how the daemon ended in order: "kill", "shutdown"; "" = it has not
	Revivals int        `json:"revivals,omitempty"` // daemons that were started because the one before had died
	Apps     []SavedApp `json:"apps"`

	// Complete comes last: a file without it was not written to its end.
	Complete bool `json:"complete"`
}

// SavedApp is one app, in the order of the list.
type SavedApp struct {
	Spec      ecosystem.App   `json:"spec"`
	Origin    string          `json:"origin,omitempty"`
	User      string          `json:"user"`
	Env       string          `json:"inherited_env"` // name of the file below env/
	Created   time.Time       `json:"created"`
	Instances []SavedInstance `json:"instances"`
}

// SavedInstance is one instance. Want is what the user wishes; kill, shutdown and
// reboot don't change it.
type SavedInstance struct {
	ID      int             `json:"id"`
	Index   int             `json:"index"`
	Life    uint64          `json:"life,omitempty"` // the daemon's own: which of the processes of that id is meant
	Want    bool            `json:"want"`
	Rested  string          `json:"rested,omitempty"` // why it is down though it should run: "kill", "shutdown", "reboot"
	Process Process         `json:"process"`
	Start   uint64          `json:"start,omitempty"` // of the pid, in clock ticks since boot
	Machine json.RawMessage `json:"machine"`         // where the supervision was; the daemon's own
	Out     SavedLog        `json:"out"`
	Err     SavedLog        `json:"err"`
	Health  *Health         `json:"health,omitempty"`
	Duty    string          `json:"duty,omitempty"` // "active" or "asked" among programs that are told which of them is active
	Timed
	SavedOrder
	SavedPast
}

// SavedPast is what has become of an instance so far; the daemon's own.
type SavedPast struct {
	Marks []int64           `json:"marks,omitempty"` // where the output of its last runs begins
	Tally map[string]uint64 `json:"tally,omitempty"` // what metrics count
}

// SavedOrder is what an instance is to do when others are there, or down, and what it may.
type SavedOrder struct {
	Wait   *SavedWait      `json:"wait,omitempty"`   // it is to be started when what it depends on is there; nil: it isn't, or it does not wait
	Doomed bool            `json:"doomed,omitempty"` // it is to be stopped when what depends on it is down
	Permit json.RawMessage `json:"permit,omitempty"` // the lock that it runs under; the daemon\'s own
}

// SavedWait is a start that is held back.
type SavedWait struct {
	From  uint64 `json:"from"`            // the incarnation after which it is to be started; another one: it has been
	Again bool   `json:"again,omitempty"` // it runs, and is to be restarted
}

// SavedLog is one stream: the inode of its pipe, its file, and its counters.
type SavedLog struct {
	Path         string `json:"path,omitempty"` // for commands; the daemon has it from the spec
	Pipe         uint64 `json:"pipe"`
	Bytes        int64  `json:"bytes,omitempty"`
	Dropped      int64  `json:"dropped_bytes,omitempty"`
	DroppedSince string `json:"dropped_since,omitempty"`
	Rotations    int    `json:"rotations,omitempty"`
	Refused      string `json:"refused,omitempty"` // why its file takes nothing
}

// DamagedError says that a state file is there and cannot be used.
type DamagedError struct {
	Path string
	Why  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Why) }
func (e *DamagedError) Unwrap() error { return e.Why }

// LoadState is the newest complete state of a home: state.json, or the one that was
// being written. Without any the error is fs.ErrNotExist.
func (h Home) LoadState() (State, error) {
	s, err := ReadState(h.State())
	next, nextErr := ReadState(h.NextState())
	if nextErr == nil && (err != nil || next.Sequence > s.Sequence) {
		return next, nil
	}
	return s, err
}

// ReadState reads one file.
func ReadState(path string) (State, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) { // or a file is in the home's place
		return State{}, fs.ErrNotExist
	}
	if err != nil {
		return State{}, fmt.Errorf("cannot read the state: %w", err)
	}
	s, err := ParseState(text)
	if err != nil {
		return State{}, &DamagedError{path, err}
	}
	return s, nil
}

// ParseState reads a whole document.
func ParseState(text []byte) (s State, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return State{}, err
	}
	if err := s.Check(); err != nil {
		return State{}, err
	}
	return s, nil
}

// Check says what keeps a document from being used.
func (s State) Check() error {
	switch {
	case s.Format > StateFormat:
		return fmt.Errorf("its format %d is of a later gopm (%s); this one reads up to %d", s.Format, s.Version, StateFormat)
	case s.Format < 1:
		return errors.New("it has no format")
	case !s.Complete:
		return errors.New("it was not written to its end")
	}
	return nil
}

// BootID names the present run of the kernel; "" when it can't be read.
var BootID = sync.OnceValue(func() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
})
