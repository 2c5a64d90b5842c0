package keeper

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crew is a program with all that may belong to it: a member of its group, a child in a
// session of its own, and one that has left it and is known by its environment alone.
type crew struct {
	main    Main
	members map[string]int
}

// crew starts one that is marked with a word.
func (s *steward) crew(word string) crew {
	s.Helper()
	dir := s.TempDir()
	tell := func(name string) string {
		return `'echo $$ > ` + dir + `/` + name + `.new; mv ` + dir + `/` + name + `.new ` + dir + `/` + name + `; exec sleep 100'`
	}
	main := s.spawn(`export ` + s.mark(word) + ` GOPM_TEST=lease
sh -c ` + tell("member") + ` &
env -i setsid sh -c ` + tell("child") + ` &
(setsid sh -c ` + tell("orphan") + ` &) &
exec sleep 100`)
	c := crew{main, map[string]int{"main": main.Pid}}
	for _, name := range []string{"member", "child", "orphan"} {
		eventually(s, name, func() bool {
			text, _ := os.ReadFile(filepath.Join(dir, name))
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			c.members[name] = pid
			return err == nil
		})
		s.groups = append(s.groups, c.members[name])
	}
	eventually(s, "an orphan", func() bool { return parent(c.members["orphan"]) != main.Pid && parent(c.members["orphan"]) != 0 })
	return c
}

// mark is an entry of the environment of this test's crews alone: the machine has others.
func (h *house) mark(word string) string { return "MARK=" + h.home + "/" + word }

// alive are the names of those who are.
func (c crew) alive() (names []string) {
	for name, pid := range c.members {
		if s := state(pid); s != 0 && s != 'Z' && s != 'X' {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func in(d time.Duration) int { return int((Boottime() + d).Milliseconds()) }

// guard is the one of this home that isn't old.
func (h *house) guard(old int) (pid int) {
	h.Helper()
	eventually(h, "a guard", func() bool {
		for _, p := range processes() {
			if isGuardOf(p.pid, h.home) && p.pid != old {
				pid = p.pid
			}
		}
		return pid != 0
	})
	return pid
}

// A guard is there only while there are leases.
func TestGuardComesAndGoes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.do("ready")
	d.ask(request{Do: "until", Key: "a", N: in(time.Hour), Text: h.mark("a")})
	first := h.guard(0)
	d.ask(request{Do: "until", Key: "b", N: in(time.Hour), Text: h.mark("b")})
	d.ask(request{Do: "until", Key: "a"})
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}})
	if now := h.guard(0); now != first {
		t.Errorf("guard %d was replaced by %d", first, now)
	}
	d.ask(request{Do: "drop", Key: "b"})
	eventually(t, "the guard's end", func() bool { return state(first) == 0 })
	d.ask(request{Do: "until", Key: "a", N: in(time.Hour), Text: h.mark("a")})
	second := h.guard(0)
	h.must(h.cmd.Process.Kill()) // both die: the guard stays
	h.cmd.Wait()
	h.must(unix.Kill(d.Pid, unix.SIGKILL))
	again := h.keeper()
	again.Env = append(again.Env, homeVar+"="+h.home)
	h.must(again.Start())
	h.cmd = again
	d = h.daemon()
	d.do("ready")
	d.ask(request{Do: "until", Key: "a", N: in(time.Hour), Text: h.mark("a")})
	h.guard(second)
	eventually(t, "the end of the guard before", func() bool { return state(second) == 0 || state(second) == 'Z' })
	d.ask(request{Do: "until", Key: "a"})
	d.do("leaving")
	d.exits(0)
	h.exit()
	for _, p := range processes() {
		if !p.zombie && isGuardOf(p.pid, h.home) {
			t.Errorf("guard %d is left", p.pid)
		}
	}
}

