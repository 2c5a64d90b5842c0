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
		{target{upTo, 12}, 12, 1, true},
		{target{upTo, 12}, 12.1, 1, false},
		{target{upTo, 12}, math.NaN(), 1, false},
		{target{upToFloor, 2.5}, 5, 2, true},
		{target{upToFloor, 2.5}, 5.1, 2, false},
		{target{upToFloor, 2.5}, 5, math.NaN(), false},
		{target{leastFloor, 0.9}, 90, 100, true},
		{target{leastFloor, 0.9}, 89, 100, false},
		{target{}, 1e9, 1, true},
	}
	for _, c := range cases {
		if got := c.target.met(c.gopm, c.floor); got != c.met {
			t.Errorf("%v with %v and %v: %v", c.target, c.gopm, c.floor, got)
		}
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
