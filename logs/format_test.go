package logs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestLayout(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 5, 7, 8, 9, 45e6, time.FixedZone("", 2*3600+1800))
	evening := time.Date(2026, 11, 22, 19, 0, 0, 0, time.UTC)
	tests := []struct {
		layout string
		at     time.Time
		want   string
	}{
		{"YYYY-MM-DD HH:mm:ss.SSS Z", at, "2026-03-05 07:08:09.045 +02:30"},
		{"YYYY-MM-DDTHH:mm:ss", at, "2026-03-05T07:08:09"},
		{"YY M D H h m s ZZ", at, "26 3 5 7 7 8 9 +0230"},
		{"dddd, MMMM D", at, "Thursday, March 5"},
		{"d dd ddd MMM", at, "4 Th Thu Mar"},
		{"h:mm A", evening, "7:00 PM"},
		{"hh a", evening, "07 pm"},
		{"hh a", at, "07 am"},
		{"X x", evening, "1795374000 1795374000000"},
		{"[at] HH", at, "at 07"},
		{"[YYYY]YYYY[]", at, "YYYY2026[]"},
		{"[open", at, "[open"},
		{"Y S Q", at, "Y S Q"},
		{"MMMMM", at, "March3"},
		{"SSSS", at, "045S"},
		{"2026 01 Jan", at, "2026 01 Jamn"},
		{"HH\nmm", at, "07 08"},
		{"é日", at, "é日"},
		{"", at, ""},
	}
	for _, tt := range tests {
		if got := string(parseLayout(tt.layout).append(nil, tt.at)); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.layout, got, tt.want)
		}
	}
}

func FuzzLayout(f *testing.F) {
	for _, s := range []string{"YYYY-MM-DD HH:mm:ss.SSS Z", "[a]b]", "[[", "]", "dddd\n", "\xff[\xff]"} {
		f.Add(s, int64(1e18))
	}
	f.Fuzz(func(t *testing.T, s string, ns int64) {
		l := parseLayout(s)
		got := l.append([]byte("x"), time.Unix(0, ns))
		if got[0] != 'x' || bytes.IndexByte(got, '\n') >= 0 {
			t.Errorf("%q: %q", s, got)
		}
	})
}

// object is a line of log_type json.
type object struct {
	Message string `json:"message"`
	Time    string `json:"timestamp"`
	Type    string `json:"type"`
	ID      int    `json:"process_id"`
	App     string `json:"app_name"`
	Partial bool   `json:"partial"`
}

func TestFormats(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 5, 7, 8, 9, 45e6, time.FixedZone("", 3600))
	tests := map[string]struct {
		format  Format
		text    string
		partial bool
		want    string
	}{
		"as it is":    {Format{}, "a\x00b\xff", false, "a\x00b\xff"},
		"time":        {Format{Layout: "HH:mm"}, "a b", true, "07:08: a b"},
		"json":        {Format{JSON: true, App: `we"b`, ID: 3}, "hi", false, `{"message":"hi","timestamp":"2026-03-05T06:08:09.045Z","type":"out","process_id":3,"app_name":"we\"b"}`},
		"json, time":  {Format{JSON: true, Layout: `"HH`, Err: true}, "", false, `{"message":"","timestamp":"\"07","type":"err","process_id":0,"app_name":""}`},
		"json, piece": {Format{JSON: true}, "\"\\\t\r\x00\x1f\x7f é\xff", true, `{"message":"\"\\\t\r\u0000\u001f` + "\x7f é\ufffd" + `","timestamp":"2026-03-05T06:08:09.045Z","type":"out","process_id":0,"app_name":"","partial":true}`},
	}
	for name, tt := range tests {
		w := newFormatter(tt.format)
		for range 2 { // the second time with the stamp that is there
			if got := string(w.line(nil, []byte(tt.text), at, tt.partial)); got != tt.want+"\n" {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
		}
	}
}

// framed is what a framer makes of data that comes in pieces.
func framed(f *framer, pieces ...[]byte) string {
	var out lines
	var held []byte
	for _, piece := range pieces {
		held = append(held, piece...)
		for {
			more, used := f.next(out, held, time.Unix(0, 0))
			out, held = more, held[used:]
			if used == 0 {
				break
			}
		}
	}
	if len(held) > 0 {
		out = f.end(out, held, time.Unix(0, 0))
	}
	return string(out.file)
}

