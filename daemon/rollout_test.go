package daemon

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

func plannedRollout(hosts ...string) api.Rollout {
	r := api.Rollout{Format: 1, ID: "x", App: "web", Verb: api.VerbReload, Max: 2, State: api.RolloutRunning, By: "me@here", Began: time.Unix(1, 0)}
	for _, h := range hosts {
		r.Machines = append(r.Machines, api.RolloutMachine{Host: h, State: api.TurnWaiting})
	}
	return r
}

// turnStates is what a rollout's machines are, for comparison.
func turnStates(r api.Rollout) string {
	text := r.State + ":"
	for _, m := range r.Machines {
		text += " " + m.Host + " " + m.State
	}
	return text
}

func TestRolloutSteps(t *testing.T) {
	t.Parallel()
	now := time.Unix(2, 0)
	r := plannedRollout("a", "b", "c", "d")
	check := func(host string, held map[string]string, busy bool, want rolloutStep) {
		t.Helper()
		if got := nextStep(r, host, held, busy); got != want {
			t.Errorf("%s, %v: %s does %v, want %v", turnStates(r), held, host, got, want)
		}
	}
	none := rolloutStep{}
	check("a", nil, false, rolloutStep{do: deedTake})
	check("b", nil, false, rolloutStep{do: deedTake, after: turnGrace})
	check("x", nil, false, none)
	r = taken(r, "a", "s1", now)
	check("a", map[string]string{"a": "s1"}, true, none)
	check("a", map[string]string{"a": "s1"}, false, rolloutStep{do: deedGoOn})
	check("b", map[string]string{"a": "s1"}, false, none)
	check("b", map[string]string{"a": "s2"}, false, rolloutStep{do: deedClose, host: "a"})
	check("c", nil, false, rolloutStep{do: deedClose, host: "a"})
	r = settled(r, "a", turnResult{text: "reloaded"}, now)
	check("b", nil, false, rolloutStep{do: deedTake})
	check("c", nil, false, rolloutStep{do: deedTake})
	check("d", nil, false, rolloutStep{do: deedTake, after: turnGrace})
	r = taken(taken(r, "b", "s2", now), "c", "s3", now)
	held := map[string]string{"b": "s2", "c": "s3"}
	check("d", held, false, none)
	r = settled(r, "b", turnResult{fault: "web:0 exit 1"}, now)
	if r.State != api.RolloutHalted || r.Ended.IsZero() {
		t.Errorf("after a failure: %s, ended %v", turnStates(r), r.Ended)
	}
	check("d", held, false, none)
	r = settled(r, "c", turnResult{}, now)
	if got, want := turnStates(r), "failed: a done b failed c done d waiting"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	again, err := changed(r, api.ChangeContinue, "me", now)
	if got, want := turnStates(again), "running: a done b waiting c done d waiting"; err != nil || got != want || !again.Ended.IsZero() {
		t.Errorf("continued: %s, %v, want %s", got, err, want)
	}
	r, err = changed(r, api.ChangeRollback, "me", now)
	if err != nil || r.State != api.RolloutUndoing {
		t.Fatalf("rolled back: %s, %v", turnStates(r), err)
	}
	for _, host := range []string{"b", "c", "a", "d"} { // who has failed first, then the others from the last one on
		check(host, nil, false, rolloutStep{do: deedUndo})
		r = taken(r, host, "s", now)
		r = settled(r, host, turnResult{}, now)
	}
	if got, want := turnStates(r), "rolled back: a rolled back b rolled back c rolled back d rolled back"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := changed(r, api.ChangeContinue, "me", now); err == nil {
		t.Error("a rollout that was rolled back can be continued")
	}
	if _, err := changed(r, api.ChangeAbort, "me", now); err == nil {
		t.Error("a rollout that was rolled back can be aborted")
	}
}

// sharedKV is what some machines share: a record that is only replaced by who has read it,
// and the marks, which go with who holds them.
type sharedKV struct {
	t       *testing.T
	r       api.Rollout
	index   int
	held    map[string]string
	begun   map[string]int // by host and session: how often the verb was carried out
	session int
}

// member is one of them: what it has read, and the session of the turn it is at.
type member struct {
	host    string
	dead    bool
	session string
	read    api.Rollout
	index   int
}

func (w *sharedKV) write(index int, next api.Rollout) bool {
	if index != w.index {
		return false
	}
	w.index++
	if back, err := parseRollout("web", encodeRollout(next)); err != nil || turnStates(back) != turnStates(next) {
		w.t.Fatalf("%s is read as %s: %v", turnStates(next), turnStates(back), err)
	}
	w.check(w.r, next)
	w.r = next
	return true
}

