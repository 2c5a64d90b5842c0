package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopm/bench/load"
)

// writing is an attempt to write the count.
type writing struct {
	Count  int    `json:"count"`
	Leader string `json:"leader"`
	Term   int    `json:"term"`
	at     time.Time
	answer string // of Consul: "true", "false", or none yet
}

// notary stands between the peers and Consul and notes each attempt to write a count, in
// the order in which they come, and whether Consul has accepted it.
type notary struct {
	proxy *httputil.ReverseProxy

	mu    sync.Mutex            // guards the rest
	books map[string][]*writing // by the way of electing
}

// newNotary has to come before the gopm whose peers ask it: it ends when they have ended.
func newNotary(t *testing.T) (n *notary, address string) {
	n = &notary{books: map[string][]*writing{}}
	s := httptest.NewServer(n)
	t.Cleanup(s.Close)
	return n, s.URL
}

// before says which Consul it stands before.
func (n *notary) before(port int) {
	n.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	n.proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
	n.proxy.ModifyResponse = n.seal
}

func (n *notary) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if way, is := strings.CutPrefix(r.URL.Path, "/v1/kv/election/"); is && r.Method == http.MethodPut {
		text, err := io.ReadAll(r.Body)
		entry := &writing{at: time.Now()}
		if err == nil {
			err = json.Unmarshal(text, entry)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n.mu.Lock()
		n.books[way] = append(n.books[way], entry)
		n.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(text))
		// It goes on when the peer that has sent it is dead, for Consul may have got it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), soon)
		defer cancel()
		r = r.WithContext(context.WithValue(ctx, writingKey{}, entry))
	}
	n.proxy.ServeHTTP(w, r)
}

// seal notes what Consul has said.
func (n *notary) seal(answer *http.Response) error {
	entry := writingOf(answer.Request.Context())
	if entry == nil {
		return nil
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(text))
	n.mu.Lock()
	entry.answer = strings.TrimSpace(string(text))
	n.mu.Unlock()
	return nil
}

// book is what was written so far, and what was refused.
func (n *notary) book(way string) (accepted []writing, refused int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, entry := range n.books[way] {
		switch entry.answer {
		case "true":
			accepted = append(accepted, *entry)
		case "false":
			refused++
		}
	}
	return accepted, refused
}

// terms are those of all attempts, in the order in which they came.
func (n *notary) terms(way string) (all []int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, entry := range n.books[way] {
		all = append(all, entry.Term)
	}
	return all
}

type writingKey struct{}

// writingOf is what a request attempts that came through the notary; nil: nothing.
func writingOf(ctx context.Context) *writing {
	entry, _ := ctx.Value(writingKey{}).(*writing)
	return entry
}

// election is examples/leader-election on ports of its own, with the notary before Consul.
type election struct {
	*gopm
	notary *notary
	ports  map[string]int // of the first peer of each way
}

const countPause = 50 * time.Millisecond // not the second that the example has

func newElection(t *testing.T) *election {
	notary, address := newNotary(t)
	g := newGopm(t)
	free := g.whole("leader-election", 18230, 18233, 18236, 18237, 18238)
	notary.before(free[18236])
	e := &election{gopm: g.withConsul().with("GOPM_NODE=a"), notary: notary, ports: map[string]int{}}
	for way, port := range map[string]int{"singleton": free[18230], "ranking": free[18233]} {
		e.ports[way] = e.move(port)
	}
	e.edit2("ecosystem.json", fmt.Sprintf(`"CONSUL": "http://127.0.0.1:%d"`, free[18236]), fmt.Sprintf(`"CONSUL": %q`, address))
	e.edit2("ecosystem.json", `"PAUSE": "1000"`, fmt.Sprintf(`"PAUSE": "%d"`, countPause.Milliseconds()))
	return e
}

// move has peers listen on other ports, which follow each other.
func (g *gopm) move(port int) (first int) {
	g.Helper()
	first, err := load.FreePorts(3)
	must(g.T, err)
	g.edit2("ecosystem.json", fmt.Sprintf(`"port": %d,`, port), fmt.Sprintf(`"port": %d,`, first))
	return first
}

