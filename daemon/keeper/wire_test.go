package keeper

import (
	"bufio"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The packets of version 2 as they have been sent since it exists. A later gopm has
// to read and write them, whatever else it learns.
func TestGoldenTranscript(t *testing.T) {
	t.Parallel()
	f, err := os.Open("testdata/protocol-2.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]message{
		"put":         {verb: verbPut, key: "i/7", main: Main{4711, 1234567}, note: []byte("{\"state\":\"online\"}\n\xff"), files: []int{8, 9}},
		"put note":    {verb: verbPut, key: "state", note: []byte("x")},
		"put long":    {verb: verbPut, key: "i/7", main: Main{2, 1<<64 - 1}, long: true, files: []int{8, 9, 10}},
		"drop":        {verb: verbDrop, key: "b/7/out"},
		"ready":       {verb: verbReady},
		"collect":     {verb: verbCollect, main: Main{Pid: 4711}},
		"deadline":    {verb: verbDeadline, key: "i/7", main: Main{4711, 1234567}, number: 15000},
		"until":       {verb: verbUntil, key: "i/7", main: Main{4711, 1234567}, number: 86400123, note: []byte("GOPM_HOME=/home/a b\x00pm_id=7\x00")},
		"until entry": {verb: verbUntil, key: "i/7", number: 1},
		"until 0":     {verb: verbUntil, key: "i/7"},
		"deadline 0":  {verb: verbDeadline, key: "i/7"},
		"handover":    {verb: verbHandOver, files: []int{8}},
		"leaving":     {verb: verbLeaving},
		"welcome":     {verb: verbWelcome, number: 0},
		"welcome new": {verb: verbWelcome, number: 0, note: []byte("leases yes\n")},
		"welcome 3":   {verb: verbWelcome, number: 3, note: []byte("before was killed by SIGKILL\nchildren elsewhere\nrefused its daemon exited with code 1 before it served\nroom 1023\n")},
		"entry":       {verb: verbEntry, key: "i/7", main: Main{4711, 1234567}, note: []byte("n"), files: []int{8, 9}},
		"entry long":  {verb: verbEntry, key: "i/7", long: true, files: []int{8}},
		"collected":   {verb: verbCollected, main: Main{Pid: 4711}, number: 256},
		"collected -": {verb: verbCollected, main: Main{Pid: 4711}, number: -1},
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, quoted, _ := strings.Cut(lines.Text(), ": ")
		packet, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		m, ok := want[name]
		if !ok {
			t.Errorf("%s is not expected", name)
		}
		delete(want, name)
		if got := string(m.encode()); got != packet {
			t.Errorf("%s: written as %q, want %q", name, got, packet)
		}
		if got, err := decode([]byte(packet), m.files, false); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: read as %+v, %v, want %+v", name, got, err, m)
		}
	}
	for name, m := range want {
		t.Errorf("missing: %s: %q", name, m.encode())
	}
}

func TestBadMessages(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]string{
		"":                                   `version ""`,
		"1 leaving\n":                        `version "1", want 2`,
		"2\n":                                "no verb",
		"2 leaving":                          "no end of the line",
		"2 dance\n":                          `unknown verb "dance"`,
		"2 leaving now\n":                    "want 0 values, got 1",
		"2 leaving\nnote":                    "an unexpected note",
		"2 collect 1\n":                      "pid 1 is not between 2",
		"2 collect 0\n":                      "pid 0 is not between 2",
		"2 collect -5\n":                     `pid "-5" is not a number`,
		"2 collect +5\n":                     `pid "+5" is not a number`,
		"2 collect 05\n":                     `pid "05" is not a number`,
		"2 collect 2147483648\n":             "pid 2147483648 is not between",
		"2 put k 1 5 0\n":                    "pid 1 is nobody's",
		"2 put k 5 x 0\n":                    `start time "x" is not a number`,
		"2 put k 5 6 251\n":                  "number of descriptors 251 is not between",
		"2 put k 5 6 2\n":                    "want 2 descriptors, got 0",
		"2 put k 5 6 0+\n":                   "want 1 descriptors, got 0",
		"2 put  5 6 0\n":                     "is not a word",
		"2 drop k\x00\n":                     "is not a word",
		"2 drop " + strings.Repeat("k", 201): "no end of the line",
		"2 drop " + strings.Repeat("k", 201) + "\n": "is not a word of at most 200",
		"2 deadline k 5 6 31622400001\n":            "time limit 31622400001 is not between",
		"2 deadline k 5 6 -1\n":                     `time limit "-1" is not a number`,
		"2 collected 5 -1\n":                        `status "-1" is not a number`,
		"2 handover\n":                              "want 1 descriptors, got 0",
	} {
		if m, err := decode([]byte(packet), nil, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", packet, m, err, want)
		}
	}
}

