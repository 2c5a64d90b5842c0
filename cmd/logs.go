package cmd

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gopm/daemon/api"
	"gopm/logs"
)

// logOptions are the options of logs.
type logOptions struct {
	lines     int
	counted   bool // --lines was given
	onlyErr   bool
	onlyOut   bool
	raw       bool
	json      bool
	keyed     bool // --format
	nostream  bool
	timestamp string // in the words of day.js
	since     string
	until     string
	grep      string
	highlight string
}

const logsHelp = `Show the last lines of apps' logs, merged by time, then follow them. Without a
target all apps. Lines of stderr are red on a terminal and marked (err) elsewhere. A
terminal gets text and colours, all other control characters as \x1b; --raw passes all.

  gopm logs web --since 10m               everything from the last ten minutes on
  gopm logs --since 10:30 --until 10:45   between two times of today
  gopm logs --grep 'timeout|refused'      the last lines that match, and those to come
  gopm logs --json --since 1d --nostream  one JSON object per line, for programs
  gopm logs --timestamp=HH:mm:ss.SSS      each line's time before it

Times are an age (30s, 10m, 2h, 1d, 1w, 1h30m), a time of day (10:30, the last one)
or a date (2026-11-22, "2026-11-22 10:00", 2026-11-22T10:00:00Z). With --since, and
without --lines, all lines from then on are shown. --grep takes a regular expression
of Go: (?i) before it ignores case. Rotated and compressed files are searched too.
A line's time is the one it carries (log_type: json), else the one noted when it was
written; in files that are older than the daemon it is estimated.
A target is ` + targetHelp

const (
	stampWords = "YYYY-MM-DD-HH:mm:ss"   // pm2's for --timestamp
	keyedWords = "YYYY-MM-DD-HH:mm:ssZZ" // and for --format
)

// looksLikeWords: a format of times rather than the name of an app.
func looksLikeWords(s string) bool {
	return strings.Contains(s, "YYYY") || strings.Contains(s, "HH:") || strings.Contains(s, "mm:ss")
}

func (c *cli) logsCmd() *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:     "logs [TARGET...]",
		Aliases: []string{"log"},
		Short:   "Show what apps write, then follow",
		Long:    logsHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.counted = cmd.Flags().Changed("lines")
			if o.timestamp == stampWords && len(args) > 0 && looksLikeWords(args[0]) { // as with pm2
				return usagef("--timestamp %s: want --timestamp=%s (with =)", args[0], args[0])
			}
			q, err := o.query(time.Now())
			if err != nil {
				return err
			}
			return c.logs(cmd.Context(), args, o, q)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.lines, "lines", 15, "show the last `N` lines of each app")
	f.StringVar(&o.since, "since", "", "only lines from `TIME` on: 10m, 1d, 10:30, \"2026-11-22 10:00\"")
	f.StringVar(&o.until, "until", "", "only lines up to `TIME`; implies --nostream")
	f.StringVar(&o.highlight, "highlight", "", "make `WORD` stand out on a terminal")
	f.BoolVar(&o.raw, "raw", false, "the lines alone, without a prefix")
	f.BoolVar(&o.json, "json", false, "one JSON object per line")
	f.BoolVar(&o.keyed, "format", false, "one line of timestamp=… app=… id=… type=… message=…")
	o.takeLineFlags(f)
	f.BoolVar(&o.nostream, "nostream", false, "do not follow")
	return cmd
}

// takeLineFlags defines the options that choose lines, and how they are shown, also of
// other machines.
func (o *logOptions) takeLineFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.onlyErr, "err", false, "stderr only")
	f.BoolVar(&o.onlyOut, "out", false, "stdout only")
	f.StringVar(&o.grep, "grep", "", "only lines that match the regular expression `RE`")
	f.StringVar(&o.timestamp, "timestamp", "", "each line's time before it; `=FORMAT` as for log_date_format")
	f.Lookup("timestamp").NoOptDefVal = stampWords
}

// query checks the options and says what they ask of the logs.
func (o *logOptions) query(now time.Time) (q logs.Query, err error) {
	switch {
	case o.onlyErr && o.onlyOut:
		return q, usagef("--err and --out exclude each other; without both you see both")
	case o.raw && o.json, o.raw && o.keyed, o.json && o.keyed:
		return q, usagef("--raw, --json and --format exclude one another")
	case o.json && o.timestamp != "":
		return q, usagef("--json and --timestamp exclude each other; the time is in each object")
	case o.lines < 0:
		return q, usagef("--lines %d: want a number from 0", o.lines)
	}
	q.Last = o.lines
	if o.since != "" {
		if q.Since, err = logTime("--since", o.since, now); err != nil {
			return q, err
		}
		if !o.counted {
			q.Last = -1
		}
	}
	if o.until != "" {
		o.nostream = true
		if q.Until, err = logTime("--until", o.until, now); err != nil {
			return q, err
		}
		if q.Until.Before(q.Since) {
			return q, usagef("--until %s is before --since %s", o.until, o.since)
		}
	}
	if o.grep != "" {
		if q.Match, err = regexp.Compile(o.grep); err != nil {
			return q, usagef("--grep %s: %s", o.grep, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	}
	return q, nil
}

func (c *cli) logs(ctx context.Context, args []string, o logOptions, q logs.Query) error {
	targets, err := c.targetNames(ctx, args)
	if err != nil {
		return err
	}
	query := api.Targeted(targets...)
	if !o.nostream {
		query.Set("follow", "1")
	}
	ctx, stop := untilUnread(ctx, c.out)
	defer stop()
	v := newLogView(c, o, q, orElse(strings.Join(targets, ", "), "all"))
	defer v.close()
	err = api.Stream(ctx, c.client, api.PathLogs, query, func(e api.LogEvent, first bool) error { return v.event(ctx, e, first) })
	switch {
	case ctx.Err() != nil: // Ctrl-C is how one leaves, or the end of what reads us
		return nil
	case errors.Is(err, errGone), o.nostream && errors.Is(err, api.ErrStreamEnded):
		err = nil
	}
	if err == nil && o.nostream && v.troubled {
		return quiet{exitFailed}
	}
	return err
}
