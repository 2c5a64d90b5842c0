package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shell is a manager that starts each app by a line of shell; %s is the app's command, %[2]s its log.
type shell struct{ line string }

func (shell) name() string               { return runitName }
func (shell) environment(*life) []string { return nil }
func (shell) prepare(l *life) error      { return makeLogs(l) }
func (shell) list(*life) []string        { return []string{"true"} }
func (shell) logs(a app) []string        { return glob(a.log + "*") }

func (s shell) launch(l *life) error {
	var all strings.Builder
	for _, a := range l.apps {
		fmt.Fprintf(&all, s.line+"\n", l.shell(a), quoted(a.log))
	}
	return l.background([]string{"sh", "-c", all.String() + "wait"})
}

func peerBench(t *testing.T, m manager) *bench {
	b := floorOnly(t)
	b.managers, b.report.having = []manager{m}, []string{m.name()}
	return b
}

// values are those of the only manager by the end of the figure's name.
func values(b *bench) map[string]float64 {
	out := map[string]float64{}
	for _, f := range b.report.figures {
		_, what, _ := strings.Cut(f.Name, ": ")
		out[what] = f.of(runitName)
	}
	return out
}

// TestDeathIsFoundOut: a manager whose apps live on and are started a second time by its next one, once with all lines in the
// log and once with none.
func TestDeathIsFoundOut(t *testing.T) {
	t.Parallel()
	for line, lossy := range map[string]bool{"%s >>%[2]s &": false, "%s >/dev/null & : %[2]s": true} {
		t.Run(fmt.Sprint(lossy), func(t *testing.T) {
			t.Parallel()
			b := peerBench(t, shell{line})
			if err := dying(context.Background(), b, 2); err != nil {
				t.Fatal(err)
			}
			got := values(b)
			if got["apps died"] != 0 || got["apps twice"] != 2 || got["longest silence"] < 0.1 || (got["not in the log"] > 0) != lossy {
				t.Errorf("%v %v", got, b.report.notes)
			}
		})
	}
}

// TestDeathOfAll: apps that end with their manager, and that nobody starts again.
func TestDeathOfAll(t *testing.T) {
	t.Parallel()
	b := peerBench(t, dead{shell{"%s >>%[2]s &"}})
	if err := dying(context.Background(), b, 2); err != nil {
		t.Fatal(err)
	}
	if want := "runit: manager killed: 0 of 2 apps run at the end"; !slices.Contains(b.report.notes, want) || len(b.report.failures) != 0 {
		t.Errorf("notes %q, failures %q", b.report.notes, b.report.failures)
	}
}

// dead takes its apps with it, and doesn't come back.
type dead struct{ shell }

func (dead) foresee(*life) error { return nil }
func (dead) comeBack(l *life) error {
	for _, s := range l.stamps.latest("start") {
		if p, err := os.FindProcess(s.pid); err == nil && executable(s.pid) == l.child {
			p.Kill()
		}
	}
	return nil
}

// TestNobodyBetween: where the manager is its apps' parent, its parents are not killed.
func TestNobodyBetween(t *testing.T) {
	t.Parallel()
	b := peerBench(t, shell{"%s >>%[2]s &"})
	if err := orphaning(context.Background(), b, 2); err != nil {
		t.Fatal(err)
	}
	for _, f := range b.report.figures {
		if len(f.Values) != 0 {
			t.Errorf("%s: %v", f.Name, f.Values)
		}
	}
	if len(b.report.notes)+len(b.report.failures) != 0 {
		t.Errorf("notes %q, failures %q", b.report.notes, b.report.failures)
	}
}

