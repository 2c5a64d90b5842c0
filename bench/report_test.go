package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTableAlignsByRunes(t *testing.T) {
	t.Parallel()
	got := table([][]string{
		{"figure", "unit", "a", "target", ""},
		{"größe", "ms", "12.5", "<= 1", "ok"},
		{"x", "s per GB", "3", "-", ""},
	})
	want := "" +
		"figure  unit         a  target\n" +
		"------  --------  ----  ------  --  \n" +
		"größe   ms        12.5  <= 1    ok\n" +
		"x       s per GB     3  -\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if table(nil) != "" {
		t.Error("nothing makes something")
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{
		0: "0", 3: "3", 1.23456: "1.23", 0.01234: "0.0123", 123.456: "123.5", 1234.56: "1235",
		math.Inf(1): "-", math.NaN(): "-",
	} {
		if got := number(x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	cases := []struct {
		target      target
		gopm, floor float64
		met         bool
	}{
		{upTo(12), 12, 1, true},
		{upTo(12), 12.1, 1, false},
		{upTo(12), math.NaN(), 1, false},
		{upToTimes(2.5, floorName), 5, 2, true},
		{upToTimes(2.5, floorName), 5.1, 2, false},
		{upToTimes(2.5, floorName), 5, math.NaN(), false},
		{leastTimes(0.9, floorName), 90, 100, true},
		{leastTimes(0.9, floorName), 89, 100, false},
	}
	for _, c := range cases {
		f := &figure{Values: map[string][]float64{gopmName: {c.gopm}, floorName: {c.floor}}}
		if got := c.target.met(f); got != c.met {
			t.Errorf("%v with %v and %v: %v", c.target, c.gopm, c.floor, got)
		}
	}
}

func TestAllThatIsDemandedOfAFigureCounts(t *testing.T) {
	t.Parallel()
	f := &figure{Name: "serve, new", Values: map[string][]float64{gopmName: {95}, floorName: {100}, pm2Name: {40}}}
	if !met(f) {
		t.Error("0.95 of the floor and more than twice pm2 is a miss")
	}
	if f.Values[pm2Name][0] = 50; met(f) {
		t.Error("less than twice pm2 is met")
	}
	if delete(f.Values, pm2Name); !met(f) {
		t.Error("it is missed because pm2 isn't measured")
	}
	if f.Values[floorName][0] = 200; met(f) {
		t.Error("half of the floor is met")
	}
	if got := demanded("serve, new"); got != ">= 0.9 x floor, >= 2 x pm2" {
		t.Error(got)
	}
	if got := demanded("nothing of the kind"); got != "-" {
		t.Error(got)
	}
}

func TestOthersAreShownBeside(t *testing.T) {
	t.Parallel()
	r := report{having: []string{gopmName}}
	f := r.figure("serve, kept", "requests/s")
	f.add(gopmName, 3000)
	if f.beside() != "" {
		t.Error(f.beside())
	}
	f.add(clusterName, 2000)
	f.add(aloneName, 1500)
	var out strings.Builder
	r.print(&out, time.Second)
	if want := "also  serve, kept: node's cluster 2000, gopm 1.5 x that; one node 1500, gopm 2 x that\n"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
}

func TestReportJudges(t *testing.T) {
	t.Parallel()
	r := report{having: []string{gopmName, floorName}}
	ls := r.figure("ls 100 apps", "ms")
	ls.add(floorName, 2)
	ls.add(gopmName, 4)
	if r.code(true) != 0 || len(r.misses()) != 0 {
		t.Errorf("a met target: code %d, misses %v", r.code(true), r.misses())
	}
	r.problem(pm2Name, "lost")
	r.problem(pm2Name, "lost")
	if r.code(true) != 0 || len(r.notes) != 1 {
		t.Errorf("pm2 is judged: code %d, notes %v", r.code(true), r.notes)
	}
	ls.add(gopmName, 40)
	if r.code(false) != 0 || r.code(true) != 1 {
		t.Errorf("a missed target: code %d, strict %d", r.code(false), r.code(true))
	}
	r.problem(gopmName, "app0001 runs %d times", 2)
	if r.code(false) != 1 {
		t.Error("a doubled app is no failure")
	}
	var out strings.Builder
	r.print(&out, time.Second)
	for _, want := range []string{"22", "<= 2.5 x floor  MISS", "note  pm2: lost\n", "FAIL  gopm: app0001 runs 2 times\n",
		"1 wrong; targets missed: ls 100 apps"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestWithoutGopmNothingIsMissed(t *testing.T) {
	t.Parallel()
	r := report{having: []string{floorName}}
	r.figure("ls 100 apps", "ms").add(floorName, 2)
	if r.code(true) != 0 {
		t.Error("a target of gopm is missed although gopm isn't measured")
	}
}

func TestWhatNobodyCouldDoIsNotMissed(t *testing.T) {
	t.Parallel()
	r := report{having: []string{gopmName, floorName}}
	f := r.figure("serve, new", "requests/s")
	if r.code(true) != 0 {
		t.Error("without node a figure that needs it is missed")
	}
	if f.add(floorName, 1); r.code(true) != 1 {
		t.Error("gopm alone couldn't do it, and nothing is missed")
	}
}

func TestSave(t *testing.T) {
	t.Parallel()
	r := report{having: []string{gopmName}}
	r.figure("mem 10 apps", "MB PSS").add(gopmName, 11.5)
	path := filepath.Join(t.TempDir(), "out.json")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Figures []figure }
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Figures) != 1 || got.Figures[0].of(gopmName) != 11.5 {
		t.Errorf("%s", data)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	for text, notes := range map[string]int{"0.52 0.58 0.59 1/300 77\n": 0, "1.52 0.58 0.59 1/300 77\n": 1, "": 0} {
		var r report
		r.busy(text, 2)
		if len(r.notes) != notes {
			t.Errorf("%q: %v", text, r.notes)
		}
	}
}
