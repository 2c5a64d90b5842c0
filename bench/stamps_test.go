package main

import (
	"os"
	"path/filepath"
	"testing"
)

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestStampsReadOn(t *testing.T) {
	t.Parallel()
	s := stamps{path: filepath.Join(t.TempDir(), "stamps")}
	if len(s.poll()) != 0 {
		t.Error("stamps without a file")
	}
	appendTo(t, s.path, "start a 7 100\nstart b 8 10")
	if len(s.poll()) != 1 {
		t.Errorf("a line that isn't complete counts: %v", s.all)
	}
	appendTo(t, s.path, "1\nstart a 9 300\nready a 9 310\nnonsense\n")
	last := s.latest("start")
	if last["a"] != (stamp{"start", "a", 9, 300}) || last["b"] != (stamp{"start", "b", 8, 101}) {
		t.Errorf("latest %v", last)
	}
	if s.count("start") != 3 || s.count("ready") != 1 {
		t.Errorf("all %v", s.all)
	}
}

func TestWrong(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, lines string
		dead        int
		starts      int
		want        string
	}{
		{"right", "start a 1 1\nstart b 2 2\n", 0, 2, ""},
		{"restarted", "start a 1 1\nstart b 2 2\nstart a 3 3\n", 1, 3, ""},
		{"doubled", "start a 1 1\nstart b 2 2\nstart a 3 3\n", 0, 3, "a runs 2 times"},
		{"missing", "start a 1 1\nstart b 2 2\n", 2, 2, "1 of 2 apps run"},
		{"started once too often", "start a 1 1\nstart b 2 2\nstart a 3 3\n", 1, 2, "3 starts, expected 2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := stamps{path: filepath.Join(t.TempDir(), "stamps")}
			appendTo(t, s.path, c.lines)
			if got := s.wrong(2, c.starts, func(pid int) bool { return pid != c.dead }); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
