package cmd_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gopm/bench/load"
)

// crowd is a clustered app and those who ask it.
type crowd struct {
	name      string
	kind      string
	target    string
	fields    string
	instances int
	spares    int
	hangs     bool // it has a hang_timeout
	kept      bool // one of its loads keeps connections

	loads []*asking
	busy  sync.Mutex // held by the command that changes it

	mu      sync.Mutex // guards what follows
	harms   []harm
	stopped time.Time // when one of its processes was last stopped
}

// asking is one load, and when it began.
type asking struct {
	driver *load.Driver
	began  time.Time
}

// harm is a span in which a process of an app was made to end: what it had accepted
// may be lost then.
type harm struct {
	what     string
	from, to time.Time // to is zero as long as it isn't over
	sockets  bool      // sockets may be lost, too, that only gopm had: then connections are refused
}

// aftermath is how long after a death its clients may see it, on a busy machine.
const aftermath = 2 * time.Second

const chaosHang = time.Second

// chaosCrowds are the apps.
func chaosCrowds(t *testing.T) []*crowd {
	t.Helper()
	all := []*crowd{
		{name: "fast", kind: "go", instances: 2, kept: true},
		{name: "hangs", kind: "node", instances: 2, hangs: true, fields: fmt.Sprintf(`, "hang_timeout": %q`, chaosHang)},
		{name: "spared", kind: "node", instances: 2, spares: 1, fields: `, "spares": 1`},
	}
	for _, c := range all {
		c.target = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	}
	return all
}

// file writes the app's configuration, with an address.
func (c *crowd) file(g *gopm, address string) string {
	g.Helper()
	fields := fmt.Sprintf(`"exec_mode": "cluster", "instances": %d, "drain": {"timeout": "3s"}, "hold_timeout": "60s", "min_uptime": "100ms"%s`, c.instances, c.fields)
	return g.file(c.name+".json", `{"apps": [`+g.webApp(c.name, c.kind, "-account "+address, fields)+`]}`)
}

// nowhere is an address that can't be bound: a version of an app that has it ends at once.
const nowhere = "192.0.2.1:1"

// ask begins to ask the app.
func (c *crowd) ask(ctx context.Context) {
	begin := func(p load.Plan) {
		p.Target, p.Timeout = c.target, 3*soon
		p.SlowPath, p.SlowShare = "/slow?ms=200", 0.1
		c.loads = append(c.loads, &asking{load.Start(ctx, p), time.Now()})
	}
	begin(load.Plan{Rate: 25})
	if c.kept {
		begin(load.Plan{Clients: 6, KeepAlive: true, Think: func() time.Duration {
			return time.Duration(rand.IntN(500)) * time.Millisecond
		}})
	}
}

// processes are those of the app that live.
func (c *crowd) processes() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmdline, _ := os.ReadFile(dir + "/cmdline") // it may be gone
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && strings.HasSuffix(string(cmdline), "\x00-account\x00"+c.target+"\x00") && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hurt notes a harm that begins now; the returned function says that it is over.
func (c *crowd) hurt(what string) (over func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := len(c.harms)
	c.harms = append(c.harms, harm{what: what, from: time.Now()})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.harms[i].to = time.Now().Add(aftermath)
	}
}

// nobodyThere is for the death of keeper and daemon: the sockets of instances that were
// dead at that moment, or on their way, are gone.
func (c *crowd) nobodyThere(from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.harms = append(c.harms, harm{what: "the death of both", from: from, to: to, sockets: true})
}

// excuse is what a failure may come from, "" if nothing. Nobody waits in vain, ever.
func (c *crowd) excuse(at time.Time, kind string) string {
	for _, h := range c.harms {
		of := strings.HasPrefix(kind, "reset") || strings.HasPrefix(kind, "cut") || kind == "refused" && h.sockets
		if of && at.After(h.from) && (h.to.IsZero() || at.Before(h.to)) {
			return h.what
		}
	}
	return ""
}

// reaches says whether new connections come to all of some processes, and to no other.
func (c *crowd) reaches(pids map[int]int) error {
	r := load.Run(context.Background(), load.Plan{Target: c.target, Count: 25 * len(pids), Timeout: soon})
	want := map[string]bool{}
	for _, pid := range pids {
		want[strconv.Itoa(pid)] = true
	}
	for pid := range r.Servers {
		if !want[pid] {
			return fmt.Errorf("%s: %s answers, there should be %v", c.name, pid, pids)
		}
	}
	if r.Failed() > 0 || len(r.Servers) != len(pids) {
		return fmt.Errorf("%s: want answers of %v: %s", c.name, pids, r.Text())
	}
	return nil
}

// serves says that a process has listened for a while: it has a socket in the place of its own.
func serves(pid int) bool {
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil && time.Since(info.ModTime()) > 2*time.Second && sitsInBind(pid)() != nil
}
