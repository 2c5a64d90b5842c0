package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const pagePath = "../docs/benchmarks.md"

// TestThePageHasAllScenarios holds the page to what is measured: a table for each, and a reason for each figure in which gopm
// isn't first.
func TestThePageHasAllScenarios(t *testing.T) {
	t.Parallel()
	page := readFile(pagePath)
	marks := map[string]int{}
	for _, found := range block.FindAllStringSubmatch(page, -1) {
		marks[found[1]]++
		if table := found[1] == runMark || strings.Contains(found[2], "\n| gopm |"); !table {
			t.Errorf("%s has no table with gopm in it", found[1])
		}
	}
	want := []string{runMark}
	for _, s := range scenarios {
		if s.among != nil {
			want = append(want, s.id())
		}
	}
	for _, id := range want {
		if marks[id] != 1 {
			t.Errorf("%d places for %s", marks[id], id)
		}
		delete(marks, id)
	}
	for id := range marks {
		t.Errorf("a place for %s, which isn't measured", id)
	}
	for _, name := range unexplained(page) {
		t.Errorf("it doesn't say why gopm isn't first in %q", name)
	}
	if !strings.Contains(page, "**When:** 20") {
		t.Error("it doesn't say when it was measured")
	}
}

// compared is a report in which gopm is behind one peer, before another, and a third has done something wrong.
func compared() *report {
	r := &report{having: []string{gopmName, floorName, s6Name, runitName, supervisorName}, current: "ls100"}
	ls := r.figure("ls 100 apps", "ms")
	for name, v := range map[string]float64{gopmName: 6, floorName: 2, s6Name: 60, runitName: 5, supervisorName: 1} {
		ls.add(name, v)
	}
	r.problem(supervisorName, "ls shows 99 of 100 apps")
	r.remark("first line: 3 ok; 2 servers: 1=1 2=2\nsecond line")
	r.current = ""
	return r
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	got := compared().markdown("ls100")
	want := `| | ls 100 apps, ms | × best | × floor |
|---|--:|--:|--:|
| gopm | 6 | 1.2 | 3 |
| floor | 2 | 0.4 | 1 |
| s6 | 60 | 12 | 30 |
| runit | **5** | 1 | 2.5 |
| supervisord | – | – | – |

- no figures of supervisord: ls shows 99 of 100 apps
- first line: 3 ok
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if code := compared().code(false); code != 0 {
		t.Error("what a peer does wrong fails the run")
	}
}

func TestFirst(t *testing.T) {
	t.Parallel()
	rate, took := &figure{Unit: "MB/s"}, &figure{Unit: "ms"}
	for _, c := range []struct {
		f           *figure
		value, best float64
		first       bool
	}{
		{took, 5, 5, true}, {took, 5.5, 5, true}, {took, 6, 5, false}, {took, 0, 0, true}, {took, 1, 0, false},
		{rate, 100, 100, true}, {rate, 95, 100, true}, {rate, 80, 100, false},
	} {
		if got := c.f.first(c.value, c.best); got != c.first {
			t.Errorf("%g %s beside %g: %v", c.value, c.f.Unit, c.best, got)
		}
	}
	if !rate.better(2, 1) || took.better(2, 1) {
		t.Error("more isn't better, or less")
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "page.md")
	page := "words\n<!-- bench: run -->\nold\n<!-- end -->\nmore\n<!-- bench: ls100 -->\nold\n<!-- end -->\nlast words\n"
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	r, h := compared(), header{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), machine: "2 cores", load: "0.1"}
	r.problem(pebbleName, "is not there")
	for range 2 { // its own work can be written anew
		if err := r.publish(new(strings.Builder), path, h); err != nil {
			t.Fatal(err)
		}
	}
	got := readFile(path)
	for _, want := range []string{"words\n<!-- bench: run -->\n\n- **When:** 2026-01-02 03:04 UTC; load of the machine just before: 0.1\n",
		"no figures of pebble: is not there\n", "<!-- end -->\nmore\n", "| runit | **5** |", "*2026-01-02 03:04 UTC*", "<!-- end -->\nlast words\n"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("not once %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "old") {
		t.Errorf("old tables are left:\n%s", got)
	}
	if !slices.Contains(r.notes, path+" doesn't say why gopm isn't first in **ls 100 apps**") {
		t.Errorf("notes %q", r.notes)
	}
	if again := unexplained(got + "**ls 100 apps** because"); len(again) != 0 {
		t.Errorf("still unexplained: %q", again)
	}
}

func TestAPageWithoutAPlace(t *testing.T) {
	t.Parallel()
	if _, err := fill("words\n<!-- bench: ls100 -->\nnever ended\n", map[string]string{"ls100": "x"}); err == nil ||
		!strings.Contains(err.Error(), "<!-- bench: ls100 -->") {
		t.Errorf("%v", err)
	}
}
