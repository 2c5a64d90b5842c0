package ecosystem

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func number(s string) *node { return &node{kind: kindNumber, text: s} }

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"3000": 3 * time.Second, "0": 0, "100ms": 100 * time.Millisecond, "10s": 10 * time.Second, " 5 m ": 5 * time.Minute,
		"1h": time.Hour, "1.5s": 1500 * time.Millisecond, "2d": 48 * time.Hour, "0.5": 500 * time.Microsecond,
		"": -1, "5x": -1, "s": -1, "-1": -1, "-5s": -1, "1e9h": -1, "99999999999h": -1, "1.2.3s": -1, "NaN": -1, "Infs": -1, "10S": -1,
	} {
		got, err := parseDuration(textNode(text))
		if bad := want < 0; bad != (err != nil) || !bad && got != want {
			t.Errorf("%q = %v, %v, want %v", text, got, err, want)
		}
	}
	if got, err := parseDuration(number("2500")); got != 2500*time.Millisecond || err != nil {
		t.Errorf("2500 = %v, %v", got, err)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"10M": 10 << 20, "1G": 1 << 30, "200K": 200 << 10, "300MB": 300 << 20, "1.5g": 3 << 29, "1024": 1024, "5MiB": 5 << 20, "7B": 7, "0": 0, "1T": 1 << 40,
		"10Q": -1, "": -1, "M": -1, "-1M": -1, "1e3": -1, "50%": -1, "99999999999T": -1,
	} {
		got, err := parseSize(textNode(text))
		if bad := want < 0; bad != (err != nil) || !bad && got != want {
			t.Errorf("%q = %v, %v, want %v", text, got, err, want)
		}
		if err == nil {
			if again, err := parseSize(textNode(showSize(got))); again != got || err != nil {
				t.Errorf("%d shown as %q reads as %d, %v", got, showSize(got), again, err)
			}
		}
	}
}

func TestSharesOfMemory(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"50%": 512 << 20, "100%": 1 << 30, " 12.5 % ": 128 << 20, "300M": 300 << 20, "1024": 1024, "0": 0,
		"0%": -1, "101%": -1, "%": -1, "-5%": -1, "1.2.3%": -1, "50%%": -1, "50 percent": -1,
	} {
		got, err := parseShare(textNode(text), 1<<30)
		if bad := want < 0; bad != (err != nil) || !bad && got != want {
			t.Errorf("%q = %v, %v, want %v", text, got, err, want)
		}
	}
	if got, err := parseShare(textNode("50%"), 0); err == nil {
		t.Errorf("half of what isn't known is %d", got)
	}
}

