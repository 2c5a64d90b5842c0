package cmd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gopm/bench/load"
)

// nodeRED is the example node-red-ha: real Node-RED, real mosquitto. One start serves all that is
// looked at, for each of its processes costs seconds of processor.
type nodeRED struct {
	*gopm
	hot, pool, orders int       // their ports
	before            orderBook // of the last look
}

const nodeREDExample = "node-red-ha"

func newNodeRED(t *testing.T) *nodeRED {
	g := newLoneGopm(t)
	free := g.whole(nodeREDExample, 18210, 18211, 18212, 18213)
	n := &nodeRED{gopm: g.mosquitto(), hot: free[18211], pool: free[18212], orders: free[18213]}
	n.run("start")
	return n
}

// mosquitto has commands find the broker: the machine's, or the parts'.
func (g *gopm) mosquitto() *gopm {
	g.Helper()
	if _, err := exec.LookPath("mosquitto"); err == nil {
		return g
	}
	root := filepath.Join(g.parts(), "mosquitto-unpacked")
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/mosquitto")); err != nil {
		g.Fatalf("%v; tools/parts test unpacks it", err)
	}
	libs, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu*") // none: it says itself what it lacks
	return g.with("LD_LIBRARY_PATH="+strings.Join(libs, ":"), "PATH="+filepath.Dir(g.binary)+":"+root+"/usr/sbin:"+os.Getenv("PATH"))
}

// step is a part of the test, with the running system.
func (n *nodeRED) step(name string, do func(n *nodeRED)) {
	ok := n.Run(name, func(t *testing.T) {
		g := *n.gopm
		g.T = t
		c := *n
		c.gopm = &g
		do(&c)
		n.before = c.before
	})
	if !ok {
		n.FailNow() // what comes next stands on it
	}
}

// TestNodeRED: three failures of a hot standby, served again by the other one and, for comparison, by a
// cold start; a pool that loses no order; a deploy.
func TestNodeRED(t *testing.T) {
	n := newNodeRED(t)
	n.awaitSpares("hot", 1, 1)
	var warm, cold [len(failures)]outage
	n.step("sticky", (*nodeRED).sticky)
	n.step("crash", func(n *nodeRED) { warm[crash] = n.fails(crash) })
	n.step("reload of the pool", (*nodeRED).reloadPool)
	n.awaitSpares("hot", 1, 1)
	n.step("hang", func(n *nodeRED) { warm[hang] = n.fails(hang) })
	n.step("death in the pool", (*nodeRED).killPool)
	n.awaitSpares("hot", 1, 1)
	n.step("stuck", func(n *nodeRED) { warm[stuck] = n.fails(stuck) })
	n.awaitSpares("hot", 1, 1)
	n.step("deploy", (*nodeRED).deploy)
	n.step("cold", func(n *nodeRED) {
		n.edit("ecosystem.json", `"spares": 1`, `"spares": 0`)
		n.run("start")
		n.awaitSpares("hot", 1, 0)
		for i := range failures {
			cold[i] = n.fails(i)
			n.awaitSpares("hot", 1, 0)
		}
	})
	n.compare(warm, cold)
	n.witness("in all")
}

// replace puts a file of the example in the place of another, as a deploy does.
func (n *nodeRED) replace(name, text string) {
	n.Helper()
	must(n.T, os.Rename(n.file(name+".new", text), filepath.Join(n.dir, name)))
}

// edit exchanges a text in a file of the example.
func (n *nodeRED) edit(name, old, new string) {
	n.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, name))
	must(n.T, err)
	if !strings.Contains(string(text), old) {
		n.Fatalf("%s has no %s", name, old)
	}
	n.replace(name, strings.ReplaceAll(string(text), old, new))
}

// The three ways to fail.
const (
	crash = iota
	hang
	stuck
)

var failures = [...]string{crash: "crash: `kill -9`", hang: "hang: `kill -STOP`", stuck: "stuck: `for (;;);`"}

// outage is what clients and the broker saw of a failure.
type outage struct {
	detected time.Duration // from the failure to the end of the process
	served   time.Duration // from there to the first good answer of another one
}

