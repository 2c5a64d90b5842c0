package parent

import (
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const self = 100

var epoch = time.Unix(1000, 0)

// step is one look of the stopper in a test's story.
type step struct {
	after time.Duration // since the beginning
	below []proc
	want  []order
	done  bool
}

func tell(steps ...step) []step { return steps }

func TestPlan(t *testing.T) {
	t.Parallel()
	web := group{pid: 10, start: 7, sig: unix.SIGINT, grace: time.Second}
	leader := proc{pid: 10, ppid: self, pgrp: 10, start: 7}
	dead := proc{pid: 10, ppid: self, pgrp: 10, start: 7, zombie: true}
	member := proc{pid: 11, ppid: 10, pgrp: 10, start: 8}
	late := proc{pid: 12, ppid: 10, pgrp: 10, start: 9}
	stray := proc{pid: 20, ppid: self, pgrp: 20, start: 5}
	reused := proc{pid: 10, ppid: 20, pgrp: 10, start: 99}
	all := func(sig unix.Signal) []order { return []order{{pid: 10, start: 7, whole: true, sig: sig}} }
	one := func(p proc, sig unix.Signal) order { return order{pid: p.pid, start: p.start, sig: sig} }

	tests := map[string]struct {
		told    []group
		leaving bool // the rest is left alone
		steps   []step
	}{
		"nothing left": {told: []group{web}, steps: tell(step{done: true})},
		"a group ends at its signal": {told: []group{web}, steps: tell(
			step{below: []proc{leader, member}, want: all(unix.SIGINT)},
			step{after: 500 * time.Millisecond, below: []proc{leader}},
			step{after: 600 * time.Millisecond, done: true},
		)},
		"what a group starts while it ends is not disturbed, then killed": {told: []group{web}, steps: tell(
			step{below: []proc{leader}, want: all(unix.SIGINT)},
			step{after: 900 * time.Millisecond, below: []proc{leader, late}},
			step{after: time.Second, below: []proc{leader, late}, want: all(unix.SIGKILL)},
			step{after: 1100 * time.Millisecond, below: []proc{dead, late}, want: all(unix.SIGKILL)},
			step{after: 1200 * time.Millisecond, below: []proc{dead}, done: true},
		)},
		"members of a reaped leader, one by one": {told: []group{web}, steps: tell(
			step{below: []proc{member, late}, want: []order{one(member, unix.SIGINT), one(late, unix.SIGINT)}},
			step{after: time.Second, below: []proc{late}, want: []order{one(late, unix.SIGKILL)}},
			step{after: 2 * time.Second, done: true},
		)},
		"a reused pid is not the group": {told: []group{web}, leaving: true, steps: tell(
			step{below: []proc{reused}, done: true},
		)},
		"a leader that is not our child may be reaped by another": {told: []group{web}, steps: tell(
			step{below: []proc{{pid: 10, ppid: 20, pgrp: 10, start: 7}}, want: []order{one(leader, unix.SIGINT)}},
		)},
		"the rest comes after the groups": {told: []group{web}, steps: tell(
			step{below: []proc{leader, stray}, want: all(unix.SIGINT)},
			step{after: time.Second, below: []proc{leader, stray}, want: all(unix.SIGKILL)},
			step{after: 1100 * time.Millisecond, below: []proc{stray}, want: []order{one(stray, unix.SIGTERM)}},
			step{after: 2 * time.Second, below: []proc{stray}},
			step{after: 3100 * time.Millisecond, below: []proc{stray}, want: []order{one(stray, unix.SIGKILL)}},
			step{after: 3200 * time.Millisecond, done: true},
		)},
		"the rest is left alone when the daemon left on purpose": {told: []group{web}, leaving: true, steps: tell(
			step{below: []proc{leader, stray}, want: all(unix.SIGINT)},
			step{after: time.Second, below: []proc{stray}, done: true},
		)},
		"what can't be killed is given up, once": {told: []group{web}, steps: tell(
			step{below: []proc{member}, want: []order{one(member, unix.SIGINT)}},
			step{after: time.Second, below: []proc{member}, want: []order{one(member, unix.SIGKILL)}},
			step{after: 11 * time.Second, below: []proc{member}, want: []order{one(member, unix.SIGKILL)}},
			step{after: 12 * time.Second, below: []proc{member}, done: true},
		)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := map[int]group{}
			for _, g := range test.told {
				told[g.pid] = g
			}
			rest := &group{sig: unix.SIGTERM, grace: 2 * time.Second}
			if test.leaving {
				rest = nil
			}
			s := newStopper(self, told, rest, 10*time.Second)
			for i, st := range test.steps {
				orders, done := s.plan(epoch.Add(st.after), st.below)
				if !reflect.DeepEqual(orders, st.want) || done != st.done {
					t.Fatalf("step %d: orders %v done %v, want %v %v", i, orders, done, st.want, st.done)
				}
			}
		})
	}
}

func TestGivenUpIsReported(t *testing.T) {
	t.Parallel()
	p := proc{pid: 30, ppid: self, pgrp: 30, start: 3, name: "sudo"}
	s := newStopper(self, nil, &group{sig: unix.SIGTERM, grace: time.Second}, time.Second)
	for _, after := range []time.Duration{0, time.Second, 3 * time.Second} {
		s.plan(epoch.Add(after), []proc{p})
	}
	if !reflect.DeepEqual(s.stuck, []proc{p}) {
		t.Errorf("stuck: %v", s.stuck)
	}
}