func TestInstances(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"1": 1, "2": 2, "max": 4, "0": 4, "-1": 3, "-3": 1, "-4": 1, "-100": 1, "3.0": 3, "1e2": 100, "4096": 4096,
		"": 0, "foo": 0, "1.5": 0, "4097": 0, "MAX": 0, "1e300": 0,
	} {
		got, err := parseInstances(textNode(text), 4)
		if bad := want == 0; bad != (err != nil) || !bad && got != want {
			t.Errorf("%q = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"SIGTERM": "SIGTERM", "term": "SIGTERM", "SIGusr2": "SIGUSR2", "15": "SIGTERM", "2": "SIGINT", "9": "SIGKILL",
		"0": "", "99": "", "SIG": "", "SIGFOO": "", "": "", "-9": "",
	} {
		got, err := parseSignal(textNode(text))
		if got != want || (want == "") != (err != nil) {
			t.Errorf("%q = %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestUmask(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    *node
		want int // -1 = an error
	}{
		{textNode("022"), 0o22}, {textNode("0"), 0}, {textNode("77"), 0o77}, {textNode("0o27"), 0o27}, {number("022"), 0o22}, {number("0"), 0}, {number("0o22"), 0o22},
		{number("22"), -1}, {number("18"), -1}, {textNode("088"), -1}, {textNode("1777"), -1}, {textNode(""), -1}, {textNode("-1"), -1}, {&node{kind: kindBool, text: "0"}, -1},
	} {
		got, err := parseUmask(c.v)
		if (c.want < 0) != (err != nil) || err == nil && got != c.want {
			t.Errorf("%s = %o, %v, want %o", c.v.describe(), got, err, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                       nil,
		"  ":                     nil,
		"a b":                    {"a", "b"},
		" a\t b\n":               {"a", "b"},
		`--x='y z'`:              {"--x=y z"},
		`"a b" 'c d'`:            {"a b", "c d"},
		`a\ b`:                   {"a b"},
		`"a\"b\\c\d"`:            {`a"b\c\d`},
		`'a\b'`:                  {`a\b`},
		`''`:                     {""},
		`a""b`:                   {"ab"},
		`"it's" $HOME *`:         {"it's", "$HOME", "*"},
		`\`:                      {`\`},
		`дім "дві дім"`:          {"дім", "дві дім"},
		`--json '{"a": [1, 2]}'`: {"--json", `{"a": [1, 2]}`},
	} {
		got, err := splitWords(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q = %q, %v, want %q", text, got, err, want)
		}
		again, err := splitWords(joinWords(got))
		if err != nil || !slices.Equal(again, got) {
			t.Errorf("%q joined is %q and reads as %q, %v", got, joinWords(got), again, err)
		}
	}
	for _, text := range []string{`"`, `'`, `a "b`, `a 'b" c`, `"a\"`} {
		if got, err := splitWords(text); err == nil {
			t.Errorf("%q = %q, want an error", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"web": true, "a b/c": true, "дім": true, "web-1": true, "1a": true, "alle": true, "a.json": true,
		"": false, " a": false, "a ": false, "all": false, "7": false, "-7": false, "-x": false, "/x/": false, "a\nb": false, "a\x1b[0m": false,
		strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("%q: %v, want ok %v", name, err, ok)
		}
	}
}

func TestSuggestions(t *testing.T) {
	t.Parallel()
	for typo, want := range map[string]string{
		"instnces": "instances", "instance": "instances", "max_restart": "max_restarts", "killTimout": "kill_timeout", "kill-timeout": "kill_timeout",
		"Script": "script", "scirpt": "script", "nmae": "name", "environment": "", "arg": "args", "memory_limit": "", "zzzz": "", "outfile": "out_file",
		"auto_restart": "autorestart", "maxMemoryRestart": "max_memory_restart",
	} {
		if got := nearest(typo, fieldNames()); got != want {
			t.Errorf("%q: suggested %q, want %q", typo, got, want)
		}
	}
}

func TestDotenv(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"A=1": "1", "A = 1 ": "1", "export A=1": "1", "# c\n\nA=1 # c": "1", "A=a#b": "a#b", "A=": "", "A=#c": "",
		`A="a # b" # c`: "a # b", `A='a\nb'`: `a\nb`, `A="a\nb\t\"\\\q"`: "a\nb\t\"\\\\q", "A=\"a\nb\"\nB=2": "a\nb", "A=1\r\nB=2\r\n": "1",
		"A=it's": "it's", "A=`x\"y'z`": `x"y'z`, "A=$HOME": "$HOME", "A=1\nA=2": "2", "A=a=b": "a=b", "A=\"a\r\nb\"": "a\nb", "A=x y": "x y",
	} {
		vars, err := parseDotenv([]byte(text))
		if err != nil || vars["A"].value != want {
			t.Errorf("%q = %q, %v, want %q", text, vars["A"].value, err, want)
		}
	}
	for text, want := range map[string]string{
		"A": `1:1: want NAME=value, got "A"`, "\n  A B=1": "2:3: want", "=1": "1:1: want", "1A=1": "1:1: want", "A=1\nB=\"x\ny": "2:3: the quote is not closed",
		"A='x' y": `1:6: unexpected after the quote: "y"`, "A=\"x\ny\"z": `2:3: unexpected after the quote: "z"`, "A=\x00": "1:1: a zero byte",
	} {
		_, err := parseDotenv([]byte(text))
		mentions(t, err, want)
	}
}
