package daemon

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"gopm/daemon/api"
)

// A rollout has the machines of a fleet do something with an app one after the other. Its
// record in Consul's KV is all that there is of it: each daemon looks at that, and decides
// here what comes next; every change is written over what was read and nothing else, so
// it does not matter who else has the same idea. While a machine has its turn it holds a
// key beside the record by a session: without it its turn is over, whatever the record says.
//
// Whoever may write to the KV may write a record. It can ask for four verbs, for apps that
// are there and that say fleet: true, and for nothing else.

// rolloutPrefix is where the records are, and beside each the marks of its turns.
const rolloutPrefix = "gopm/rollouts/"

func rolloutKey(app string) string { return rolloutPrefix + url.PathEscape(app) }

// turnKey is the mark of a machine that has its turn.
func turnKey(app, host string) string { return rolloutKey(app) + "/" + url.PathEscape(host) }

// What a record may be at most.
const (
	rolloutFormat   = 1
	maxRecord       = 512 << 10 // what Consul takes
	maxMachines     = 500
	maxRolloutText  = 1000
	maxMachineNames = 255
)

// parseRollout reads the record of an app, which anybody may have written.
func parseRollout(app string, text []byte) (r api.Rollout, err error) {
	if len(text) > maxRecord {
		return r, fmt.Errorf("it has %d bytes, at most %d are read", len(text), maxRecord)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("it is no rollout: %v", printable(err.Error()))
	}
	switch {
	case r.Format > rolloutFormat:
		return r, fmt.Errorf("its format %d is of a later gopm; this one reads up to %d", r.Format, rolloutFormat)
	case r.Format < 1:
		return r, fmt.Errorf("it has no format")
	case r.App != app:
		return r, fmt.Errorf("it is for the app %q", printable(r.App))
	case !isOneOf(r.Verb, api.VerbReload, api.VerbRestart, api.VerbStart, api.VerbStop):
		return r, fmt.Errorf("it asks for %q, which no rollout may", printable(r.Verb))
	case !isOneOf(r.State, api.RolloutRunning, api.RolloutDone, api.RolloutHalted, api.RolloutAborted, api.RolloutUndoing, api.RolloutUndone):
		return r, fmt.Errorf("its state %q is none that is known", printable(r.State))
	case r.Max < 1 || r.Max > maxMachines:
		return r, fmt.Errorf("it wants %d machines at once", r.Max)
	case len(r.Machines) < 1 || len(r.Machines) > maxMachines:
		return r, fmt.Errorf("it has %d machines", len(r.Machines))
	case !areSayable(r.ID, r.By, r.Note) || r.ID == "":
		return r, fmt.Errorf("it has texts that can't be shown")
	}
	seen := map[string]bool{}
	for _, m := range r.Machines {
		if err := checkTurn(m); err != nil {
			return r, err
		}
		if seen[m.Host] {
			return r, fmt.Errorf("it has the machine %q twice", m.Host)
		}
		seen[m.Host] = true
	}
	r.Index = 0
	return r, nil
}

func checkTurn(m api.RolloutMachine) error {
	switch {
	case m.Host == "" || len(m.Host) > maxMachineNames || !areSayable(m.Host, m.Home, m.Session, m.Result, m.Before, m.After):
		return fmt.Errorf("it has a machine whose texts can't be shown")
	case !isOneOf(m.State, api.TurnWaiting, api.TurnTaken, api.TurnDone, api.TurnFailed, api.TurnSkipped, api.TurnUndoing, api.TurnUndone, api.TurnStuck):
		return fmt.Errorf("the state %q of %s is none that is known", printable(m.State), m.Host)
	case isAtWork(m) != (m.Session != ""):
		return fmt.Errorf("%s has its turn without a session, or a session without its turn", m.Host)
	}
	return nil
}

func isOneOf(s string, all ...string) bool { return slices.Contains(all, s) }

// areSayable says that texts are short, and do nothing to a terminal.
func areSayable(texts ...string) bool {
	return !slices.ContainsFunc(texts, func(s string) bool { return len(s) > maxRolloutText || s != printable(s) })
}

