package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gopm/tools/agent"
)

// One leader over several machines: a counter that is lost by no death, and never kept by
// two. All of them write into one file without any lock, each 5 ms a line with the
// next number after the last one: two at once would be seen there.

// witnessWord has the test binary be that counter.
const witnessWord = "count-in"

// countIn counts until it is killed.
func countIn(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	host, fence := os.Getenv("GOPM_NODE"), os.Getenv("GOPM_FENCE")
	for range time.Tick(5 * time.Millisecond) {
		last, err := lastCount(f)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%d %s %d %s %d\n", last+1, host, os.Getpid(), fence, boottime())
		if _, err := f.WriteString(line); err != nil {
			return err
		}
	}
	return nil
}

// lastCount is the number in the last line.
func lastCount(f *os.File) (int, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return 0, err
	}
	tail := make([]byte, min(size, 200))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return 0, err
	}
	text := strings.TrimSuffix(string(tail), "\n")
	word, _, _ := strings.Cut(text[strings.LastIndexByte(text, '\n')+1:], " ")
	return strconv.Atoi(word)
}

func boottime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

// witness is the file, read.
type witness struct {
	*testing.T
	path  string
	read  int64 // so much of the file
	count int   // in its last line
	all   []stint
}

// stint is the time of one process.
type stint struct {
	host        string
	pid, fence  int
	first, last time.Duration
	count       int // in its last line
}

func newWitness(t *testing.T) *witness {
	return &witness{T: t, path: filepath.Join(t.TempDir(), "witness")}
}

// command is an app that counts there.
func (w *witness) command() (script string, args []string) {
	self, err := os.Executable()
	must(w.T, err)
	return self, []string{witnessWord, w.path}
}

// eco is the file of an app that counts on one machine at a time.
func (w *witness) eco(g *gopm, singleton map[string]any) string {
	w.Helper()
	script, args := w.command()
	text, err := json.Marshal(map[string]any{"apps": []any{map[string]any{
		"name": "counter", "script": script, "args": args, "interpreter": "none", "singleton": singleton, "min_uptime": "100ms"}}})
	must(w.T, err)
	return g.file("eco.json", string(text))
}

// stints are those of all processes so far, in order. Two at once are an error.
func (w *witness) stints() []stint {
	w.Helper()
	f, err := os.Open(w.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(w.T, err)
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, w.read, math.MaxInt64-w.read))
	must(w.T, err)
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	w.read += int64(len(text))
	for line := range strings.Lines(string(text)) {
		var s stint
		if _, err := fmt.Sscan(line, &s.count, &s.host, &s.pid, &s.fence, &s.last); err != nil {
			w.Fatalf("%q: %v", line, err)
		}
		w.add(s)
	}
	return w.all
}

// add goes on with what a line says.
func (w *witness) add(s stint) {
	w.Helper()
	if s.count != w.count+1 {
		w.Fatalf("after %d comes %d (%s, pid %d): two count at once", w.count, s.count, s.host, s.pid)
	}
	w.count = s.count
	if n := len(w.all); n > 0 {
		before := &w.all[n-1]
		switch {
		case before.pid == s.pid:
			before.last, before.count = s.last, s.count
			return
		case s.fence <= before.fence:
			w.Fatalf("%s, pid %d, has the fence %d after %d", s.host, s.pid, s.fence, before.fence)
		case s.last < before.last:
			w.Fatalf("%s, pid %d, has begun %v before the one before it ended", s.host, s.pid, before.last-s.last)
		case slices.ContainsFunc(w.all, func(o stint) bool { return o.pid == s.pid }):
			w.Fatalf("%s, pid %d, counts again after another", s.host, s.pid)
		}
	}
	s.first = s.last
	w.all = append(w.all, s)
}

// leader waits for the process that counts now.
func (w *witness) leader() stint {
	w.Helper()
	return w.after(0)
}

// after waits for one that isn't pid, and counts.
func (w *witness) after(pid int) (leader stint) {
	w.Helper()
	const ttlBound = 45 * time.Second
	eventually(w.T, ttlBound, func() error {
		now := boottime()
		all := w.stints()
		if len(all) == 0 || all[len(all)-1].pid == pid {
			return errors.New("nobody else counts")
		}
		leader = all[len(all)-1]
		if silent := now - leader.last; silent > 500*time.Millisecond {
			return fmt.Errorf("%s, pid %d, has been silent for %v", leader.host, leader.pid, silent)
		}
		return nil
	})
	return leader
}

