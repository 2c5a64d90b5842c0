package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
	"gopm/logs"
)

// logOptions are the options of logs.
type logOptions struct {
	lines    int
	onlyErr  bool
	onlyOut  bool
	raw      bool
	nostream bool
}

func (c *cli) logsCmd() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:     "logs [TARGET...]",
		Aliases: []string{"log"},
		Short:   "Show what apps write, then follow",
		Long: `Show the last lines of apps' logs, merged by time, then follow them. Without a
target all apps. Lines of stderr are red on a terminal and marked (err) elsewhere.
A target is ` + targetHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.onlyErr && o.onlyOut {
				return usagef("--err and --out exclude each other; without both you see both")
			}
			if o.lines < 0 {
				return usagef("--lines %d: want a number from 0", o.lines)
			}
			return c.logs(cmd.Context(), args, o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.lines, "lines", 15, "show the last `N` lines of each app")
	f.BoolVar(&o.onlyErr, "err", false, "stderr only")
	f.BoolVar(&o.onlyOut, "out", false, "stdout only")
	f.BoolVar(&o.raw, "raw", false, "the lines alone, without a prefix")
	f.BoolVar(&o.nostream, "nostream", false, "do not follow")
	return cmd
}

func (c *cli) logs(ctx context.Context, args []string, o logOptions) error {
	targets, err := c.targetNames(ctx, args)
	if err != nil {
		return err
	}
	query := api.Targeted(targets...)
	if !o.nostream {
		query.Set("follow", "1")
	}
	v := &logView{cli: c, options: o, out: bufio.NewWriter(c.out), what: orElse(strings.Join(targets, ", "), "all")}
	defer v.close()
	ctx, stop := untilUnread(ctx, c.out)
	defer stop()
	err = api.Stream(ctx, c.client, api.PathLogs, query, v.event)
	switch {
	case ctx.Err() != nil: // Ctrl-C is how one leaves, or the end of what reads us
		return nil
	case o.nostream && errors.Is(err, api.ErrStreamEnded):
		return nil
	}
	return err
}

// logView prints logs: what was there first, then what comes.
type logView struct {
	*cli
	options logOptions
	out     *bufio.Writer
	what    string
	begun   bool
	places  []logPlace // by the position the daemon gave each source
	readers []*logs.Follower
	width   int // of the widest "id|name"
}

// logPlace says which follower reads a source; a nil one is not shown.
type logPlace struct {
	reader *logs.Follower
	index  int
}

// event prints what an event of the stream brings.
func (v *logView) event(e api.LogEvent) error {
	if len(e.Sources) > 0 || !v.begun {
		if err := v.open(e.Sources); err != nil {
			return err
		}
	}
	for _, i := range e.Grown {
		if i >= len(v.places) || v.places[i].reader == nil {
			continue
		}
		if err := v.places[i].reader.Read(v.places[i].index, v.print); err != nil {
			return err
		}
	}
	return v.out.Flush()
}

// open begins to show some sources: their last lines, merged by time.
func (v *logView) open(found []api.LogSource) error {
	var shown []logs.Source
	for _, s := range found {
		if s.Err && v.options.onlyOut || !s.Err && v.options.onlyErr {
			v.places = append(v.places, logPlace{})
			continue
		}
		v.places = append(v.places, logPlace{index: len(shown)})
		shown = append(shown, source(s))
		v.width = max(v.width, textWidth(label(s.ID, s.App)))
	}
	lines, reader, err := logs.Tail(shown, v.options.lines)
	if err != nil {
		return fmt.Errorf("cannot read the logs: %v", err)
	}
	v.readers = append(v.readers, reader)
	at := len(v.places) - len(found)
	for i, s := range found {
		if s.Err && !v.options.onlyOut || !s.Err && !v.options.onlyErr {
			v.places[at+i].reader = reader
		}
	}
	if !v.begun && !v.options.raw {
		fmt.Fprintf(v.out, "[TAILING] Tailing last %d lines for [%s] processes (change the value with --lines option)\n", v.options.lines, v.what)
	}
	v.begun = true
	for _, line := range lines {
		if err := v.print(line); err != nil {
			return err
		}
	}
	return nil
}

func source(s api.LogSource) logs.Source {
	src := logs.Source{App: s.App, ID: s.ID, Err: s.Err, Path: s.Path}
	for _, e := range s.Index {
		src.Index = append(src.Index, logs.IndexEntry{Inode: e.Inode, Offset: e.Offset, Time: e.Time})
	}
	return src
}

func label(id int, name string) string { return fmt.Sprintf("%d|%s", id, name) }

// print prints one line as pm2 does: "0|web  | text".
func (v *logView) print(l logs.Line) error {
	if !v.options.raw {
		who := label(l.Source.ID, l.Source.App)
		prefix := who + strings.Repeat(" ", max(0, v.width-textWidth(who))) + " | "
		mark := ""
		if l.Source.Err {
			prefix = v.paint(red, prefix)
			if !v.colours() {
				mark = "(err) "
			}
		} else {
			prefix = v.paint(green, prefix)
		}
		fmt.Fprint(v.out, prefix, mark)
	}
	_, _ = v.out.Write(l.Text) // an error stays with the writer: Flush returns it
	return v.out.WriteByte('\n')
}

func (v *logView) close() {
	v.out.Flush()
	for _, r := range v.readers {
		r.Close()
	}
}
