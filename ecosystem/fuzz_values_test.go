package ecosystem

import (
	"encoding/json"
	"math"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

// FuzzDocument reads what a key of Consul has: variables, or an error that says where and
// nothing of what is there.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{
		`{"A":"1","B":2,"C":null,"D":{"x":[1, 2]},"E":true}`, "A=1\nexport B='x y' # z\n", "{", `{"A":"\ud800"}`, `["A"]`, `{"A":1}{"B":2}`, "A", "A='hunter2", `{"A":"hunter2"`, `{"A":hunter2}`, "\xff=\x00", strings.Repeat("[", 20_000), `{"":""}`,
	} {
		f.Add([]byte(s))
	}
	place := regexp.MustCompile(`^(\d+:\d+: .*|want a JSON object of variables|it is no valid JSON)$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		vars, err := Document(text)
		if err != nil {
			if vars != nil || !place.MatchString(err.Error()) || len(err.Error()) > 100 {
				t.Errorf("%q: %v, %v", text, vars, err)
			}
			return
		}
		for name, value := range vars {
			if strings.Contains(name, "hunter2") || value == "" {
				continue
			}
			again, err := Document([]byte(asJSON(t, map[string]string{name: value})))
			if err != nil || utf8.ValidString(name+value) && again[name] != value {
				t.Errorf("%q has %q=%q, which written again is %q (%v)", text, name, value, again[name], err)
			}
		}
	})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// FuzzAmounts: what is taken for a duration, a size, a number or a list of codes is one that
// can be meant.
func FuzzAmounts(f *testing.F) {
	for _, s := range []string{"3000", "1.5h", "0.0000001ms", "10 MB", "1e9", "-1", "Inf", "NaN", "0x10", "1.2.3s", ".", ".5d", "999999999999999999999d", "4503599627370496K", "1 KiB", " 7 ", "1 s s", "٣s", "1,2 3", "max", "-2", "0", "SIGTERM", "15", "0o22", "022", "CRON_TZ=UTC * * * * *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := parseDuration(textNode(s)); d < 0 || err != nil && d != 0 {
			t.Errorf("%q lasts %v, %v", s, d, err)
		}
		if n, err := parseSize(textNode(s)); n < 0 || err != nil && n != 0 {
			t.Errorf("%q is %d bytes, %v", s, n, err)
		}
		if n, err := parseCount(textNode(s)); err == nil && n < 0 {
			t.Errorf("%q is %d", s, n)
		}
		if n, err := parseInstances(textNode(s), 4); err == nil && (n < 0 || n > math.MaxInt32) {
			t.Errorf("%q are %d instances", s, n)
		}
		if n, err := parsePortNumber(textNode(s)); err == nil && (n < 1 || n > maxPort) {
			t.Errorf("%q is the port %d", s, n)
		}
		if n, err := parseUmask(textNode(s)); err == nil && (n < 0 || n > 0o777) {
			t.Errorf("%q is the umask %o", s, n)
		}
		codes, err := parseCodes(textNode(s))
		for _, c := range codes {
			if err == nil && (c < 0 || c > 255) {
				t.Errorf("%q has the code %d", s, c)
			}
		}
		if sig, err := parseSignal(textNode(s)); err == nil && !strings.HasPrefix(sig, "SIG") && sig != "" {
			t.Errorf("%q is the signal %q", s, sig)
		}
		if err != nil && !isPrintable(strings.ReplaceAll(err.Error(), "\n", "")) {
			t.Errorf("%q: the error %q does something to a terminal", s, err)
		}
	})
}

// FuzzOptions gives fields as options of the command line: there is an app, whole, or
// errors for people.
func FuzzOptions(f *testing.F) {
	for _, flag := range Flags() {
		for _, value := range []string{"", "1", "true", "web", "10s", "[1]", "\x1b[31m", "/(/", "a,b c"} {
			f.Add(flag.Field, value, "app.sh")
		}
	}
	f.Add("nosuch", "x", "")
	f.Add("name", "all", "node -e 'x")
	f.Fuzz(func(t *testing.T, field, value, script string) {
		o := Options{Dir: "/nowhere", CPUs: 2, Environ: []string{"PATH=/nowhere"}}
		set := map[string]string{field: value}
		a, problems, err := FromCommand(script, []string{value}, set, o)
		checkMade(t, a, problems, err)
		was := defaults()
		was.Name, was.Command.Script = "web", "/nowhere/app"
		a, problems, err = Override(was, set, o)
		checkMade(t, a, problems, err)
	})
}

// checkMade sees that an app is whole, or the error says why there is none.
func checkMade(t *testing.T, a App, problems Problems, err error) {
	t.Helper()
	if err == nil && a.Name == "" || err != nil && a.Name != "" {
		t.Errorf("the app %q, and %v", a.Name, err)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	for _, p := range problems {
		text += p.String()
	}
	if strings.ContainsAny(text, "\x00\x1b") {
		t.Errorf("%q does something to a terminal", text)
	}
	if err == nil {
		var again App
		if err := json.Unmarshal([]byte(asJSON(t, a)), &again); err != nil {
			t.Errorf("%+v can't be read again: %v", a, err)
		}
	}
}

// FuzzEvaluated reads what node answers for a file that may write there itself.
func FuzzEvaluated(f *testing.F) {
	for _, s := range []string{`{"value":"{\"apps\":[{\"script\":\"/a\"}]}"}`, `{"error":"Error: x\n at y","line":3,"col":4}`, `{"error":"\u001b[2J","line":-3,"col":-4}`, `{"nothing":"function"}`, `{"nothing":"\u001b"}`, `{"value":"{"}`, "null", "", "[]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := &reader{name: "e.config.js", dir: "/nowhere", world: newWorld(Options{Dir: "/", CPUs: 2})}
		n, err := r.evaluated(answer)
		if n == nil && err == nil && !r.problems.failed() {
			t.Errorf("%q: nothing, and no error", answer)
		}
		if n != nil {
			_, _ = r.file(n, "f")
		}
		for _, p := range r.problems {
			if p.Line < 0 || p.Col < 0 || strings.ContainsAny(p.Text, "\x00\x1b") {
				t.Errorf("%q: %d:%d %q", answer, p.Line, p.Col, p.Text)
			}
		}
	})
}

// FuzzDeploys reads the block deploy: its words are going to be ssh's and a shell's.
func FuzzDeploys(f *testing.F) {
	for _, s := range []string{
		`{"deploy":{"production":{"user":"ann","host":["a.b","c:22"],"ref":"origin/main","repo":"git@h:r.git","path":"/srv/app","ssh_options":["StrictHostKeyChecking=no"],"post-deploy":"npm ci","env":{"A":1}}}}`,
		`{"deploy":{"-o":{"host":"-oProxyCommand=x","repo":"--upload-pack=x","path":"/","ref":"-x","user":"$(x)"}}}`, `{"deploy":[]}`, `{"deploy":{"a":{"host":[{}],"path":"~","keep":-1}}}`, `{"deploy":{"a\u001b":{"host":"\u0000","repo":"","path":"../x"}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &reader{name: "e.json", dir: "/nowhere", world: newWorld(Options{Dir: "/", CPUs: 2})}
		root := r.json(data)
		if root == nil {
			return
		}
		all := &Deploys{Path: "e.json"}
		r.deploys(all, root, false)
		if problems := r.done(); problems.failed() {
			return
		}
		for _, b := range all.blocks {
			for _, word := range append([]string{b.SSH.User, b.SSH.Key, b.Repo, b.Ref, b.Path}, b.Hosts...) {
				if strings.HasPrefix(word, "-") || strings.ContainsAny(word, "\x00\n\r\x1b") {
					t.Errorf("%s: %q would be an option, or lines", data, word)
				}
			}
			if len(b.Hosts) == 0 || b.Repo == "" || b.Path == "" || b.Keep < 1 {
				t.Errorf("%s: %+v", data, b)
			}
		}
	})
}

