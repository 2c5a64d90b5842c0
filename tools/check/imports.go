package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// rule says what of ours a package may import. Only the code that ships is held to
// it; a test may bring together what the program keeps apart.
type rule struct {
	ours []string
	in   map[string][]string // more, in one file
}

// rules is the table of the design. A package that isn't in it is a finding: a new
// one is a decision, to be written down here.
func rules() map[string]rule {
	return map[string]rule{
		"bench":            {ours: []string{"bench/load", "tools/agent"}},
		"bench/drive":      {ours: []string{"bench/load"}},
		"tools/agent":      {ours: []string{"bench/load"}},
		"cmd/gopm":         {ours: []string{"cmd"}},
		"cmd":              {ours: []string{"daemon/api", "daemon/room", "ecosystem", "logs"}, in: map[string][]string{"cmd/hidden.go": {"daemon", "daemon/keeper", "cluster"}}},
		"ecosystem":        {},
		"logs":             {},
		"cluster":          {},
		"consul":           {},
		"daemon/supervise": {},
		"daemon/keeper":    {},
		"daemon/watch":     {},
		"daemon/room":      {},
		"daemon/cgroup":    {ours: []string{"daemon/room"}},
		"daemon/api":       {ours: []string{"ecosystem"}},
		"daemon":           {ours: []string{"ecosystem", "logs", "cluster", "consul", "daemon/supervise", "daemon/keeper", "daemon/watch", "daemon/room", "daemon/cgroup", "daemon/api"}},
	}
}

// beside are folders whose programs stand on their own: they import nothing of what ships.
var beside = []string{"bench", "examples", "tools"}

// importers names the one package that uses a library. What it wraps can then be
// replaced in one place, and nobody pays for it by accident.
var importers = map[string]string{
	"github.com/spf13/cobra":               "cmd",
	"github.com/spf13/pflag":               "cmd",
	"charm.land/bubbletea/v2":              "cmd",
	"github.com/clipperhouse/displaywidth": "cmd",
	"github.com/olekukonko/tablewriter":    "cmd",
	"github.com/shirou/gopsutil/v3":        "daemon",
	"github.com/tailscale/hujson":          "ecosystem",
	"go.yaml.in/yaml/v3":                   "ecosystem",
	"github.com/robfig/cron/v3":            "ecosystem",
	"github.com/fsnotify/fsnotify":         "daemon/watch",
	"github.com/hashicorp/consul/api":      "consul",
	"github.com/prometheus":                "daemon",
	"github.com/hashicorp/go-cleanhttp":    "consul",
	"gopkg.in/natefinch/lumberjack.v2":     "logs",
	"golang.org/x/sys":                     "", // everybody
}

// nowhere are folder names that say nothing about what is in them.
var nowhere = []string{"internal", "pkg", "utils", "util", "common", "helpers"}

// misplaced names packages in folders that the layout doesn't know.
func misplaced(packages []goPackage) []string {
	var findings []string
	known := rules()
	for _, p := range packages {
		name := p.name()
		parts := strings.Split(name, "/")
		for _, part := range parts {
			if slices.Contains(nowhere, part) {
				findings = append(findings, fmt.Sprintf("%s: no folder %q here: a helper lives with its one user", name, part))
			}
		}
		if _, ok := known[name]; !ok && !slices.Contains(beside, parts[0]) {
			findings = append(findings, fmt.Sprintf("%s: not in the table of packages (tools/check/imports.go)", name))
		}
	}
	return findings
}

// imports names the imports that point where the design doesn't let them.
func imports(sources []source) []string {
	var findings []string
	known := rules()
	for _, s := range sources {
		if s.test {
			continue
		}
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the compiler's finding, not ours
			}
			if reason := forbidden(s, path, known[s.pkg.name()]); reason != "" {
				findings = append(findings, fmt.Sprintf("%s: %s", s.at(spec.Pos()), reason))
			}
		}
	}
	return findings
}

// forbidden says why a file may not import a path; "" means that it may.
func forbidden(s source, path string, r rule) string {
	from := s.pkg.name()
	if ours, ok := strings.CutPrefix(path, s.pkg.Module.Path+"/"); ok {
		if slices.Contains(r.ours, ours) || slices.Contains(r.in[s.name], ours) {
			return ""
		}
		for file, more := range r.in {
			if slices.Contains(more, ours) {
				return fmt.Sprintf("only %s may import %s", file, ours)
			}
		}
		return fmt.Sprintf("%s may not import %s", from, ours)
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for library, importer := range importers {
		if path != library && !strings.HasPrefix(path, library+"/") {
			continue
		}
		if importer == "" || importer == from {
			return ""
		}
		return fmt.Sprintf("only %s may import %s", importer, library)
	}
	return fmt.Sprintf("library %s has no importer in the table (tools/check/imports.go)", path)
}
