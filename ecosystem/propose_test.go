package ecosystem

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// TestPropose reads each testdata/init/*.txt: the files of a folder called "my app"
// (a name that ends with * is executable), and what is proposed for it.
func TestPropose(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/init/*.txt")
	must(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(t, err)
		input, want, _ := strings.Cut(string(text), "-- result --\n")
		folder := fstest.MapFS{}
		for _, section := range strings.Split("\n"+input, "\n-- ")[1:] {
			name, body, _ := strings.Cut(section, " --")
			mode := os.FileMode(0o644)
			if strings.HasSuffix(name, "*") {
				mode = 0o755
			}
			folder[strings.TrimSuffix(name, "*")] = &fstest.MapFile{Data: []byte(strings.TrimPrefix(body, "\n") + "\n"), Mode: mode}
		}
		made := Propose(folder, "my app", false)
		got := ""
		for _, found := range made.Found {
			got += "found " + found + "\n"
		}
		got += string(made.Text)
		if got != want {
			if *update {
				must(t, os.WriteFile(path, []byte(input+"-- result --\n"+got), 0o644))
				continue
			}
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
		if made.Ready == "" {
			checkProposal(t, path, made)
			checkProposal(t, path+" simple", Propose(folder, "my app", true))
		}
	}
}

// checkProposal: a proposal has a right form, with and without its hints, and at
// most twelve fields.
func checkProposal(t *testing.T, what string, made Proposal) {
	t.Helper()
	with := strings.ReplaceAll(string(made.Text), "\n      // \"", "\n      \"")
	for _, text := range []string{string(made.Text), with} {
		r := &reader{name: "e.json", dir: "/nowhere", world: newWorld(Options{Dir: "/", CPUs: 2})}
		root := r.json([]byte(text))
		if root == nil {
			t.Fatalf("%s: %v\n%s", what, r.problems, text)
		}
		r.duplicates(root, "")
		r.apps(root, false)
		for _, p := range r.done() {
			if !strings.Contains(p.Text, "no such") { // files that are not there in this test
				t.Errorf("%s: %v", what, p)
			}
		}
		for _, app := range root.get("apps").items {
			if len(app.members) > 12 {
				t.Errorf("%s: %d fields", what, len(app.members))
			}
		}
	}
}

func TestConvert(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("e.yaml", "apps:\n- script: app.js\n  instances: 2\n  env: {A: 1.10, B: null, C: '<x>'}\n")
	text, err := Convert(t.Context(), "e.yaml", p.options())
	must(t, err)
	want := "{\n  \"apps\": [\n    {\n      \"script\": \"app.js\",\n      \"instances\": 2,\n      \"env\": {\n        \"A\": 1.10,\n        \"B\": null,\n        \"C\": \"\\u003cx\\u003e\"\n      }\n    }\n  ]\n}\n"
	if string(text) != want {
		t.Errorf("got %q", text)
	}
	p.file("bad.yaml", "a: [")
	_, err = Convert(t.Context(), "bad.yaml", p.options())
	mentions(t, err, "bad.yaml:1")
	_, err = Convert(t.Context(), "none.json", p.options())
	mentions(t, err, "cannot read none.json")
}
