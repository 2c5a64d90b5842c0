package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"gopm/logs"
)

// linePrinter writes lines of logs in the form that the options ask for.
type linePrinter struct {
	*cli
	options  logOptions
	out      *bufio.Writer
	live     bool // a person looks at it: nothing waits in the buffer
	width    int  // of the widest "id|name"
	prefixes map[*logs.Source]string
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
	var err error // one of an earlier write stays with the writer
	switch {
	case p.options.json:
		err = p.printJSON(l)
	case p.options.raw:
		p.out.Write(p.highlighted(l.Text))
		err = p.out.WriteByte('\n')
	default:
		p.out.WriteString(p.prefix(l.Source))
		p.out.Write(p.highlighted(l.Text))
		err = p.out.WriteByte('\n')
	}
	if err == nil && p.live {
		err = p.out.Flush()
	}
	return err
}

// prefix says whose line it is, as pm2 does: "0|web  | ".
func (p *linePrinter) prefix(s *logs.Source) string {
	if text, known := p.prefixes[s]; known {
		return text
	}
	who := label(s.ID, s.App)
	text := who + strings.Repeat(" ", max(0, p.width-textWidth(who))) + " | "
	switch {
	case !s.Err:
		text = p.paint(green, text)
	case p.colours():
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
	if word == "" || !p.colours() {
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