// check fails unless a change keeps the promises.
func (w *sharedKV) check(before, after api.Rollout) {
	at, done, began := 0, false, false
	for i, m := range after.Machines {
		if isAtWork(m) {
			at++
		}
		done = done || before.Machines[i].State == api.TurnDone
		began = began || isAtWork(m) && !isAtWork(before.Machines[i])
	}
	limit := 1
	if done && after.State == api.RolloutRunning {
		limit = after.Max
	}
	if began && (at > limit || before.IsOver()) {
		w.t.Fatalf("%s became %s: %d may be at work", turnStates(before), turnStates(after), limit)
	}
}

// act has a machine do one thing; what it has read may be old.
func (w *sharedKV) act(m *member, random *rand.Rand) {
	now := time.Unix(int64(w.index), 0)
	if m.dead {
		return
	}
	if m.session != "" {
		if random.IntN(3) == 0 {
			w.finish(m, random, now)
		}
		return
	}
	if random.IntN(2) == 0 {
		m.read, m.index = w.r, w.index
	}
	held := w.held
	switch step := nextStep(m.read, m.host, held, false); step.do {
	case deedTake, deedUndo:
		w.session++
		session := fmt.Sprint("s", w.session)
		if w.held[m.host] != "" {
			return
		}
		w.held[m.host] = session
		if !w.write(m.index, taken(m.read, m.host, session, now)) {
			delete(w.held, m.host)
			return
		}
		m.session = session
		w.begun[m.host+session]++
	case deedGoOn:
		m.session = turnOf(&m.read, m.host).Session // it is looked at what came of it: nothing is done again
	case deedClose:
		w.write(m.index, settled(m.read, step.host, turnResult{fault: lostTurn}, now))
	}
}

func (w *sharedKV) finish(m *member, random *rand.Rand, now time.Time) {
	result := turnResult{text: "done"}
	if random.IntN(5) == 0 {
		result = turnResult{fault: "it is broken"}
	}
	if own := turnOf(&w.r, m.host); own.Session == m.session {
		w.write(w.index, settled(w.r, m.host, result, now))
	}
	if w.held[m.host] == m.session {
		delete(w.held, m.host)
	}
	m.session = ""
}

func TestRolloutWalk(t *testing.T) {
	t.Parallel()
	ends := map[string]int{}
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 8))
		w := &sharedKV{t: t, r: plannedRollout("a", "b", "c", "d", "e"), held: map[string]string{}, begun: map[string]int{}}
		w.r.Max, w.r.Rollback = 1+random.IntN(3), random.IntN(2) == 0
		var machines []*member
		for _, m := range w.r.Machines {
			machines = append(machines, &member{host: m.Host, read: w.r})
		}
		for range 60 {
			m := machines[random.IntN(len(machines))]
			switch random.IntN(12) {
			case 0: // its daemon dies; its machine, too, so that its session ends
				m.dead, m.session = true, ""
				if random.IntN(2) == 0 {
					delete(w.held, m.host)
				}
			case 1:
				m.dead = false
			case 2:
				delete(w.held, m.host) // it can't reach Consul
			case 3:
				do := []string{api.ChangeAbort, api.ChangeContinue, api.ChangeRollback}[random.IntN(3)]
				if next, err := changed(w.r, do, "me", time.Unix(9, 0)); err == nil {
					w.write(w.index, next)
				}
			default:
				w.act(m, random)
			}
		}
		for range 2000 {
			if w.r.IsOver() && !slices.ContainsFunc(w.r.Machines, isAtWork) {
				break
			}
			m := machines[random.IntN(len(machines))]
			m.dead = false
			w.act(m, random)
		}
		if !w.r.IsOver() || w.r.Ended.IsZero() || strings.Contains(turnStates(w.r), api.TurnTaken) {
			t.Fatalf("seed %d: it has no end: %s", seed, turnStates(w.r))
		}
		for turn, n := range w.begun {
			if n != 1 {
				t.Fatalf("seed %d: the turn %s was carried out %d times", seed, turn, n)
			}
		}
		ends[w.r.State]++
	}
	for _, state := range []string{api.RolloutDone, api.RolloutHalted, api.RolloutAborted, api.RolloutUndone} {
		if ends[state] == 0 {
			t.Errorf("no walk has ended as %q: %v", state, ends)
		}
	}
}

