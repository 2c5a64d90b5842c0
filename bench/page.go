package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The page has words, which are written by people, and tables, each between two marks of its own:
//
//	<!-- bench: ls100 -->
//	...
//	<!-- end -->
//
// The program writes what is between them, for each scenario that was measured, and for "run" on what it was.
const (
	runMark = "run"
	endMark = "<!-- end -->"
	// level is how much worse than the best is still the best: what a figure differs by when it is measured again.
	level = 1.1
)

func beginMark(id string) string { return "<!-- bench: " + id + " -->" }

// header is what a reader has to know of a run.
type header struct {
	at                time.Time
	machine, versions string
	load              string
}

// publish writes the tables, and with a path puts them into that page.
func (r *report) publish(w io.Writer, path string, h header) error {
	blocks := map[string]string{runMark: h.text() + r.absent()}
	fmt.Fprint(w, blocks[runMark])
	for _, id := range r.measured() {
		blocks[id] = r.markdown(id) + fmt.Sprintf("\n*%s UTC*\n", h.at.UTC().Format("2006-01-02 15:04"))
		fmt.Fprintf(w, "\n%s\n\n%s", id, r.markdown(id))
	}
	fmt.Fprintln(w)
	if path == "" {
		return nil
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot write the tables: %v", err)
	}
	text, err := fill(string(old), blocks)
	if err != nil {
		return fmt.Errorf("%s: %v", path, err)
	}
	for _, name := range unexplained(text) {
		r.remark("%s doesn't say why gopm isn't first in **%s**", path, name)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

func (h header) text() string {
	return fmt.Sprintf("- **When:** %s UTC; load of the machine just before: %s\n- **Machine:** %s\n- **Versions:** %s\n",
		h.at.UTC().Format("2006-01-02 15:04"), h.load, h.machine, h.versions)
}

// fill replaces what is between marks.
func fill(page string, blocks map[string]string) (string, error) {
	for id, text := range blocks {
		before, rest, found := strings.Cut(page, beginMark(id)+"\n")
		_, after, ended := strings.Cut(rest, endMark)
		if !found || !ended {
			return "", fmt.Errorf("it has no place for %s: a line %s and then a line %s", id, beginMark(id), endMark)
		}
		page = before + beginMark(id) + "\n\n" + text + "\n" + endMark + after
	}
	return page, nil
}

// measured are the scenarios that have figures, in their order.
func (r *report) measured() []string {
	var out []string
	for _, f := range r.figures {
		if len(f.Values) > 0 && f.scenario != "" && !slices.Contains(out, f.scenario) {
			out = append(out, f.scenario)
		}
	}
	return out
}

// markdown is the table of one scenario: a line for each manager, with its value, how many times the best that is, and how many
// times the floor. Who did something wrong has no figures there; what it was stands under the table.
func (r *report) markdown(id string) string {
	var figures []*figure
	for _, f := range r.figures {
		if f.scenario == id && len(f.Values) > 0 {
			figures = append(figures, f)
		}
	}
	var b strings.Builder
	b.WriteString("| |")
	for _, f := range figures {
		fmt.Fprintf(&b, " %s | × best | × floor |", strings.TrimSuffix(f.Name+", "+f.Unit, ", "))
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|--:|--:|", len(figures)) + "\n")
	for _, name := range r.rows(figures) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, f := range figures {
			b.WriteString(r.cells(f, name))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, s := range r.said {
		if s.scenario == id {
			b.WriteString("- " + s.String() + "\n")
		}
	}
	return b.String()
}

// String is the first line, as far as it is of interest to others.
func (s saying) String() string {
	text, _, _ := strings.Cut(s.text, "\n")
	text = servers.ReplaceAllString(text, "")
	if s.wrong {
		return fmt.Sprintf("no figures of %s: %s", cmp.Or(s.manager, "some"), text)
	}
	return text
}

// absent says who couldn't be measured at all.
func (r *report) absent() string {
	var b strings.Builder
	for _, s := range r.said {
		if s.scenario == "" && s.wrong {
			b.WriteString("- " + s.String() + "\n")
		}
	}
	return b.String()
}

// rows are those that have a value, or did something wrong, in the order in which they were measured.
func (r *report) rows(figures []*figure) []string {
	var out []string
	for _, name := range append(slices.Clone(r.having), clusterName, aloneName) {
		has := slices.ContainsFunc(figures, func(f *figure) bool { return len(f.Values[name]) > 0 })
		if has || r.faulty(figures[0].scenario, name) {
			out = append(out, name)
		}
	}
	return out
}

// faulty says whether a manager did something wrong in a scenario.
func (r *report) faulty(scenario, name string) bool {
	return slices.ContainsFunc(r.said, func(s saying) bool { return s.wrong && s.scenario == scenario && s.manager == name })
}

// cells are a figure's three of one manager.
func (r *report) cells(f *figure, name string) string {
	value := f.of(name)
	if r.faulty(f.scenario, name) || math.IsNaN(value) {
		return " – | – | – |"
	}
	text, best := number(value), r.best(f)
	if f.first(value, best) && r.competes(f, name) {
		text = "**" + text + "**"
	}
	return fmt.Sprintf(" %s | %s | %s |", text, ratio(value, best), ratio(value, r.right(f, floorName)))
}

// ratio of two values, as far as there is one.
func ratio(value, than float64) string {
	if value == than {
		return "1"
	}
	return strings.Replace(number(value/than), "-", "–", 1)
}

// right is a manager's value where it did nothing wrong.
func (r *report) right(f *figure, name string) float64 {
	if r.faulty(f.scenario, name) {
		return math.NaN()
	}
	return f.of(name)
}

// competes: the floor and node without a manager are no managers.
func (r *report) competes(f *figure, name string) bool {
	return !slices.Contains([]string{floorName, clusterName, aloneName}, name) && !math.IsNaN(r.right(f, name))
}

// best is the best manager's value.
func (r *report) best(f *figure) float64 {
	best := math.NaN()
	for name := range f.Values {
		if v := r.right(f, name); r.competes(f, name) && (math.IsNaN(best) || f.better(v, best)) {
			best = v
		}
	}
	return best
}

// more: of a rate more is better, of anything else less.
func (f *figure) more() bool { return strings.HasSuffix(f.Unit, "/s") }

func (f *figure) better(a, b float64) bool {
	if f.more() {
		return a > b
	}
	return a < b
}

// first says whether a value is as good as the best.
func (f *figure) first(value, best float64) bool {
	if f.more() {
		return value*level >= best
	}
	return value <= best*level
}

var (
	block = regexp.MustCompile(`(?s)<!-- bench: (\S+) -->\n(.*?)` + endMark)
	bold  = regexp.MustCompile(`^\*\*.*\*\*$`)
	// servers is who has answered how many requests, by pid.
	servers = regexp.MustCompile(`; \d+ servers: .*`)
)

// unexplained are the figures in which gopm isn't first according to a page's tables, and of which its words don't say why:
// they don't have the figure's name in bold.
func unexplained(page string) []string {
	words := block.ReplaceAllString(page, "")
	var out []string
	for _, found := range block.FindAllStringSubmatch(page, -1) {
		if found[1] == runMark {
			continue
		}
		var names []string
		for line := range strings.Lines(found[2]) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			switch strings.TrimSpace(cells[0]) {
			case "":
				names = cells
			case gopmName:
				for i := 1; i < len(cells) && i < len(names); i += 3 {
					name := strings.TrimSpace(names[i])
					if k := strings.LastIndex(name, ", "); k > 0 {
						name = name[:k] // without the unit
					}
					if !bold.MatchString(strings.TrimSpace(cells[i])) && !strings.Contains(words, "**"+name+"**") {
						out = append(out, name)
					}
				}
			}
		}
	}
	return out
}
