package cluster

import (
	"slices"
	"testing"
	"time"
)

// has are sockets by inode.
func has(inodes ...uint32) census {
	c := census{sockets: map[uint32]holder{}}
	for _, n := range inodes {
		c.sockets[n] = holder{}
	}
	return c
}

func TestLooksCountAndMeasure(t *testing.T) {
	one, two := &Slot{}, &Slot{}
	var l level
	now := dawn
	look := func(a, b census, found map[uint32]uint16) tallied {
		tally := tallied{counts: map[home]int{}}
		came, left := l.recount(map[*Slot]census{one: a, two: b}, found, &tally)
		l.measure([]uint16{80}, came, left, now)
		l.at, now = now, now.Add(100*time.Millisecond)
		return tally
	}
	// 1 and 2 are connections, 3 is something else, 4 was closed before it could be asked.
	first := look(has(1, 3, 4), has(2), map[uint32]uint16{1: 80, 2: 80, 3: 0})
	if first.counts[home{one, 80}] != 1 || first.counts[home{two, 80}] != 1 || l.ports[80].rate != 0 {
		t.Errorf("first look: %v, %+v", first.counts, l.ports)
	}
	second := look(has(1, 3, 5), has(2, 6), map[uint32]uint16{5: 80, 6: 80})
	if second.counts[home{one, 80}] != 2 || second.counts[home{two, 80}] != 2 {
		t.Errorf("second look: %v", second.counts)
	}
	if rate := l.ports[80].rate; rate < 19 || rate > 21 || l.ports[80].brief != 0 {
		t.Errorf("two in 100 ms are %v per second, %v of them brief", rate, l.ports[80].brief)
	}
	third := look(has(3), has(2), nil)
	if !third.changed || third.counts[home{one, 80}] != 0 || third.counts[home{two, 80}] != 1 {
		t.Errorf("third look: %+v", third)
	}
	if brief := l.ports[80].brief; brief != 2 {
		t.Errorf("5 and 6 were there for one look, seen are %v", brief)
	}
	quiet := look(has(3), has(2), nil)
	if quiet.changed {
		t.Errorf("nothing has changed: %+v", quiet)
	}
}

func TestPeriodsGrowInQuiet(t *testing.T) {
	period := nextPeriod(0, false)
	if period != quickLook {
		t.Errorf("the first period is %v", period)
	}
	for range 20 {
		next := nextPeriod(period, false)
		if next < period || next > quietLook {
			t.Fatalf("%v after %v", next, period)
		}
		period = next
	}
	if period != quietLook || nextPeriod(period, true) != quickLook {
		t.Errorf("in quiet %v, then %v", period, nextPeriod(period, true))
	}
}

func TestAcceptedEver(t *testing.T) {
	const text = "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm ActiveOpens PassiveOpens\nTcp: 1 20 345\nUdp: PassiveOpens\nUdp: 7\n"
	for _, test := range []struct {
		text string
		want int
	}{{text, 345}, {"", 0}, {"Tcp: PassiveOpens\n", 0}, {"Tcp: A PassiveOpens\nTcp: 1\n", 0}, {"Tcp: A\nTcp: 1\n", 0}} {
		if got := snmp([]byte(test.text), "Tcp:", "PassiveOpens"); got != test.want {
			t.Errorf("%q: %d, want %d", test.text, got, test.want)
		}
	}
	if acceptedEver() <= 0 {
		t.Error("this machine's count can't be read")
	}
}

// member is a socket of a slot of its own; its process serves it if inc isn't 0.
func member(app string, seat int, inc uint64) *socket {
	s := &Slot{app: App{Name: app}, role: role{seat: seat}, tenants: map[uint64]*tenant{}}
	if inc != 0 {
		s.state = Condition{Inc: inc, Alive: true}
		s.tenants[inc] = &tenant{slot: s, inc: inc}
	}
	return &socket{slot: s, served: inc}
}

func TestWhoReceives(t *testing.T) {
	served, due, down := member("a", 0, 3), member("a", 1, 0), member("a", 2, 0)
	down.slot.state.Down = true
	stuck := member("a", 3, 5)
	stuck.slot.stuck = 5
	retired := member("a", 4, 6)
	retired.slot.retired = true
	guest := member("a", 5, 7)
	guest.slot.guest = true
	for _, test := range []struct {
		name    string
		members []*socket
		want    []bool
	}{
		{"a live one", []*socket{due, served, down, stuck, retired}, []bool{false, true, false, false, false}},
		{"one on trial isn't needed", []*socket{guest, served, due}, []bool{false, true, false}},
		{"one on trial is", []*socket{due, guest, stuck, down}, []bool{false, true, false, false}},
		{"none: who is going to", []*socket{due, down, stuck, retired}, []bool{true, false, true, false}},
		{"nobody ever: all", []*socket{down, retired}, []bool{true, true}},
	} {
		if got := receivers(test.members); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestPlacesOfClients(t *testing.T) {
	two, zero, one, next := member("a", 2, 1), member("a", 0, 1), member("a", 1, 0), member("a", 2, 1)
	other := member("b", 0, 1)
	members := []*socket{two, zero, one, other, next}
	for _, test := range []struct {
		on   []bool
		want []int
	}{
		{[]bool{true, true, true, true, false}, []int{1, 2, 0, 3}},
		{[]bool{false, true, false, true, true}, []int{1, -1, 4, 3}}, // after a reload of the third, in a restart of the second
	} {
		if got := places(members, test.on); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.on, got, test.want)
		}
	}
}

func TestWeightsOfAGroup(t *testing.T) {
	full, empty, away := member("a", 0, 1), member("a", 1, 2), member("a", 2, 0)
	full.load, empty.load = burden{connections: 9, inc: 1}, burden{connections: 3, inc: 2}
	g := &group{members: []*socket{full, away, empty}}
	if got := g.weigh([]bool{true, false, true}); !slices.Equal(got, []int{0, 0, 1}) {
		t.Errorf("9 and 3 connections: %v", got)
	}
	full.load.inc = 7 // counted before its process was replaced
	if got := g.weigh([]bool{true, false, true}); !slices.Equal(got, []int{1, 0, 0}) {
		t.Errorf("none and 3 connections: %v", got)
	}
}
