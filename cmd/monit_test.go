package cmd

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"gopm/daemon/api"
)

var updateMonit = flag.Bool("update-monit", false, "write the pictures into testdata")

// heldHands notes what was asked of them.
type heldHands struct{ asked []string }

func (h *heldHands) act(path, did string, row api.Instance) tea.Cmd {
	h.asked = append(h.asked, fmt.Sprintf("%s %d", path, row.ID))
	return func() tea.Msg { return answerMsg{row.Name + ": " + did, false} }
}

func (h *heldHands) detail(id int) tea.Cmd {
	return func() tea.Msg { return detailMsg{api.Detail{Instance: api.Instance{ID: id}}} }
}

func (h *heldHands) choose(id int) { h.asked = append(h.asked, fmt.Sprint("log ", id)) }

var monitNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func plain(_, text string) string { return text }

func monitRows() []api.Instance {
	up := func(id int, name, status string, cpu float64, memory int64) api.Instance {
		return api.Instance{ID: id, Name: name, Mode: "fork", User: "me", Usage: api.Usage{CPU: cpu, Memory: memory},
			Process: api.Process{Status: status, Pid: 100 + id, Incarnation: 1, Started: monitNow.Add(-time.Hour)}}
	}
	rows := []api.Instance{
		up(0, "web", "online", 12.5, 50<<20), up(1, "web", "online", 0, 49<<20), up(2, "a-name-that-is-too-long-for-the-list", "launching", 99, 1<<30),
		up(3, "日本語アプリ名前がとても長いです", "online", 1.2, 3<<20), up(4, "bad", "waiting restart", 0, 0),
	}
	rows[1].Index = 1
	rows[2].Process.Waits, rows[2].Process.WaitsOn = "db (launching)", []string{"db"}
	rows[2].Process.Due = monitNow.Add(time.Hour)
	rows[2].Health = &api.Health{State: api.HealthUnhealthy, Since: monitNow.Add(-time.Minute), Error: "503 Service Unavailable"}
	rows[4].Process = api.Process{Status: "waiting restart", Restarts: 7, NextTry: monitNow.Add(3 * time.Second), Cause: "memory 210 MB > 200 MB",
		LastExit: &api.Exit{Code: 3, UptimeMS: 200}}
	return rows
}

// told is a dashboard after some messages and keys: a text is a key.
func told(h hands, messages ...any) *dashboard {
	d := newDashboard(h, plain, monitNow)
	for _, m := range messages {
		if name, is := m.(string); is {
			m = keyOf(name)
		}
		_, cmd := d.Update(m)
		for cmd != nil {
			next := cmd()
			if _, quits := next.(tea.QuitMsg); quits || next == nil {
				break
			}
			_, cmd = d.Update(next)
		}
	}
	return d
}

func keyOf(name string) tea.KeyPressMsg {
	special := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "tab": tea.KeyTab, "esc": tea.KeyEscape, "enter": tea.KeyEnter,
		"backspace": tea.KeyBackspace, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "end": tea.KeyEnd, "home": tea.KeyHome}
	if code, is := special[name]; is {
		return tea.KeyPressMsg{Code: code}
	}
	r := []rune(name)[0]
	return tea.KeyPressMsg{Code: r, Text: name}
}

func monitList() listMsg { return listMsg{monitRows(), nil, monitNow} }

func numbered(id, from, to int, anew bool) logMsg {
	m := logMsg{id: id, anew: anew}
	for i := from; i < to; i++ {
		m.lines = append(m.lines, monitLine{fmt.Sprintf("line %d", i), i%5 == 0})
	}
	return m
}

