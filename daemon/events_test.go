package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// eventsOnly is a daemon that has events, and nothing else.
func eventsOnly() *Daemon {
	d := &Daemon{started: time.Now(), ending: newEnding()}
	d.log = func(string, ...any) {}
	d.events = newChronicle(d.started)
	d.table.Store(&table{})
	return d
}

// reading follows the events of a daemon; each part that is sent waits to be taken.
func reading(t *testing.T, d *Daemon, query string) (parts chan api.Events, leave func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	parts = make(chan api.Events)
	ended := make(chan error, 1)
	go func() { // ends with ctx or the daemon; leave waits for it
		ended <- d.followEvents(httptest.NewRequest("GET", api.PathEvents+"?"+query, nil).WithContext(ctx), func(v any) error {
			select {
			case parts <- v.(api.Events):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return parts, func() error {
		cancel()
		return <-ended
	}
}

func nextPart(t *testing.T, parts chan api.Events) api.Events {
	t.Helper()
	select {
	case p := <-parts:
		return p
	case <-time.After(20 * time.Second):
		t.Fatal("no part comes")
		return api.Events{}
	}
}

// A reader that doesn't read holds up nobody, and is told how much it has missed.
func TestASlowReaderOfEvents(t *testing.T) {
	t.Parallel()
	d := eventsOnly()
	d.tell(daemonEvent("first"))
	parts, leave := reading(t, d, "follow=1")
	if p := nextPart(t, parts); texts(p.Events) != "first" || p.Missed != 0 {
		t.Errorf("at first: %+v", p)
	}
	const n = 3 * maxEvents
	for i := range n {
		d.tell(daemonEvent("%d", i))
	}
	got, missed := 0, 0
	for got+missed < n {
		p := nextPart(t, parts)
		got, missed = got+len(p.Events), missed+p.Missed
		if last := p.Events[len(p.Events)-1].Text; got+missed == n && last != fmt.Sprint(n-1) {
			t.Errorf("the last is %s", last)
		}
	}
	if missed == 0 || got+missed != n {
		t.Errorf("of %d it got %d and missed %d", n, got, missed)
	}
	if err := leave(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := d.events.readers.Load(); n != 0 {
		t.Errorf("%d readers are left", n)
	}
}

// What is asked for is what comes: kinds, number, age, what follows an event, apps that are gone.
func TestWhichEvents(t *testing.T) {
	t.Parallel()
	d := eventsOnly()
	web := &instance{name: "web", id: 3}
	for _, e := range []event{daemonEvent("a"), web.event(api.EventHook, "b"), appEvent("web", api.EventReload, "c"), appEvent("db", api.EventHook, "d")} {
		d.tell(e)
	}
	all, _, _, _ := d.events.since(0)
	for query, want := range map[string]string{
		"":                               "a b c d",
		"kind=hook":                      "b d",
		"kind=hook&kind=daemon&lines=2":  "b d",
		"lines=0":                        "",
		"target=web":                     "b c",
		"target=web&target=db&kind=hook": "b d",
		"since=" + time.Now().Format("2006") + "-01-01T00:00:00Z": "a b c d",
		fmt.Sprintf("after=%d&lines=1", all[1].Seq):               "c d",
		fmt.Sprintf("after=%d", all[3].Seq+1000):                  "a b c d",
	} {
		parts, leave := reading(t, d, query)
		p := nextPart(t, parts)
		if err := leave(); texts(p.Events) != want || err != nil {
			t.Errorf("%s: %q (%v), want %q", query, texts(p.Events), err, want)
		}
	}
	for _, query := range []string{"kind=hooks", "lines=-1", "lines=x", "since=now", "after=-3", "target=nosuch"} {
		_, leave := reading(t, d, query)
		if err := leave(); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// One more reader than there may be is refused; it is taken when another has gone.
func TestTooManyReadersOfEvents(t *testing.T) {
	t.Parallel()
	d := eventsOnly()
	d.events.readers.Store(maxFollowers)
	_, leave := reading(t, d, "follow=1")
	var refused *api.Error
	if err := leave(); !errors.As(err, &refused) || refused.Kind != api.KindBusy || !strings.Contains(refused.Message, "1000") {
		t.Errorf("one too many: %v", err)
	}
	d.events.readers.Add(-1)
	parts, leave := reading(t, d, "follow=1")
	nextPart(t, parts)
	if err := leave(); err != nil {
		t.Error(err)
	}
}

// At its end the daemon lets readers go: to the next one, or for good.
func TestReadersOfEventsAtTheEnd(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]api.Kind{handedOver: api.KindAgain, "kill": ""} {
		d := eventsOnly()
		ended := make(chan error, 1)
		go func() { // ends with the daemon
			ended <- d.followEvents(httptest.NewRequest("GET", api.PathEvents+"?follow=1", nil), func(any) error { return nil })
		}()
		d.ending.how.Store(&how)
		close(d.ending.closing)
		err := <-ended
		var told *api.Error
		if errors.As(err, &told); (told != nil) != (want != "") || told != nil && told.Kind != want {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	exit := &supervise.Exit{Code: 3, Uptime: time.Second, Incarnation: 1}
	up := supervise.Snapshot{Status: supervise.StatusOnline, Incarnation: 1, Run: supervise.Run{Pid: 7}, Want: true}
	with := func(s supervise.Snapshot, change func(*supervise.Snapshot)) supervise.Snapshot {
		change(&s)
		return s
	}
	for _, c := range []struct {
		name        string
		before, now supervise.Snapshot
		want        string
	}{
		{"nothing", up, up, ""},
		{"ordered", supervise.Snapshot{Status: supervise.StatusStopped}, supervise.Snapshot{Status: supervise.StatusLaunching, Incarnation: 1}, "(log): launching"},
		{"spawned", supervise.Snapshot{Status: supervise.StatusLaunching, Incarnation: 1}, supervise.Snapshot{Status: supervise.StatusLaunching, Incarnation: 1, Run: supervise.Run{Pid: 7}}, "start: launching, pid 7"},
		{"online", with(up, func(s *supervise.Snapshot) { s.Status = supervise.StatusLaunching }), up, "online: online"},
		{"crash", up, supervise.Snapshot{Status: supervise.StatusLaunching, Incarnation: 2, LastExit: exit, Want: true}, "exit: exited with code 3 after 1s; restart: restart at once"},
		{"crash with a pause", up, supervise.Snapshot{Status: supervise.StatusWaiting, Incarnation: 1, LastExit: exit, Backoff: time.Second, Unstable: 2},
			"exit: exited with code 3 after 1s; restart: restart in 1s (2 unstable exits in a row)"},
		{"the first crash", up, supervise.Snapshot{Status: supervise.StatusWaiting, Incarnation: 1, LastExit: exit, Backoff: time.Second, Unstable: 1},
			"exit: exited with code 3 after 1s; restart: restart in 1s (1 unstable exit)"},
		{"errored", up, supervise.Snapshot{Status: supervise.StatusErrored, Incarnation: 1, LastExit: exit, Unstable: 16},
			"exit: exited with code 3 after 1s; errored: errored after 16 unstable exits in a row; it stays down"},
		{"stopping", up, with(up, func(s *supervise.Snapshot) { s.Status, s.Want = supervise.StatusStopping, false }), "stop: stopping"},
		{"to be restarted", up, with(up, func(s *supervise.Snapshot) { s.Status, s.RestartCause = supervise.StatusStopping, "memory 3 MB > 2 MB" }), "stop: stopping: memory 3 MB > 2 MB"},
		{"of no use", up, with(up, func(s *supervise.Snapshot) { s.Status, s.Fault = supervise.StatusStopping, "not ready within 1m0s" }), "stop: stopping: not ready within 1m0s"},
		{"stubborn", with(up, func(s *supervise.Snapshot) { s.Status = supervise.StatusStopping }),
			with(up, func(s *supervise.Snapshot) { s.Status, s.Killed = supervise.StatusStopping, true }), "stop: did not end in time: SIGKILL sent"},
		{"leftovers", up, supervise.Snapshot{Status: supervise.StatusStopping, Incarnation: 1, LastExit: exit, Clearing: true}, "exit: exited with code 3 after 1s; exit: ending what it left behind"},
	} {
		var words []string
		for _, r := range describe(c.before, c.now) {
			words = append(words, firstOf(r.kind, "(log)")+": "+r.text)
		}
		if got := strings.Join(words, "; "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	ready := with(up, func(s *supervise.Snapshot) { s.Ready, s.Started = supervise.Reached, time.Now() })
	got := describe(with(up, func(s *supervise.Snapshot) { s.Status, s.Ready = supervise.StatusLaunching, supervise.Awaited }), ready)
	if len(got) != 2 || got[0].kind != api.EventReady || got[1].kind != api.EventOnline {
		t.Errorf("ready: %+v", got)
	}
}
