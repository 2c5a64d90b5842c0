package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written is what the app "t" writes, from one line up to another.
func written(from, to int) string {
	var b strings.Builder
	line := expected("t")
	for i := from; i < to; i++ {
		b.Write(line(i))
	}
	return b.String()
}

// files writes texts as the files of one log.
func files(t testing.TB, texts ...string) []string {
	t.Helper()
	dir := t.TempDir()
	var out []string
	for i, text := range texts {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}

func TestCheck(t *testing.T) {
	t.Parallel()
	all := written(0, 100)
	damaged := []byte(all)
	damaged[4250] = '#'
	cases := []struct {
		name  string
		files []string
		want  tally // but bytes and lines
	}{
		{"right", []string{written(0, 60), written(60, 100)}, tally{}},
		{"lost", []string{written(0, 50), written(53, 100)}, tally{lost: 3}},
		{"twice", []string{written(0, 60), written(58, 100)}, tally{twice: 2, disorder: 1}},
		{"files in the wrong order", []string{written(50, 100), written(0, 50)}, tally{disorder: 1}},
		{"torn by rotation", []string{all[:5030], all[5030:]}, tally{lost: 1, torn: 2}},
		{"damaged", []string{string(damaged)}, tally{lost: 1, torn: 1}},
		{"foreign", []string{written(0, 50) + "hello\n" + written(50, 100)}, tally{torn: 1}},
		{"no newline at the end", []string{all[:9999]}, tally{lost: 1, torn: 1}},
		{"a number beyond the last", []string{written(0, 101)}, tally{torn: 1}},
		{"another app's", []string{strings.Replace(all, "@@t ", "@@u ", 1)}, tally{lost: 1, torn: 1}},
		{"empty", []string{""}, tally{lost: 100}},
		{"one endless line", []string{all + strings.Repeat("x", 3<<20)}, tally{torn: 4}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := check("t", 100, files(t, c.files...))
			if err != nil {
				t.Fatal(err)
			}
			c.want.lines, c.want.bytes = 100, int64(len(strings.Join(c.files, "")))
			if strings.HasPrefix(c.name, "one endless") {
				c.want.torn = got.torn // as many as the buffer makes of it
			}
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if right := c.name == "right"; (got.String() == "") != right {
				t.Errorf("says %q", got)
			}
		})
	}
}

func TestCheckNeedsItsFiles(t *testing.T) {
	t.Parallel()
	if _, err := check("t", 1, []string{filepath.Join(t.TempDir(), "gone")}); err == nil {
		t.Error("a file that isn't there is no error")
	}
}

// FuzzCheck: only the very bytes that were written are right.
func FuzzCheck(f *testing.F) {
	all := written(0, 30)
	f.Add([]byte(all))
	f.Add([]byte(all[:1500] + all[1400:]))
	f.Add([]byte("@@t 000000001"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := check("t", 30, files(t, string(data)))
		if err != nil {
			t.Fatal(err)
		}
		if (got.String() == "") != (string(data) == all) {
			t.Errorf("%q for %d bytes", got, len(data))
		}
	})
}

// TestCheckLogs: every app's log counts, with its rotated files and nobody else's.
func TestCheckLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := &life{dir: dir}
	l.apps = writers(2, 100, "log")(l)
	line := [2]func(int) []byte{expected("log0"), expected("log1")}
	write := func(name string, app, from, to int) {
		for i := from; i < to; i++ {
			appendTo(t, filepath.Join(dir, "logs", name), string(line[app](i)))
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("log0-2026-01-01T00-00-00.001.log", 0, 0, 40)
	write("log0-2026-01-01T00-00-00.002.log", 0, 40, 70)
	write("log0.log", 0, 70, 100)
	write("log1.log", 1, 0, 99)
	write("log01.log", 0, 0, 1) // another app's
	if got := l.expected() - l.logSize(); got != lineLength {
		t.Errorf("%d bytes are missing, want one line", got)
	}
	if err := l.checkLogs(true); err == nil || !strings.Contains(err.Error(), "log1: 100 lines: 1 lost") {
		t.Errorf("a line lost by the second app: %v", err)
	}
	write("log1.log", 1, 99, 100)
	if err := l.checkLogs(true); err != nil {
		t.Error(err)
	}
}

// TestRotationTooLate: a complete log is wrong when one of its files is too large.
func TestRotationTooLate(t *testing.T) {
	t.Parallel()
	l := &life{dir: t.TempDir()}
	l.apps = writers(1, (rotateAt+rotateLag)/lineLength+1, "log")(l)
	if err := os.Mkdir(filepath.Join(l.dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	line := expected("log0")
	var all strings.Builder
	for i := range l.apps[0].lines {
		all.Write(line(i))
	}
	appendTo(t, l.apps[0].log, all.String())
	if err := l.checkLogs(false); err != nil {
		t.Errorf("without rotation: %v", err)
	}
	if err := l.checkLogs(true); err == nil || !strings.Contains(err.Error(), "to be rotated") {
		t.Errorf("with rotation: %v", err)
	}
}