// printable is a text on one line, without control characters, and not too long.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if s = strings.TrimSpace(s); len(s) > maxRolloutText/2 {
		s = strings.ToValidUTF8(s[:maxRolloutText/2], "") + "…"
	}
	return s
}

// encodeRollout is the record of a rollout.
func encodeRollout(r api.Rollout) []byte {
	r.Index = 0
	text, _ := json.Marshal(r) // it has nothing that can't be written
	return text
}

// isAtWork says that a machine has its turn.
func isAtWork(m api.RolloutMachine) bool {
	return m.State == api.TurnTaken || m.State == api.TurnUndoing
}

// rolloutDeed is what a daemon does about a rollout.
type rolloutDeed int

const (
	deedNone  rolloutDeed = iota
	deedTake              // begin its turn
	deedUndo              // begin to go back
	deedGoOn              // the turn is ours, and was begun by the daemon before this one
	deedClose             // write down that a machine has lost its turn
)

// rolloutStep is that, and whom it concerns.
type rolloutStep struct {
	do    rolloutDeed
	host  string        // of deedClose
	after time.Duration // not before the record has stood so long: others come first
}

// turnGrace is how long a machine waits for one that is before it.
const turnGrace = 2 * time.Second

// nextStep is what a machine has to do now. held has the sessions by which the machines
// hold their turns; busy says that this daemon is at work on a turn of the app itself.
func nextStep(r api.Rollout, me string, held map[string]string, busy bool) rolloutStep {
	for _, m := range r.Machines {
		switch {
		case !isAtWork(m):
		case held[m.Host] != m.Session:
			return rolloutStep{do: deedClose, host: m.Host}
		case m.Host == me && !busy:
			return rolloutStep{do: deedGoOn}
		}
	}
	if busy {
		return rolloutStep{}
	}
	do := deedTake
	if r.State == api.RolloutUndoing {
		do = deedUndo
	}
	free := slots(r)
	for at, m := range candidates(r) {
		if m.Host != me {
			continue
		}
		late := at - free + 1
		if free < 1 {
			return rolloutStep{}
		}
		return rolloutStep{do: do, after: time.Duration(max(late, 0)) * turnGrace}
	}
	return rolloutStep{}
}

// slots is how many machines may begin a turn now: the first one is alone until it is
// done, and who goes back does that alone.
func slots(r api.Rollout) int {
	limit, at := 1, 0
	for _, m := range r.Machines {
		if isAtWork(m) {
			at++
		}
		if m.State == api.TurnDone && r.State == api.RolloutRunning {
			limit = r.Max
		}
	}
	return limit - at
}

// candidates are the machines that are to have a turn, in their order: those that have
// failed go back first, then the others, the last one first.
func candidates(r api.Rollout) (all []api.RolloutMachine) {
	pick := func(state string) (some []api.RolloutMachine) {
		for _, m := range r.Machines {
			if m.State == state {
				some = append(some, m)
			}
		}
		return some
	}
	switch r.State {
	case api.RolloutRunning:
		return pick(api.TurnWaiting)
	case api.RolloutUndoing:
		done := pick(api.TurnDone)
		slices.Reverse(done)
		return slices.Concat(pick(api.TurnFailed), done, pick(api.TurnWaiting))
	}
	return nil
}

// turnOf is a machine of a rollout; nil: it is none.
func turnOf(r *api.Rollout, host string) *api.RolloutMachine {
	for i := range r.Machines {
		if r.Machines[i].Host == host {
			return &r.Machines[i]
		}
	}
	return nil
}

// withTurns is a rollout that can be changed without the one that was read.
func withTurns(r api.Rollout) api.Rollout {
	r.Machines = slices.Clone(r.Machines)
	return r
}

// taken is the rollout when a machine has begun its turn.
func taken(r api.Rollout, host, session string, now time.Time) api.Rollout {
	r = withTurns(r)
	m := turnOf(&r, host)
	m.State, m.Session, m.Began, m.Ended, m.Result = api.TurnTaken, session, now, time.Time{}, ""
	if r.State == api.RolloutUndoing {
		m.State = api.TurnUndoing
	}
	return r
}

