package daemon

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gopm/consul"
	"gopm/ecosystem"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func records(pairs ...string) (all []consul.Record) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, consul.Record{Key: pairs[i], Value: []byte(pairs[i+1]), Index: uint64(i/2 + 1)})
	}
	return all
}

// varsText is "A=1 B=2".
func varsText(v *values) string {
	var parts []string
	for _, s := range v.Vars {
		parts = append(parts, s.Name+"="+string(s.Value))
	}
	return strings.Join(parts, " ")
}

func TestValuesOf(t *testing.T) {
	own := names{"NODE_APP_INSTANCE", "name"}
	before := &values{Number: 7, Vars: []setting{{"A", []byte("was"), "env/A", 3}}}
	for name, c := range map[string]struct {
		env     string
		records []consul.Record
		before  *values
		allow   []string
		vars    string
		refused string
		missing bool
		err     string
	}{
		"keys":                {env: "env", records: records("env/A", "1", "env/B", "2"), vars: "A=1 B=2"},
		"neighbours":          {env: "env", records: records("env/A", "1", "environment", "x", "envy/B", "2"), vars: "A=1"},
		"folders":             {env: "env", records: records("env/", "", "env/A", "1", "env/sub/", ""), vars: "A=1"},
		"deeper":              {env: "env", records: records("env/A", "1", "env/db/HOST", "2"), vars: "A=1", refused: "db/HOST"},
		"a slash at the ends": {env: "/env/", records: records("env", "B=2", "env/A", "1"), vars: "A=1"},
		"json":                {env: "env", records: records("env", `{"A": 1, "B": "two"}`), vars: "A=1 B=two"},
		"dotenv":              {env: "env", records: records("env", "A=1\n# no\nB='two three'\n"), vars: "A=1 B=two three"},
		"text and keys":       {env: "env", records: records("env", "A=1\nB=2", "env/B", "3"), vars: "A=1 B=3"},
		"bad text":            {env: "env", records: records("env", "{"), err: "env: 1:1: it is no valid JSON"},
		"nothing":             {env: "env", missing: true},
		"all is gone":         {env: "env", before: before, vars: "A=was", missing: true},
		"one is gone":         {env: "env", records: records("env/B", "2"), before: before, vars: "B=2"},
		"no text":             {env: "env", records: records("env/A", "\xff\xfe", "env/B", "2"), vars: "B=2", refused: "A"},
		"no text any more":    {env: "env", records: records("env/A", "\xff\xfe", "env/B", "2"), before: before, vars: "A=was B=2", refused: "A"},
		"zero byte":           {env: "env", records: records("env/A", "a\x00b"), refused: "A"},
		"empty":               {env: "env", records: records("env/A", ""), vars: "A="},
		"dangerous":           {env: "env", records: records("env/LD_PRELOAD", "1", "env/PATH", "2", "env/Z", "3"), vars: "Z=3", refused: "LD_PRELOAD PATH"},
		"allowed":             {env: "env", records: records("env/NODE_OPTIONS", "1", "env/PATH", "2"), allow: []string{"NODE_OPTIONS"}, vars: "NODE_OPTIONS=1", refused: "PATH"},
		"gopm's own":          {env: "env", records: records("env/GOPM_HOME", "1", "env/name", "2", "env/NODE_APP_INSTANCE", "3"), allow: []string{"GOPM_HOME", "name"}, refused: "GOPM_HOME NODE_APP_INSTANCE name"},
		"dangerous was there": {env: "env", records: records("env/PATH", "2"), before: &values{Vars: []setting{{"PATH", []byte("1"), "env/PATH", 3}}}, refused: "PATH"},
		"huge":                {env: "env", records: records("env/A", strings.Repeat("x", 512<<10), "env/B", "2"), vars: "B=2", refused: "A"},
	} {
		got, err := valuesOf(ecosystem.ConsulConfig{Env: c.env, Allow: c.allow}, own, answers{env: c.records, index: 9}, c.before, someTime)
		if err != nil || c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %q", name, err, c.err)
			}
			continue
		}
		var refused []string
		for _, r := range got.refused {
			refused = append(refused, r.Name)
		}
		if have := varsText(got); have != c.vars || strings.Join(refused, " ") != c.refused || (len(got.missing) > 0) != c.missing || got.Number < 9 {
			t.Errorf("%s: %q, refused %q, missing %q, number %d", name, have, refused, got.missing, got.Number)
		}
	}
}

