package cmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/logs"
)

const fleetLogsHelp = `Show the last lines that an app has written on all machines, merged by time, each with its
machine before it; with -f follow them. The lines come by ssh, which asks no questions here: the
keys have to be there. A machine that does not answer is named, and holds up no other for more
than 10 s. The times are those of the machines: so good the merge is as their clocks are.

  gopm fleet logs web -f
  gopm fleet logs web --host a,b --since 10m --grep timeout`

func (c *cli) fleetLogsCmd() *cobra.Command {
	var o logOptions
	var hosts []string
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs APP",
		Short: "Show what an app writes on all machines, merged by time",
		Long:  fleetLogsHelp,
		Args:  oneApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.counted, o.nostream = cmd.Flags().Changed("lines"), !follow
			q, err := o.query(time.Now())
			if err != nil {
				return err
			}
			if follow && o.until != "" {
				return usagef("-f and --until exclude each other")
			}
			fleet, err := c.machines(cmd.Context(), args[0], fleetView{hosts: hosts})
			if err != nil {
				return err
			}
			if len(fleet.Machines) == 0 {
				return nobodyHas(args[0])
			}
			for _, h := range hosts {
				if !slices.ContainsFunc(fleet.Machines, func(m api.FleetMachine) bool { return m.Host == h }) {
					return fmt.Errorf("%s has no app %s; gopm fleet ls shows what there is", h, args[0])
				}
			}
			ctx, stop := untilUnread(cmd.Context(), c.out)
			defer stop()
			return c.fleetLogs(ctx, fleet.Machines, args[0], o, q)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&hosts, "host", nil, "these `HOSTS` only")
	f.BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	f.IntVar(&o.lines, "lines", 15, "show the last `N` lines of each machine's app")
	f.StringVar(&o.since, "since", "", "only lines from `TIME` on, as for gopm logs")
	f.StringVar(&o.until, "until", "", "only lines up to `TIME`")
	f.BoolVar(&o.json, "json", false, "one JSON object per line, with its host")
	o.takeLineFlags(f)
	return cmd
}

// words are the call of gopm logs on each machine. Times are sent as what they are: it
// may be in another zone.
func (o logOptions) words(app string, q logs.Query) []string {
	words := []string{"logs", "--json"}
	if o.counted || o.since == "" {
		words = append(words, "--lines", strconv.Itoa(o.lines))
	}
	for _, t := range []struct {
		option string
		time   time.Time
	}{{"--since", q.Since}, {"--until", q.Until}} {
		if !t.time.IsZero() {
			words = append(words, t.option, t.time.UTC().Format(time.RFC3339Nano))
		}
	}
	if o.grep != "" {
		words = append(words, "--grep="+o.grep)
	}
	for _, f := range []struct {
		option string
		given  bool
	}{{"--err", o.onlyErr}, {"--out", o.onlyOut}, {"--nostream", o.nostream}} {
		if f.given {
			words = append(words, f.option)
		}
	}
	return append(words, "--", app)
}

// mergedLogs is the merged logs of some machines.
type mergedLogs struct {
	*cli
	merge   merge
	options logOptions
	line    *linePrinter
	wide    int // of the longest name of a machine
	sources map[string]*logs.Source
	room    []chan struct{} // by lane: what it may have waiting
	events  chan laneEvent
	failed  bool
}

// laneEvent is what one machine has said: that it is there, a line, or its end.
type laneEvent struct {
	lane int
	text []byte
	ends bool
	err  error
}

func (c *cli) fleetLogs(ctx context.Context, machines []api.FleetMachine, app string, o logOptions, q logs.Query) error {
	const waiting = 1000 // lines of a machine; more stay with it
	v := &mergedLogs{cli: c, options: o, line: newLinePrinter(c, o), sources: map[string]*logs.Source{}, events: make(chan laneEvent)}
	v.merge.mergePatience, v.merge.follow = usualPatience(), !o.nostream
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup // each ends with its ssh, at the latest with ctx
	defer readers.Wait()
	defer cancel()
	for i, m := range machines {
		v.merge.lanes = append(v.merge.lanes, lane{host: m.Host, heard: time.Now()})
		v.room = append(v.room, make(chan struct{}, waiting))
		v.wide = max(v.wide, textWidth(m.Host))
		readers.Go(func() {
			err := v.read(ctx, i, m, o.words(app, q))
			v.tell(ctx, laneEvent{lane: i, ends: true, err: err})
		})
	}
	err := v.show(ctx)
	if flushed := v.line.out.Flush(); err == nil {
		err = flushed
	}
	switch {
	case ctx.Err() != nil: // Ctrl-C is how one leaves
		return nil
	case err == nil && v.failed:
		return quiet{exitFailed}
	}
	return err
}