// turnResult is what came of a turn.
type turnResult struct {
	fault         string // "" = all is well
	text          string // what was done, if it is
	before, after string // names of releases
}

// settled is the rollout when a machine's turn has ended.
func settled(r api.Rollout, host string, result turnResult, now time.Time) api.Rollout {
	r = withTurns(r)
	m := turnOf(&r, host)
	back := m.State == api.TurnUndoing
	m.Session, m.Ended, m.Result = "", now, printable(result.text)
	m.Before, m.After = firstOf(m.Before, printable(result.before)), printable(result.after)
	switch {
	case result.fault == "" && back:
		m.State = api.TurnUndone
	case result.fault == "":
		m.State = api.TurnDone
	case back:
		m.State, m.Result = api.TurnStuck, printable(result.fault)
	default:
		m.State, m.Result = api.TurnFailed, printable(result.fault)
		if r.State == api.RolloutRunning {
			r.State = api.RolloutHalted
			if r.Rollback {
				r.State, r.Note = api.RolloutUndoing, printable(host+": failed: "+m.Result) // its turn is another soon
			}
		}
	}
	return concluded(r, now)
}

// concluded ends a rollout in which nobody has anything to do any more.
func concluded(r api.Rollout, now time.Time) api.Rollout {
	if r.IsOver() {
		if r.Ended.IsZero() {
			r.Ended = now
		}
		return r
	}
	if len(candidates(r)) > 0 || slices.ContainsFunc(r.Machines, isAtWork) {
		return r
	}
	r.Ended = now
	switch {
	case r.State == api.RolloutRunning:
		r.State = api.RolloutDone
	case slices.ContainsFunc(r.Machines, func(m api.RolloutMachine) bool { return m.State == api.TurnStuck }):
		r.State = api.RolloutHalted
	default:
		r.State = api.RolloutUndone
	}
	return r
}

// lostTurn is why a machine's turn has failed of which nobody knows more.
const lostTurn = "its gopm died in its turn, or could not reach Consul any more"

// changed is the rollout after a person's word.
func changed(r api.Rollout, do, by string, now time.Time) (api.Rollout, error) {
	r = withTurns(r)
	switch do {
	case api.ChangeContinue:
		if r.State != api.RolloutHalted && r.State != api.RolloutAborted {
			return r, fmt.Errorf("the %s of %s is %s: there is nothing to continue; begin another", r.Verb, r.App, r.State)
		}
		if slices.ContainsFunc(r.Machines, func(m api.RolloutMachine) bool { return m.State == api.TurnUndone || m.State == api.TurnStuck }) {
			return r, fmt.Errorf("the %s of %s: machines have gone back to the release that they had; begin another", r.Verb, r.App)
		}
		r.State = api.RolloutRunning
		for i, m := range r.Machines {
			if m.State == api.TurnFailed {
				r.Machines[i].State = api.TurnWaiting
			}
		}
		r.Note = "continued by " + by
	case api.ChangeAbort:
		if r.IsOver() && r.State != api.RolloutHalted {
			return r, fmt.Errorf("the %s of %s is %s: there is nothing to abort", r.Verb, r.App, r.State)
		}
		r.State, r.Note = api.RolloutAborted, "aborted by "+by
	case api.ChangeRollback:
		if r.State == api.RolloutUndoing || r.State == api.RolloutUndone || r.Verb == api.VerbStop {
			return r, fmt.Errorf("the %s of %s is %s: there is nothing to roll back", r.Verb, r.App, r.State)
		}
		r.State, r.Note = api.RolloutUndoing, "rolled back by "+by
		for i, m := range r.Machines {
			if m.State == api.TurnStuck {
				r.Machines[i].State = api.TurnFailed
			}
		}
	default:
		return r, fmt.Errorf("want continue, abort or rollback, got %q", printable(do))
	}
	r.Note, r.Ended = printable(r.Note), time.Time{}
	return concluded(r, now), nil
}
