package cmd

import (
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"gopm/daemon/api"
)

// monitLines is how many lines of a log are kept.
const monitLines = 1000

// monitHistory is how many looks at an instance are drawn.
const monitHistory = 60

// What feeds the dashboard.
type (
	listMsg struct {
		rows []api.Instance
		err  error
		at   time.Time
	}
	detailMsg struct{ detail api.Detail }
	logMsg    struct {
		id    int
		lines []monitLine
		anew  bool // instead of what was shown
	}
	answerMsg struct {
		text string
		bad  bool
	}
)

type monitLine struct {
	text string
	err  bool // of stderr
}

// hands carry out what the keys ask for.
type hands interface {
	act(path, did string, row api.Instance) tea.Cmd
	detail(id int) tea.Cmd
	choose(id int)
}

// dashboard is what monit knows. Update is its only writer.
type dashboard struct {
	hands  hands
	paint  func(colour, text string) string
	size   struct{ w, h int }
	now    time.Time
	rows   []api.Instance // all, in the order of ls
	past   map[int]*past  // by id
	lost   string         // why the list is an old one; "": it isn't
	chosen int            // an id; -1: nobody
	detail *api.Detail    // of the chosen one; nil: not yet
	log    logPane
	filter string
	typing bool // into filter
	inLog  bool // the log gets the keys, not the list
	help   bool
	notice answerMsg
}

// logPane is the log of the chosen one.
type logPane struct {
	lines []monitLine
	up    int // lines below the window: 0 follows
}

// past is what an instance took at the last looks.
type past struct {
	inc      uint64
	cpu, mem []float64
}

func newDashboard(h hands, paint func(colour, text string) string, now time.Time) *dashboard {
	d := &dashboard{hands: h, paint: paint, now: now, past: map[int]*past{}, chosen: -1}
	d.size.w, d.size.h = 80, 24
	return d
}

// Init implements tea.Model: the feeds begin by themselves.
func (d *dashboard) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (d *dashboard) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		d.size.w, d.size.h = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return d, d.key(msg)
	case listMsg:
		return d, d.listed(msg)
	case detailMsg:
		if msg.detail.ID == d.chosen {
			d.detail = &msg.detail
		}
	case logMsg:
		d.logged(msg)
	case answerMsg:
		d.notice = msg
	}
	return d, nil
}

// listed takes over a new list. A list that can't be had leaves the old one.
func (d *dashboard) listed(msg listMsg) tea.Cmd {
	d.now = msg.at
	if msg.err != nil {
		d.lost = msg.err.Error()
		return nil
	}
	d.lost, d.rows = "", msg.rows
	_ = sortRows(d.rows, "") // the order of ls is known
	seen := map[int]bool{}
	for _, r := range d.rows {
		seen[r.ID] = true
		p := d.past[r.ID]
		if p == nil || p.inc != r.Process.Incarnation {
			p = &past{inc: r.Process.Incarnation}
			d.past[r.ID] = p
		}
		p.cpu = append(p.cpu[max(0, len(p.cpu)-monitHistory+1):], r.Usage.CPU)
		p.mem = append(p.mem[max(0, len(p.mem)-monitHistory+1):], float64(r.Usage.Memory))
	}
	for id := range d.past {
		if !seen[id] {
			delete(d.past, id)
		}
	}
	return d.settle()
}

// settle chooses somebody if the chosen one isn't shown, and looks at the chosen one.
func (d *dashboard) settle() tea.Cmd {
	shown := d.shown()
	if d.at(shown) < 0 {
		if len(shown) == 0 {
			d.chosen, d.detail, d.log = -1, nil, logPane{}
			return nil
		}
		return d.choose(shown[0].ID)
	}
	return d.hands.detail(d.chosen)
}

func (d *dashboard) choose(id int) tea.Cmd {
	if id == d.chosen {
		return nil
	}
	d.chosen, d.detail, d.log = id, nil, logPane{}
	d.hands.choose(id)
	return d.hands.detail(id)
}