// TestCutOff: what was being measured when the run ended isn't published.
func TestCutOff(t *testing.T) {
	t.Parallel()
	b := peerBench(t, shell{"%s >>%[2]s &"})
	b.peers = true
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, id := range []string{"one", "two"} {
		err := b.measure(ctx, scenario{name: id, among: all, run: func(context.Context, *bench, int) error {
			b.report.figure(id, "ms").add(runitName, 1)
			if id == "two" {
				cancel()
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := b.report.measured(); !slices.Equal(got, []string{"one0"}) {
		t.Errorf("measured %v", got)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	told := []stamp{{tag: "a", at: 1e9}, {tag: "b", at: 1e9}, {tag: "a", at: 1.5e9}, {tag: "b", at: 3.2e9}, {tag: "a", at: 3.3e9}, {tag: "a", at: 9e9}}
	if got := silenceOf(told, 4e9); got != 2.2 {
		t.Errorf("%g s", got)
	}
	if got := silenceOf(told[:1], 1.01e9); got != 0.1 {
		t.Errorf("%g s", got)
	}
}

// TestLogsOfPeers: a good log is a figure, in whatever files it is; one that lacks a line or has changed one is none, but says so.
func TestLogsOfPeers(t *testing.T) {
	t.Parallel()
	for line, good := range map[string]bool{
		"%s | split -a 3 -l 7000 - %[2]s. & touch %[2]s": true,
		"%s | sed -u 7d >%[2]s &":                        false,
		"%s | sed -u '9s/.$/X/' >%[2]s &":                false,
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			b := peerBench(t, shell{line})
			b.size.lines = 20_000
			if err := logging(context.Background(), b, 1); err != nil {
				t.Fatal(err)
			}
			speed := b.report.figures[0].Values[runitName]
			if (len(speed) > 0) != good || (len(b.report.notes) == 0) != good || len(b.report.failures) != 0 {
				t.Errorf("%v MB/s, notes %q, failures %q", speed, b.report.notes, b.report.failures)
			}
		})
	}
}

func TestByContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var files []string
	for name, text := range map[string]string{"log0.log": "@@log0 000000900 x\n", "log0.log.1": "orn line\n@@log0 000000500 x\n",
		"log0.log.10": "@@log0 000000000 x\n", "log0.log.9": "", "log0.log.8": "@@log01 000000001 x\n"} {
		path := filepath.Join(dir, name)
		appendTo(t, path, text)
		files = append(files, path)
	}
	got := byContent(files, "log0")
	for i := range got {
		got[i] = filepath.Base(got[i])
	}
	if want := []string{"log0.log.10", "log0.log.1", "log0.log", "log0.log.8", "log0.log.9"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// TestProbeDropsWhoCannotStart: such a peer is named, and the run is none the worse for it.
func TestProbeDropsWhoCannotStart(t *testing.T) {
	t.Parallel()
	b := floorOnly(t)
	b.managers = append(b.managers, pm{label: s6Name, program: "/bin/false", homeVariable: "X"})
	b.probe(context.Background())
	if len(b.managers) != 1 || len(b.report.notes) != 1 || !strings.HasPrefix(b.report.notes[0], "s6: start of 1 app: ") {
		t.Errorf("%d managers, notes %q", len(b.managers), b.report.notes)
	}
	if b.report.code(true) != 0 || !strings.Contains(b.report.absent(), "no figures of s6: ") {
		t.Errorf("code %d, %q", b.report.code(true), b.report.absent())
	}
}

// TestPeersAreFound: where tools/parts puts them.
func TestPeersAreFound(t *testing.T) {
	t.Parallel()
	parts := t.TempDir()
	for _, path := range []string{"peers-unpacked/usr/bin/supervisord", "peers-unpacked/usr/bin/supervisorctl", "pebble-1.32.1/pebble"} {
		path = filepath.Join(parts, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, filepath.Join(parts, "peers-unpacked/versions"), "supervisor 4.2.5-1\n")
	found, missing := peers(parts, "/bin/true")
	names := map[string]manager{}
	for _, m := range found {
		names[m.name()] = m
	}
	if len(found)+len(missing) != len(peerNames()) || names[pebbleName] == nil || names[supervisorName] == nil || !slices.Contains(missing, rotatorName) {
		t.Fatalf("found %v, missing %v", names, missing)
	}
	if v := names[supervisorName].(versioned).version(); v != "4.2.5-1 (Debian)" {
		t.Errorf("version %q", v)
	}
}

// TestSetUpOfPeers: each has every app, with a log that is rotated, in what it reads.
func TestSetUpOfPeers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m    manager
		file string
		want []string
	}{
		{supervisord{}, "supervisord.conf", []string{"[program:log1]\n", "startsecs=0", "stdout_logfile_maxbytes=10485760", "/logs/log1.log\n"}},
		{s6{}, "scan/log1/log/run", []string{"s6-log n100 s10485760 ", "/logs/log1'"}},
		{s6{}, "scan/log1/run", []string{"exec 2>&1\n", "'log1' '5'"}},
		{runit{}, "logs/log1/config", []string{"s10485760\nn100\n"}},
		{runit{}, "scan/log1/log/run", []string{"svlogd '"}},
		{pebble{}, "home/layers/001-bench.yaml", []string{`"log1":{`, `"startup":"enabled"`}},
		{overmind{}, "Procfile", []string{"log1: exec '"}},
		{rotator{pm: pm2Manager("pm2").(pm), module: "/m/app.js"}, "rotator.json", []string{`"/m/app.js"`, `\"max_size\":\"10M\"`}},
	} {
		b := &bench{root: t.TempDir(), child: "/bin/true"}
		l, err := b.prepare(c.m, writers(2, 5, "log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if text := readFile(filepath.Join(l.dir, c.file)); !strings.Contains(text, want) {
				t.Errorf("%s: no %q in %s", c.m.name(), want, text)
			}
		}
	}
}

func TestQuoted(t *testing.T) {
	t.Parallel()
	if got := quoted("it's"); got != `'it'\''s'` {
		t.Error(got)
	}
}

// TestOnlySomeManagers: -managers asks for peers by itself; a page is theirs.
func TestOnlySomeManagers(t *testing.T) {
	t.Parallel()
	o, err := parse(strings.Fields("-gopm none -pm2 none -managers floor,s6 -page x.md"))
	if err != nil || !o.peers || !slices.Equal(o.among, []string{floorName, s6Name}) || o.size.lines != side().lines {
		t.Errorf("%v %+v", err, o)
	}
	if got := wanted(o); strings.Contains(got, "back") || !strings.Contains(got, "death4") {
		t.Errorf("wants %s", got)
	}
	if _, err := parse(strings.Fields("-gopm none -pm2 none -page x.md")); err == nil {
		t.Error("a page without peers")
	}
	if _, err := parse(strings.Fields("-gopm none -pm2 none -managers systemd")); err == nil || !strings.Contains(err.Error(), "overmind") {
		t.Errorf("%v", err)
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	r := rotator{pm: pm{label: pm2Name}}
	got := batches([]manager{s6{}, r, runit{}})
	if len(got) != 2 || len(got[0]) != 2 || got[1][0].name() != rotatorName || len(batches([]manager{s6{}})) != 1 {
		t.Errorf("%v", got)
	}
}