func TestParseRolloutRefuses(t *testing.T) {
	t.Parallel()
	good := plannedRollout("a", "b")
	if _, err := parseRollout("web", encodeRollout(good)); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(r *api.Rollout){
		"asks for \"exec\"":     func(r *api.Rollout) { r.Verb = "exec" },
		"for the app \"other\"": func(r *api.Rollout) { r.App = "other" },
		"of a later gopm":       func(r *api.Rollout) { r.Format = 2 },
		"has no format":         func(r *api.Rollout) { r.Format = 0 },
		"has 0 machines":        func(r *api.Rollout) { r.Machines = nil },
		"twice":                 func(r *api.Rollout) { r.Machines[1].Host = "a" },
		"can't be shown":        func(r *api.Rollout) { r.Machines[1].Result = "\x1b[2J" },
		"texts that":            func(r *api.Rollout) { r.By = strings.Repeat("x", 2000) },
		"without a session":     func(r *api.Rollout) { r.Machines[0].State = api.TurnTaken },
		"machines at once":      func(r *api.Rollout) { r.Max = 0 },
		"none that is known":    func(r *api.Rollout) { r.State = "odd" },
	} {
		r := withTurns(good)
		spoil(&r)
		if _, err := parseRollout("web", encodeRollout(r)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parseRollout("web", bytes.Repeat([]byte(" "), maxRecord+1)); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a long record: %v", err)
	}
}

func FuzzParseRollout(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add(encodeRollout(plannedRollout("a", "b")))
	f.Add(encodeRollout(taken(plannedRollout("a", "b"), "a", "s", time.Unix(3, 0))))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRollout("web", text)
		if err != nil {
			return
		}
		for _, m := range r.Machines {
			switch step := nextStep(r, m.Host, map[string]string{m.Host: m.Session}, false); step.do {
			case deedTake, deedUndo:
				if m.State == api.TurnSkipped {
					t.Fatalf("%s was skipped and takes a turn", m.Host)
				}
				r := taken(r, m.Host, "s", time.Unix(3, 0))
				settled(r, m.Host, turnResult{fault: "no"}, time.Unix(4, 0))
			}
		}
		for _, text := range append([]string{r.By, r.Note}, r.Machines[0].Host, r.Machines[0].Result) {
			if strings.ContainsAny(text, "\x1b\n\r\x00") {
				t.Fatalf("%q reaches the terminal", text)
			}
		}
	})
}

func TestTakingPart(t *testing.T) {
	t.Parallel()
	web := func(host, down string, a api.FleetApp) api.FleetMachine {
		a.Name = "web"
		return api.FleetMachine{Host: host, Home: "/h/" + host, Down: down, Apps: []api.FleetApp{{Name: "api", Fleet: true}, a}}
	}
	in := api.FleetApp{Fleet: true, Release: "7"}
	for name, test := range map[string]struct {
		found []api.FleetMachine
		order api.FleetOrder
		want  string // the turns, or a part of the error
	}{
		"all":            {[]api.FleetMachine{web("a", "", in), web("b", "", in)}, api.FleetOrder{}, ": a waiting b waiting"},
		"some":           {[]api.FleetMachine{web("a", "", in), web("b", "", in)}, api.FleetOrder{Hosts: []string{"b"}}, ": b waiting"},
		"one down":       {[]api.FleetMachine{web("a", "TTL expired", in), web("b", "", in)}, api.FleetOrder{Rollback: true}, ": a skipped b waiting"},
		"all down":       {[]api.FleetMachine{web("a", "TTL expired", in)}, api.FleetOrder{}, "all machines that have web are down"},
		"no such host":   {[]api.FleetMachine{web("a", "", in)}, api.FleetOrder{Hosts: []string{"x"}}, "x has no app web"},
		"no such app":    {[]api.FleetMachine{{Host: "a"}}, api.FleetOrder{}, "no machine of the fleet has an app web"},
		"not in fleet":   {[]api.FleetMachine{web("a", "", api.FleetApp{})}, api.FleetOrder{}, "does not say consul.fleet: true on a"},
		"of one name":    {[]api.FleetMachine{web("a", "", in), web("a", "", in)}, api.FleetOrder{}, "two gopms call themselves a"},
		"in place":       {[]api.FleetMachine{web("a", "", in), web("b", "", api.FleetApp{Fleet: true})}, api.FleetOrder{Rollback: true}, "--rollback: on b"},
		"not known now":  {[]api.FleetMachine{web("a", "", api.FleetApp{Fleet: true, Release: releaseUnknown})}, api.FleetOrder{Rollback: true}, ": a waiting"},
		"no going back":  {[]api.FleetMachine{web("a", "", api.FleetApp{Fleet: true})}, api.FleetOrder{}, ": a waiting"},
		"another's only": {[]api.FleetMachine{web("a", "", api.FleetApp{}), web("b", "", in)}, api.FleetOrder{}, ": b waiting"},
	} {
		test.order.App = "web"
		all, err := takingPart(test.found, test.order)
		got := turnStates(api.Rollout{Machines: all})
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