// FuzzPropose looks at a folder in which somebody has put anything: the file that it
// proposes can be read.
func FuzzPropose(f *testing.F) {
	f.Add("package.json", []byte(`{"name":"x","scripts":{"start":"node a.js"},"main":"a.js"}`))
	f.Add("package.json", []byte(`{"name":7,"scripts":[],"bin":{"":"../../x"}}`))
	f.Add("Procfile", []byte("web: node a.js\n\x1b[2J: y"))
	f.Add("go.mod", []byte("module \"x\ny\""))
	f.Add("pyproject.toml", []byte("[project]\nname=\"\x00\"\n[tool.poetry.scripts]\nx=\"a:b\""))
	f.Add("Cargo.toml", []byte("[package]\nname = 'x\"y'\n[[bin]]\nname=''"))
	f.Add("Dockerfile", []byte("FROM x\nCMD [\"a\", \"\\u001b\"]\nENTRYPOINT a \\\n b\nEXPOSE 99999/tcp"))
	f.Add("a.sh", []byte("#!"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if !validPath(name) {
			return
		}
		folder := fstest.MapFS{name: {Data: content, Mode: 0o755}, ".env": {Data: content}}
		p := Propose(folder, filepath.Base(name), len(content)%2 == 0)
		for _, line := range p.Found {
			if !isPrintable(line) {
				t.Errorf("%q does something to a terminal", line)
			}
		}
		if p.Text == nil {
			if p.Ready == "" {
				t.Error("neither a file nor the name of one")
			}
			return
		}
		r := &reader{name: "ecosystem.json", dir: "/nowhere", world: newWorld(Options{Dir: "/", CPUs: 2})}
		if root := r.json(p.Text); root == nil || r.problems.failed() {
			t.Errorf("%q with %q: %v in\n%s", name, content, r.problems, p.Text)
		}
	})
}

func validPath(name string) bool {
	return name != "" && name != "." && name != ".env" && !strings.HasPrefix(name, "/") && filepath.ToSlash(filepath.Clean(name)) == name && !strings.HasPrefix(name, "..") && utf8.ValidString(name) && len(name) < 200
}
