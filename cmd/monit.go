package cmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/logs"
)

// monit is a dashboard on the terminal: monit_model.go has what it knows and what keys
// do, monit_view.go how it looks, and this file what feeds it. The feeds are two
// goroutines, which end with it.

const monitHelp = `Show the instances of all apps with their cpu and memory of the last
minute, what the chosen one writes, and how it is; steer it by a key.

  ↑ ↓ j k  choose            tab        the list or the log gets ↑ and ↓
  r        restart           PgUp PgDn  scroll the log
  l        reload            f End      follow it again
  s  S     stop, start       /  esc     names with that in them, all names
  ?        help              q Ctrl-C   quit`

func (c *cli) monitCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "monit",
		Aliases: []string{"dashboard", "dash"},
		Short:   "Show and steer the apps on a dashboard",
		Long:    monitHelp,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.monit(cmd.Context()) },
	}
}

func (c *cli) monit(ctx context.Context) error {
	if !isTerminal(c.out) || !isTerminal(c.in) {
		return usagef("monit draws on a terminal; for programs: gopm ls --json, gopm logs --json")
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &monitFeed{cli: c, chosen: make(chan int, 1)}
	model := newDashboard(f, c.painterOf(), time.Now())
	program := tea.NewProgram(model, tea.WithContext(ctx), tea.WithInput(c.in), tea.WithOutput(under(c.out)), tea.WithoutSignalHandler(), tea.WithFPS(monitFPS))
	f.program = program
	var feeds sync.WaitGroup
	feeds.Go(func() { f.list(ctx) })
	feeds.Go(func() { f.logs(ctx) })
	_, err := program.Run()
	cancel()
	feeds.Wait()
	if errors.Is(err, tea.ErrProgramKilled) { // by ctx: SIGTERM, or Ctrl-C from elsewhere
		return context.Canceled
	}
	return err
}

// painterOf paints texts if there are to be colours.
func (c *cli) painterOf() func(colour, text string) string {
	on := c.colours()
	return func(colour, text string) string {
		if !on || colour == "" || text == "" {
			return text
		}
		return "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
}

const (
	monitFPS   = 20
	monitEvery = time.Second           // between two looks at the list
	monitBatch = 50 * time.Millisecond // lines of a log are shown together
)

// monitFeed brings news to the dashboard, and carries out what its keys ask for.
type monitFeed struct {
	*cli
	program *tea.Program
	chosen  chan int // whose log is to be shown; one place: the latest
}

// choose has the log of another instance shown.
func (f *monitFeed) choose(id int) {
	select {
	case <-f.chosen: // nobody has seen that one
	default:
	}
	f.chosen <- id
}

// act is a command of bubbletea: it asks the daemon, and brings its answer.
func (f *monitFeed) act(path, did string, row api.Instance) tea.Cmd {
	return func() tea.Msg {
		what := fmt.Sprintf("%s:%d (id %d)", row.Name, row.Index, row.ID)
		var out api.Outcome
		if err := f.client.Post(context.Background(), path, api.Targets{Targets: []string{strconv.Itoa(row.ID)}}, &out); err != nil {
			return answerMsg{what + ": " + err.Error(), true}
		}
		for _, a := range out.Apps {
			did = a.Did
		}
		return answerMsg{what + ": " + did, false}
	}
}

// list looks at the instances, and at the chosen one more closely, each second.
func (f *monitFeed) list(ctx context.Context) {
	tick := time.NewTicker(monitEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		rows, err := f.client.Instances(ctx, nil)
		f.program.Send(listMsg{rows, err, time.Now()})
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// detail is a command of bubbletea: everything about one instance.
func (f *monitFeed) detail(id int) tea.Cmd {
	return func() tea.Msg {
		query := api.Targeted(strconv.Itoa(id))
		query.Set("deep", "1")
		var found []api.Detail
		if err := f.client.Get(context.Background(), api.PathDetails, query, &found); err != nil || len(found) != 1 {
			return nil // it has just gone; the list says so
		}
		return detailMsg{found[0]}
	}
}

// logs follows the log of whoever is chosen, one after the other.
func (f *monitFeed) logs(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-f.chosen:
			stop()
			running.Wait()
			one, cancel := context.WithCancel(ctx)
			stop = cancel
			running.Go(func() { f.follow(one, id) })
		}
	}
}

// follow brings what an instance has written last, and what it writes.
func (f *monitFeed) follow(ctx context.Context, id int) {
	const pause = 100 * time.Millisecond // whoever goes through a long list doesn't read them all
	select {
	case <-ctx.Done():
		return
	case <-time.After(pause):
	}
	lines := &collector{id: id}
	var sending sync.WaitGroup
	bounded, cancel := context.WithCancel(ctx)
	sending.Go(func() { lines.send(bounded, f.program.Send) })
	defer sending.Wait()
	defer cancel()
	query := api.Targeted(strconv.Itoa(id))
	query.Set("follow", "1")
	for ctx.Err() == nil {
		v := newLogView(f.cli, logOptions{raw: true}, logs.Query{Last: monitLines / 2}, "")
		v.show, v.silent = lines.add, true
		err := api.Stream(ctx, f.client, api.PathLogs, query, func(e api.LogEvent, first bool) error { return v.event(ctx, e, first) })
		v.close()
		if err == nil || errors.Is(err, errGone) || ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(monitEvery):
		}
		lines.clear()
	}
}

// collector gathers lines until they are sent. It keeps no more than are shown.
type collector struct {
	id    int
	mu    sync.Mutex // guards the rest
	lines []monitLine
	begun bool // somebody has been told; else the lines replace what was shown before
}

func (l *collector) add(line logs.Line) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, monitLine{printable(string(line.Text)), line.Source.Err})
	if len(l.lines) >= 2*monitLines {
		l.lines = append(l.lines[:0:0], l.lines[len(l.lines)-monitLines:]...)
	}
	return nil
}

func (l *collector) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines, l.begun = nil, false
}

// send sends what has come, some times a second, until ctx ends.
func (l *collector) send(ctx context.Context, to func(tea.Msg)) {
	tick := time.NewTicker(monitBatch)
	defer tick.Stop()
	for {
		l.mu.Lock()
		msg := logMsg{l.id, l.lines, !l.begun}
		changed := !l.begun || len(l.lines) > 0
		l.lines, l.begun = nil, true
		l.mu.Unlock()
		if changed {
			to(msg)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