// tell says false when nobody listens any more.
func (v *mergedLogs) tell(ctx context.Context, e laneEvent) bool {
	select {
	case v.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

// read tells what one machine says, until its end and how it came.
func (v *mergedLogs) read(ctx context.Context, at int, m api.FleetMachine, words []string) error {
	cmd, err := v.logsOf(ctx, m, words)
	if err != nil {
		return err
	}
	said := &lastLine{}
	cmd.Stderr = said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot run %s: %v", cmd.Args[0], err)
	}
	readErr := v.readLines(ctx, at, out, m.Here)
	if readErr != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	host, _ := machineHost(m)
	err = host.verdict(cmd.Wait(), said.String())
	if readErr != nil {
		return readErr
	}
	if err == nil && said.String() != "" {
		err = errors.New(strings.TrimPrefix(said.String(), "gopm: "))
	}
	return err
}

// logsOf runs gopm logs on a machine, which needs no ssh if it is this one.
func (v *mergedLogs) logsOf(ctx context.Context, m api.FleetMachine, words []string) (*exec.Cmd, error) {
	if m.Here {
		cmd := exec.CommandContext(ctx, "/proc/self/exe", words...)
		cmd.Env = append(os.Environ(), "GOPM_HOME="+m.Home)
		return cmd, nil
	}
	host, err := machineHost(m)
	if err != nil {
		return nil, err
	}
	argv := host.argv(fleetOptions(), greeting, words...)
	return exec.CommandContext(ctx, argv[0], argv[1:]...), nil
}

// readLines tells the lines of a machine, from its greeting on: before that are words of
// the shell there.
func (v *mergedLogs) readLines(ctx context.Context, at int, r io.Reader, there bool) error {
	const longest = 4 << 20 // a line has at most 64 KiB, each byte of it at most 6 in JSON
	in := bufio.NewScanner(r)
	in.Buffer(nil, longest)
	for in.Scan() {
		text := in.Bytes()
		if !there {
			if there = string(text) == greeting; there && !v.tell(ctx, laneEvent{lane: at}) {
				return ctx.Err()
			}
			continue
		}
		select {
		case v.room[at] <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !v.tell(ctx, laneEvent{lane: at, text: bytes.Clone(text)}) {
			return ctx.Err()
		}
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return errors.New("it has sent a line that is longer than 4 MB")
	}
	return nil // how the connection has ended says ssh
}

// show prints what comes until all has come.
func (v *mergedLogs) show(ctx context.Context) error {
	for !v.merge.over() {
		for heard := true; heard; { // what is there already counts before a time that has passed
			select {
			case e := <-v.events:
				v.hearEvent(e)
			default:
				heard = false
			}
		}
		now := time.Now()
		for _, host := range v.merge.silent(now) {
			v.warn("gopm: %s: no answer for %s; going on without it", host, duration(v.merge.answer))
		}
		at, until := v.merge.next(now)
		if at >= 0 {
			line := v.merge.pop(at, now)
			<-v.room[at]
			if err := line.show(); err != nil {
				return err
			}
			continue
		}
		if v.merge.over() {
			break
		}
		if err := v.line.out.Flush(); err != nil {
			return err
		}
		if err := v.wait(ctx, until); err != nil {
			return err
		}
	}
	return nil
}

// wait returns when something was heard or a time has come.
func (v *mergedLogs) wait(ctx context.Context, until time.Time) error {
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case e := <-v.events:
		v.hearEvent(e)
	case <-alarm:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (v *mergedLogs) hearEvent(e laneEvent) {
	now := time.Now()
	switch {
	case e.ends:
		v.merge.lanes[e.lane].ended = true
		if e.err != nil {
			v.failed = true
			v.warn("gopm: %s: %v", v.merge.lanes[e.lane].host, e.err)
		}
	case e.text == nil:
		v.merge.hear(e.lane, now)
	default:
		v.takeText(e.lane, e.text, now)
	}
}

// takeText takes a line as gopm logs --json prints it. What is none is shown as it is, at
// the time of the line before it.
func (v *mergedLogs) takeText(at int, text []byte, now time.Time) {
	l := &v.merge.lanes[at]
	var line logLine
	if err := json.Unmarshal(text, &line); err != nil || len(text) == 0 || text[0] != '{' {
		line = logLine{Message: string(text), Type: "out"}
		text, _ = json.Marshal(line) // strings and numbers only
	}
	stamp, err := time.Parse(time.RFC3339, line.Timestamp)
	if err != nil { // a log_date_format of the app
		stamp = l.last
	}
	l.last = stamp
	v.merge.take(at, mergeLine{time: stamp, came: now, show: func() error { return v.print(l.host, line, stamp, text) }})
}

// print prints a line with its machine before it.
func (v *mergedLogs) print(host string, line logLine, stamp time.Time, text []byte) error {
	out := v.line.out
	if v.options.json {
		name, err := json.Marshal(host)
		if err != nil {
			return err
		}
		out.WriteString(`{"host":` + string(name))
		rest := bytes.TrimSpace(bytes.TrimPrefix(text, []byte("{")))
		if rest[0] != '}' {
			out.WriteByte(',')
		}
		out.Write(rest)
		return out.WriteByte('\n')
	}
	out.WriteString(v.paint(cyan, printable(host)+strings.Repeat(" ", max(0, v.wide-textWidth(host)))+" | "))
	key := fmt.Sprintf("%d %s %s", line.ID, line.Type, line.App)
	source := v.sources[key]
	if source == nil {
		source = &logs.Source{App: line.App, ID: line.ID, Err: line.Type == "err"}
		v.sources[key] = source
		v.line.known([]logs.Source{*source})
	}
	return v.line.print(logs.Line{Source: source, Time: stamp, Text: []byte(line.Message)})
}