func TestMonitPictures(t *testing.T) {
	size := func(w, h int) tea.WindowSizeMsg { return tea.WindowSizeMsg{Width: w, Height: h} }
	for name, messages := range map[string][]any{
		"80x24":   {size(80, 24), monitList(), "down", numbered(4, 0, 9, true)},
		"120x40":  {size(120, 40), monitList(), monitList(), monitList(), numbered(2, 0, 50, true), answerMsg{"web:0 (id 0): restarted", false}},
		"60x15":   {size(60, 15), monitList(), "down", "down", "down", "down"},
		"small":   {size(59, 15), monitList()},
		"empty":   {size(80, 24), listMsg{nil, nil, monitNow}},
		"help":    {size(80, 24), monitList(), "?"},
		"lost":    {size(80, 24), monitList(), listMsg{nil, errors.New("no gopm daemon runs"), monitNow}},
		"filter":  {size(80, 24), monitList(), "/", "w", "e"},
		"nothing": {size(80, 24), monitList(), "/", "x", "enter"},
		"scroll":  {size(80, 24), monitList(), numbered(2, 0, 50, true), "pgup", numbered(2, 50, 55, false)},
	} {
		t.Run(name, func(t *testing.T) {
			d := told(&heldHands{}, messages...)
			lines := d.draw()
			if want := d.size.h; name != "small" && len(lines) != want {
				t.Errorf("%d lines, want %d", len(lines), want)
			}
			for i, line := range lines {
				if got := textWidth(line); got != d.size.w && name != "small" || got > d.size.w {
					t.Errorf("line %d is %d columns wide, want %d: %q", i, got, d.size.w, line)
				}
			}
			text := strings.Join(lines, "\n") + "\n"
			path := filepath.Join("testdata", "monit", name+".txt")
			if *updateMonit {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if text != string(want) {
				t.Errorf("got:\n%swant:\n%s", text, want)
			}
		})
	}
}

func TestMonitKeys(t *testing.T) {
	for name, c := range map[string]struct {
		keys []any
		want []string
	}{
		"the first is chosen":       {nil, nil},
		"down, and up again":        {[]any{"down", "j", "k"}, []string{"log 4", "log 0", "log 4"}},
		"not above the first":       {[]any{"up"}, nil},
		"not below the last":        {[]any{"down", "down", "down", "down", "down", "down"}, []string{"log 4", "log 0", "log 1", "log 3"}},
		"orders are for the one":    {[]any{"down", "down", "r", "l", "s", "S"}, []string{"log 4", "log 0", "/v1/restart 0", "/v1/reload 0", "/v1/stop 0", "/v1/start 0"}},
		"other keys do nothing":     {[]any{"x", "R", "esc"}, nil},
		"a filter takes all keys":   {[]any{"/", "w", "r"}, []string{"log 0"}}, // web, then nobody
		"the log has the arrows":    {[]any{"tab", "up", "down"}, nil},
		"help ends by any key":      {[]any{"?", "r", "r"}, []string{"/v1/restart 2"}},
		"a filter that is given up": {[]any{"/", "b", "a", "d", "esc", "up"}, []string{"log 4", "log 2"}},
	} {
		h := &heldHands{}
		told(h, append([]any{monitList()}, c.keys...)...)
		if got := h.asked[1:]; h.asked[0] != "log 2" || !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
			t.Errorf("%s: %v, want log 2 and %v", name, h.asked, c.want)
		}
	}
	for _, keys := range [][]any{{"q"}, {tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}}, {"/", "q", tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}}} {
		d := told(&heldHands{}, keys[:len(keys)-1]...)
		key, is := keys[len(keys)-1].(tea.KeyPressMsg)
		if !is {
			key = keyOf(keys[len(keys)-1].(string))
		}
		_, cmd := d.Update(key)
		if cmd == nil {
			t.Fatalf("%v: it goes on", keys)
		}
		if _, quits := cmd().(tea.QuitMsg); !quits {
			t.Errorf("%v: it goes on", keys)
		}
	}
}

// TestMonitIsBounded: whatever comes, no more is kept than is shown.
func TestMonitIsBounded(t *testing.T) {
	d := told(&heldHands{}, monitList())
	for range 200 {
		d.Update(numbered(2, 0, 100, false))
		d.Update(monitList())
	}
	if len(d.log.lines) != monitLines || cap(d.log.lines) > 4*monitLines || len(d.past[0].cpu) != monitHistory {
		t.Errorf("%d lines (room for %d), %d looks", len(d.log.lines), cap(d.log.lines), len(d.past[0].cpu))
	}
	d.Update(numbered(0, 0, 100, true)) // of one that is not chosen any more
	if len(d.log.lines) != monitLines {
		t.Errorf("%d lines: another's were taken", len(d.log.lines))
	}
	d.Update(listMsg{monitRows()[:1], nil, monitNow})
	if len(d.past) != 1 || d.chosen != 0 || len(d.log.lines) != 0 {
		t.Errorf("after deletes: %d pasts, %d chosen, %d lines", len(d.past), d.chosen, len(d.log.lines))
	}
}

func TestSpark(t *testing.T) {
	for _, c := range []struct {
		values []float64
		least  float64
		want   string
	}{
		{nil, 10, ""}, {[]float64{0, 0}, 0, "▁▁"}, {[]float64{0, 1, 2, 4, 8}, 0, "▁▂▃▅█"}, {[]float64{5}, 10, "▅"},
		{[]float64{1, 1, 1, 1, 1, 1, 1, 1, 9, 9}, 0, "▁▁▁▁█"},
	} {
		if got := spark(c.values, 8, c.least); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
}
