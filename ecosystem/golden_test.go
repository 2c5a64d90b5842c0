package ecosystem

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the results into testdata")

// TestGolden reads each testdata/*.txt: files (`-- name --` and the content), the
// first of them being the ecosystem file, perhaps `-- options --` with lines
// "env: X" and "only: a b", and `-- result --`: the problems, then what the apps
// have beyond the defaults.
func TestGolden(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	if len(paths) == 0 {
		t.Fatal("no testdata")
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			must(t, err)
			input, want, _ := strings.Cut(string(text), "-- result --\n")
			got := newProject(t).golden(input)
			if got == want {
				return
			}
			if *update {
				must(t, os.WriteFile(path, []byte(input+"-- result --\n"+got), 0o644))
				return
			}
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		})
	}
}

// golden is the result of one input.
func (p *project) golden(input string) string {
	p.t.Helper()
	name, env := "", ""
	var only []string
	for _, section := range strings.Split("\n"+input, "\n-- ")[1:] {
		title, body, _ := strings.Cut(section, " --\n")
		if title == "options" {
			for line := range strings.Lines(body) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				switch key {
				case "env":
					env = value
				case "only":
					only = strings.Fields(value)
				}
			}
			continue
		}
		p.file(title, body+"\n")
		if name == "" {
			name = title
		}
	}
	var out strings.Builder
	show := func(problems Problems) {
		for _, x := range problems {
			fmt.Fprintf(&out, "%s %s\n", [...]string{"note   ", "warning", "error  "}[x.Severity], x)
		}
	}
	f, err := Read(p.t.Context(), name, p.options())
	var problems Problems
	if err == nil {
		show(f.Problems)
		var apps []App
		if apps, problems, err = f.Select(env, only); err == nil {
			show(problems)
			for _, a := range apps {
				out.WriteString(beyondDefaults(a))
			}
		}
	}
	switch {
	case errors.As(err, &problems):
		show(problems)
	case err != nil:
		fmt.Fprintf(&out, "error   %v\n", err)
	}
	return p.hide(out.String())
}

// beyondDefaults is an app as JSON without what is as in defaults().
func beyondDefaults(a App) string {
	asMap := func(a App) (m map[string]any) {
		b, _ := json.Marshal(a)
		_ = json.Unmarshal(b, &m)
		return m
	}
	m := asMap(a)
	without(m, asMap(defaults()))
	b, _ := json.MarshalIndent(m, "", "  ")
	return string(b) + "\n"
}

func without(m, other map[string]any) {
	for key, value := range m {
		sub, isMap := value.(map[string]any)
		otherSub, _ := other[key].(map[string]any)
		if isMap {
			without(sub, otherSub)
		}
		if reflect.DeepEqual(value, other[key]) || isMap && len(sub) == 0 {
			delete(m, key)
		}
	}
}
