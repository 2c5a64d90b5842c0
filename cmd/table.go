package cmd

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"gopm/daemon/api"
)

// column is one column of the list. Those of a higher rank go first when the
// terminal is narrow; rank 0 always stays.
type column struct {
	title string
	rank  int
	cell  func(api.Instance) string
}

// columns are pm2's, in its order.
func columns(now time.Time) []column {
	return []column{
		{"id", 0, func(r api.Instance) string { return fmt.Sprint(r.ID) }},
		{"name", 0, func(r api.Instance) string { return r.Name }},
		{"namespace", 4, func(r api.Instance) string { return r.Namespace }},
		{"version", 4, func(r api.Instance) string { return orElse(r.Version, "N/A") }},
		{"mode", 2, func(r api.Instance) string { return r.Mode }},
		{"pid", 3, pidText},
		{"uptime", 3, uptimeText},
		{"↺", 2, func(r api.Instance) string { return fmt.Sprint(r.Process.Restarts) }},
		{"status", 0, func(r api.Instance) string { return statusText(r.Process, now) }},
		{"cpu", 1, func(r api.Instance) string { return cpuText(r.Usage) }},
		{"mem", 1, func(r api.Instance) string { return bytesText(r.Usage.Memory) }},
		{"user", 4, func(r api.Instance) string { return r.User }},
		{"watching", 5, watchText},
	}
}

func pidText(r api.Instance) string {
	if r.Process.Pid == 0 {
		return "N/A"
	}
	return fmt.Sprint(r.Process.Pid)
}

func uptimeText(r api.Instance) string {
	if r.Process.Pid == 0 {
		return "0"
	}
	return uptime(time.Since(r.Process.Started))
}

// printTable prints the rows with as many columns as the terminal has room for.
func (c *cli) printTable(rows []api.Instance) error {
	cols := columns(time.Now())
	cells := layout(cols, rows)
	if width, ok := terminalSize(c.out); ok && width > 0 {
		cols, cells = fit(cols, cells, width)
	}
	return draw(c.out, cols, cells, c.painter(rows))
}

// painter colours the padded cell of a row, -1 being the header; nil without colours.
func (c *cli) painter(rows []api.Instance) func(row int, title, text string) string {
	if !c.colours() {
		return nil
	}
	return func(row int, title, text string) string {
		switch {
		case row < 0:
			return c.paint(bold, c.paint(cyan, text))
		case title == "name":
			return c.paint(bold, text)
		case title == "status":
			return c.paint(statusColour(rows[row].Process), text)
		}
		return text
	}
}

func layout(cols []column, rows []api.Instance) [][]string {
	cells := make([][]string, len(rows))
	for i, r := range rows {
		cells[i] = make([]string, len(cols))
		for j, col := range cols {
			cells[i][j] = col.cell(r)
		}
	}
	return cells
}

// fit drops columns, those of the highest rank first, until a line has room; if it
// has none even then, the widest cells are cut.
func fit(cols []column, cells [][]string, width int) ([]column, [][]string) {
	for rank := 5; rank > 0 && lineWidth(cols, cells) > width; rank-- {
		var keep []int
		for i, col := range cols {
			if col.rank < rank {
				keep = append(keep, i)
			}
		}
		cols, cells = pick(cols, keep), pickRows(cells, keep)
	}
	for excess := lineWidth(cols, cells) - width; excess > 0; excess = lineWidth(cols, cells) - width {
		wide := widths(cols, cells)
		widest := slices.Index(wide, slices.Max(wide))
		const sensible = 12
		if wide[widest] <= sensible {
			break
		}
		for _, row := range cells {
			row[widest] = cutText(row[widest], max(sensible, wide[widest]-excess))
		}
	}
	return cols, cells
}

// cutText shortens text to a number of terminal columns.
func cutText(s string, columns int) string {
	if textWidth(s) <= columns {
		return s
	}
	used := 0
	for i, r := range s {
		w := textWidth(string(r))
		if used+w > columns-1 {
			return s[:i] + "…"
		}
		used += w
	}
	return s
}

func pick[T any](from []T, keep []int) []T {
	kept := make([]T, len(keep))
	for i, k := range keep {
		kept[i] = from[k]
	}
	return kept
}

func pickRows(rows [][]string, keep []int) [][]string {
	kept := make([][]string, len(rows))
	for i, row := range rows {
		kept[i] = pick(row, keep)
	}
	return kept
}

// lineWidth is the width of the table: each column its widest cell, two blanks
// and a border.
func lineWidth(cols []column, cells [][]string) int {
	total := 1
	for _, w := range widths(cols, cells) {
		total += w + 3
	}
	return total
}

func widths(cols []column, cells [][]string) []int {
	widest := make([]int, len(cols))
	for i, col := range cols {
		widest[i] = textWidth(col.title)
		for _, row := range cells {
			widest[i] = max(widest[i], textWidth(row[i]))
		}
	}
	return widest
}

// textWidth is the number of terminal columns; plain ASCII is the common case.
func textWidth(s string) int {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return displaywidth.String(s)
		}
	}
	return len(s)
}

// draw draws the list in pm2's frame. It is not left to the table library, which
// takes 4 ms for 100 rows: more than all the rest of the command.
func draw(w io.Writer, cols []column, cells [][]string, paint func(row int, title, text string) string) error {
	out := bufio.NewWriter(w)
	wide := widths(cols, cells)
	rule := func(left, middle, right string) {
		for _, n := range wide {
			out.WriteString(left + strings.Repeat("─", n+2))
			left = middle
		}
		out.WriteString(right + "\n")
	}
	line := func(row int, text func(i int) string) {
		for i, col := range cols {
			padded := text(i) + strings.Repeat(" ", wide[i]-textWidth(text(i)))
			if paint != nil {
				padded = paint(row, col.title, padded)
			}
			out.WriteString("│ " + padded + " ")
		}
		out.WriteString("│\n")
	}
	rule("┌", "┬", "┐")
	line(-1, func(i int) string { return cols[i].title })
	rule("├", "┼", "┤")
	for n, row := range cells {
		line(n, func(i int) string { return row[i] })
	}
	rule("└", "┴", "┘")
	return out.Flush()
}

func statusColour(p api.Process) string {
	switch p.Status {
	case "online":
		if p.Unhealthy || p.Lock != nil && !p.Lock.Ends.IsZero() {
			return yellow
		}
		return green
	case "launching", api.StatusStandby:
		return blue
	case "stopped", "errored":
		if p.Scheduled && hasFailed(p.LastExit) {
			return yellow
		}
		if p.Scheduled {
			return green
		}
	}
	return red
}

// render draws a small table, of titles and values, with the table library.
func render(w io.Writer, cells [][]string) error {
	t := tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{Symbols: tw.NewSymbols(tw.StyleLight)})),
		tablewriter.WithConfig(tablewriter.Config{
			Row: tw.CellConfig{Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone}, Alignment: tw.CellAlignment{Global: tw.AlignLeft}},
		}))
	if err := t.Bulk(cells); err != nil {
		return err
	}
	return t.Render()
}
