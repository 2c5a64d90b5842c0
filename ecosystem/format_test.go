package ecosystem

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPositions: what is wrong, and where it is said to be.
func TestPositions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, text, want string }{
		{"first byte", "e.json", `x`, `e.json:1:1: "x" is no JSON value`},
		{"name", "e.json", "[\n {\"script\": \"app.js\",\n  \"nme\": 1}]", `e.json:3:3: [0].nme: unknown field, did you mean "name"?`},
		{"value", "e.json", `[{"script": "app.js", "instances": {}}]`, `e.json:1:36: [0].instances: want a number or "max", got an object`},
		{"bytes, not characters", "e.json", `[{"script": "app.js", "name": "дім", "a": 1}]`, `e.json:1:41: [0].a: unknown field`},
		{"after comments", "e.json", "// x\n/* y\n*/ [{\"scripts\": \"app.js\"}] // z", `e.json:3:6: [0].scripts: unknown field, did you mean "script"?`},
		{"windows lines", "e.json", "[\r\n{\"script\": \"app.js\",\r\n\"x\": 1}]\r\n", `e.json:3:1: [0].x: unknown field`},
		{"byte order mark", "e.json", "\ufeff[{\"script\": \"app.js\", \"x\": 1}]", `e.json:1:23: [0].x: unknown field`},
		{"missing value", "e.json", "{\"apps\": }", `e.json:1:10: `},
		{"single quotes", "e.json", "{\"apps\": 'x'}", `e.json:1:10: invalid character '\'' at start of value; JSON wants double quotes`},
		{"bad escape", "e.json", `{"apps": "\q"}`, `e.json:1:10: not a valid text: "\"\\q\""; a line break is \n and a backslash \\`},
		{"python", "e.json", `{"apps": None}`, `e.json:1:10: "None" is no JSON value`},
		{"open comment", "e.json", "[] /* x\n\n", `e.json:1:8: the file ends too early`},
		{"code after it", "e.json", "[]\n[]", `e.json:2:1: invalid character '[' after top-level value`},
		{"yaml name", "e.yml", "- script: app.js\n  nme: x\n", `e.yml:2:3: [0].nme: unknown field, did you mean "name"?`},
		{"yaml bytes", "e.yml", "- {script: app.js, name: дім, nme: 1}\n", `e.yml:1:34: [0].nme: unknown field`},
		{"yaml alias", "e.yml", "x-a: &a {scrip: 1}\napps:\n - *a\n", `e.yml:1:10: apps[0].scrip: unknown field`},
		{"yaml unknown alias", "e.yml", "apps: *nope\n", `not valid YAML: unknown anchor 'nope'`},
		{"yaml syntax", "e.yml", "apps:\n - script: [\n", `not valid YAML: `},
		{"yaml list as name", "e.yml", "apps:\n - [a]: 1\n", `e.yml:2:4: a name must be a text`},
		{"yaml bad merge", "e.yml", "apps:\n - <<: 1\n   script: app.js\n", `e.yml:2:8: <<: wants an object`},
		{"yaml scalar", "e.yml", "script app.js\n", `e.yml:1:1: want {"apps": [...]}, got "script app.js"`},
		{"yaml self", "e.yml", "apps: &a\n - *a\n", `nested too deeply`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := newProject(t).read(c.file, c.text)
			mentions(t, err, c.want)
		})
	}
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 12; i++ {
		prev := "*a" + string(rune('a'+i-2))
		if i == 1 {
			prev = "*a0"
		}
		bomb += string(rune('a'+i-1)) + ": &a" + string(rune('a'+i-1)) + " [" + strings.Repeat(prev+", ", 9) + prev + "]\n"
	}
	for _, c := range []struct{ name, file, text, want string }{
		{"nested lists", "e.json", strings.Repeat("[", 1<<20), "e.json:1:201: nested more than 200 levels deep"},
		{"nested objects", "e.json", strings.Repeat(`{"a":`, 1<<18), "nested more than 200 levels deep"},
		{"nested yaml", "e.yaml", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested too deeply"},
		{"aliases", "e.yaml", bomb, "too large after following the aliases"},
		{"too large", "e.json", strings.Repeat(" ", maxFile+1), "cannot read e.json: it is larger than 4 MB"},
		{"zero byte", "e.json", `[{"script": "app.js", "args": "a\u0000b"}]`, "a zero byte can't be in it"},
		{"zero in env", "e.json", `[{"script": "app.js", "env": {"A": "a\u0000b"}}]`, "A: a zero byte can't be in it"},
		{"env name", "e.json", `[{"script": "app.js", "env": {"A=B": "a"}}]`, `"A=B" can't be the name of a variable`},
		{"newline in name", "e.json", `[{"script": "app.js", "name": "a\nb"}]`, "control characters"},
		{"terminal tricks", "e.json", `[{"script": "app.js", "\u001b[2J": 1}]`, `e.json:1:23: [0]."\x1b[2J": unknown field`},
		{"many instances", "e.json", `[{"script": "app.js", "instances": 100000}]`, "want at most 4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := newProject(t).read(c.file, c.text)
			mentions(t, err, c.want)
		})
	}
}

// TestBracketsInTexts: only real nesting counts.
func TestBracketsInTexts(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("[", 1000)
	f, err := newProject(t).read("e.json", `/* `+many+` */ [{"script": "app.js", "args": ["`+many+`\""]}] // `+many)
	must(t, err)
	if len(f.Names()) != 1 {
		t.Fatalf("names = %q", f.Names())
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for name, want := range map[string]string{
		"none.json": "cannot read none.json: no such file or directory",
		"sub":       "cannot read sub: is a directory",
	} {
		_, err := Read(t.Context(), name, p.options())
		mentions(t, err, want)
	}
}

func TestReadFrom(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, text := range []string{`[{"script": "app.js"}]`, "// x\n{\"script\": \"app.js\"}", "script: app.js\n"} {
		f, err := ReadFrom(strings.NewReader(text), p.options())
		must(t, err)
		apps, _, err := f.Select("", nil)
		must(t, err)
		if len(apps) != 1 || apps[0].Command.Script != p.dir+"/app.js" || f.Path != "" {
			t.Errorf("%q: path %q, apps %+v", text, f.Path, apps)
		}
	}
	_, err := ReadFrom(strings.NewReader("{\n"), p.options())
	mentions(t, err, "-:1:2: the file ends too early")
}

func TestIsFile(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"eco.json": true, "a/b.yml": true, "x.yaml": true, "ecosystem.config.js": true, "a.config.cjs": true, "a.config.mjs": true,
		"app.js": false, "ecosystem.js": false, "web": false, "a.jsonc": false, "a.json5": false, "json": false, ".json": false, "all": false,
	} {
		if got := IsFile(name); got != want {
			t.Errorf("IsFile(%q) = %v", name, got)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Find(dir)
	mentions(t, err, dir, "ecosystem.config.js", "process.yml")
	names := usualNames()
	for i := len(names) - 1; i >= 0; i-- { // each beats those that come later
		if !IsFile(names[i]) {
			t.Errorf("%s is no ecosystem file by its name", names[i])
		}
		must(t, os.WriteFile(filepath.Join(dir, names[i]), nil, 0o600))
		got, err := Find(dir)
		if err != nil || filepath.Base(got) != names[i] {
			t.Errorf("Find = %s, %v, want %s", got, err, names[i])
		}
	}
}
