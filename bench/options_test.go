package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-gopm", "none", "-pm2", "none", "-only", "ls,log", "-reps", "12", "-n", "500"})
	if err != nil {
		t.Fatal(err)
	}
	if got := wanted(o); got != "ls100 ls1000 log1 log10" {
		t.Errorf("wants %s", got)
	}
	if o.size.calls != 12 || o.size.logRounds != 2 || o.size.starts != 2 || o.size.lines != 500 {
		t.Errorf("sizes %+v", o.size)
	}
	if o.gopm != "" || o.pm2 != "" {
		t.Errorf("programs %q, %q", o.gopm, o.pm2)
	}
}

// wanted are the scenarios that options ask for.
func wanted(o options) string {
	var out []string
	for _, s := range scenarios {
		if o.wants(s) {
			out = append(out, s.id())
		}
	}
	return strings.Join(out, " ")
}

func TestWants(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                          strings.Join(names(), " "),
		"-only ls1000,start":        "ls1000 start1 start100 start1000",
		"-quick -only ls,start1000": "ls100 start1000",
		"-quick -only mem":          "mem10 mem100",
	} {
		o, err := parse(append([]string{"-gopm", "none", "-pm2", "none"}, strings.Fields(args)...))
		if err != nil || wanted(o) != want {
			t.Errorf("%s: %v, %v, want %s", args, wanted(o), err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"-gopm none -only mem,cpu", "-only cpu: not one of mem10, mem100"},
		{"-gopm /nonexistent/gopm", "run make build"},
		{"-gopm none -pm2 /nonexistent/pm2", "cannot find pm2"},
		{"-gopm none -n -1", "above 0"},
		{"-gopm none all", `unexpected argument "all"`},
	} {
		if _, err := parse(strings.Fields(c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestFindPM2InTheCache(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "parts/pm2-7.0.4/node_modules/.bin/pm2")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	got := findPM2(func(name string) string { return map[string]string{"GOPM_CACHE": dir}[name] })
	if got != path {
		t.Errorf("found %q, want %q", got, path)
	}
}

func TestTargetsHaveTheirFigures(t *testing.T) {
	t.Parallel()
	b := &bench{options: options{size: full()}}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range scenarios { // without managers and without time they only name their figures
		if err := s.run(ended, b, s.apps); err != nil {
			t.Fatal(err)
		}
	}
	have := map[string]bool{}
	for _, f := range b.report.figures {
		if have[f.Name] {
			t.Errorf("two figures %q", f.Name)
		}
		have[f.Name] = true
	}
	for name := range targets {
		if !have[name] {
			t.Errorf("the target of %q belongs to no figure", name)
		}
	}
}