// of is the same in a subtest.
func (e *election) of(t *testing.T) *election {
	own, g := *e, *e.gopm
	g.T = t
	own.gopm = &g
	return &own
}

// TestLeaderElection starts the whole once; then the leaders of both ways die.
func TestLeaderElection(t *testing.T) {
	e := newElection(t)
	e.run("start")
	for _, way := range []string{"singleton", "ranking"} {
		t.Run(way, func(t *testing.T) { e.of(t).dies(way) })
	}
	t.Run("AnotherMachine", func(t *testing.T) { e.of(t).moves() })
}

// dies has the leader crash, be stopped and hang. Each time the next one goes on from the
// last count, and all show it.
func (e *election) dies(way string) {
	e.whole3(way)
	page, err := get(e.ports[way])
	if err != nil || !strings.Contains(page, `<p id="count">`) || !strings.Contains(page, "fetch('/count')") {
		e.Errorf("no page that shows the count: %q, %v", page, err)
	}
	killed := e.succession(way, "kill -9", func(old entry) { e.killHard(old.Pid) })
	e.whole3(way)
	var id string
	stopped := e.succession(way, "gopm stop", func(old entry) {
		id = fmt.Sprint(old.ID)
		e.run("stop", id)
	})
	e.run("start", id)
	e.whole3(way)
	var late entry
	hung := e.succession(way, "SIGSTOP", func(old entry) {
		late = old
		must(e.T, syscall.Kill(old.Pid, syscall.SIGSTOP))
	})
	if isDead := !alive(late.Pid); isDead != (way == "singleton") {
		e.Errorf("the next one counts, and the one before it is dead: %v", isDead)
	} else if !isDead {
		must(e.T, syscall.Kill(late.Pid, syscall.SIGCONT))
		e.fileSays(late.Env.Err, " is over, it is ")
	}
	e.whole3(way)
	refused := e.neverTwo(way)
	e.figure("leader-election", "| `%s` | %d ms | %d ms | %d ms | %d |", way, killed.Milliseconds(), stopped.Milliseconds(), hung.Milliseconds(), refused)
}

// peerPage is what a peer shows.
type peerPage struct {
	Me, Leader  string
	Leads       bool
	Count, Term int
	Members     []string
}

func shown(port int) (p peerPage, err error) {
	answer, err := (&http.Client{Timeout: soon}).Get(fmt.Sprintf("http://127.0.0.1:%d/count", port))
	if err != nil {
		return p, err
	}
	defer answer.Body.Close()
	return p, json.NewDecoder(answer.Body).Decode(&p)
}

// whole3 waits until all three peers are there, one of them leads, all know that, and show
// what it has counted since.
func (e *election) whole3(way string) {
	e.Helper()
	counted, _ := e.notary.book(way)
	eventually(e.T, 3*soon, func() error {
		leads := 0
		for i := range 3 {
			p, err := shown(e.ports[way] + i)
			if err != nil {
				return err
			}
			if p.Leads {
				leads++
			}
			if len(p.Members) != 3 || p.Leads != (p.Me == p.Leader) || len(counted) > 0 && p.Count <= counted[len(counted)-1].Count {
				return fmt.Errorf("a peer shows %+v", p)
			}
		}
		if leads != 1 {
			return fmt.Errorf("%d lead", leads)
		}
		return nil
	})
}

// leader is the instance that has counted last, and in which term.
func (e *election) leader(way string) (who entry, last writing) {
	e.Helper()
	counted, _ := e.notary.book(way)
	if len(counted) == 0 {
		e.Fatal("nobody has counted")
	}
	last = counted[len(counted)-1]
	all := e.list()
	i := slices.IndexFunc(all, func(one entry) bool { return fmt.Sprintf("gopm:a:%s:%d", one.Name, one.Env.Instance) == last.Leader })
	if i < 0 {
		e.Fatalf("who is %s? %v", last.Leader, all)
	}
	return all[i], last
}

