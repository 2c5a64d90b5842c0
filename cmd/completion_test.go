package cmd

import (
	"strings"
	"testing"

	"gopm/daemon/api"
)

func TestTargetWords(t *testing.T) {
	t.Parallel()
	online := api.Process{Status: "online"}
	rows := []api.Instance{
		{ID: 10, Name: "web", Namespace: "default", Process: online},
		{ID: 11, Name: "web", Namespace: "default", Index: 1, Process: online},
		{ID: 2, Name: "worker", Namespace: "jobs", Process: online},
	}
	for _, tt := range []struct{ args, word, want string }{
		{"", "", "web worker default jobs all"},
		{"", "w", "web worker"},
		{"web", "w", "worker"},
		{"", "1", "10 11"},
		{"", "x", ""},
	} {
		var got []string
		for _, line := range targetWords(rows, strings.Fields(tt.args), tt.word) {
			word, _, _ := strings.Cut(line, "\t")
			got = append(got, word)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("after %q, %q: got %q, want %q", tt.args, tt.word, got, tt.want)
		}
	}
}

func TestInPlace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text   string
		height int
		want   string
	}{
		{"a\nb\n", 0, "H a K\nb K\n J"},
		{"a\nb\n", 3, "H a K\nb K\n J"},
		{"a\nb\nc\n", 3, "H a K\n… K\n J"},
	} {
		got := strings.NewReplacer("\x1b[H", "H ", "\x1b[K", " K", "\x1b[J", " J").Replace(string(inPlace([]byte(tt.text), tt.height)))
		if got != tt.want {
			t.Errorf("%q in %d lines: %q, want %q", tt.text, tt.height, got, tt.want)
		}
	}
}
