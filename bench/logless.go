package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Managers that keep no log files: pebble has the last lines of each service in memory, overmind shows them on a terminal.

type pebble struct{ program string }

func (pebble) name() string                   { return pebbleName }
func (pebble) home(l *life) string            { return filepath.Join(l.dir, "home") }
func (p pebble) list(l *life) []string        { return []string{p.program, "services"} }
func (p pebble) launch(l *life) error         { return l.background([]string{p.program, "run"}) }
func (p pebble) version() string              { return said(p.program, "version", "--client") }
func (p pebble) environment(l *life) []string { return []string{"PEBBLE=" + p.home(l)} }

func (p pebble) prepare(l *life) error {
	services := map[string]any{}
	for _, a := range l.apps {
		services[a.name] = map[string]any{"override": "replace", "command": l.shell(a), "startup": "enabled",
			// The default is half a second, doubled by each crash in the next half a minute.
			"backoff-delay": "1ms", "backoff-factor": 1}
	}
	data, err := json.Marshal(map[string]any{"services": services}) // which is YAML, too
	if err != nil {
		return err
	}
	layers := filepath.Join(p.home(l), "layers")
	if err := os.MkdirAll(layers, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(layers, "001-bench.yaml"), data, 0o600)
}

// overmind runs each app in a window of tmux. It is made for development.
type overmind struct{ program string }

func (overmind) name() string            { return overmindName }
func (overmind) socket(l *life) string   { return filepath.Join(l.dir, "o.sock") }
func (overmind) file(l *life) string     { return filepath.Join(l.dir, "Procfile") }
func (o overmind) list(l *life) []string { return []string{o.program, "status", "-s", o.socket(l)} }
func (o overmind) version() string       { return said(o.program, "--version") }

func (o overmind) environment(l *life) []string {
	return []string{"OVERMIND_SKIP_ENV=1", "TMUX_TMPDIR=" + l.dir, "TERM=xterm"}
}

func (o overmind) prepare(l *life) error {
	var c strings.Builder
	for _, a := range l.apps {
		fmt.Fprintf(&c, "%s: exec %s\n", a.name, l.shell(a))
	}
	return os.WriteFile(o.file(l), []byte(c.String()), 0o600)
}

func (o overmind) launch(l *life) error {
	return l.background([]string{o.program, "start", "-f", o.file(l), "-r", "all", "-N", "-s", o.socket(l)})
}

func (overmind) foresee(*life) error { return nil }

// comeBack removes the socket of the dead one first, which it takes for its own of another start.
func (o overmind) comeBack(l *life) error {
	if err := os.Remove(o.socket(l)); err != nil {
		return err
	}
	return o.launch(l)
}
