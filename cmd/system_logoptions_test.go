package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// speaker writes one line to each stream, then stays.
func (g *gopm) speaker(name string) string {
	return g.script(name, `echo "out of $NODE_APP_INSTANCE"; echo "err of $NODE_APP_INSTANCE" >&2; exec sleep 1000`)
}

// holds waits until a file holds as many lines as there are patterns, each pattern one.
func (g *gopm) holds(path string, patterns ...string) {
	g.Helper()
	eventually(g.T, soon, func() error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		for _, p := range patterns {
			found := 0
			for _, line := range lines {
				if regexp.MustCompile("^" + p + "$").MatchString(line) {
					found++
				}
			}
			if found != 1 || len(lines) != len(patterns) {
				return fmt.Errorf("%s holds %q, want one line like %q of %d", filepath.Base(path), data, p, len(patterns))
			}
		}
		return nil
	})
}

func TestLogOptions(t *testing.T) {
	g := newGopm(t)
	g.speaker("speak")
	g.file("eco.json", `{"apps": [
		{"name": "timed", "script": "./speak", "time": true, "log_file": "all.log", "min_uptime": 100},
		{"name": "dated", "script": "./speak", "log_date_format": "HH[h]", "min_uptime": 100},
		{"name": "json", "script": "./speak", "log_type": "json", "min_uptime": 100},
		{"name": "merged", "script": "./speak", "merge_logs": true, "instances": 2, "exec_mode": "fork", "min_uptime": 100},
		{"name": "slow", "script": "./speak", "log_buffered": true, "out_file": "/dev/null", "log_file": true, "min_uptime": 100}
	]}`)
	g.run("start", "eco.json")
	logs := filepath.Join(g.home, "logs")
	const stamp = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d: `
	g.holds(logs+"/timed-out.log", stamp+"out of 0")
	g.holds(logs+"/timed-error.log", stamp+"err of 0")
	g.holds(g.dir+"/all.log", stamp+"out of 0", stamp+"err of 0")
	g.holds(logs+"/dated-out.log", `\d\dh: out of 0`)
	g.holds(logs+"/merged-out.log", "out of 0", "out of 1")
	g.holds(logs+"/merged-error.log", "err of 0", "err of 1")
	g.holds(logs+"/slow.log", "out of 0", "err of 0")
	if text := g.run("logs", "slow", "--nostream", "--raw"); text != "out of 0\nerr of 0\n" && text != "err of 0\nout of 0\n" {
		t.Errorf("logs of what is only in log_file: %q", text)
	}
	data, err := os.ReadFile(logs + "/json-error.log")
	must(t, err)
	var line struct {
		Message   string    `json:"message"`
		Timestamp time.Time `json:"timestamp"`
		Type      string    `json:"type"`
		ID        int       `json:"process_id"`
		App       string    `json:"app_name"`
	}
	must(t, json.Unmarshal(data, &line))
	if line.Message != "err of 0" || line.Type != "err" || line.App != "json" || line.ID != g.app("json").ID || time.Since(line.Timestamp) > time.Minute {
		t.Errorf("%s is read as %+v", data, line)
	}
	contains(t, "info", g.run("info", "timed"), "entire log path", "all.log", "with the time, as YYYY-MM-DDTHH:mm:ss")
}

// TestTimedRotation: rotate_interval and max_total_size.
func TestTimedRotation(t *testing.T) {
	g := newGopm(t)
	g.script("tick", `while :; do echo "a line of some length, so that files have a size"; sleep 0.1; done`)
	g.file("eco.json", `{"name": "tick", "script": "./tick", "rotate_interval": "* * * * * *", "compress": true, "max_total_size": 1500, "min_uptime": 100}`)
	g.run("start", "eco.json")
	contains(t, "info", g.run("info", "tick"), "at 10.0mb and at the times of * * * * * *, 10 files kept, compressed, at most 1.5kb in all")
	out := g.app("tick").Env.Out
	eventually(t, 30*time.Second, func() error {
		if !strings.Contains(g.log(), "were deleted: max_total_size") {
			return fmt.Errorf("nothing was deleted: %v", g.logFiles(out))
		}
		return nil
	})
	total := int64(0)
	for _, f := range g.logFiles(out) {
		if fi, err := os.Stat(f); err == nil {
			total += fi.Size()
		}
	}
	if total > 4000 { // the live file grows by 500 a second until the next look
		t.Errorf("%d bytes in %v", total, g.logFiles(out))
	}
}
