package cmd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"gopm/bench/load"
)

// series are the samples of a scrape, by name and labels as they are printed.
type series map[string]float64

func parseSeries(t *testing.T, text string) series {
	t.Helper()
	s := series{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		must(t, err)
		s[line[:i]] = value
	}
	return s
}

// want compares some series.
func (s series) want(t *testing.T, when string, all map[string]float64) {
	t.Helper()
	for name, value := range all {
		if got, is := s[name]; !is || got != value {
			t.Errorf("%s: %s is %v (there: %v), want %v", when, name, got, is, value)
		}
	}
}

// What Prometheus reads: the same at each of the three places, by its rules, and with counts
// that outlive the daemon.
func TestMetrics(t *testing.T) {
	g := newGopm(t)
	port, err := load.FreePort()
	must(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	g.env = append(g.env, "GOPM_METRICS="+address)
	g.sleeper("idle")
	g.file("e.json", `{"apps": [
		{"name": "die", "script": "./idle", "min_uptime": "100ms"},
		{"name": "two", "script": "./idle", "instances": 2, "exec_mode": "fork", "min_uptime": "100ms", "env": {"PASSWORD": "hunter2"}},
		{"name": "rest", "script": "./idle", "autostart": false}]}`)
	g.run("start", "e.json", "--wait", "20s")
	g.run("restart", "two")
	g.run("sendSignal", "SIGKILL", "die")
	eventually(t, 20*time.Second, func() error {
		s := parseSeries(t, g.run("metrics"))
		if s[`gopm_instance_exits_total{app="die",index="0",result="signal"}`] != 1 || s[`gopm_instance_up{app="die",index="0"}`] != 1 {
			return fmt.Errorf("it is not up")
		}
		return nil
	})
	text := g.run("metrics")
	lacks(t, "metrics", text, "hunter2", g.dir)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	kept := map[string]float64{
		`gopm_instance_restarts_total{app="die",index="0",reason="crash"}`:  1,
		`gopm_instance_restarts_total{app="die",index="0",reason="manual"}`: 0,
		`gopm_instance_exits_total{app="die",index="0",result="signal"}`:    1,
		`gopm_instance_restarts_total{app="two",index="1",reason="manual"}`: 1,
	}
	s := parseSeries(t, text)
	s.want(t, "at first", kept)
	s.want(t, "at first", map[string]float64{
		`gopm_instance_state{app="rest",index="0",state="stopped"}`: 1,
		`gopm_instance_wanted{app="rest",index="0"}`:                0,
		`gopm_instance_wanted{app="two",index="0"}`:                 1,
		`gopm_instance_processes{app="two",index="1"}`:              1,
		`gopm_daemon_revivals_total`:                                0,
		`gopm_state_writable`:                                       1,
	})
	if s[`gopm_instance_resident_memory_bytes{app="two",index="0"}`] <= 0 || s[`gopm_process_start_time_seconds{process="keeper"}`] <= 0 {
		t.Errorf("no memory, or no keeper:\n%s", text)
	}
	g.killDaemon()
	s = parseSeries(t, g.fetchMetrics("tcp", address))
	s.want(t, "after the daemon's death", kept)
	s.want(t, "after the daemon's death", map[string]float64{`gopm_daemon_revivals_total`: 1})
	s = parseSeries(t, g.fetchMetrics("unix", filepath.Join(g.home, "gopm.sock")))
	s.want(t, "at the API's socket", kept)
	g.run("kill")
	g.run("resurrect")
	parseSeries(t, g.run("metrics")).want(t, "after kill and resurrect", kept)
}

// fetchMetrics asks as Prometheus does.
func (g *gopm) fetchMetrics(network, address string) (text string) {
	g.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	eventually(g.T, 20*time.Second, func() error {
		resp, err := client.Get("http://gopm/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		text = string(body)
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", resp.Status, text)
		}
		return err
	})
	return text
}

// An address that can't be used costs the metrics there, and is said; a socket has the
// rights that let its group in, and what is not ours is left alone.
func TestMetricsAddress(t *testing.T) {
	g := newGopm(t)
	g.sleeper("idle")
	socket := filepath.Join(filepath.Dir(g.home), "m.sock")
	open := filepath.Join(g.dir, "open")
	must(t, os.Mkdir(open, 0o777))
	must(t, os.Chmod(open, 0o777))
	for _, tt := range []struct{ where, words string }{
		{":9209", "127.0.0.1:9209 for this machine alone"},
		{"unix:" + g.file("mine", "text"), "is not a socket; it is left alone"},
		{"unix:" + filepath.Join(open, "m.sock"), "chmod o-w " + open},
		{"unix:" + socket, ""},
	} {
		cmd := g.command("start", "./idle", "--min-uptime", "100ms")
		cmd.Env = append(cmd.Env, "GOPM_METRICS="+tt.where)
		r := g.execute(cmd)
		if r.code != 0 {
			t.Fatalf("with GOPM_METRICS=%s: %v", tt.where, r)
		}
		contains(t, tt.where, r.err, tt.words)
		contains(t, tt.where, g.run("metrics"), "gopm_build_info")
		if tt.words == "" {
			g.fetchMetrics("unix", socket)
			info, err := os.Stat(socket)
			must(t, err)
			if info.Mode().Perm() != 0o660 {
				t.Errorf("%s has the rights %v", socket, info.Mode())
			}
		}
		g.run("kill")
	}
	if text, err := os.ReadFile(filepath.Join(g.dir, "mine")); err != nil || string(text) != "text" {
		t.Errorf("the file in the socket's place: %q, %v", text, err)
	}
}
