package cmd_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gopm/bench/load"
)

// TestPythonOnOnePort: a program that knows nothing of clusters, twice on one port, and
// a death that nobody notices.
func TestPythonOnOnePort(t *testing.T) {
	g := newGopm(t)
	port := freePort(t)
	g.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "py", "script": "python3", "args": "-m http.server --bind 127.0.0.1 %d", "interpreter": "none", "instances": 2}]}`, port))
	g.run("start", "eco.json")
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() error {
		r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil {
			r.Body.Close()
		}
		return err
	}
	eventually(t, soon, get)
	for _, id := range []string{"0", "1"} {
		eventually(t, soon, func() error {
			if info := g.run("info", id); !strings.Contains(info, fmt.Sprintf("127.0.0.1:%d", port)) || !strings.Contains(info, "cluster_mode") {
				return fmt.Errorf("info: %s", info)
			}
			return nil
		})
	}
	for kill := range 4 {
		g.killHard(g.pids()[fmt.Sprintf("py:%d", kill%2)])
		for range 25 {
			if err := get(); err != nil {
				t.Fatalf("after kill %d: %v", kill+1, err)
			}
		}
	}
	g.run("stop", "py")
	if err := get(); err == nil {
		t.Error("a stopped app still answers")
	}
}

// TestKillStorm: nobody is refused and nobody waits for an answer in vain, whatever
// program it is; what the killed process had accepted already is lost with it.
func TestKillStorm(t *testing.T) {
	const kills = 6
	for _, kind := range webKinds {
		for instances := 1; instances <= 2; instances++ {
			t.Run(fmt.Sprint(kind, instances), func(t *testing.T) {
				g := newGopm(t)
				target := fmt.Sprintf("127.0.0.1:%d", freePort(t))
				g.startWeb("web", kind, "-account "+target, fmt.Sprintf(`"exec_mode": "cluster", "instances": %d, "min_uptime": "100ms"`, instances))
				answering(t, target)
				var deaths []death
				r := underLoad(t, load.Plan{Target: target, Rate: 100, Timeout: soon}, func() {
					for i := range kills {
						name := fmt.Sprintf("web:%d", i%instances)
						old := g.pids()[name]
						deaths = append(deaths, g.slay(old))
						eventually(t, soon, func() error { return g.isReplaced(name, old) })
					}
				})
				a, err := g.account(r, "web")
				must(t, err)
				t.Log(a.Text())
				if lost := unexplained(r, deaths); len(lost) > 0 || len(a.Twice) > 0 {
					t.Errorf("%s; %s; %v", r.Text(), a.Text(), lost)
				}
			})
		}
	}
}

// isReplaced says whether an instance has a process that is online, and not the old one.
func (g *gopm) isReplaced(name string, old int) error {
	for _, e := range g.list() {
		if fmt.Sprintf("%s:%d", e.Name, e.Env.Instance) == name && e.Env.Status == "online" && e.Pid != old {
			return nil
		}
	}
	return fmt.Errorf("%s (pid %d) has no successor that is online", name, old)
}