// goesOn sees the same process count for a while.
func (w *witness) goesOn(s stint, span time.Duration) {
	w.Helper()
	steadily(w.T, span, func() error {
		if now := w.leader(); now.pid != s.pid {
			return fmt.Errorf("it was pid %d on %s, and is pid %d on %s", s.pid, s.host, now.pid, now.host)
		}
		return nil
	})
}

// succeeds waits for the next process after something was done, and says how long nobody
// has counted.
func (w *witness) succeeds(s stint, what string, elsewhere bool) stint {
	w.Helper()
	next := w.after(s.pid)
	all := w.stints()
	before := all[len(all)-2]
	w.Logf("%s: %s (count %d) → %s (fence %d): nobody counted for %v", what, before.host, before.count, next.host, next.fence, (all[len(all)-1].first - before.last).Round(time.Millisecond))
	if elsewhere && next.host == s.host {
		w.Errorf("%s: the next one is on the same machine", what)
	}
	return next
}

// counters is a fleet whose machines all have the counter.
func counters(t *testing.T) (*fleet, *witness) {
	t.Helper()
	w := newWitness(t)
	f := newFleet(t, 3, 1)
	for _, h := range f.hosts {
		h.run("start", w.eco(h.gopm, map[string]any{"lock": "locks/counter", "ttl": "10s"}))
	}
	return f, w
}

func (f *fleet) named(name string) *host {
	f.Helper()
	for _, h := range f.hosts {
		if h.machine.Name == name {
			return h
		}
	}
	f.Fatalf("no machine %q", name)
	return nil
}

// What gopm knows of is told at once: the next one waits for nothing.
func TestLeaderDies(t *testing.T) {
	f, w := counters(t)
	s := w.leader()
	for range 3 {
		must(t, syscall.Kill(s.pid, syscall.SIGKILL))
		s = w.succeeds(s, "kill -9 of the leader", true)
	}
	f.named(s.host).killDaemon()
	w.goesOn(s, 3*time.Second)
	h := f.named(s.host)
	h.run("stop", "counter")
	s = w.succeeds(s, "gopm stop", true)
	h.run("start", "counter")
	f.named(s.host).run("restart", "counter")
	s = w.succeeds(s, "gopm restart", false)

	h = f.named(s.host)
	pid, _ := h.daemon()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	s = w.succeeds(s, "SIGSTOP of the daemon", true)
	must(t, syscall.Kill(pid, syscall.SIGCONT))
	h.awaitStatus("counter", "standby")
	w.goesOn(s, time.Second)

	f.die(f.named(s.host))
	s = w.succeeds(s, "death of the machine", true)
	w.goesOn(s, time.Second)
}

// What nobody can tell takes the lock's time.
func TestLeaderIsCutOff(t *testing.T) {
	f, w := counters(t)
	s := w.leader()
	h := f.named(s.host)
	f.partition(h)
	s = w.succeeds(s, "partition", true)
	f.heal(h)
	h.awaitStatus("counter", "standby")
	w.goesOn(s, 2*time.Second)

	f.named(s.host).killBoth()
	s = w.succeeds(s, "kill -9 of daemon and keeper", true)
	w.goesOn(s, time.Second)
}

// An agent that is slow costs nothing, and one that never answers the lead.
func TestLeaderWithABadAgent(t *testing.T) {
	w := newWitness(t)
	a, b := newGopm(t), (*gopm)(nil)
	c := startConsul(t, agent.Options{})
	proxy, err := agent.NewProxy(c.Address())
	must(t, err)
	t.Cleanup(proxy.Close)
	second := *a
	second.home, second.dir = a.home+"2", filepath.Join(a.dir, "second")
	must(t, os.Mkdir(second.dir, 0o755))
	a = a.with("CONSUL_HTTP_ADDR="+proxy.Address(), "GOPM_NODE=a")
	b = (&second).with("CONSUL_HTTP_ADDR="+c.Address(), "GOPM_NODE=b")
	t.Cleanup(b.close)
	a.run("start", w.eco(a, map[string]any{"lock": "locks/counter", "ttl": "10s"}))
	s := w.leader()
	b.run("start", w.eco(b, map[string]any{"lock": "locks/counter", "ttl": "10s"}))
	b.awaitStatus("counter", "standby")
	proxy.Set(agent.Slow, "")
	w.goesOn(s, 12*time.Second)
	proxy.Set(agent.Silent, "")
	s = w.succeeds(s, "an agent that never answers", true)
	proxy.Set(agent.Pass, "")
	a.awaitStatus("counter", "standby")
	w.goesOn(s, time.Second)
}
