package consul

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gopm/tools/agent"
)

// A Syncer with a real agent.

// patient is the limit of what these tests wait for.
const patient = 20 * time.Second

func until(t *testing.T, check func() error) {
	t.Helper()
	deadline, tick := time.After(patient), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("still after %v: %v", patient, err)
		case <-tick.C:
		}
	}
}

func startAgentWith(t *testing.T, o agent.Options) *agent.Agent {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real agent of Consul")
	}
	a, err := agent.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Kill)
	return a
}

// hearsay is what a Syncer has told.
type hearsay struct {
	mu  sync.Mutex
	all []string
}

func (h *hearsay) tell(id, trouble string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, id+": "+trouble)
}

func (h *hearsay) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

func syncing(t *testing.T, c Connection) (*Syncer, *hearsay) { return syncingFor(t, c, owner) }

func syncingFor(t *testing.T, c Connection, owner Owner) (*Syncer, *hearsay) {
	t.Helper()
	client, err := Open(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var h hearsay
	s := NewSyncer(client, owner, h.tell)
	t.Cleanup(s.Close)
	return s, &h
}

// shows waits until the catalog has exactly these entries of web, in these states.
func shows(t *testing.T, a *agent.Agent, want map[string]string) {
	t.Helper()
	until(t, func() error {
		entries, err := a.Health("web")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Status() != want[e.ID] {
				return fmt.Errorf("%s is %s, want %q", e.ID, e.Status(), want[e.ID])
			}
		}
		if len(entries) != len(want) {
			return fmt.Errorf("%d entries, want %v", len(entries), want)
		}
		return nil
	})
}

func number(i int, status string) Service {
	return Service{ID: fmt.Sprintf("gopm:h:web:%d", i), Name: "web", Port: 80 + i, Health: Health{Status: status, Output: status}}
}

// TestSyncer has an agent show what is wanted, through changes of that, others' changes of
// what it has, and its loss of everything.
func TestSyncer(t *testing.T) {
	a := startAgentWith(t, agent.Options{})
	s, h := syncing(t, Connection{Address: a.HostPort()})
	s.Set(Wanted{Services: []Service{number(0, Passing), number(1, Critical)}})
	shows(t, a, map[string]string{"gopm:h:web:0": Passing, "gopm:h:web:1": Critical})
	s.Set(Wanted{Services: []Service{number(0, Critical), number(1, Passing)}})
	shows(t, a, map[string]string{"gopm:h:web:0": Critical, "gopm:h:web:1": Passing})
	leaves := number(1, Passing)
	leaves.Leaving = "for a while"
	s.Set(Wanted{Services: []Service{number(0, Passing), leaves}})
	shows(t, a, map[string]string{"gopm:h:web:0": Passing, "gopm:h:web:1": Critical})
	s.Set(Wanted{Services: []Service{number(0, Passing), number(1, Passing)}})
	both := map[string]string{"gopm:h:web:0": Passing, "gopm:h:web:1": Passing}
	shows(t, a, both)
	if err := a.Ask("PUT", "/v1/agent/service/deregister/gopm:h:web:0", nil, nil); err != nil {
		t.Fatal(err)
	}
	shows(t, a, both)
	changesInMaintenance(t, a, s)
	a.Kill()
	until(t, func() error {
		if !s.Client().Status().Down {
			return errors.New("it isn't seen that the agent is gone")
		}
		return nil
	})
	s.Set(Wanted{Services: []Service{number(1, Passing), number(2, Warning)}})
	if err := a.Begin(); err != nil {
		t.Fatal(err)
	}
	shows(t, a, map[string]string{"gopm:h:web:1": Passing, "gopm:h:web:2": Warning})
	if n := h.count(); n > 0 {
		t.Errorf("told: %v", h.all)
	}
	s.Set(Wanted{})
	shows(t, a, nil)
	<-s.Ended()
	if !s.IsIdle() {
		t.Error("it goes on with nothing to do")
	}
	s.Set(Wanted{Services: []Service{number(3, Passing)}}) // and begins again
	shows(t, a, map[string]string{"gopm:h:web:3": Passing})
}