// reply is what came of prober who is active.
type reply struct {
	begun, ended time.Time
	who          string // "hot-0-123 version 1"; "": it failed
}

// prober asks every few milliseconds, on new connections.
type prober struct {
	mu   sync.Mutex
	all  []reply
	stop context.CancelFunc
	ends sync.WaitGroup
}

func probe(port int) *prober {
	const between = 5 * time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	a := &prober{stop: stop}
	a.ends.Go(func() { // ended by stop; who calls that waits
		tick := time.NewTicker(between)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				a.ends.Go(func() { a.one(port) })
			}
		}
	})
	return a
}

func (a *prober) one(port int) {
	r := reply{begun: time.Now()}
	answer, err := load.Get(fmt.Sprint("127.0.0.1:", port), "/hello", soon)
	if r.ended = time.Now(); err == nil && answer.Status == http.StatusOK {
		r.who = strings.TrimSpace(string(answer.Body))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, r)
}

// first waits for a good answer of which ok is true.
func (a *prober) first(t *testing.T, ok func(reply) bool) reply {
	t.Helper()
	var found reply
	eventually(t, 6*soon, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		found = reply{}
		for _, r := range a.all {
			if r.who != "" && ok(r) && (found.who == "" || r.ended.Before(found.ended)) {
				found = r
			}
		}
		if found.who == "" {
			return fmt.Errorf("none of %d answers is it", len(a.all))
		}
		return nil
	})
	return found
}

// end stops asking, and counts what was lost.
func (a *prober) end() (lost int) {
	a.stop()
	a.ends.Wait()
	for _, r := range a.all {
		if r.who == "" {
			lost++
		}
	}
	return lost
}

// waited is how many had begun before the first answer of the next one, and were answered by it.
func (a *prober) waited(first reply) (n int) {
	for _, r := range a.all {
		if r.who == first.who && r.begun.Before(first.ended) {
			n++
		}
	}
	return n
}

// pidOf is the process in "hot-0-123 version 1".
func pidOf(who string) int {
	word, _, _ := strings.Cut(who, " ")
	pid, _ := strconv.Atoi(word[strings.LastIndexByte(word, '-')+1:]) // 0: nobody's
	return pid
}

// fails has the active instance fail, and sees who serves then.
func (n *nodeRED) fails(how int) (o outage) {
	n.Helper()
	a := probe(n.hot)
	defer a.end()
	old := a.first(n.T, func(reply) bool { return true }).who
	victim := pidOf(old)
	fd, err := unix.PidfdOpen(victim, 0)
	must(n.T, err)
	defer unix.Close(fd)
	began := time.Now()
	switch how {
	case crash:
		must(n.T, unix.Kill(victim, unix.SIGKILL))
	case hang:
		must(n.T, unix.Kill(victim, unix.SIGSTOP))
		if c := n.connected("hot-"); !slices.Equal(c, []string{whoIn(old)}) { // and so it is as long as the process is there
			n.Errorf("a stopped process has its connection; connected are %v", c)
		}
	case stuck:
		a.ends.Go(func() { _, _ = load.Get(fmt.Sprint("127.0.0.1:", n.hot), "/stuck", soon) }) // it is cut
	}
	dead := make(chan time.Time, 1)
	go func() { // ends with the process, or a minute later
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		dead <- time.Now()
	}()
	next := a.first(n.T, func(r reply) bool { return pidOf(r.who) != victim })
	died := n.parted(whoIn(old), began, <-dead)
	o.detected, o.served = died.Sub(began), max(next.ended.Sub(died), time.Millisecond)
	n.Logf("%s: dead after %v, served %v later by %s; %d requests lost, %d waited", failures[how], o.detected, o.served, next.who, a.end(), a.waited(next))
	n.witness(failures[how])
	return o
}

// parted is when a process has ended, which was after began: when this one was let run to see it, or when the broker saw
// the end of its connection, whichever was sooner.
func (n *nodeRED) parted(who string, began, seen time.Time) time.Time {
	n.Helper()
	for _, s := range n.sessions("hot-") {
		y, m, d := began.Date()
		at := time.Date(y, m, d, s.until.Hour(), s.until.Minute(), s.until.Second(), s.until.Nanosecond(), time.Local)
		if s.who == who && s.ended && at.After(began) && at.Before(seen) {
			return at
		}
	}
	return seen
}

