package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// eventOptions are the options of events.
type eventOptions struct {
	lines    int
	counted  bool // --lines was given
	kinds    []string
	since    string
	json     bool
	nostream bool
}

const eventsHelp = `Show what has happened last, then what happens: starts, ends, restarts, reloads, what
hooks and checks have come to. Without a target of all apps, and of the daemon itself.

  gopm events web                          what happens to web
  gopm events --kind exit,errored --json   one JSON object per line, for programs

The kinds: %s.
The daemon keeps the last 1,000 events in memory; all that was before it began is in its
log. With --since, and without --lines, all events from then on are shown.
A target is %s`

func (c *cli) eventsCmd() *cobra.Command {
	var o eventOptions
	cmd := &cobra.Command{
		Use:   "events [TARGET...]",
		Short: "Show what happens to apps, then follow",
		Long:  fmt.Sprintf(eventsHelp, strings.Join(api.EventKinds[:], " "), targetHelp),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.counted = cmd.Flags().Changed("lines")
			query, err := o.query(time.Now())
			if err != nil {
				return err
			}
			return c.events(cmd.Context(), args, o, query)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.lines, "lines", 15, "show the last `N` events")
	f.StringSliceVar(&o.kinds, "kind", nil, "only events of these `KINDS`: exit,errored")
	f.StringVar(&o.since, "since", "", "only events from `TIME` on: 10m, 1d, 10:30, \"2026-11-22 10:00\"")
	f.BoolVar(&o.json, "json", false, "one JSON object per line")
	f.BoolVar(&o.nostream, "nostream", false, "do not follow")
	return cmd
}

// query checks the options and says what they ask of the daemon.
func (o eventOptions) query(now time.Time) (q url.Values, err error) {
	q = url.Values{"kind": o.kinds}
	for _, k := range o.kinds {
		if !slices.Contains(api.EventKinds[:], k) {
			return q, usagef("--kind %s: there are no such events; there are: %s", k, strings.Join(api.EventKinds[:], ", "))
		}
	}
	if o.lines < 0 {
		return q, usagef("--lines %d: want a number from 0", o.lines)
	}
	if o.since != "" {
		since, err := logTime("--since", o.since, now)
		if err != nil {
			return q, err
		}
		q["since"] = []string{since.Format(time.RFC3339Nano)}
	}
	if o.since == "" || o.counted {
		q["lines"] = []string{strconv.Itoa(o.lines)}
	}
	if !o.nostream {
		q["follow"] = []string{"1"}
	}
	return q, nil
}

func (c *cli) events(ctx context.Context, args []string, o eventOptions, query url.Values) error {
	targets, err := c.targetNames(ctx, args)
	if err != nil {
		return err
	}
	query["target"] = targets
	ctx, stop := untilUnread(ctx, c.out)
	defer stop()
	begun := false
	err = api.Stream(ctx, c.client, api.PathEvents, query, func(part api.Events, first bool) error {
		if first && !begun && !o.json {
			c.sayWhere(part, o)
		}
		begun = true
		if part.Missed > 0 {
			c.warn("gopm: %d events are missing here; the daemon's log has them: %s", part.Missed, c.client.Home().Log())
		}
		for _, e := range part.Events {
			if err := c.printEvent(e, o.json); err != nil {
				return err
			}
			query["after"] = []string{strconv.FormatUint(e.Seq, 10)} // what the next daemon is asked for
		}
		return nil
	})
	if ctx.Err() != nil || o.nostream && errors.Is(err, api.ErrStreamEnded) {
		return nil
	}
	return err
}

// sayWhere says where older events are, if there are fewer than were asked for.
func (c *cli) sayWhere(first api.Events, o eventOptions) {
	if len(first.Events) < o.lines && o.since == "" && !c.silent {
		c.warn("note: events since %s, when this daemon began; earlier ones are in %s", first.Since.Local().Format(time.DateTime), c.client.Home().Log())
	}
}

// printEvent prints a line for people or for programs.
func (c *cli) printEvent(e api.Event, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(c.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	}
	who := orElse(e.App, "gopm")
	if e.EventOf != nil {
		who = fmt.Sprintf("%s:%d", e.App, e.Index)
	}
	const whoWidth, kindWidth = 14, 9
	pad := func(text string, width int) string {
		return text + strings.Repeat(" ", max(0, width-textWidth(text)))
	}
	_, err := fmt.Fprintf(c.out, "%s  %s  %s  %s\n", c.paint(dim, e.Time.Local().Format(time.DateTime)),
		pad(who, whoWidth), c.paint(eventColour(e.Kind), pad(e.Kind, kindWidth)), printable(e.Text))
	return err
}

func eventColour(kind string) string {
	switch kind {
	case api.EventErrored, api.EventUnhealthy:
		return red
	case api.EventExit, api.EventRestart, api.EventLog:
		return yellow
	case api.EventOnline, api.EventReady, api.EventHealthy:
		return green
	}
	return cyan
}
