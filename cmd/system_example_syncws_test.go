package cmd_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

// The synchronous web service over a real RabbitMQ, with a worker in a real Node-RED: who asks
// is answered, whatever dies behind the door.

const (
	syncWS = "sync-ws-rabbitmq"
	// The seconds until a request has its 408: few while that is awaited, then many, for no
	// machine is so slow that what can be answered gets its 408.
	exampleTimeout, shortTimeout, longTimeout = 30, 15, 60
)

// syncService is the example, running.
type syncService struct {
	*gopm
	target string
	ports  map[int]int
}

// rabbit has the example use the machine's broker, or that of tools/parts.
func (g *gopm) rabbit() {
	g.Helper()
	const server = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(server); err == nil {
		return
	}
	root := filepath.Join(g.parts(), "rabbitmq-unpacked")
	if _, err := os.Stat(root + server); err != nil {
		g.Fatalf("%v; tools/parts test unpacks it", err)
	}
	g.inFile("ecosystem.json", server, root+server)
	g.env = append(g.env, "PATH="+filepath.Join(root, "usr/bin")+":"+filepath.Dir(g.binary)+":"+os.Getenv("PATH"))
}

// inFile exchanges what stands there once.
func (g *gopm) inFile(name, old, with string) {
	g.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, name))
	must(g.T, err)
	if strings.Count(string(text), old) != 1 {
		g.Fatalf("%s: want %q once:\n%s", name, old, text)
	}
	g.file(name, strings.Replace(string(text), old, with, 1))
}

func (g *gopm) replyTimeout(old, now int) {
	g.Helper()
	g.inFile("ecosystem.json", fmt.Sprintf(`"REPLY_TIMEOUT": "%d"`, old), fmt.Sprintf(`"REPLY_TIMEOUT": "%d"`, now))
}

func TestSyncWS(t *testing.T) {
	g := newGopm(t)
	ports := g.whole(syncWS, 18260, 18261, 18262, 18263)
	g.rabbit()
	g.replyTimeout(exampleTimeout, shortTimeout)
	must(t, os.MkdirAll(filepath.Join(filepath.Dir(g.home), "u"), 0o755)) // Erlang keeps its cookie in HOME
	s := &syncService{gopm: g, target: fmt.Sprintf("http://127.0.0.1:%d/api/", ports[18260]), ports: ports}
	g.run("start", "--no-wait")
	s.allOnline(2 * time.Minute)
	s.answersBoth()
	s.scales()
	s.losesProcesses()
	s.losesItsNodeRED()
	g.replyTimeout(shortTimeout, longTimeout)
	s.reloads()
	s.holdsWhatIsDue()
	s.losesItsBroker()
	s.endsWhole()
}

// allOnline waits until every instance is online, and healthy if it is checked.
func (s *syncService) allOnline(limit time.Duration) {
	s.Helper()
	eventually(s.T, limit, func() error {
		for _, row := range s.all() {
			if row.Process.Status != "online" || row.Health != nil && row.Health.State != api.HealthHealthy {
				return fmt.Errorf("%s:%d is %s, health %+v", row.Name, row.Index, row.Process.Status, row.Health)
			}
		}
		return nil
	})
}

// answersBoth asks each kind of worker, and both processes of the API.
func (s *syncService) answersBoth() {
	s.Helper()
	r := s.load(func(l *rpcLoad) { l.open(s.T.Context(), 50, 20, "branch", "report") })
	if r.counts[200] != r.requests || len(r.servers) != 2 {
		s.Errorf("without any fault: %v", r)
	}
	if by := slices.Sorted(maps.Keys(r.workers)); !slices.Equal(by, []string{"node-red 0", "worker 0"}) {
		s.Errorf("answered by %q", by)
	}
	if status, _, _, err := askOnce(s.target+"branch", "no JSON"); status != 422 {
		s.Errorf("what isn't JSON: %d, %v", status, err)
	}
}

// scales measures one worker, and four: they come under load, and nobody is lost.
func (s *syncService) scales() {
	s.Helper()
	const clients, each = 20, 3
	one := s.load(func(l *rpcLoad) { l.closed(clients, each, "branch") })
	s.load(func(l *rpcLoad) {
		l.open(s.T.Context(), 30, 0, "branch")
		s.run("scale", "worker", "4")
		s.allOnline(2 * soon)
	}).wantAnswered("scale of worker to 4")
	four := s.load(func(l *rpcLoad) { l.closed(clients, 4*each, "branch") })
	if len(four.workers) != 4 || four.perSecond() < 2*one.perSecond() {
		s.Errorf("one worker: %v; four: %v", one, four)
	}
	for i, r := range []*rpcLoad{one, four} {
		r.wantAnswered("load")
		s.figure(syncWS, "| %d | %.0f | %d ms | %d ms |", []int{1, 4}[i], r.perSecond(), r.percentile(50).Milliseconds(), r.percentile(99).Milliseconds())
	}
}

// row prints what became of the requests during a fault.
func (s *syncService) row(what string, r *rpcLoad) {
	s.Helper()
	s.figure(syncWS, "| %s | %d | %d | %d | %d | %d | %d |", what, r.requests, r.counts[200], r.counts[408], r.counts[503], r.reset, r.hung)
	if r.counts[200]+r.counts[408]+r.counts[503]+r.reset != r.requests {
		s.Errorf("%s: some hung, or were answered wrongly: %v", what, r)
	}
}

