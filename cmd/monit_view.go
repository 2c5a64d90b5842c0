package cmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"gopm/daemon/api"
)

// What is needed to show anything of use.
const (
	monitLeastWidth  = 60
	monitLeastHeight = 15
	monitWide        = 110 // from here on the list has the left half
)

// View implements tea.Model.
func (d *dashboard) View() tea.View {
	v := tea.NewView(strings.Join(d.draw(), "\n"))
	v.AltScreen = true
	v.WindowTitle = "gopm monit"
	return v
}

// draw is the picture: as many lines as the terminal has, none wider than it.
func (d *dashboard) draw() []string {
	w, h := d.size.w, d.size.h
	if w < monitLeastWidth || h < monitLeastHeight {
		return []string{cutText(fmt.Sprintf("monit needs %d×%d, this terminal is %d×%d", monitLeastWidth, monitLeastHeight, w, h), max(w, 1))}
	}
	var body []string
	room := h - 2
	switch {
	case d.help:
		body = d.box("Help", strings.Split(monitHelp, "\n"), w, room, true)
	case w >= monitWide:
		left := w / 2
		details := min(15, room/2)
		right := d.logBox(w-left, room-details)
		right = append(right, d.detailBox(w-left, details)...)
		for i, line := range d.listBox(left, room) {
			body = append(body, line+right[i])
		}
	default:
		list := min(max(len(d.shown())+2, 4), room*2/5)
		details := min(7, room/3)
		body = d.listBox(w, list)
		body = append(body, d.logBox(w, room-list-details)...)
		body = append(body, d.detailBox(w, details)...)
	}
	return append(append([]string{d.head(w)}, body...), d.foot(w))
}

func (d *dashboard) head(w int) string {
	online := 0
	for _, r := range d.rows {
		if r.Process.Status == "online" {
			online++
		}
	}
	text := fmt.Sprintf(" gopm monit   %d instances, %d online", len(d.rows), online)
	if d.filter != "" || d.typing {
		text += "   /" + d.filter
		if d.typing {
			text += "▏"
		}
	}
	clock := d.now.Format(time.TimeOnly) + " "
	return d.paint(bold, pad(text, w-len(clock))+clock)
}

func (d *dashboard) foot(w int) string {
	switch {
	case d.lost != "":
		return d.paint(red, pad(" "+printable(d.lost)+"; asking again each second", w))
	case d.notice.bad:
		return d.paint(red, pad(" "+printable(d.notice.text), w))
	case d.notice.text != "":
		return d.paint(green, pad(" "+printable(d.notice.text), w))
	}
	return d.paint(dim, pad(" ↑↓ choose · r restart · l reload · s stop · S start · / filter · ? help · q", w))
}

// box frames lines: exactly w columns and h lines. A line may be painted by who made it
// if it is w-2 columns wide; others are cut and filled.
func (d *dashboard) box(title string, lines []string, w, h int, focus bool) []string {
	colour := dim
	if focus {
		colour = cyan
	}
	title = cutText(printable(title), w-6)
	all := []string{d.paint(colour, "┌─ "+title+" "+strings.Repeat("─", max(0, w-5-textWidth(title)))+"┐")}
	for i := range h - 2 {
		line := strings.Repeat(" ", w-2)
		if i < len(lines) {
			line = lines[i]
			if !strings.HasPrefix(line, "\x1b") {
				line = pad(line, w-2)
			}
		}
		all = append(all, d.paint(colour, "│")+line+d.paint(colour, "│"))
	}
	return append(all, d.paint(colour, "└"+strings.Repeat("─", w-2)+"┘"))
}

// pad makes a text exactly w columns wide.
func pad(text string, w int) string {
	text = cutText(printable(strings.ReplaceAll(text, "\t", "    ")), max(w, 1))
	return text + strings.Repeat(" ", max(0, w-textWidth(text)))
}

