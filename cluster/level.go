package cluster

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"
)

// level remembers what the looks for an even spread have seen.
type level struct {
	known   map[uint32]visitor // by inode, as of the last look
	at      time.Time          // of the last look; zero: none
	due     time.Time          // of the next
	soonest time.Time          // before it, if others serve than at the last
	served  map[*socket]uint64 // by which incarnation
	period  time.Duration
	opened  int                // connections that this machine has accepted since it was booted
	ports   map[uint16]traffic // those that are shared
	trouble string
}

// traffic is what comes to a port.
type traffic struct {
	rate  float64 // new connections per second
	brief float64 // how many a look sees that the look after it doesn't see
}

// visitor is a socket of a tenant.
type visitor struct {
	port  uint16 // that it came to; 0: it isn't a connection to us
	fresh bool   // it wasn't there at the look before
}

const (
	quickLook  = 50 * time.Millisecond // between two looks while connections come and go
	quietLook  = time.Second
	mostMisses = 3
	briefest   = 600 // per second, for each one seen: they are taken to live for 1/600 s at least
)

// burden is what a socket had at the last look.
type burden struct {
	connections, waiting int
	inc                  uint64 // whose connections
}

// levelOut looks when it is time to, and gives the time until the next look.
func (w *watch) levelOut(all []glance) time.Duration {
	even := slices.DeleteFunc(slices.Clone(all), func(g glance) bool { return !g.even })
	l := &w.level
	if len(even) == 0 {
		w.level = level{}
		return quietLook
	}
	begun := time.Now()
	served := map[*socket]uint64{}
	for _, g := range even {
		served[g.socket] = g.tenant()
	}
	if !maps.Equal(served, l.served) {
		l.due, l.period, l.served = l.soonest, 0, served
	}
	if wait := l.due.Sub(begun); wait > 0 {
		return wait
	}
	var s tallied
	took := ProcessorTime(func() { s = l.look(even, begun) })
	if s.err != nil {
		if text := s.err.Error(); text != l.trouble {
			w.h.opts.Log("connections are spread by chance, not evenly: %s", text)
			l.trouble = text
		}
		l.due = begun.Add(quietLook)
		return quietLook
	}
	l.period = nextPeriod(l.period, s.changed)
	pause := max(l.period, costly*took)
	l.due, l.soonest = begun.Add(pause), begun.Add(costly*took)
	w.h.weighAnew(even, s, func(port uint16) float64 { return l.ports[port].rate * pause.Seconds() })
	return pause
}

// nextPeriod is short while something changes and grows while nothing does.
func nextPeriod(period time.Duration, changed bool) time.Duration {
	if changed || period == 0 {
		return quickLook
	}
	return min(period+period/2, quietLook)
}

// tallied is what one look has counted.
type tallied struct {
	counts  map[home]int
	hidden  map[*Slot]bool // whose connections can't be seen
	changed bool
	err     error
}

// home is where a connection is.
type home struct {
	slot *Slot
	port uint16
}

// look counts the connections of each slot and measures how fast new ones come. It
// asks the processes what they have, and not the kernel for all connections, which takes
// it longer the more sockets there are on the machine, the ended ones included.
func (l *level) look(even []glance, now time.Time) tallied {
	t := tallied{counts: map[home]int{}, hidden: map[*Slot]bool{}}
	of := map[*Slot]census{}
	var ports []uint16
	for _, g := range even {
		t.changed = t.changed || g.waiting > 0
		ports = append(ports, g.port)
		if _, done := of[g.slot]; done || g.pid == 0 {
			continue
		}
		of[g.slot] = proc.owners(proc.tree(g.pid))
		t.hidden[g.slot] = of[g.slot].hidden != nil
	}
	for _, port := range ports {
		if _, was := l.ports[port]; !was { // its connections may be known as none of ours
			l.known, l.at = nil, time.Time{}
		}
	}
	asked := map[uint32]holder{}
	for _, c := range of {
		for inode, h := range c.sockets {
			if _, known := l.known[inode]; !known {
				asked[inode] = h
			}
		}
	}
	found, err := portsOf(asked, ports)
	if t.err = err; err != nil {
		return t
	}
	came, left := l.recount(of, found, &t)
	t.changed = t.changed || len(came) > 0
	l.measure(ports, came, left, now)
	l.at = now
	return t
}

// recount adds up what each slot has. came are the connections that weren't there at the
// last look, left those that only that one has seen, by port.
func (l *level) recount(of map[*Slot]census, found map[uint32]uint16, t *tallied) (came, left map[uint16]int) {
	came, left = map[uint16]int{}, map[uint16]int{}
	next := make(map[uint32]visitor, len(l.known))
	for s, c := range of {
		for inode := range c.sockets {
			v, known := l.known[inode]
			if !known {
				port, is := found[inode]
				if !is {
					continue // it was closed meanwhile
				}
				v.port = port
				came[port]++
			}
			v.fresh = !known && !l.at.IsZero()
			next[inode] = v
			t.counts[home{s, v.port}]++
		}
	}
	delete(came, 0)
	for inode, v := range l.known {
		if _, still := next[inode]; still || v.port == 0 {
			continue
		}
		t.changed = true
		if v.fresh {
			left[v.port]++
		}
	}
	l.known = next
	return came, left
}

// measure keeps the rates. A look doesn't see what comes and goes before the next one.
// Where there is such, and by how much of it is seen, the kernel's count of all
// accepted connections takes the place of ours: it has those of other programs, too.
// With too high a rate the spread is only nearer to chance, but with too low a one all
// that comes goes to one instance, then all to another.
func (l *level) measure(ports []uint16, came, left map[uint16]int, now time.Time) {
	opened := acceptedEver()
	next := make(map[uint16]traffic, len(ports))
	passed := now.Sub(l.at).Seconds()
	for _, port := range ports {
		was := l.ports[port]
		next[port] = was
		if !l.at.IsZero() && passed > 0 {
			brief := expect(was.brief, float64(left[port]))
			rate := max(float64(came[port])/passed, min(float64(opened-l.opened)/passed, brief*briefest))
			next[port] = traffic{rate: expect(was.rate, rate), brief: brief}
		}
	}
	l.opened, l.ports = opened, next
}

// acceptedEver is the kernel's count; 0: not known.
func acceptedEver() int {
	text, _ := os.ReadFile("/proc/net/snmp")
	return snmp(text, "Tcp:", "PassiveOpens")
}

// snmp finds a value in lines of names and lines of values that begin alike.
func snmp(text []byte, section, name string) int {
	var names [][]byte
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != section {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		i := slices.IndexFunc(names, func(b []byte) bool { return string(b) == name })
		if i < 0 || i >= len(fields) {
			return 0
		}
		n, _ := strconv.Atoi(string(fields[i])) // 0: not known
		return n
	}
	return 0
}

// weighAnew gives the groups new weights where what was seen asks for it.
func (h *Host) weighAnew(even []glance, t tallied, expected func(port uint16) float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	groups := map[*group]bool{}
	for _, g := range even {
		if h.closed || h.groups[g.group.address] != g.group {
			continue // it is gone
		}
		g.socket.load = burden{connections: t.counts[home{g.slot, g.port}], waiting: g.waiting, inc: g.inc}
		groups[g.group] = groups[g.group] || t.hidden[g.slot]
	}
	for g, blind := range groups {
		g.blind = blind
		g.expected = expected(g.address.port)
		if !slices.Equal(g.chooser(), g.attached) {
			h.apply(g)
		}
	}
}