// succession does something to the leader, and waits until another counts. gap is how long
// nobody has counted.
func (e *election) succession(way, what string, does func(entry)) (gap time.Duration) {
	e.Helper()
	who, last := e.leader(way)
	does(who)
	eventually(e.T, 3*soon, func() error {
		counted, _ := e.notary.book(way)
		i := slices.IndexFunc(counted, func(w writing) bool { return w.Term > last.Term })
		for i > 0 && i < len(counted) && counted[i].Count == counted[i-1].Count {
			i++ // it has only said that it leads
		}
		if i < 1 || i == len(counted) {
			return errors.New("nobody else counts")
		}
		before := i - 1
		for counted[before].Term > last.Term {
			before--
		}
		if counted[i].Leader == last.Leader {
			e.Errorf("%s: the next one is %s again", what, last.Leader)
		}
		gap = counted[i].at.Sub(counted[before].at)
		e.Logf("%s: %s (count %d, term %d) → %s (count %d, term %d): nobody counted for %v", what, last.Leader, counted[before].Count, counted[before].Term,
			counted[i].Leader, counted[i].Count, counted[i].Term, gap.Round(time.Millisecond))
		return nil
	})
	return gap
}

// neverTwo reads the notary's book: each number was counted once, each term has one leader,
// and what one writes who has led before is refused. With a lock nobody has tried to.
func (e *election) neverTwo(way string) (refused int) {
	e.Helper()
	counted, refused := e.notary.book(way)
	for i, w := range counted {
		if i == 0 {
			continue
		}
		last := counted[i-1]
		taken := w.Term > last.Term && w.Count == last.Count
		if w.Term < last.Term || w.Term == last.Term && w.Leader != last.Leader || w.Count != last.Count+1 && !taken {
			e.Errorf("after %+v comes %+v", last, w)
		}
	}
	if terms := e.notary.terms(way); way == "singleton" && !slices.IsSorted(terms) {
		e.Errorf("two have counted at once: the terms of all attempts are %v", terms)
	}
	return refused
}

// moves has the leader's machine give up its lead: the one on another machine, which stood
// by, counts on, and each machine shows it.
func (e *election) moves() {
	b := *e.gopm
	b.home, b.dir = e.home+"2", filepath.Join(filepath.Dir(e.dir), "b")
	must(e.T, os.CopyFS(b.dir, os.DirFS(e.dir)))
	b.env = append(slices.Clip(e.env), "GOPM_NODE=b")
	there := b.move(e.ports["singleton"])
	e.Cleanup(b.close)
	b.edit2("ecosystem.json", `"instances": 3`, `"instances": 1`)
	b.run("start", "ecosystem.json", "--only", "singleton")
	eventually(e.T, soon, func() error {
		if info := b.run("info", "singleton"); !strings.Contains(info, "│ a:singleton ") {
			return fmt.Errorf("it doesn't stand by:\n%s", info)
		}
		return nil
	})
	onOne := func(node string) peerPage {
		e.Helper()
		before, _ := e.notary.book("singleton")
		var here, other peerPage
		eventually(e.T, 3*soon, func() (err error) {
			if here, err = shown(there); err == nil && (!strings.HasPrefix(here.Leader, "gopm:"+node+":") || here.Count <= before[len(before)-1].Count) {
				err = fmt.Errorf("the other machine shows %+v", here)
			}
			if err == nil && node == "a" {
				if other, err = shown(e.ports["singleton"]); err == nil && other.Leader != here.Leader {
					err = fmt.Errorf("one shows %+v, and the other %+v", here, other)
				}
			}
			return err
		})
		return here
	}
	first := onOne("a")
	e.run("stop", "singleton")
	second := onOne("b")
	e.run("start", "singleton")
	b.run("stop", "singleton")
	e.whole3("singleton")
	_, third := e.leader("singleton")
	if second.Term <= first.Term || third.Term <= second.Term || !strings.HasPrefix(third.Leader, "gopm:a:") {
		e.Errorf("after %+v comes %+v, then %+v", first, second, third)
	}
	e.neverTwo("singleton")
}