// listColumns are those of the list; with little room the highest ranks go first.
var listColumns = []struct {
	title string
	width int
	rank  int
	cell  func(d *dashboard, r api.Instance) string
}{
	{"id", 3, 0, func(_ *dashboard, r api.Instance) string { return fmt.Sprint(r.ID) }},
	{"name", 0, 0, func(_ *dashboard, r api.Instance) string { return r.Name }}, // what is left
	{"status", statusWidth, 0, func(d *dashboard, r api.Instance) string { return statusText(r.Process, d.now) }},
	{"cpu", 6, 0, func(_ *dashboard, r api.Instance) string { return strings.TrimPrefix(cpuText(r.Usage), "~") }},
	{"", sparkWidth, 1, func(d *dashboard, r api.Instance) string { return spark(d.past[r.ID].of(true), sparkWidth, 10) }},
	{"mem", 7, 0, func(_ *dashboard, r api.Instance) string { return bytesText(r.Usage.Memory) }},
	{"", sparkWidth, 3, func(d *dashboard, r api.Instance) string { return spark(d.past[r.ID].of(false), sparkWidth, 0) }},
	{"↺", 4, 2, func(_ *dashboard, r api.Instance) string { return fmt.Sprint(r.Process.Restarts) }},
}

const (
	leastName   = 10
	statusWidth = 14
	sparkWidth  = 8
)

func (p *past) of(cpu bool) []float64 {
	switch {
	case p == nil:
		return nil
	case cpu:
		return p.cpu
	}
	return p.mem
}

func (d *dashboard) listBox(w, h int) []string {
	inner := w - 2
	rank, name := 3, 0
	for ; ; rank-- {
		used := 3 // the mark, and a blank behind the name
		for _, c := range listColumns {
			if c.rank <= rank && c.width > 0 {
				used += c.width + 1
			}
		}
		if name = inner - used; name >= leastName || rank == 0 {
			break
		}
	}
	shown := d.shown()
	status := d.statusRoom(shown, name)
	row := func(mark string, cell func(i int) string) string {
		text := mark
		for i, c := range listColumns {
			width := c.width
			switch c.title {
			case "name":
				width = name - status
			case "status":
				width += status
			}
			if c.rank <= rank {
				text += pad(cell(i), width) + " "
			}
		}
		return pad(text, inner)
	}
	lines := []string{d.paint(dim, row("  ", func(i int) string { return listColumns[i].title }))}
	for _, r := range window(shown, d.at(shown), h-3) {
		mark, colour := "  ", statusColour(r.Process)
		if r.ID == d.chosen {
			mark, colour = "› ", colour+";1;7"
		}
		lines = append(lines, d.paint(colour, row(mark, func(i int) string { return listColumns[i].cell(d, r) })))
	}
	switch {
	case len(d.rows) == 0 && d.lost == "":
		lines = append(lines, " no apps: gopm start ecosystem.json")
	case len(shown) == 0 && d.filter != "":
		lines = append(lines, fmt.Sprintf(" none of %d has %q in its name; esc shows all", len(d.rows), d.filter))
	}
	title := "Apps"
	if hidden := len(shown) - (h - 3); hidden > 0 {
		title = fmt.Sprintf("Apps (%d more)", hidden)
	}
	return d.box(title, lines, w, h, !d.inLog)
}

// statusRoom is by how much the column of the status may be wider: names don't need all
// of theirs, and a status says more than its first word.
func (d *dashboard) statusRoom(rows []api.Instance, name int) int {
	needed, longest := leastName, 0
	for _, r := range rows {
		needed = max(needed, textWidth(r.Name))
		longest = max(longest, textWidth(statusText(r.Process, d.now)))
	}
	return max(0, min(name-needed, longest-statusWidth))
}

// window are the n rows around the chosen one.
func window(rows []api.Instance, at, n int) []api.Instance {
	n = max(n, 1)
	from := min(max(0, at-n/2), max(0, len(rows)-n))
	return rows[from:min(len(rows), from+n)]
}

