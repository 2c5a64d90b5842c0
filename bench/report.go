package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// The names of the three that are measured, and of those that only clusters are compared with.
const (
	gopmName    = "gopm"
	pm2Name     = "pm2"
	floorName   = "floor"
	clusterName = "node's cluster"
	aloneName   = "one node"
)

// figure is one row of the table: the values of one quantity for each that was measured.
type figure struct {
	Name     string               `json:"name"`
	Unit     string               `json:"unit"`
	Values   map[string][]float64 `json:"values"` // by name, in the order measured
	pick     func([]float64) float64
	scenario string
}

// of is the one value that stands for all of a manager's; NaN where there is none.
func (f *figure) of(name string) float64 {
	if f.pick == nil {
		return median(f.Values[name])
	}
	return f.pick(f.Values[name])
}

// cell is a manager's value as the table shows it: with the range of its middle half where that can be said.
func (f *figure) cell(name string) string {
	text := number(f.of(name))
	if low, high, ok := quartiles(f.Values[name]); ok && f.pick == nil {
		text += fmt.Sprintf(" (%s–%s)", number(low), number(high))
	}
	return text
}

// add notes one measured value.
func (f *figure) add(name string, value float64) {
	f.Values[name] = append(f.Values[name], value)
}

// report collects figures, and what was wrong.
type report struct {
	figures  []*figure
	failures []string // gopm's, or the bench's own
	notes    []string // of what isn't judged: pm2 and the other peers, node's cluster
	having   []string // who is measured
	current  string   // the scenario that runs
	said     []saying
}

// saying is what a page has to say beside the figures of a scenario. Who did something wrong has no figures there.
type saying struct {
	scenario, manager, text string
	wrong                   bool
}

func (r *report) say(s saying) {
	if !slices.Contains(r.said, s) {
		r.said = append(r.said, s)
	}
}

// figure is a new row.
func (r *report) figure(name, unit string) *figure {
	f := &figure{Name: name, Unit: unit, Values: map[string][]float64{}, scenario: r.current}
	r.figures = append(r.figures, f)
	return f
}

// forget drops the figures of a scenario.
func (r *report) forget(scenario string) {
	r.figures = slices.DeleteFunc(r.figures, func(f *figure) bool { return f.scenario == scenario })
}

// problem notes what a manager did wrong, once. An empty name means the bench itself.
func (r *report) problem(manager, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.say(saying{r.current, manager, text, true})
	list := &r.notes
	if manager == "" || manager == gopmName || manager == floorName {
		list = &r.failures
	}
	if manager != "" {
		text = manager + ": " + text
	}
	if !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// remark notes what a reader of the figures should know.
func (r *report) remark(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.say(saying{scenario: r.current, text: text})
	if !slices.Contains(r.notes, text) {
		r.notes = append(r.notes, text)
	}
}

// busy warns when others were using the machine before the bench did. The text is that of /proc/loadavg.
func (r *report) busy(loadavg string, cores int) {
	var lastMinute float64
	if _, err := fmt.Sscan(loadavg, &lastMinute); err == nil && lastMinute > float64(cores)/2 {
		r.remark("the machine was busy before the start (load %.1f on %d cores): expect ls, crash and start to be off", lastMinute, cores)
	}
}

// misses are the names of the figures that miss their target.
func (r *report) misses() []string {
	var out []string
	for _, f := range r.figures {
		if r.judged(f) && !met(f) {
			out = append(out, f.Name)
		}
	}
	return out
}

// judged says whether a figure has a target that applies in this run: what nobody could do says nothing.
func (r *report) judged(f *figure) bool {
	return len(f.Values) > 0 && len(targets[f.Name]) > 0 && slices.Contains(r.having, gopmName)
}

// code is the exit status.
func (r *report) code(strict bool) int {
	if len(r.failures) > 0 || strict && len(r.misses()) > 0 {
		return 1
	}
	return 0
}

// print writes the table, then what was wrong, then the verdict.
func (r *report) print(w io.Writer, took time.Duration) {
	rows := [][]string{{"figure", "unit", "gopm", "pm2", "floor", "gopm/floor", "gopm/pm2", "target", ""}}
	for _, f := range r.figures {
		rows = append(rows, r.row(f))
	}
	fmt.Fprint(w, table(rows))
	for _, f := range r.figures {
		if text := f.beside(); text != "" {
			fmt.Fprintf(w, "also  %s\n", text)
		}
	}
	for _, note := range r.notes {
		fmt.Fprintf(w, "note  %s\n", note)
	}
	for _, failure := range r.failures {
		fmt.Fprintf(w, "FAIL  %s\n", failure)
	}
	verdict := "all correct"
	if n := len(r.failures); n > 0 {
		verdict = fmt.Sprintf("%d wrong", n)
	}
	if m := r.misses(); len(m) > 0 {
		verdict += "; targets missed: " + strings.Join(m, ", ")
	}
	fmt.Fprintf(w, "%s (%.0f s)\n", verdict, took.Seconds())
}

// row is one line of the table.
func (r *report) row(f *figure) []string {
	gopm, pm2, floor := f.of(gopmName), f.of(pm2Name), f.of(floorName)
	verdict := ""
	if r.judged(f) {
		verdict = "ok"
		if !met(f) {
			verdict = "MISS"
		}
	}
	return []string{f.Name, f.Unit, f.cell(gopmName), f.cell(pm2Name), f.cell(floorName),
		number(gopm / floor), number(gopm / pm2), demanded(f.Name), verdict}
}

// beside are those that the table has no column for.
func (f *figure) beside() string {
	var others []string
	for _, name := range []string{clusterName, aloneName} {
		if len(f.Values[name]) > 0 {
			others = append(others, fmt.Sprintf("%s %s, gopm %s x that", name, f.cell(name), number(f.of(gopmName)/f.of(name))))
		}
	}
	if len(others) == 0 {
		return ""
	}
	return f.Name + ": " + strings.Join(others, "; ")
}

// save writes everything measured as JSON.
func (r *report) save(path string) error {
	data, err := json.MarshalIndent(map[string]any{
		"figures": r.figures, "failures": r.failures, "notes": r.notes, "missed": r.misses(),
	}, "", " ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %v", path, err)
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// number shows three digits that count; "-" for what there is not.
func number(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "-"
	case x == math.Trunc(x) && math.Abs(x) < 1e6, math.Abs(x) >= 1000:
		return fmt.Sprintf("%.0f", x)
	case math.Abs(x) >= 100:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.3g", x)
}