// TestManyValues: a thousand keys are fine; what no program could be started with is not
// used.
func TestManyValues(t *testing.T) {
	var pairs []string
	for i := range 1000 {
		pairs = append(pairs, fmt.Sprintf("env/V%04d", i), strings.Repeat("v", 100))
	}
	got, err := valuesOf(ecosystem.ConsulConfig{Env: "env"}, nil, answers{env: records(pairs...)}, nil, someTime)
	if err != nil || len(got.Vars) != 1000 || len(got.refused) != 0 {
		t.Fatalf("%d variables, %d refused, %v", len(got.Vars), len(got.refused), err)
	}
	for i := range 1000 {
		pairs[2*i+1] = strings.Repeat("v", 5000)
	}
	got, _ = valuesOf(ecosystem.ConsulConfig{Env: "env"}, nil, answers{env: records(pairs...)}, nil, someTime)
	size := 0
	for _, s := range got.Vars {
		size += len(s.Name) + len(s.Value)
	}
	if size > mostInAll || len(got.Vars) < 200 || len(got.refused) != 1000-len(got.Vars) {
		t.Errorf("%d bytes in %d variables, %d refused", size, len(got.Vars), len(got.refused))
	}
}

func TestFileValues(t *testing.T) {
	c := ecosystem.ConsulConfig{Files: []ecosystem.ConsulFile{{Path: "/b", Key: "kb"}, {Path: "/a", Key: "ka"}}}
	first, err := valuesOf(c, nil, answers{files: [][]consul.Record{records("kb", "\xff\x00"), nil}, index: 5}, nil, someTime)
	if err != nil || len(first.Files) != 1 || !bytes.Equal(first.Files[0].Value, []byte("\xff\x00")) || !slices.Equal(first.missing, []string{"ka"}) {
		t.Fatalf("%+v, %v", first, err)
	}
	second, _ := valuesOf(c, nil, answers{files: [][]consul.Record{nil, records("ka", "x")}, index: 6}, first, someTime)
	if len(second.Files) != 2 || second.Files[0].Name != "/a" || string(second.Files[1].Value) != "\xff\x00" || second.Number != 6 {
		t.Errorf("%+v", second)
	}
}

// TestNumbersGrow: also with an agent that counts from the beginning again.
func TestNumbersGrow(t *testing.T) {
	v, _ := valuesOf(ecosystem.ConsulConfig{Env: "env"}, nil, answers{env: records("env/A", "1"), index: 3}, &values{Number: 100}, someTime)
	if v.Number != 101 {
		t.Errorf("number %d", v.Number)
	}
}