// spark draws the last n values between 0 and the largest, which counts as least at least.
func spark(values []float64, n int, least float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	levels := []rune(bars)
	if len(values) == 0 {
		return ""
	}
	var means []float64 // of what falls into one bar, so that a minute has room
	each := max(1, (len(values)+n-1)/n)
	for some := range slices.Chunk(values, each) {
		sum := 0.0
		for _, v := range some {
			sum += v
		}
		means = append(means, sum/float64(len(some)))
	}
	most := max(slices.Max(means), least)
	text := ""
	for _, v := range means {
		level := 0
		if most > 0 {
			level = min(int(v/most*float64(len(levels))), len(levels)-1)
		}
		text += string(levels[max(level, 0)])
	}
	return text
}

func (d *dashboard) logBox(w, h int) []string {
	title, inner := "Log", w-2
	if at := d.at(d.rows); at >= 0 {
		title = "Log of " + label(d.rows[at].ID, d.rows[at].Name)
	}
	if d.log.up > 0 {
		title += fmt.Sprintf(" (%d lines further down; f follows)", d.log.up)
	}
	to := len(d.log.lines) - d.log.up
	var lines []string
	for _, l := range d.log.lines[max(0, to-(h-2)):to] {
		text := pad(l.text, inner)
		if l.err {
			text = d.paint(red, text)
		}
		lines = append(lines, text)
	}
	return d.box(title, lines, w, h, d.inLog)
}

func (d *dashboard) detailBox(w, h int) []string {
	at := d.at(d.rows)
	if at < 0 {
		return d.box("Details", nil, w, h, false)
	}
	return d.box("Details", d.about(d.rows[at], w-2), w, h, false)
}

// about is what there is to know of an instance, the most important first, in one
// column or two.
func (d *dashboard) about(r api.Instance, w int) []string {
	p := r.Process
	facts := []infoRow{{"status", statusText(p, d.now)}}
	if p.Pid != 0 {
		facts = append(facts, infoRow{"pid", fmt.Sprintf("%d, up %s", p.Pid, uptime(d.now.Sub(p.Started)))})
	}
	if p.Waits != "" {
		facts = append(facts, infoRow{"waits for", p.Waits})
	}
	if h := r.Health; h != nil {
		facts = append(facts, infoRow{"health", strings.TrimSpace(fmt.Sprintf("%s for %s %s", h.State, uptime(d.now.Sub(h.Since)), h.Error))})
	}
	if !p.Due.IsZero() {
		facts = append(facts, infoRow{"next run", clockText(p.Due, d.now)})
	}
	restarts := fmt.Sprint(p.Restarts)
	if p.Cause != "" {
		restarts += ", the last: " + p.Cause
	}
	facts = append(facts, infoRow{"restarts", restarts}, infoRow{"mode", r.Mode + " as " + r.User})
	if p.LastExit != nil {
		facts = append(facts, infoRow{"last exit", lastExit(p.LastExit, d.now)})
	}
	if x := d.detail; x != nil {
		if x.Says != "" {
			facts = append(facts, infoRow{"says", x.Says})
		}
		facts = append(facts, infoRow{"ports", orElse(strings.Join(x.Ports, ", "), "none")}, infoRow{"script", x.App.Command.Script}, infoRow{"cwd", x.App.Command.Cwd})
		if x.Origin != "" {
			facts = append(facts, infoRow{"from", x.Origin})
		}
	}
	if r.Consul != nil {
		facts = append(facts, infoRow{"consul", registrationText(r.Consul, time.Now())})
	}
	if r.LogStatus != "" {
		facts = append(facts, infoRow{"log", r.LogStatus})
	}
	var lines []string
	for _, f := range facts {
		lines = append(lines, cutText(fmt.Sprintf(" %-10s %s", f[0], printable(f[1])), w))
	}
	return lines
}
