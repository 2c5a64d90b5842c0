package cmd

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gopm/logs"
)

// FuzzTimes reads times as people type them: an age isn't below zero, a time isn't to come.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"90s", "1h30m", "2d", "1.5w", "100000w", "1..5s", "-1s", "5", "ms", "10:30", "24:00", "23:59:60", "2026-11-22", "2026-11-22T10:00:00Z", "2026-11-22 10:00:00.5 +02:00", "9999-12-31", "0001-01-01", " 5m ", "٣s", "1e3s", "999999999999999999999999s"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if age, ok := parseAge(text); age < 0 || !ok && age != 0 && text == "" {
			t.Errorf("%q is %v ago", text, age)
		}
		at, err := logTime("--since", text, now)
		if err == nil && at.After(now) {
			t.Errorf("%q is %v", text, at)
		}
		if err != nil && err.Error() == "" {
			t.Errorf("%q: an error that says nothing", text)
		}
		if s, err := parseScale([]string{"web", text}); err == nil && s.Name != "web" {
			t.Errorf("%q scales %q", text, s.Name)
		}
	})
}

// FuzzFleetLines has another machine say any line: a program that reads ours gets one
// object for each, with the host first.
func FuzzFleetLines(f *testing.F) {
	for _, s := range []string{
		`{"message":"x","timestamp":"2026-11-22T10:00:00Z","type":"out","process_id":1,"app_name":"web"}`, `{"message":"\u001b[2J\n"}`, "{", "{}", "", "null", "[1]", "\xff", `{"message":7}`, `{"host":"b","message":"x"} `,
		"\x1b]0;x\x07", `{"message":"x"}}`, `{"message":"x","timestamp":"9999-99-99"}`, "{ }", " {}", `{"a":1}{"b":2}`,
	} {
		f.Add([]byte(s), "web1")
	}
	f.Add([]byte("{}"), "\"\n\x1b")
	f.Fuzz(func(t *testing.T, text []byte, host string) {
		if bytes.ContainsAny(text, "\n") {
			return // a line is a line
		}
		for _, asJSON := range []bool{true, false} {
			var out bytes.Buffer
			c := &cli{out: &out, err: &out}
			o := logOptions{json: asJSON}
			v := &mergedLogs{cli: c, options: o, line: newLinePrinter(c, o), sources: map[string]*logs.Source{}}
			v.merge.lanes = []lane{{host: host}}
			v.takeText(0, text, time.Unix(5, 0))
			if len(v.merge.lanes[0].queue) != 1 {
				t.Fatalf("%q became %d lines", text, len(v.merge.lanes[0].queue))
			}
			if err := v.merge.pop(0, time.Unix(6, 0)).show(); err != nil {
				t.Fatal(err)
			}
			if err := v.line.out.Flush(); err != nil {
				t.Fatal(err)
			}
			if !asJSON {
				continue
			}
			var said map[string]any
			if err := json.Unmarshal(out.Bytes(), &said); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
				t.Errorf("%q is printed as %q: %v", text, out.Bytes(), err)
			}
			if utf8.ValidString(host) && !bytes.Contains(text, []byte("ost")) && !bytes.Contains(text, []byte(`\u`)) && said["host"] != host {
				t.Errorf("%q of %q is of %q", text, host, said["host"])
			}
		}
	})
}

// FuzzDeployFacts reads what our script, or a shell's profile, says on another machine.
func FuzzDeployFacts(f *testing.F) {
	for _, s := range []string{"begun", "done", "error no\x1b[2J", "locked 7 ann", "locked x", "code -5", "code 99999999999999999999", "row 1\tabc\t5\tmain\t*\tfix", "row", "row \t\t\t\t\t\t\t\t", "row 1\tabc\t-5\t", "nonsense"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		var facts deployFacts
		ended := facts.take(first) || facts.take(second)
		isEnd := func(fact string) bool {
			word, _, _ := strings.Cut(fact, " ")
			return word == "done" || word == "error" || word == "locked"
		}
		if ended != (isEnd(first) || isEnd(second)) {
			t.Errorf("%q, %q: %v, %+v", first, second, ended, facts)
		}
		for _, r := range facts.rows {
			if len(r.short()) > 7 || !r.since.IsZero() && r.since.Unix() <= 0 {
				t.Errorf("%q: %+v", first, r)
			}
		}
		_ = deployLocked{facts.locked}.Error()
	})
}

// FuzzLastLine keeps what ssh says last, however it comes: a short line that does nothing to
// a terminal.
func FuzzLastLine(f *testing.F) {
	f.Add([]byte("a\nb\r\n"), uint8(1))
	f.Add([]byte("\x1b[2J\n\n\x00"), uint8(200))
	f.Add(bytes.Repeat([]byte("long "), 3000), uint8(90))
	f.Fuzz(func(t *testing.T, said []byte, piece uint8) {
		var l lastLine
		for rest := said; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			if k, err := l.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if text := l.String(); len(text) > 3*longestLine || strings.ContainsAny(text, "\x1b\x00\n\r") {
			t.Errorf("%q is shown as %q", said, text)
		}
	})
}

// FuzzPM2Words has software that thinks it calls pm2 say anything: what belongs to the
// program arrives as it was said, and there is one command of ours.
func FuzzPM2Words(f *testing.F) {
	for _, s := range []string{"start app.js -i max --watch . -- -x --", "start -n", "reload all --update-env --no-daemon", "-v", "--", "", "start --name=x -nx -n= -sf", "start app.js --stop-exit-codes 1 2,3 x", "--json --raw --format start -i 2 a.js", "-i", "start -- --", "start a --web 99 --delay", "- -- -"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, line string, yes bool) {
		args := strings.Split(line, " ")
		w := pm2World{knows: func(string, string) bool { return yes }, isFolder: func(string) bool { return yes }}
		_, tail := beforeDashes(args)
		for name, translate := range map[string]func([]string, pm2World) (call, dropped []string){"pm2": fromPM2, "pm2-runtime": fromRuntime} {
			given := slices.Clone(args)
			call, dropped := translate(given, w)
			if !slices.Equal(given, args) {
				t.Errorf("%s: %q was changed", name, args)
			}
			if is := len(call) == 1 && call[0] == "version"; !is && !slices.Equal(call[max(0, len(call)-len(tail)):], tail) {
				t.Errorf("%s %q becomes %q, without what is the program's", name, args, call)
			}
			if len(call)+len(dropped) > 3*len(args)+2 {
				t.Errorf("%s %q becomes %q and %q", name, args, call, dropped)
			}
			if name == "pm2-runtime" && (len(call) == 0 || call[0] != "runtime" && call[0] != "version") {
				t.Errorf("%q becomes %q", args, call)
			}
		}
	})
}