// Whatever a daemon is that doesn't extend a lease, all that the lease was for is dead
// soon after its end, and not before.
func TestLease(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end func(d *steward)
	}{
		"stopped": {func(d *steward) { d.must(unix.Kill(d.Pid, unix.SIGSTOP)) }},
		"killed":  {func(d *steward) { d.must(unix.Kill(d.Pid, unix.SIGKILL)) }},
		"killed with its keeper": {func(d *steward) {
			d.must(d.cmd.Process.Kill()) // first, or it would start another daemon
			d.cmd.Wait()
			d.must(unix.Kill(d.Pid, unix.SIGKILL))
		}},
		"stopped with its keeper, and its guard killed before": {func(d *steward) {
			old := d.guard(0)
			d.must(unix.Kill(old, unix.SIGKILL))
			eventually(d, "the guard's end", func() bool { return state(old) == 0 }) // the keeper has reaped it
			d.ask(request{Do: "until", Key: "i/2", N: in(time.Hour), Text: d.mark("two")})
			d.ask(request{Do: "until", Key: "i/2"})
			d.guard(old)
			d.must(d.cmd.Process.Signal(unix.SIGSTOP))
			d.must(unix.Kill(d.Pid, unix.SIGSTOP))
		}},
		"silent": {func(*steward) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			d := h.daemon()
			c, other := d.crew("one"), d.crew("two")
			d.ask(request{Do: "put", Key: "i/1", Main: c.main})
			d.ask(request{Do: "put", Key: "i/2", Main: other.main})
			d.do("ready")
			d.ask(request{Do: "until", Key: "i/1", N: in(time.Second), Text: h.mark("one")})
			d.ask(request{Do: "until", Key: "i/2", N: in(time.Second), Text: h.mark("two")})
			d.ask(request{Do: "until", Key: "i/2"})
			ends := in(3 * time.Second)
			d.ask(request{Do: "until", Key: "i/1", N: ends, Text: h.mark("one")})
			d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}}) // it is with the guard, too
			test.end(d)
			eventually(t, "the end of all", func() bool {
				alive, now := c.alive(), in(0)
				if len(alive) < 4 && now < ends {
					t.Fatalf("only %v are alive %d ms before the end", alive, ends-now)
				}
				return len(alive) == 0
			})
			t.Logf("all dead %d ms after the end", in(0)-ends)
			if alive := other.alive(); len(alive) != 4 {
				t.Errorf("of those whose lease was taken back only %v are alive", alive)
			}
			eventually(t, "a line in the log", func() bool { return strings.Contains(h.log(), "i/1: its time is over") })
			unix.Kill(d.Pid, unix.SIGCONT)
			h.cmd.Process.Signal(unix.SIGCONT)
		})
	}
}

// While a lease is over nobody else is let in under its key, and an entry that nobody
// was told of is found by its marker.
func TestLeaseThatIsOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	untold := d.crew("one")
	d.do("ready")
	d.ask(request{Do: "until", Key: "i/1", N: in(-time.Hour), Text: h.mark("one")})
	eventually(t, "the end of what the keeper was not told of", func() bool { return len(untold.alive()) == 0 })
	late := d.spawn("exec sleep 100")
	d.ask(request{Do: "put", Key: "i/1", Main: late})
	eventually(t, "the end of one that came late", func() bool { return state(late.Pid) == 'Z' })
	d.ask(request{Do: "put", Key: "i/1"})
	d.ask(request{Do: "until", Key: "i/1", N: in(time.Hour), Text: h.mark("one")})
	again := d.crew("one")
	d.ask(request{Do: "put", Key: "i/1", Main: again.main})
	d.ask(request{Do: "until", Key: "lock/9", Main: again.main, N: in(time.Hour)})
	d.ask(request{Do: "drop", Key: "lock/9"})
	d.ask(request{Do: "until", Key: "i/9", N: in(-time.Hour), Text: h.mark("nobody")})
	d.ask(request{Do: "collect", Main: Main{Pid: d.Pid}}) // all of that was heard
	if alive := again.alive(); len(alive) != 4 {
		t.Errorf("of those with a new lease only %v are alive", alive)
	}
	d.ask(request{Do: "until", Key: "lock/9", Main: again.main, N: 1}) // by its number, whatever the key's entry is
	eventually(t, "the end of one that was named", func() bool { return state(again.main.Pid) == 'Z' })
}

// A keeper that has become another binary has the leases, and says that it knows them.
func TestLeaseOverAnUpdate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	binary := h.newBinary()
	c := d.crew("one")
	d.ask(request{Do: "put", Key: "i/1", Main: c.main})
	d.do("ready")
	ends := in(3 * time.Second)
	d.ask(request{Do: "until", Key: "i/1", N: ends, Text: h.mark("one")})
	d.ask(request{Do: "handover", Text: binary})
	d.exits(0)
	d = h.daemon()
	d.do("ready")
	eventually(t, "the new keeper", func() bool { return strings.Contains(h.log(), "has become the new binary") })
	before := in(0)
	if alive := c.alive(); before < ends && len(alive) != 4 {
		t.Errorf("only %v are alive %d ms before the end", alive, ends-before)
	}
	h.must(unix.Kill(d.Pid, unix.SIGSTOP))
	eventually(t, "the end of all", func() bool { return len(c.alive()) == 0 })
	if now := in(0); now < ends {
		t.Errorf("dead %d ms before the end", ends-now)
	}
	h.must(unix.Kill(d.Pid, unix.SIGCONT))
}

