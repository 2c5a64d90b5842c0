package main

import (
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
	if o.wants("mem") || !o.wants("ls") || !o.wants("log") {
		t.Errorf("wants %v", o.only)
	}
	if o.size.calls != 12 || o.size.logRounds != 2 || o.size.starts != 2 || o.size.lines != 500 {
		t.Errorf("sizes %+v", o.size)
	}
	if o.gopm != "" || o.pm2 != "" {
		t.Errorf("programs %q, %q", o.gopm, o.pm2)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"-gopm none -only mem,cpu", "-only cpu: not one of mem, ls"},
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
	s := full()
	have := map[string]bool{"crash to successor": true, "log, rotated": true}
	for _, n := range s.idleApps {
		have["mem "+apps(n)] = true
		have["idle CPU "+apps(n)] = true
	}
	for _, n := range s.listApps {
		have["ls "+apps(n)] = true
	}
	for name := range targets {
		if !have[name] {
			t.Errorf("the target of %q belongs to no figure", name)
		}
	}
}
