package cmd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// demand is what a process of gopm takes.
type demand struct {
	memory  int // bytes of its own that are resident
	threads int
	files   int
}

func demandOf(t *testing.T, pid int) (d demand) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &d.memory)
		_, _ = fmt.Sscanf(line, "Threads: %d", &d.threads)
	}
	d.memory <<= 10
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	d.files = len(files)
	return d
}

// most takes the larger of each.
func (d demand) most(o demand) demand {
	return demand{max(d.memory, o.memory), max(d.threads, o.threads), max(d.files, o.files)}
}

func (d demand) String() string {
	return fmt.Sprintf("%.1f MB, %d threads, %d files", float64(d.memory)/(1<<20), d.threads, d.files)
}

// What may be more at the end than after the warm-up: the garbage collector's and
// the scheduler's play, not what grows.
var play = demand{memory: 6 << 20, threads: 4, files: 12}

// Crash loops, floods of lines and followers that come and go for an hour: neither
// daemon nor keeper grow.
func TestSoak(t *testing.T) {
	g := newGopm(t)
	span := spanOf(t, soakSwitch, 12*time.Second)
	path := g.castFile(
		role{"crash0", "-every 5ms -life 180ms -end 3", ""},
		role{"crash1", "-every 5ms -life 250ms -end KILL", ""},
		role{"loop", "-end 7 -life 1ms", `"restart_delay": "50ms", "max_restarts": 1000000`},
		role{"flood", "-batch 100 -burst 300 -every 200ms", `"max_size": "1M", "retain": 2`},
		role{"framed", "-batch 20 -every 10ms -err", `"time": true, "max_size": "200K", "retain": 2`},
		role{"packed", "-batch 20 -every 10ms", `"compress": true, "max_size": "200K", "retain": 2`})
	g.run("start", path, "--no-wait")
	ctx, stop := context.WithCancel(context.Background())
	var followers sync.WaitGroup
	defer followers.Wait()
	defer stop()
	for _, args := range [][]string{{"logs", "--raw"}, {"logs", "crash0"}} {
		followers.Go(func() { g.comeAndGo(ctx, args) }) // ends with ctx, waited for above
	}
	daemon, keeper := g.daemon()
	var first, last [2]demand
	began := time.Now()
	tick := time.NewTicker(span / 60)
	defer tick.Stop()
	for time.Since(began) < span {
		<-tick.C
		now := [2]demand{demandOf(t, daemon), demandOf(t, keeper)}
		for i := range now {
			switch part := time.Since(began) * 3 / span; part {
			case 1: // the first third is the warm-up
				first[i] = first[i].most(now[i])
			case 2:
				last[i] = last[i].most(now[i])
			}
		}
	}
	for i, name := range []string{"daemon", "keeper"} {
		f, l := first[i], last[i]
		t.Logf("%s: %v; at the end %v", name, f, l)
		if l.memory > f.memory+play.memory || l.threads > f.threads+play.threads || l.files > f.files+play.files {
			t.Errorf("the %s grows: %v; at the end %v", name, f, l)
		}
	}
	if nowDaemon, nowKeeper := g.daemon(); nowDaemon != daemon || nowKeeper != keeper {
		t.Errorf("daemon %d, keeper %d; before %d, %d", nowDaemon, nowKeeper, daemon, keeper)
	}
	t.Logf("%d crashes", len(g.starts("crash0"))+len(g.starts("crash1"))+len(g.starts("loop"))-3)
}

// comeAndGo runs a following command again and again for a moment.
func (g *gopm) comeAndGo(ctx context.Context, args []string) {
	for ctx.Err() == nil {
		moment, end := context.WithTimeout(ctx, 300*time.Millisecond)
		cmd := g.command(args...)
		if err := cmd.Start(); err != nil {
			g.Error(err)
		} else {
			<-moment.Done()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		end()
	}
}