func whoIn(answer string) string {
	who, _, _ := strings.Cut(answer, " ")
	return who
}

// compare prints the table, and wants a promotion to be far faster than a start.
func (n *nodeRED) compare(warm, cold [len(failures)]outage) {
	n.Helper()
	var w, c []time.Duration
	for i, what := range failures {
		w, c = append(w, warm[i].served), append(c, cold[i].served)
		n.figure(nodeREDExample, "| %s | %d ms | %d ms | %d ms | 1/%.0f |", what, warm[i].detected.Milliseconds(),
			cold[i].served.Milliseconds(), warm[i].served.Milliseconds(), float64(cold[i].served)/float64(warm[i].served))
	}
	slices.Sort(w)
	slices.Sort(c)
	if 3*w[1] > c[1] {
		n.Errorf("a promotion takes %v (the median), a cold start %v", w[1], c[1])
	}
}

// deploy exchanges the flows, and sees the pause at the broker: it is when nobody is connected.
func (n *nodeRED) deploy() {
	a := probe(n.hot)
	defer a.end()
	old := a.first(n.T, func(reply) bool { return true }).who
	good, err := os.ReadFile(filepath.Join(n.dir, "flows/hot.json"))
	must(n.T, err)
	n.replace("flows/hot.json", string(good[:len(good)/2])) // its pre_start refuses that
	eventually(n.T, 2*soon, func() error {
		if !strings.Contains(n.log(), "pre_start: exit code 1; the old version goes on") {
			return errors.New("a file with half of the flows is not refused")
		}
		return nil
	})
	n.replace("flows/hot.json", strings.ReplaceAll(string(good), "version 1", "version 2"))
	next := a.first(n.T, func(r reply) bool { return strings.HasSuffix(r.who, "version 2") })
	n.awaitSpares("hot", 1, 1)
	lost := a.end()
	if pidOf(next.who) == pidOf(old) {
		n.Errorf("%s is the process of %s", next.who, old)
	}
	if lost > 0 {
		n.Errorf("%d requests are lost by a deploy", lost)
	}
	stints := n.witness("deploy")
	last := stints[len(stints)-1]
	if last.who != whoIn(next.who) {
		n.Errorf("the last at the broker is %s, and %s answers", last.who, next.who)
	}
	n.figure(nodeREDExample, "A deploy under %d requests/s: the flows paused for %d ms, %d requests lost, %d waited for it.", 200, last.pause.Milliseconds(), lost, a.waited(next))
}

// sticky: a client has the same instance of the pool each time, and not all have the same.
func (n *nodeRED) sticky() {
	serving := map[string]int{}
	for client := range 12 {
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+client))}}
		c := http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, DialContext: from.DialContext}}
		var mine string
		for range 5 {
			who, err := bodyOf(&c, fmt.Sprintf("http://127.0.0.1:%d/hello", n.pool))
			must(n.T, err)
			if mine == "" {
				mine = who
				serving[who]++
			}
			if who != mine {
				n.Errorf("client %d: %s, then %s", client, mine, who)
			}
		}
	}
	if len(serving) != 2 {
		n.Errorf("12 clients are served by %v, want two instances", serving)
	}
}

// orderBook is what the example's orders says.
type orderBook struct {
	Published, Done, Repeated, Twice, Slowest, Complete int
	By                                                  map[string]int
}

func (n *nodeRED) book() (b orderBook, err error) {
	text, err := get(n.orders)
	if err != nil {
		return b, err
	}
	return b, json.Unmarshal([]byte(text), &b)
}

// settled waits until no order up to now and some more is without its result.
func (n *nodeRED) settled() (b orderBook) {
	n.Helper()
	from, err := n.book()
	must(n.T, err)
	eventually(n.T, 6*soon, func() (err error) {
		if b, err = n.book(); err == nil && b.Complete < from.Published+50 {
			err = fmt.Errorf("complete up to %d of %d", b.Complete, b.Published)
		}
		return err
	})
	return b
}