func TestFramer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine-1)
	tests := map[string]struct{ in, want []string }{
		"lines":                    {[]string{"a\nb\n", "c"}, []string{"a", "b", "c"}},
		"in pieces":                {[]string{"a", "b", "\n"}, []string{"ab"}},
		"empty lines":              {[]string{"\n\n"}, []string{"", ""}},
		"as long as may be":        {[]string{long + "x\ny\n"}, []string{long + "x", "y"}},
		"too long":                 {[]string{long + "xy\nz\n"}, []string{long + "x", "y", "z"}},
		"character at the cut":     {[]string{long + "é!\n"}, []string{long, "é!"}},
		"no character at the cut":  {[]string{long[4:] + "\x80\x80\x80\x80\x80\x80\x80\n"}, []string{long[4:] + "\x80", "\x80\x80\x80\x80\x80\x80"}},
		"nothing but continuation": {[]string{strings.Repeat("\x80", maxLine+1) + "\n"}, []string{strings.Repeat("\x80", maxLine-4), strings.Repeat("\x80", 5)}},
	}
	for name, tt := range tests {
		var f framer
		var in [][]byte
		for _, s := range tt.in {
			in = append(in, []byte(s))
		}
		if got, want := framed(&f, in...), strings.Join(tt.want, "\n")+"\n"; got != want {
			t.Errorf("%s: %d bytes %.30q…, want %d %.30q…", name, len(got), got[max(0, len(got)-30):], len(want), want[max(0, len(want)-30):])
		}
	}
}

// TestNewlineAfterAnEndedLine: what was cut by us isn't followed by an empty line.
func TestNewlineAfterAnEndedLine(t *testing.T) {
	t.Parallel()
	var f framer
	got := string(f.end(lines{}, []byte("name? "), time.Time{}).file) + framed(&f, []byte("\n\njoe\n"))
	if got != "name? \n\njoe\n" {
		t.Errorf("%q", got)
	}
}

func TestWholeRunes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "a": 1, "é": 2, "aé"[:2]: 1, "日"[:2]: 0, "a日"[:3]: 1, "😀"[:3]: 0, "\x80\x80": 2, "a\xff": 2} {
		if got := wholeRunes([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// FuzzFramer: nothing is lost or added, however the bytes come.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("a\nbé\n"), 2, 100)
	f.Add([]byte("\n\n\x00\xff"), 1, 70_000)
	f.Fuzz(func(t *testing.T, data []byte, cut, repeat int) {
		if len(data) > 0 && repeat > 0 && repeat < 80_000 {
			data = append(bytes.Repeat(data[:1], repeat), data...)
		}
		cut = min(max(cut, 0), len(data))
		var plain framer
		got := framed(&plain, data[:cut], data[cut:])
		want := string(data)
		if got != want && strings.ReplaceAll(got, "\n", "") != strings.ReplaceAll(want, "\n", "") {
			t.Fatalf("%d bytes became %d", len(want), len(got))
		}
		if len(want) > 0 && strings.Count(got, "\n") > strings.Count(want, "\n")+1+len(want)/(maxLine-4) {
			t.Fatalf("%d lines became %d", strings.Count(want, "\n"), strings.Count(got, "\n"))
		}
		objects := framer{format: newFormatter(Format{JSON: true})}
		before := ""
		for line := range strings.Lines(framed(&objects, data[:cut], data[cut:])) {
			if line == before {
				continue
			}
			before = line
			var o object
			if err := json.Unmarshal([]byte(line), &o); err != nil || !utf8.ValidString(line) {
				t.Fatalf("%.100q: %v", line, err)
			}
		}
		if utf8.Valid(data) {
			for line := range strings.Lines(got) {
				if !utf8.ValidString(line) {
					t.Fatalf("a character was cut: %.100q", line)
				}
			}
		}
	})
}

// TestFormattingAllocatesNothing per line.
func TestFormattingAllocatesNothing(t *testing.T) {
	for _, format := range []Format{{Layout: "YYYY-MM-DD HH:mm:ss.SSS Z"}, {JSON: true, App: "web"}} {
		w := newFormatter(format)
		out := make([]byte, 0, 4<<10)
		text := []byte(strings.Repeat(`x"é`, 100))
		ms := int64(0)
		if n := testing.AllocsPerRun(1000, func() {
			ms += 3
			out = w.line(out[:0], text, time.UnixMilli(ms), false)
		}); n > 0 {
			t.Errorf("%+v: %v allocations for a line", format, n)
		}
	}
}
