package ecosystem

import (
	"slices"
	"strings"
	"testing"
)

func readText(t *testing.T, text string) *File {
	t.Helper()
	f, err := ReadFrom(strings.NewReader(text), Options{Dir: "/", CPUs: 2})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNeeded(t *testing.T) {
	t.Parallel()
	f := readText(t, `{"apps": [
{"name": "web", "script": "sleep 1", "depends_on": ["api", "cache"]},
{"name": "api", "script": "sleep 1", "depends_on": {"db": "healthy"}},
{"name": "db", "script": "sleep 1", "append_env_to_name": true, "env_test": {"A": "1"}, "health": "sleep 0"},
{"name": "cache", "script": "sleep 1"},
{"name": "other", "script": "sleep 1", "depends_on": "web"}]}`)
	for _, c := range []struct {
		env  string
		only []string
		want []string
	}{
		{"", []string{"web"}, []string{"api", "cache", "db"}},
		{"", []string{"web", "db"}, []string{"api", "cache"}},
		{"", []string{"cache"}, nil},
		{"test", []string{"api"}, []string{"db-test"}},
	} {
		if got := f.Needed(c.env, c.only); !slices.Equal(got, c.want) {
			t.Errorf("%v with env %q: %q, want %q", c.only, c.env, got, c.want)
		}
	}
	if got := f.Foreign(); got != nil {
		t.Errorf("foreign: %q", got)
	}
}

func TestUnknownNeeds(t *testing.T) {
	t.Parallel()
	f := readText(t, `{"apps": [
{"name": "web", "script": "sleep 1",
 "depends_on": ["redis", "db"]},
{"name": "api", "script": "sleep 1", "depends_on": {"bd": "started", "web": "ready"}}]}`)
	if got := f.Foreign(); !slices.Equal(got, []string{"db", "redis", "bd"}) {
		t.Errorf("foreign: %q", got)
	}
	if err := f.Unknown([]string{"bd", "db", "redis", "more"}); err != nil {
		t.Errorf("all are known: %v", err)
	}
	err := f.Unknown([]string{"db"})
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{
		`-:3:17: apps[0].depends_on[0]: no app "redis" in the file (it has web, api) or in the list; if it is of another file, start that first`,
		`-:4:59: apps[1].depends_on.bd: no app "bd" in the file (it has web, api) or in the list, did you mean "db"? If it is of another file, start that first`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
}