// reloadPool: both instances are replaced, no order is lost, and none has to be published again.
func (n *nodeRED) reloadPool() {
	before := n.settled()
	begun := time.Now()
	n.run("reload", "pool")
	took := time.Since(begun)
	after := n.settled()
	if after.Repeated != before.Repeated {
		n.Errorf("%d orders got no result the first time", after.Repeated-before.Repeated)
	}
	shares := map[string]int{}
	for who, count := range after.By {
		shares[who[:len("pool-0")]] += count
	}
	if len(after.By) != 4 || len(shares) != 2 || 3*min(shares["pool-0"], shares["pool-1"]) < max(shares["pool-0"], shares["pool-1"]) {
		n.Errorf("the orders aren't spread over two instances and their successors: %v", after.By)
	}
	n.figure(nodeREDExample, "A reload of the pool in %.1f s: %d orders, %d without a result, %d with two; done by pool-0 %d, by pool-1 %d.",
		took.Seconds(), after.Complete-before.Complete, after.Repeated-before.Repeated, after.Twice-before.Twice, shares["pool-0"], shares["pool-1"])
	n.before = after
}

// killPool: what a killed instance had acknowledged and not done is published again; in the end none is missing.
func (n *nodeRED) killPool() {
	n.killHard(n.pids()["pool:0"])
	after := n.settled()
	n.figure(nodeREDExample, "`kill -9` of one of the pool: %d orders, %d published again, %d with two results, the slowest done after %.1f s.",
		after.Complete-n.before.Complete, after.Repeated-n.before.Repeated, after.Twice-n.before.Twice, float64(after.Slowest)/1000)
}

// brokerSession is one connection of the hot flow as the broker saw it.
type brokerSession struct {
	who   string
	pause time.Duration // since the one before has ended
	ended bool
	until time.Time // ended: the time of day
}

// connected are the clients of a kind that the broker has now.
func (n *nodeRED) connected(kind string) (all []string) {
	n.Helper()
	for _, s := range n.sessions(kind) {
		if !s.ended {
			all = append(all, s.who)
		}
	}
	return all
}

// witness reads the broker's log: the hot flow has never had two connections. The broker has one
// thread, and its lines are in the order in which things happened to it.
func (n *nodeRED) witness(what string) []brokerSession {
	n.Helper()
	all := n.sessions("hot-")
	for i, s := range all {
		if i < len(all)-1 && !s.ended {
			n.Errorf("%s: %s and %s are connected at the same time", what, s.who, all[i+1].who)
		}
	}
	if c := n.connected("hot-"); len(c) != 1 {
		n.Errorf("%s: connected are %v, want one", what, c)
	}
	return all
}

// sessions are the connections of a kind of clients. One that begins before the last one has ended is an error.
func (n *nodeRED) sessions(kind string) (all []brokerSession) {
	n.Helper()
	text, err := os.ReadFile(n.app("broker").Env.Err)
	must(n.T, err)
	var last time.Time
	for line := range strings.Lines(string(text)) {
		stamp, said, _ := strings.Cut(strings.TrimSpace(line), ": ")
		at, err := time.Parse("15:04:05.000", stamp)
		if err != nil {
			continue // its greeting
		}
		open := slices.IndexFunc(all, func(s brokerSession) bool { return !s.ended })
		if _, who, is := strings.Cut(said, " as "+kind); is && strings.HasPrefix(said, "New client connected") {
			if open >= 0 {
				n.Errorf("%s, and %s is still connected", said, all[open].who)
			}
			all = append(all, brokerSession{who: kind + whoIn(who), pause: at.Sub(last)})
		} else if who, is := strings.CutPrefix(said, "Client "+kind); is {
			if open < 0 || all[open].who != kind+whoIn(who) {
				n.Errorf("%s, and nobody such is connected", said)
				continue
			}
			all[open].ended, all[open].until, last = true, at, at
		}
	}
	return all
}

func bodyOf(c *http.Client, url string) (string, error) {
	r, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return "", errors.New(r.Status)
	}
	text := make([]byte, 200)
	k, _ := r.Body.Read(text)
	return strings.TrimSpace(string(text[:k])), nil
}
