package cmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopm/daemon/api"
	"gopm/logs"
)

// logFiles are the logs of a view under test.
type logFiles struct {
	*testing.T
	dir string
}

func (f logFiles) source(name string, id int) api.LogSource {
	return api.LogSource{App: name, ID: id, Path: filepath.Join(f.dir, name+".log")}
}

func (f logFiles) write(name, text string) {
	f.Helper()
	file, err := os.OpenFile(filepath.Join(f.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.WriteString(text)
		file.Close()
	}
	if err != nil {
		f.Fatal(err)
	}
}

// A daemon that takes over numbers its sources anew. What was written meanwhile is
// shown, nothing twice, and what it says of growth is understood by its own numbers.
func TestLogViewGoesOnWithTheNextDaemon(t *testing.T) {
	t.Parallel()
	f := logFiles{t, t.TempDir()}
	var out bytes.Buffer
	o := logOptions{raw: true}
	v := newLogView(&cli{out: &out, err: &out}, o, logs.Query{Last: 10}, "all")
	defer v.close()
	tell := func(first bool, e api.LogEvent, want string) {
		t.Helper()
		out.Reset()
		if err := v.event(context.Background(), e, first); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	a, b, c := f.source("a", 0), f.source("b", 1), f.source("c", 2)
	f.write("a", "a1\n")
	f.write("b", "b1\n")
	tell(true, api.LogEvent{Sources: []api.LogSource{a, b}}, "a1 b1")
	f.write("a", "a2\na3")
	tell(false, api.LogEvent{Grown: []int{0}}, "a2")
	f.write("a", " end\n")
	f.write("b", "b2\n")
	f.write("c", "c1\n")
	again := b
	again.Same = 1
	tell(true, api.LogEvent{Sources: []api.LogSource{b, again, c, a}}, "c1 a3 end b2")
	f.write("b", "b3\n")
	tell(false, api.LogEvent{Grown: []int{1}}, "b3")
	f.write("a", "a4\n")
	f.write("c", "c2\n")
	tell(false, api.LogEvent{Grown: []int{3, 2}}, "a4 c2")
	tell(true, api.LogEvent{Sources: []api.LogSource{a}}, "")
	f.write("a", "a5\n")
	tell(false, api.LogEvent{Grown: []int{0, 1}}, "a5")
}

// What is filtered out stays so with the next daemon.
func TestLogViewStaysFilteredWithTheNextDaemon(t *testing.T) {
	t.Parallel()
	f := logFiles{t, t.TempDir()}
	var out bytes.Buffer
	v := newLogView(&cli{out: &out, err: &out}, logOptions{raw: true, onlyErr: true}, logs.Query{Last: 10}, "all")
	defer v.close()
	a, b := f.source("a", 0), f.source("b", 0)
	b.Err = true
	f.write("a", "out\n")
	f.write("b", "err\n")
	for range 3 {
		if err := v.event(context.Background(), api.LogEvent{Sources: []api.LogSource{a, b}}, true); err != nil {
			t.Fatal(err)
		}
	}
	if out.String() != "err\n" {
		t.Errorf("%q", out.String())
	}
}
