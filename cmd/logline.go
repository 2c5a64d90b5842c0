package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gopm/logs"
)

// linePrinter writes lines of logs in the form that the options ask for.
type linePrinter struct {
	*cli
	options  logOptions
	out      *bufio.Writer
	live     bool // a person looks at it: nothing waits in the buffer
	coloured bool
	width    int // of the widest "id|name"
	prefixes map[*logs.Source]string
	stamp    func([]byte, time.Time) []byte // nil: no times
	scratch  []byte
}

func newLinePrinter(c *cli, o logOptions) *linePrinter {
	p := &linePrinter{cli: c, options: o, out: bufio.NewWriterSize(c.out, 64<<10), live: isTerminal(c.out), coloured: c.colours()}
	if o.raw {
		direct(c.out)
	}
	switch {
	case o.timestamp != "":
		p.stamp = logs.TimeFormat(o.timestamp)
	case o.keyed:
		p.stamp = logs.TimeFormat(keyedWords)
	}
	return p
}

// known widens the prefix for what is going to be shown.
func (p *linePrinter) known(sources []logs.Source) {
	for _, s := range sources {
		p.width = max(p.width, textWidth(label(s.ID, s.App)))
	}
	p.prefixes = map[*logs.Source]string{}
}

// print prints one line.
func (p *linePrinter) print(l logs.Line) error {
	if p.options.json {
		if err := p.printJSON(l); err != nil {
			return err
		}
	} else {
		if !p.options.keyed && p.stamp != nil {
			p.writeStamp(l)
		}
		if !p.options.raw {
			p.out.WriteString(p.prefix(l))
		}
		p.out.Write(p.highlighted(l.Text))
		if p.live && !p.options.raw && bytes.IndexByte(l.Text, '\x1b') >= 0 {
			p.out.WriteString("\x1b[0m") // its colours are not the next line's
		}
		if err := p.out.WriteByte('\n'); err != nil { // an earlier one, too: it stays with the writer
			return err
		}
	}
	if p.live {
		return p.out.Flush()
	}
	return nil
}

func (p *linePrinter) writeStamp(l logs.Line) {
	if text := p.time(l) + " "; p.coloured {
		p.out.WriteString(p.paint(dim, text))
	} else {
		p.out.WriteString(text)
	}
}

func (p *linePrinter) time(l logs.Line) string {
	p.scratch = p.stamp(p.scratch[:0], l.Time.Local())
	return string(p.scratch)
}

// prefix says whose line it is, as pm2 does: "0|web  | ".
func (p *linePrinter) prefix(l logs.Line) string {
	s := l.Source
	if p.options.keyed {
		return fmt.Sprintf("timestamp=%s app=%s id=%d type=%s message=", p.time(l), s.App, s.ID, streamName(s))
	}
	if text, known := p.prefixes[s]; known {
		return text
	}
	who := label(s.ID, s.App)
	text := who + strings.Repeat(" ", max(0, p.width-textWidth(who))) + " | "
	switch {
	case !s.Err:
		text = p.paint(green, text)
	case p.coloured:
		text = p.paint(red, text)
	default:
		text += "(err) "
	}
	p.prefixes[s] = text
	return text
}

func label(id int, name string) string { return fmt.Sprintf("%d|%s", id, name) }

// highlighted shows a word in reverse, whatever the colours around it.
func (p *linePrinter) highlighted(text []byte) []byte {
	word := p.options.highlight
	if word == "" || !p.coloured {
		return text
	}
	return bytes.ReplaceAll(text, []byte(word), []byte("\x1b[7m"+word+"\x1b[27m"))
}

// logLine is a line for programs, in the words of pm2.
type logLine struct {
	Message   string `json:"message"`
	Timestamp string `json:"timestamp"`
	Type      string `json:"type"`
	ID        int    `json:"process_id"`
	App       string `json:"app_name"`
}

func (p *linePrinter) printJSON(l logs.Line) error {
	if isLogLine(l.Text) {
		p.out.Write(l.Text)
		return p.out.WriteByte('\n')
	}
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(logLine{string(l.Text), l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), streamName(l.Source), l.Source.ID, l.Source.App})
}

// isLogLine: such an object already, written by log_type: json. It isn't wrapped again.
func isLogLine(text []byte) bool {
	return bytes.HasPrefix(text, []byte(`{"message":`)) && bytes.Contains(text, []byte(`"timestamp":"`)) && json.Valid(text)
}

func streamName(s *logs.Source) string {
	if s.Err {
		return "err"
	}
	return "out"
}