// A keeper that doesn't know leases gets deadlines, until it is one that does.
func TestLeaseWithAnOlderKeeper(t *testing.T) {
	t.Parallel()
	link, _, far := linked(t, "2 welcome 0\nbefore x\n")
	link.DeadlineAt("i/1", Main{50, 77}, Boottime()+time.Hour, "a=b")
	if m := far.next(); m.verb != verbDeadline || m.main != (Main{50, 77}) || m.number > time.Hour.Milliseconds() || m.number < time.Hour.Milliseconds()/2 {
		t.Errorf("%+v", m)
	}
	link.DeadlineAt("i/1", Main{50, 77}, time.Nanosecond)
	far.expect(message{verb: verbDeadline, key: "i/1", main: Main{50, 77}, number: 1})
	link.DeadlineAt("i/1", Main{}, 0)
	far.expect(message{verb: verbDeadline, key: "i/1"})
	post(far.fd, []byte("2 welcome 0\nleases yes\n"), nil)
	eventually(t, "a keeper that knows leases", link.leases.Load)
	link.DeadlineAt("i/1", Main{50, 77}, 1500*time.Microsecond, "a=b", "c=d")
	far.expect(message{verb: verbUntil, key: "i/1", main: Main{50, 77}, number: 1, note: []byte("a=b\x00c=d\x00")})
	link.DeadlineAt("i/1", Main{}, time.Nanosecond)
	far.expect(message{verb: verbUntil, key: "i/1", number: 1})
	link.DeadlineAt("i/1", Main{}, 0)
	far.expect(message{verb: verbUntil, key: "i/1"})
}

// The clock of a lease goes on while the machine sleeps: after it all that ended
// meanwhile has ended.
func TestLeaseOverASleep(t *testing.T) {
	t.Parallel()
	d := newDeadMan()
	defer func() { d.alarm.close() }()
	grant := func(key string, ms int64) {
		d.grant(message{key: key, number: ms, note: joinMarker([]string{"a=b", "c"})})
	}
	grant("a", 4_000_000_000_000)
	grant("b", 4_000_000_005_000)
	grant("c", 4_000_000_010_000)
	at := func(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
	if !reflect.DeepEqual(d.leases["a"].marker, []string{"a=b", "c"}) || d.alarm == nil {
		t.Errorf("%+v", d)
	}
	if keys := d.ended(at(3_999_999_999_999)); keys != nil || d.next() != at(4_000_000_000_000) {
		t.Errorf("%v, next %v", keys, d.next())
	}
	if keys := d.ended(at(4_000_000_005_000)); !slices.Equal(keys, []string{"a", "b"}) || d.next() != at(4_000_000_010_000) {
		t.Errorf("%v, next %v", keys, d.next())
	}
	if keys := d.ended(at(4_000_000_006_000)); keys != nil {
		t.Errorf("%v are told twice", keys)
	}
	d.late("b")
	d.late("c")
	d.late("nobody")
	if keys := d.ended(at(4_000_000_006_000)); !slices.Equal(keys, []string{"b"}) {
		t.Errorf("%v", keys)
	}
	grant("a", 4_000_000_020_000)
	d.forget("c")
	if d.next() != at(4_000_000_020_000) {
		t.Errorf("next %v", d.next())
	}
	grant("a", 0)
	if d.next() != 0 || d.alarm != nil || len(d.leases) != 1 {
		t.Errorf("%+v", d)
	}
}

// The alarm rings at its time, once, and at once for a time that has passed.
func TestAlarm(t *testing.T) {
	t.Parallel()
	a := newAlarm()
	defer a.close()
	rings := func(what string) {
		t.Helper()
		select {
		case <-a.ring():
		case <-time.After(10 * time.Second):
			t.Fatalf("no ring: %s", what)
		}
	}
	at := Boottime() + 50*time.Millisecond
	a.set(Boottime() + time.Hour)
	a.set(at)
	rings("in 50 ms")
	if now := Boottime(); now < at {
		t.Errorf("%v too early", at-now)
	}
	a.set(time.Nanosecond)
	rings("at once")
}

func TestKin(t *testing.T) {
	t.Parallel()
	all := []proc{
		{pid: 1, group: 1}, {pid: 10, ppid: 1, group: 10, start: 5}, // the keeper
		{pid: 20, ppid: 10, group: 20, start: 7}, // the daemon
		{pid: 30, ppid: 20, group: 30, start: 9}, {pid: 31, ppid: 30, group: 30, start: 9},
		{pid: 32, ppid: 31, group: 32, start: 10}, {pid: 33, ppid: 32, group: 33, start: 11},
		{pid: 34, ppid: 10, group: 30, start: 12}, {pid: 40, ppid: 20, group: 40, start: 9}, {pid: 50, ppid: 40, group: 40, start: 4},
	}
	for want, mains := range map[string][]Main{
		"30 31 32 33 34":       {{30, 9}},
		"":                     {{30, 8}}, // another has the number
		"32 33":                {{32, 10}},
		"30 31 32 33 34 40 50": {{30, 9}, {}, {40, 9}, {20, 7}}, // the daemon is spared, whoever names it
	} {
		var got []string
		for _, p := range kin(slices.Clone(all), mains, []int{1, 10, 20}, func(proc) bool { return false }) {
			got = append(got, strconv.Itoa(p.pid))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%v: %s, want %s", mains, text, want)
		}
	}
}