// FuzzDecode: nothing is read that encode would not have written, and nothing that
// could address more than one group.
func FuzzDecode(f *testing.F) {
	for _, packet := range packets() {
		f.Add(packet, 0)
	}
	for _, seed := range []string{"2 put i/7 4711 1234567 2\nnote", "2 put i/7 2 3 1+\n", "2 drop k\n", "2 leaving\n", "2 welcome 3\nbefore x\n", "2 collected 5 -\n", "2 deadline k 0 0 0\n", "2 until k 5 6 7\na=b\x00"} {
		f.Add([]byte(seed), 2)
	}
	f.Fuzz(func(t *testing.T, packet []byte, files int) {
		if files < 0 || files > maxFiles+1 {
			return
		}
		m, err := decode(packet, make([]int, files), false)
		if err != nil {
			return
		}
		if string(m.encode()) != string(packet) {
			t.Errorf("%q reads as %+v, which is %q", packet, m, m.encode())
		}
		if m.main.Pid < 0 || m.main.Pid == 1 {
			t.Errorf("%q addresses pid %d", packet, m.main.Pid)
		}
		if m.verb == verbWelcome {
			decodeGreeting(m.note)
		}
	})
}

func TestGreeting(t *testing.T) {
	t.Parallel()
	for _, g := range []greeting{{}, {before: "a b"}, {"was killed by SIGKILL", true, "x", 2047, true}} {
		if got := decodeGreeting(g.encode()); got != g {
			t.Errorf("%+v became %+v", g, got)
		}
	}
	if got := decodeGreeting([]byte("news of a later version\nbefore x\nroom 1\nroom many\n")); got != (greeting{before: "x"}) {
		t.Errorf("%+v", got)
	}
	if got := decodeGreeting((greeting{before: "two\nlines"}).encode()); got.before != "two lines" {
		t.Errorf("%+v", got)
	}
}

// What a keeper wrote into its memory once, any later one has to resume from.
func TestGoldenMemory(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/memory-1.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeMemory(text)
	want := memory{
		Version: 1, Lock: 5, Before: "handed over", Terminate: true,
		Daemon:    &memoryDaemon{Pid: 4712, Link: 7, Started: time.Date(2026, 7, 8, 9, 10, 11, 0, time.UTC), Ready: true, Leaving: true},
		Entries:   []memoryEntry{{Key: "api", Files: []int{8}}, {Key: "i/7", Pid: 4711, Start: 1234567, Note: []byte("{}\n\xff"), Files: []int{9, 10}}},
		Deadlines: []memoryDeadline{{Key: "i/7", Pid: 4711, Start: 1234567, Left: 15000}},
		Leases:    []memoryLease{{Key: "i/8", Ends: 86400123, Marker: []string{"pm_id=8"}}, {Key: "lock/8", Pid: 4711, Start: 1234567, Ends: 1}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if fds := got.descriptors(); !reflect.DeepEqual(fds, []int{5, 7, 8, 9, 10}) {
		t.Errorf("descriptors %v", fds)
	}
	for text, want := range map[string]string{
		``:                       "unexpected end",
		`{"version":2,"lock":5}`: "version 2, want 1",
		`{"version":1,"lock":0}`: "descriptor 0",
		`{"version":1,"lock":5,"entries":[{"key":"a b"}]}`:                  `entry "a b"`,
		`{"version":1,"lock":5,"entries":[{"key":"k","pid":1}]}`:            "pid 1",
		`{"version":1,"lock":5,"entries":[{"key":"k","files":[-1]}]}`:       "descriptor -1",
		`{"version":1,"lock":5,"deadlines":[{"key":"k","pid":-1}]}`:         "pid -1",
		`{"version":1,"lock":5,"leases":[{"key":"k","pid":1,"ends_ms":5}]}`: `lease "k", pid 1, ends 5`,
		`{"version":1,"lock":5,"leases":[{"key":"k"}]}`:                     `lease "k", pid 0, ends 0`,
		`{"version":1,"lock":5,"daemon":{"pid":0,"link":7}}`:                "daemon's pid 0",
	} {
		if _, err := decodeMemory([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