func TestNamesOfKeys(t *testing.T) {
	own := names{"NODE_APP_INSTANCE"}
	for _, name := range strings.Fields(`PATH LD_PRELOAD LD_LIBRARY_PATH NODE_OPTIONS NODE_PATH BASH_ENV ENV PYTHONPATH PYTHONSTARTUP PERL5OPT PERL5LIB
		RUBYOPT RUBYLIB JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS GOPM_HOME GOPM_CONFIG IFS SHELLOPTS GIT_SSH_COMMAND GCONV_PATH DOTNET_STARTUP_HOOKS
		CORECLR_PROFILER_PATH PROMPT_COMMAND GEM_HOME BUNDLE_GEMFILE PHPRC PHP_INI_SCAN_DIR npm_config_script_shell NPM_CONFIG_NODE_OPTIONS NOTIFY_SOCKET
		NODE_CHANNEL_FD NODE_APP_INSTANCE A=B 1A a/b BASH_FUNC_x%% OPENSSL_CONF LISTEN_FDS HOME PS4`) {
		if own.refuses(name, nil) == "" {
			t.Errorf("keys may set %s", name)
		}
	}
	if own.refuses("", nil) == "" || own.refuses("A\nB", nil) == "" {
		t.Error("keys may set what is no name")
	}
	for _, name := range strings.Fields(`PORT NODE_ENV DATABASE_URL db.host X-Y _A LOG_LEVEL GREETING HTTP_PROXY TZ REDIS_PASSWORD JAVA RAILS_ENV`) {
		if why := own.refuses(name, nil); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

func TestOutlook(t *testing.T) {
	a, b := &values{Number: 1, Vars: []setting{{Name: "A", Value: []byte("1")}}}, &values{Number: 2, Vars: []setting{{Name: "A", Value: []byte("2")}}}
	now := someTime
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		o     outlook
		want  move
		again time.Duration // from now; 0: when there is news
	}{
		"nothing is known":           {outlook{begun: now}, moveNone, 0},
		"the first":                  {outlook{fresh: a}, moveFirst, 0},
		"the first, not yet":         {outlook{fresh: a, retry: now.Add(time.Second)}, moveNone, time.Second},
		"kept, and an answer comes":  {outlook{kept: a, begun: now}, moveNone, keptPatience},
		"kept, and none comes":       {outlook{kept: a, begun: ago(keptPatience)}, moveKept, 0},
		"kept, and nobody is there":  {outlook{kept: a, begun: now, failed: true}, moveKept, 0},
		"fresh is better than kept":  {outlook{kept: a, fresh: b, failed: true}, moveFirst, 0},
		"nothing has changed":        {outlook{have: a, fresh: a, kept: a}, moveNone, 0},
		"nothing is kept":            {outlook{have: a, fresh: a}, moveKeep, 0},
		"what runs is older":         {outlook{have: a, fresh: a, behind: true}, moveCatchUp, 0},
		"not while nobody answers":   {outlook{have: a, behind: true}, moveNone, 0},
		"a change nobody saw":        {outlook{have: a, fresh: b, change: changeTimes{debounce: time.Second}}, moveChange, 0},
		"a change":                   {outlook{have: a, fresh: b, change: changeTimes{now, now, time.Second}}, moveNone, time.Second},
		"a change, and silence":      {outlook{have: a, fresh: b, change: changeTimes{ago(time.Second), ago(time.Second), time.Second}}, moveChange, 0},
		"changes without an end":     {outlook{have: a, fresh: b, change: changeTimes{ago(10 * time.Second), now, time.Second}}, moveChange, 0},
		"one that has failed":        {outlook{have: a, fresh: b, bad: b}, moveNone, 0},
		"failed, for another reason": {outlook{have: a, fresh: b, bad: b, pardon: now}, moveChange, 0},
		"failed a moment ago":        {outlook{have: a, fresh: b, bad: b, pardon: now.Add(time.Minute)}, moveNone, time.Minute},
		"another than that":          {outlook{have: a, fresh: b, bad: &values{}}, moveChange, 0},
		"again, later":               {outlook{have: a, fresh: b, retry: now.Add(time.Minute)}, moveNone, time.Minute},
	} {
		got, again := c.o.next(now)
		if want := now.Add(c.again); got != c.want || c.again != 0 && !again.Equal(want) || c.again == 0 && !again.IsZero() {
			t.Errorf("%s: %v at %v", name, got, again)
		}
	}
}

// TestLackNamesKeyOnce: what was wrong with a key's text was told with the key twice.
func TestLackNamesKeyOnce(t *testing.T) {
	for trouble, want := range map[string]string{
		"":                                "env: it is being read",
		"env: 1:1: it is no valid JSON":   "env: 1:1: it is no valid JSON",
		"consul at x: connection refused": "env: consul at x: connection refused",
	} {
		if got := keyLack("env", trouble); got != want {
			t.Errorf("%q: %q", trouble, got)
		}
	}
}