// under has something happen to an app under a load of all kinds, until everybody is well again.
func (s *syncService) under(what string, happens func(l *rpcLoad)) *rpcLoad {
	s.Helper()
	r := s.load(func(l *rpcLoad) {
		l.open(s.T.Context(), 50, 0, "branch", "report")
		l.more(20)
		happens(l)
		s.allOnline(time.Minute)
		l.more(20)
	})
	s.row(what, r)
	return r
}

// kills is kill -9 of one process.
func (s *syncService) kills(instance string) func(*rpcLoad) {
	return func(*rpcLoad) {
		old := s.pids()[instance]
		s.killHard(old)
		eventually(s.T, time.Minute, func() error { return s.isReplaced(instance, old) })
	}
}

func (s *syncService) losesProcesses() {
	s.Helper()
	s.under("`kill -9` of a worker", s.kills("worker:0")).wantAnswered("kill -9 of a worker")
	const burst = 40
	r := s.under("`kill -9` of an API process", func(l *rpcLoad) {
		l.begin(burst, "branch")
		l.more(burst / 10)
		s.kills("api:0")(l)
	})
	// What the dead one had accepted is reset: no more than was under way.
	if r.counts[200]+r.reset != r.requests || r.reset > burst+10 {
		s.Errorf("kill -9 of an API process: %v", r)
	}
}

func (s *syncService) reloads() {
	s.Helper()
	for _, app := range []string{"api", "worker"} {
		before := s.pids()
		reload := func(*rpcLoad) { s.run("reload", "ecosystem.json", "--only", app) }
		s.under("`gopm reload "+app+"`", reload).wantAnswered("reload of " + app)
		for name, pid := range s.pids() {
			if strings.HasPrefix(name, app+":") && before[name] == pid {
				s.Errorf("a reload of %s has left %s as it was", app, name)
			}
		}
	}
}

// holdsWhatIsDue reloads the API while its requests wait for workers: the old processes stay
// until they have answered.
func (s *syncService) holdsWhatIsDue() {
	s.Helper()
	old := s.pids()
	s.run("stop", "worker")
	reloaded := make(chan result, 1)
	r := s.load(func(l *rpcLoad) {
		l.begin(10, "branch")
		s.areHeld(10)
		cmd := s.command("reload", "api")
		go func() { // ends with the command; read below
			r, err := s.finish(cmd)
			if err != nil {
				r.code, r.err = -1, err.Error()
			}
			reloaded <- r
		}()
		eventually(s.T, 2*soon, func() error { return s.isReplaced("api:0", old["api:0"]) })
		s.run("start", "worker")
	})
	r.wantAnswered("requests that waited while the API was reloaded")
	for pid := range r.servers {
		if pid != strconv.Itoa(old["api:0"]) && pid != strconv.Itoa(old["api:1"]) {
			s.Errorf("answered by pid %s, not by one of those that had been asked: %v", pid, old)
		}
	}
	if r := <-reloaded; r.code != 0 {
		s.Errorf("reload: %v", r)
	}
}

// losesItsNodeRED kills and reloads the worker in Node-RED. Meanwhile there is no other worker at all:
// who asks for those gets 408.
func (s *syncService) losesItsNodeRED() {
	s.Helper()
	s.run("stop", "worker")
	late := s.load(func(l *rpcLoad) {
		l.begin(5, "branch")
		reports := func(what string, happens func(*rpcLoad)) {
			r := s.load(func(l *rpcLoad) {
				l.open(s.T.Context(), 30, 0, "report")
				l.more(20)
				happens(l)
				l.more(20)
			})
			s.row(what, r)
			r.wantAnswered(what)
		}
		reports("`kill -9` of Node-RED", s.kills("node-red:0"))
		reports("`gopm reload node-red`", func(*rpcLoad) { s.run("reload", "node-red") })
	})
	if late.counts[408] != late.requests {
		s.Errorf("without a worker: %v", late)
	}
	s.row("no worker", late)
	s.run("start", "worker")
	s.allOnline(2 * soon)
}

// areHeld waits until so many connections to the API are open.
func (s *syncService) areHeld(n int) {
	s.Helper()
	eventually(s.T, soon, func() error {
		if now := connectionsTo(s.T, s.ports[18260]); now < n {
			return fmt.Errorf("%d connections", now)
		}
		return nil
	})
}

// losesItsBroker restarts the broker. Who asks meanwhile is told; what it had taken before, and nobody
// has begun, is done and answered afterwards.
func (s *syncService) losesItsBroker() {
	s.Helper()
	s.run("stop", "worker")
	taken := s.load(func(l *rpcLoad) {
		l.begin(10, "branch")
		s.areHeld(10)
		r := s.load(func(l *rpcLoad) {
			l.open(s.T.Context(), 30, 0, "report")
			l.more(20)
			s.run("restart", "rabbitmq")
			l.more(20)
			s.run("start", "worker")
		})
		s.row("`gopm restart rabbitmq`", r)
		if r.reset > 0 {
			s.Errorf("a restart of the broker: %v", r)
		}
	})
	s.row("waiting there meanwhile", taken)
	taken.wantAnswered("what the broker had taken before its restart")
	s.allOnline(2 * soon)
}

// endsWhole ends gopm: no port of the system is open any more, not even that of Erlang's port mapper.
func (s *syncService) endsWhole() {
	s.Helper()
	s.run("kill")
	for _, port := range s.ports {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			conn.Close()
			s.Errorf("port %d is open after gopm kill", port)
		}
	}
}
