package consul

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"gopm/bench/load"
	"gopm/tools/agent"
)

func startAgent(t *testing.T) *agent.Agent {
	t.Helper()
	a, err := agent.Start(t.TempDir(), agent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Kill)
	return a
}

func asks(t *testing.T, a *agent.Agent) *api.Client {
	c, err := api.NewClient(&api.Config{Address: a.Address()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openClient(t *testing.T, address string) *Client {
	c, err := Open(Connection{Address: address}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newLock(t *testing.T, a *agent.Agent, key, who string) *Lock {
	l := openClient(t, a.Address()).Lock(LockOptions{Key: key, Session: "test", Holder: who, TTL: 10 * time.Second})
	t.Cleanup(l.Abandon)
	return l
}

func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func TestLockGoesFromOneToTheNext(t *testing.T) {
	ag := startAgent(t)
	a, b := newLock(t, ag, "locks/x", "a"), newLock(t, ag, "locks/x", "b")
	a.Want(true)
	within(t, "a holds it", func() bool { return a.State().Held })
	b.Want(true)
	within(t, "b knows who holds it", func() bool { return b.State().Holder == "a" })
	if b.State().Held {
		t.Fatal("two hold it")
	}
	first := a.State().Fence
	began := time.Now()
	a.Freed(2 * time.Second)
	within(t, "b holds it", func() bool { return b.State().Held })
	t.Logf("b holds it %v after a has given it back", time.Since(began))
	if next := b.State().Fence; next <= first {
		t.Errorf("the fence went from %d to %d", first, next)
	}
	within(t, "a waits for b", func() bool { return a.State().Holder == "b" })
	b.Leave()
	within(t, "b has left", func() bool { return b.State().Idle })
	<-b.Done()
	within(t, "a has it again", func() bool { return a.State().Held })
}

func TestLockIsLost(t *testing.T) {
	ag := startAgent(t)
	c := asks(t, ag)
	for name, take := range map[string]func(key, session string) error{
		"session destroyed": func(_, session string) error { _, err := c.Session().Destroy(session, nil); return err },
		"key deleted":       func(key, _ string) error { _, err := c.KV().Delete(key, nil); return err },
		"key released": func(key, session string) error {
			_, _, err := c.KV().Release(&api.KVPair{Key: key, Session: session}, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			key := "locks/" + strconv.Itoa(len(name))
			a := newLock(t, ag, key, "a")
			a.Want(true)
			within(t, "a holds it", func() bool { return a.State().Held })
			s := a.State()
			began := time.Now()
			if err := take(key, s.Session); err != nil {
				t.Fatal(err)
			}
			within(t, "it is lost", func() bool { return a.State().Lost })
			t.Logf("lost %v later: %s", time.Since(began), a.State().Why)
			a.Freed(0)
			within(t, "it is there again", func() bool { return a.State().Held })
			if next := a.State().Fence; next <= s.Fence {
				t.Errorf("the fence went from %d to %d", s.Fence, next)
			}
		})
	}
}

func TestLockOfAnAgentThatIsGone(t *testing.T) {
	ag := startAgent(t)
	a := newLock(t, ag, "locks/x", "a")
	a.Want(true)
	within(t, "a holds it", func() bool { return a.State().Held })
	ag.Kill()
	until := a.State().Until
	within(t, "a renewal fails", func() bool { return a.State().Misses > 0 })
	if until = max(until, a.State().Until); !a.State().Held {
		t.Fatal("it was given up before its time")
	}
	within(t, "it is lost", func() bool { return a.State().Lost })
	if now := Boottime(); now >= until {
		t.Errorf("it counts as lost %v after its time", now-until)
	}
	if err := ag.BeginEmpty(); err != nil { // it has forgotten everything
		t.Fatal(err)
	}
	a.Freed(0)
	within(t, "it is there again", func() bool { return a.State().Held })
}

func TestLockThatWasLeft(t *testing.T) {
	ag := startAgent(t)
	a := newLock(t, ag, "locks/x", "a")
	a.Want(true)
	within(t, "a holds it", func() bool { return a.State().Held })
	a.Abandon()
	left := a.State().Left()
	b := openClient(t, ag.Address()).Lock(LockOptions{Key: "locks/x", Holder: "a", TTL: 10 * time.Second, Left: &left})
	t.Cleanup(b.Abandon)
	if s := b.State(); !s.Held || s.Fence != left.Fence {
		t.Fatalf("the next doesn't go on: %+v", s)
	}
	within(t, "it is renewed", func() bool { return b.State().Until > left.Until })
	if _, err := asks(t, ag).Session().Destroy(left.Session, nil); err != nil {
		t.Fatal(err)
	}
	within(t, "its loss is seen", func() bool { return b.State().Lost })
}

func TestLockLeftByOneWhoseTimeIsOver(t *testing.T) {
	ag := startAgent(t)
	left := LockLeft{Session: "5f0b1c1e-0000-0000-0000-000000000000", Fence: 7, Until: Boottime()}
	l := openClient(t, ag.Address()).Lock(LockOptions{Key: "locks/x", TTL: 10 * time.Second, Left: &left})
	t.Cleanup(l.Abandon)
	within(t, "it is lost", func() bool { return l.State().Lost })
	l.Freed(0)
	within(t, "there is another", func() bool { return l.State().Held })
	if l.State().Session == left.Session {
		t.Error("its session can't be the one that is gone")
	}
}

func TestLockWithoutAnAgent(t *testing.T) {
	port, err := load.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	l := openClient(t, "127.0.0.1:"+strconv.Itoa(port)).Lock(LockOptions{Key: "locks/x", TTL: 10 * time.Second})
	l.Want(true)
	within(t, "it says what is wrong", func() bool { return l.State().Why != "" })
	t.Log(l.State().Why)
	l.Leave()
	select {
	case <-l.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("it doesn't end")
	}
}

func TestSessionsHaveNoChecks(t *testing.T) {
	ag := startAgent(t)
	id, err := openClient(t, ag.Address()).openSession(context.Background(), "test", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := asks(t, ag).Session().Info(id, nil)
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	if len(s.NodeChecks) != 0 || len(s.Checks) != 0 || len(s.ServiceChecks) != 0 || s.LockDelay > time.Millisecond || s.Behavior != api.SessionBehaviorRelease {
		t.Errorf("%+v", s)
	}
}