// changesInMaintenance sees that an entry can be changed without ending a maintenance that
// somebody else has begun, and that checks come and go with what is wanted.
func changesInMaintenance(t *testing.T, a *agent.Agent, s *Syncer) {
	t.Helper()
	const id = "gopm:h:web:0"
	ask := func(path string) {
		t.Helper()
		if err := a.Ask("PUT", path, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	ask("/v1/agent/service/maintenance/" + id + "?enable=true&reason=byhand")
	has := func(want ...string) {
		t.Helper()
		until(t, func() error {
			var checks map[string]struct{ ServiceID string }
			if err := a.Ask("GET", "/v1/agent/checks", nil, &checks); err != nil {
				return err
			}
			var have []string
			for check, c := range checks {
				if c.ServiceID == id {
					have = append(have, check)
				}
			}
			if slices.Sort(have); !slices.Equal(have, want) {
				return fmt.Errorf("it has %v, want %v", have, want)
			}
			return nil
		})
	}
	checked := number(0, Passing)
	checked.Checks = []Check{{TCP: "127.0.0.1:{port}", Interval: time.Minute}, {TCP: "127.0.0.1:{port}", Interval: time.Minute}}
	s.Set(Wanted{Services: []Service{checked, number(1, Passing)}})
	const own, maintenance = id + ":gopm", "_service_maintenance:" + id
	has(maintenance, id+":1", id+":2", own)
	checked.Checks = checked.Checks[:1]
	s.Set(Wanted{Services: []Service{checked, number(1, Passing)}})
	has(maintenance, id+":1", own)
	s.Set(Wanted{Services: []Service{number(0, Passing), number(1, Passing)}})
	has(maintenance, own)
	ask("/v1/agent/service/maintenance/" + id + "?enable=false")
	has(own)
}

// TestSyncerRenews sees that an entry passes for much longer than the agent believes what it
// was told once, and that it doesn't when nobody is there any more.
func TestSyncerRenews(t *testing.T) {
	a := startAgentWith(t, agent.Options{})
	s, _ := syncingFor(t, Connection{Address: a.HostPort()}, Owner{Prefix: owner.Prefix, Mark: owner.Mark, ttl: 2 * time.Second})
	s.Set(Wanted{Services: []Service{number(0, Passing), number(1, Passing)}})
	both := map[string]string{"gopm:h:web:0": Passing, "gopm:h:web:1": Passing}
	shows(t, a, both)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 6*time.Second; <-tick.C {
		entries, err := a.Health("web")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Status() != Passing {
				t.Fatalf("after %v %s is %s: %v", time.Since(began), e.ID, e.Status(), e.Checks)
			}
		}
	}
	s.Close()
	shows(t, a, map[string]string{"gopm:h:web:0": Critical, "gopm:h:web:1": Critical})
}

// TestSyncerOfTwo sees that two of the same owner leave each other's entries alone, and
// that what the first gives up for another agent is removed by it.
func TestSyncerOfTwo(t *testing.T) {
	a := startAgentWith(t, agent.Options{})
	first, _ := syncing(t, Connection{Address: a.HostPort()})
	second, _ := syncing(t, Connection{Address: "http://" + a.HostPort()})
	first.Set(Wanted{Services: []Service{number(0, Passing)}, Others: map[string][]string{"gopm:h:web:1": {"x"}}})
	second.Set(Wanted{Services: []Service{number(1, Passing)}, Others: map[string][]string{"gopm:h:web:0": {"y"}}})
	shows(t, a, map[string]string{"gopm:h:web:0": Passing, "gopm:h:web:1": Passing})
	second.Set(Wanted{Services: []Service{number(2, Passing)}, Others: map[string][]string{"gopm:h:web:0": {"y"}, "gopm:h:web:1": {"z"}}})
	shows(t, a, map[string]string{"gopm:h:web:0": Passing, "gopm:h:web:2": Passing})
}

// TestSyncerDenied sees that a token which may not register is told once, with what to do,
// and that it works as soon as it may.
func TestSyncerDenied(t *testing.T) {
	a := startAgentWith(t, agent.Options{ACL: true})
	token, err := a.NewToken("reads", `node_prefix "" { policy = "read" } service_prefix "" { policy = "read" }`)
	if err != nil {
		t.Fatal(err)
	}
	s, h := syncing(t, Connection{Address: a.HostPort(), Token: token})
	s.Set(Wanted{Services: []Service{number(0, Passing), number(1, Passing)}}) // it is told of one of them
	until(t, func() error {
		if state, _ := s.Of("gopm:h:web:1"); state.Trouble == "" || state.Registered {
			return fmt.Errorf("it is %+v", state)
		}
		return nil
	})
	if s.Client().Status().Down {
		t.Error("an agent that says no is not down")
	}
	if h.count() != 1 {
		t.Errorf("told: %v", h.all)
	}
}

// TestSyncerOfAnAgentThatIsNotReady sees that what an agent couldn't do is done long before
// the next look at all that it has.
func TestSyncerOfAnAgentThatIsNotReady(t *testing.T) {
	a := startAgentWith(t, agent.Options{})
	p, err := agent.NewProxy(a.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.Set(agent.Fail, "/v1/agent/service/register")
	s, _ := syncing(t, Connection{Address: p.Address()})
	s.Set(Wanted{Services: []Service{number(0, Passing)}})
	until(t, func() error {
		if state, _ := s.Of("gopm:h:web:0"); !strings.Contains(state.Trouble, "No cluster leader") {
			return fmt.Errorf("it is %+v", state)
		}
		return nil
	})
	p.Set(agent.Pass, "")
	shows(t, a, map[string]string{"gopm:h:web:0": Passing}) // surveyEvery is more than that waits for
	if state, _ := s.Of("gopm:h:web:0"); state.Trouble != "" {
		t.Errorf("it is %+v", state)
	}
}

// TestLocalAgentIsTriedEachSecond: whoever reads when the next try is was told the time of
// the backoff, though an agent on this machine is looked for each second.
func TestLocalAgentIsTriedEachSecond(t *testing.T) {
	for address, within := range map[string]time.Duration{"127.0.0.1:1": knockEvery, "192.0.2.1:1": mostPause} {
		c, err := Open(Connection{Address: address}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.note(true, "connection refused", true)
		s := NewSyncer(c, Owner{}, nil)
		s.nextTry(time.Now().Add(mostPause))
		_, next := s.Of("any")
		if wait := time.Until(next); wait > within || wait < within/2 {
			t.Errorf("%s: the next try is in %v", address, wait)
		}
		c.note(true, "no answer", false)
		if _, next := s.Of("any"); time.Until(next) < mostPause/2 {
			t.Errorf("%s: an agent that listens, but doesn't answer, is tried again in %v", address, time.Until(next))
		}
	}
}