// shown are the rows that the filter lets through.
func (d *dashboard) shown() []api.Instance {
	if d.filter == "" {
		return d.rows
	}
	var some []api.Instance
	for _, r := range d.rows {
		if strings.Contains(strings.ToLower(r.Name), strings.ToLower(d.filter)) {
			some = append(some, r)
		}
	}
	return some
}

// at is where the chosen one is among some rows; -1: it isn't.
func (d *dashboard) at(rows []api.Instance) int {
	return slices.IndexFunc(rows, func(r api.Instance) bool { return r.ID == d.chosen })
}

// logged takes over lines of a log. Who has scrolled up goes on seeing what he sees.
func (d *dashboard) logged(msg logMsg) {
	if msg.id != d.chosen {
		return
	}
	l := &d.log
	if msg.anew {
		*l = logPane{}
	}
	l.lines = append(l.lines, msg.lines...)
	if l.up > 0 {
		l.up += len(msg.lines)
	}
	if extra := len(l.lines) - monitLines; extra > 0 {
		l.lines = append(l.lines[:0:0], l.lines[extra:]...)
	}
	l.up = min(l.up, max(0, len(l.lines)-1))
}

// key does what a key asks for.
func (d *dashboard) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	if name == "ctrl+c" {
		return tea.Quit
	}
	if d.typing {
		return d.typed(name, k.Text)
	}
	d.notice = answerMsg{}
	if d.help {
		d.help = false
		return nil
	}
	switch name {
	case "q":
		return tea.Quit
	case "?", "h":
		d.help = true
	case "/":
		d.typing = true
	case "esc":
		d.filter = ""
		return d.settle()
	case "tab":
		d.inLog = !d.inLog
	case "f", "end":
		d.log.up = 0
	case "home":
		d.scroll(len(d.log.lines))
	case "pgup":
		d.scroll(d.page())
	case "pgdown":
		d.scroll(-d.page())
	case "up", "k", "down", "j":
		return d.move(name == "up" || name == "k")
	default:
		return d.order(name)
	}
	return nil
}

func (d *dashboard) move(up bool) tea.Cmd {
	step := 1
	if up {
		step = -1
	}
	if d.inLog {
		d.scroll(-step)
		return nil
	}
	shown := d.shown()
	at := d.at(shown)
	if at < 0 {
		return nil
	}
	return d.choose(shown[min(max(at+step, 0), len(shown)-1)].ID)
}

// scroll moves the window on the log up.
func (d *dashboard) scroll(lines int) {
	d.log.up = min(max(d.log.up+lines, 0), max(0, len(d.log.lines)-1))
}

func (d *dashboard) page() int { return max(1, d.size.h/3) }

// typed takes a key into the filter.
func (d *dashboard) typed(name, text string) tea.Cmd {
	switch name {
	case "enter":
		d.typing = false
	case "esc":
		d.typing, d.filter = false, ""
	case "backspace":
		if r := []rune(d.filter); len(r) > 0 {
			d.filter = string(r[:len(r)-1])
		}
	default:
		d.filter += text
	}
	return d.settle()
}

// orders are the keys that ask the daemon for something.
var orders = map[string]struct{ path, did, doing string }{
	"r": {api.PathRestart, api.DidRestart, "restarting"},
	"l": {api.PathReload, api.DidReload, "reloading"},
	"s": {api.PathStop, api.DidStop, "stopping"},
	"S": {api.PathStart, api.DidStart, "starting"},
}

func (d *dashboard) order(key string) tea.Cmd {
	o, is := orders[key]
	at := d.at(d.rows)
	if !is || at < 0 {
		return nil
	}
	row := d.rows[at]
	d.notice = answerMsg{o.doing + " " + label(row.ID, row.Name), false}
	return d.hands.act(o.path, o.did, row)
}
