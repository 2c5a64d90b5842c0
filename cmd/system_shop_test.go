package cmd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopm/daemon/api"
)

// bazaar is examples/shop on ports of its own.
type bazaar struct {
	*gopm
	web, api string
}

func newBazaar(t *testing.T) *bazaar {
	g := newGopm(t)
	g.example("shop")
	path := filepath.Join(g.dir, "ecosystem.json")
	text, err := os.ReadFile(path)
	must(t, err)
	if _, err := exec.LookPath("redis-server"); err != nil { // the one of tools/parts
		g = g.with("PATH=" + filepath.Join(g.parts(), "redis-server-link") + ":" + os.Getenv("PATH"))
	}
	s := &bazaar{gopm: g}
	for _, port := range []string{"18100", "18101", "18102"} {
		free := freePort(t)
		text = []byte(strings.ReplaceAll(string(text), port, fmt.Sprint(free)))
		switch port {
		case "18100":
			s.web = fmt.Sprintf("http://127.0.0.1:%d", free)
		case "18101":
			s.api = fmt.Sprintf("http://127.0.0.1:%d", free)
		}
	}
	must(t, os.WriteFile(path, text, 0o644))
	return s
}

// happened is when an app did something first and last, as the places of the events;
// -1: never.
func (s *bazaar) happened(app, kind string) (first, last int) {
	s.Helper()
	first, last = -1, -1
	for i, line := range strings.Split(strings.TrimSpace(s.run("events", "--json", "--nostream", "--lines", "1000")), "\n") {
		var e api.Event
		must(s.T, json.Unmarshal([]byte(line), &e))
		if e.App == app && e.Kind == kind {
			if last = i; first < 0 {
				first = i
			}
		}
	}
	return first, last
}

// inOrder checks that each has happened, one after the other.
func (s *bazaar) inOrder(steps ...[2]string) {
	s.Helper()
	last := -1
	for _, step := range steps {
		at, _ := s.happened(step[0], step[1])
		if at <= last {
			s.Errorf("%s %s is event %d, want it after %d:\n%s", step[0], step[1], at, last, s.run("events", "--nostream", "--lines", "1000"))
		}
		last = at
	}
}

func (s *bazaar) says(words ...string) {
	s.Helper()
	eventually(s.T, 2*soon, func() error {
		r, err := http.Get(s.web)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		text := make([]byte, 10_000)
		n, _ := r.Body.Read(text)
		for _, word := range words {
			if !strings.Contains(string(text[:n]), word) {
				return fmt.Errorf("%s says %q, want %q", s.web, text[:n], word)
			}
		}
		return nil
	})
}

// order buys something over the api.
func (s *bazaar) order() {
	s.Helper()
	r, err := http.Post(s.api+"/orders", "text/plain", nil)
	must(s.T, err)
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		s.Fatalf("an order: %s", r.Status)
	}
}

// TestShop is the life of eight programs that need one another.
func TestShop(t *testing.T) {
	s := newBazaar(t)
	s.run("start", "ecosystem.json", "--wait", "60s")
	s.inOrder([2]string{"redis", "start"}, [2]string{"redis", "ready"}, [2]string{"migrate", "start"}, [2]string{"migrate", "exit"},
		[2]string{"api", "start"}, [2]string{"api", "ready"}, [2]string{"web", "start"}, [2]string{"web", "ready"})
	s.inOrder([2]string{"migrate", "exit"}, [2]string{"worker", "start"}, [2]string{"worker", "ready"}, [2]string{"till", "start"})
	s.inOrder([2]string{"assets", "ready"}, [2]string{"web", "start"})
	s.says("The shop", "sold: 0")
	s.order()
	s.says("sold: 1")
	s.run("send", "till", "2 apples")
	s.says("sold: 3")
	eventually(t, 2*soon, func() error {
		if text := s.run("info", "worker"); !strings.Contains(text, "has sold 3") {
			return fmt.Errorf("the worker's own words are not in\n%s", text)
		}
		return nil
	})
	t.Run("unhealthy", s.unhealthy)
	t.Run("edited", s.edited)
	eventually(t, 3*soon, func() error {
		if text := s.run("logs", "report", "--nostream", "--raw"); !strings.Contains(text, "sold ") {
			return fmt.Errorf("the report has not run: %q", text)
		}
		return nil
	})
	contains(t, "run", s.run("run", "report"), "sold ")
	s.run("stop", "all")
	for _, pair := range [][2]string{{"web", "api"}, {"till", "worker"}, {"web", "assets"}, {"api", "redis"}, {"worker", "redis"}} {
		_, before := s.happened(pair[0], "exit")
		_, after := s.happened(pair[1], "exit")
		if before < 0 || after < before {
			t.Errorf("%s has ended at event %d, %s at %d, want that later", pair[0], before, pair[1], after)
		}
	}
}

// unhealthy: one of two gets no more connections, and is shown.
func (s *bazaar) unhealthy(t *testing.T) {
	r, err := http.Post(s.api+"/break", "text/plain", nil)
	must(t, err)
	text := make([]byte, 100)
	n, _ := r.Body.Read(text)
	r.Body.Close()
	eventually(t, 3*soon, func() error {
		if list := s.run("ls"); strings.Count(list, "online (unhealthy)") != 1 {
			return fmt.Errorf("%s, and nobody is unhealthy in\n%s", text[:n], list)
		}
		return nil
	})
	for range 20 {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := c.Get(s.api + "/health")
		must(t, err)
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			t.Fatalf("the unhealthy one has answered: %s", r.Status)
		}
	}
	s.run("restart", "api")
	eventually(t, 3*soon, func() error {
		if list := s.run("ls"); strings.Contains(list, "unhealthy") {
			return fmt.Errorf("it is still unhealthy:\n%s", list)
		}
		return nil
	})
}

// edited: a file is changed, and one program is started again for it.
func (s *bazaar) edited(t *testing.T) {
	before := s.app("assets").Env.Restarts
	must(t, os.WriteFile(filepath.Join(s.dir, "assets", "3-plums.html"), []byte("<p>Plums, too.</p>\n"), 0o644))
	s.says("Plums, too.")
	if now := s.await("assets", "one restart more", func(e entry) bool { return e.Env.Restarts > before }); now.Env.Restarts != before+1 {
		t.Errorf("%d restarts, want one", now.Env.Restarts-before)
	}
	contains(t, "events", s.run("events", "assets", "--nostream"), "3-plums.html")
	if first, _ := s.happened("assets", "watch"); first < 0 {
		t.Error("there is no such event")
	}
}
