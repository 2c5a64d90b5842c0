package daemon

import (
	"strings"
	"testing"
	"time"

	"gopm/cluster"
	"gopm/daemon/supervise"
)

func TestTrial(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const inc = 5
	snap := func(status supervise.Status, exit *supervise.Exit) supervise.Snapshot {
		s := supervise.Snapshot{Status: status, Settled: status == supervise.StatusOnline, Incarnation: inc, Want: true, LastExit: exit}
		if status == supervise.StatusOnline || status == supervise.StatusLaunching {
			s.Pid = 99
		}
		return s
	}
	launching, online := snap(supervise.StatusLaunching, nil), snap(supervise.StatusOnline, nil)
	crashed := &supervise.Exit{Code: 3, Incarnation: inc}
	on := func(addresses ...string) cluster.View {
		return cluster.View{Ready: true, Served: addresses, Addresses: addresses}
	}
	ready, awaited := online, launching
	ready.Settled, ready.Ready, awaited.Ready = false, supervise.Reached, supervise.Awaited
	server := trial{inc: inc, listens: true, needs: []string{"a", "b"}, deadline: now.Add(time.Second), patience: time.Second}
	worker := trial{inc: inc, deadline: now.Add(time.Second), patience: time.Second}
	late := server
	late.deadline = now
	first := server
	first.prove = true
	canary := server
	canary.watch = time.Minute
	canaryDone := canary
	canaryDone.ready = now.Add(-time.Minute)
	for _, c := range []struct {
		name   string
		trial  trial
		snap   supervise.Snapshot
		view   cluster.View
		passed bool
		fault  string
	}{
		{"boots", server, launching, cluster.View{}, false, ""},
		{"listens", server, launching, on("b", "a"), true, ""},
		{"listens on one of two", server, launching, on("a"), false, ""},
		{"and on no more when it has settled", server, online, on("a"), true, ""},
		{"settled, and doesn't listen", server, online, cluster.View{}, false, ""},
		{"never listens", late, online, cluster.View{}, false, "doesn't listen after 1s (listen_timeout)"},
		{"was refused its port", late, online, cluster.View{Refused: "port 80 is below 1024"}, false, "(listen_timeout): port 80 is below 1024"},
		{"listens at the last moment", late, launching, on("a", "b"), true, ""},
		{"the first has to live for a while", first, launching, on("a", "b"), false, ""},
		{"and has", first, online, on("a", "b"), true, ""},
		{"a canary is watched", canary, online, on("a", "b"), false, ""},
		{"and was", canaryDone, online, on("a", "b"), true, ""},
		{"dies", server, snap(supervise.StatusWaiting, crashed), cluster.View{}, false, "exited with code 3"},
		{"has died and is back", server, supervise.Snapshot{Status: supervise.StatusOnline, Incarnation: inc + 1, Run: supervise.Run{Pid: 9}, Want: true, LastExit: crashed}, on("a", "b"), false, "exited with code 3"},
		{"its predecessor's death is none of its own", server, snap(supervise.StatusLaunching, &supervise.Exit{Code: 3, Incarnation: inc - 1}), on("a", "b"), true, ""},
		{"cannot be started", server, snap(supervise.StatusErrored, &supervise.Exit{Err: "no such file", Incarnation: inc}), cluster.View{}, false, "cannot be started: no such file"},
		{"a worker boots", worker, launching, cluster.View{}, false, ""},
		{"a worker lives", worker, online, cluster.View{}, true, ""},
		{"a worker that listens now", worker, launching, on("a"), true, ""},
		{"has not said yet that it is ready", server, awaited, on("a", "b"), false, ""},
		{"never says it", late, awaited, on("a", "b"), false, "isn't ready after 1s (listen_timeout)"},
		{"has said it", server, ready, on("a", "b"), true, ""},
		{"has said it, and listens on one of two", server, ready, on("a"), false, ""},
		{"the first has said it, and has to live for a while", first, ready, on("a", "b"), false, ""},
		{"a worker that is to say it", worker, awaited, cluster.View{}, false, ""},
		{"a worker has done its work", worker, snap(supervise.StatusStopped, &supervise.Exit{Incarnation: inc}), cluster.View{}, true, ""},
		{"a worker has failed", worker, snap(supervise.StatusStopped, crashed), cluster.View{}, false, "exited with code 3"},
		{"a server has ended", server, snap(supervise.StatusStopped, &supervise.Exit{Incarnation: inc}), cluster.View{}, false, "exited with code 0"},
	} {
		tr := c.trial
		passed, fault := tr.judge(now, c.snap, c.view)
		if passed != c.passed || !strings.Contains(fault, c.fault) || (fault == "") != (c.fault == "") {
			t.Errorf("%s: passed %v, fault %q; want %v, %q", c.name, passed, fault, c.passed, c.fault)
		}
	}
	if due := server.due(); !due.Equal(server.deadline) {
		t.Errorf("the next look is due at %v", due)
	}
	if due := worker.due(); !due.IsZero() {
		t.Errorf("nobody waits for a worker to listen: %v", due)
	}
}
