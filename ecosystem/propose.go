package ecosystem

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Proposal is a first ecosystem file for a folder.
type Proposal struct {
	Text  []byte   // JSON with comments; nil when there is a file already, see Ready
	Found []string // what in the folder it comes from, a line each
	Ready string   // the name of a file that gopm start takes as it is; "" = none
}

// Propose looks at a folder called name and writes an ecosystem file for what it
// finds: the first of a Procfile, a package of npm, Go, Python, Rust, a Dockerfile
// or a script to start. simple leaves out the hints. It only reads, and never an
// ecosystem.json, which is what it would write.
func Propose(folder fs.FS, name string, simple bool) Proposal {
	l := &look{FS: folder, name: cleanName(name)}
	for _, usual := range append(usualNames(), "package.json") {
		if usual != "ecosystem.json" && !isProcfile(usual) && l.has(usual) && (usual != "package.json" || l.packageHasApps()) {
			return Proposal{Ready: usual, Found: []string{usual}}
		}
	}
	for _, find := range []func(*look){(*look).procfile, (*look).npm, (*look).golang, (*look).python, (*look).rust, (*look).docker, (*look).scripts} {
		if find(l); len(l.apps) > 0 {
			break
		}
	}
	if len(l.apps) == 0 {
		l.foundf("nothing here tells what to run: set script")
		l.apps = []proposed{{name: l.name, script: "./server", comment: "The program to run: a file, a program on PATH, or a command line."}}
	}
	return Proposal{Text: []byte(l.text(simple)), Found: l.found}
}

// look is one look at a folder.
type look struct {
	fs.FS
	name  string
	found []string
	apps  []proposed
}

// proposed is one app of a proposal.
type proposed struct {
	name, script, interpreter string
	interpreterArgs, args     []string
	port                      string
	envFile                   string
	comment                   string // above it
}

func (l *look) foundf(parts ...string) { l.found = append(l.found, printable(strings.Join(parts, ""))) }

func (l *look) has(name string) bool {
	if name == "" {
		return false
	}
	info, err := fs.Stat(l, path.Clean(name))
	return err == nil && !info.IsDir()
}

// first is the first of the files that is there, "" when there is none.
func (l *look) first(names ...string) string {
	for _, name := range names {
		if l.has(name) {
			return name
		}
	}
	return ""
}

// program is the first of the files that can be executed.
func (l *look) program(names ...string) string {
	for _, name := range names {
		if info, err := fs.Stat(l, path.Clean(name)); err == nil && executable(info) {
			return name
		}
	}
	return ""
}

// read is a file's text; what is not there or too large has none.
func (l *look) read(name string) string {
	f, err := l.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := limited(f)
	if err != nil {
		return ""
	}
	return string(data)
}

func (l *look) procfile() {
	text := l.read("Procfile")
	env := l.first(".env")
	r := &reader{name: "Procfile"}
	list := r.procfile([]byte(text), env, 5000)
	if list == nil {
		if text != "" {
			l.foundf(r.problems[0].String())
		}
		return
	}
	var names []string
	for _, item := range list.items {
		a := proposed{name: item.get("name").text, script: item.get("script").text, port: item.get("port").text, envFile: env}
		l.apps = append(l.apps, a)
		names = append(names, a.name)
	}
	l.foundf("Procfile: ", strings.Join(names, ", "), " (gopm start Procfile works, too)")
}

// docker takes the command of a Dockerfile, when nothing else tells one.
func (l *look) docker() {
	command := ""
	for line := range strings.Lines(l.read("Dockerfile")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.EqualFold(word, "CMD") || strings.EqualFold(word, "ENTRYPOINT") && command == "" {
			command = strings.TrimSpace(rest)
		}
	}
	if command == "" {
		return
	}
	a := proposed{name: l.name, script: command, comment: "From the Dockerfile; its folders may be other ones."}
	if list := (&reader{}).json([]byte(command)); list != nil && list.kind == kindList && len(list.items) > 0 {
		words, err := parseTexts(list)
		if err != nil {
			return
		}
		a.script, a.args = words[0], words[1:]
		if file := slices.Index(interpreterNames(), words[0]); file >= 0 && len(words) > 1 && l.has(words[1]) {
			a.script, a.args = words[1], words[2:]
		}
	}
	l.foundf("Dockerfile: ", command)
	l.apps = append(l.apps, a)
}

// interpreterNames are the programs that a file's extension brings by itself.
func interpreterNames() []string { return []string{"node", "python3", "bash", "ruby", "php"} }

func (l *look) scripts() {
	name := l.first("start.sh", "run.sh", "server.sh", "server.js", "app.js", "index.js", "server.rb", "app.rb", "server.php")
	if name == "" {
		return
	}
	l.foundf(name)
	l.apps = append(l.apps, proposed{name: l.name, script: name})
}

// rust runs the release binary when it was built, else cargo.
func (l *look) rust() {
	name := ""
	for line := range strings.Lines(l.read("Cargo.toml")) {
		key, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(key) == "name" && name == "" {
			name = cleanName(strings.Trim(strings.TrimSpace(value), `"'`))
		}
	}
	if name == "" || !l.has("src/main.rs") {
		return
	}
	a := proposed{name: name, script: l.program("target/release/" + name)}
	if a.script == "" {
		a.script = "cargo run --release"
		a.comment = "Built when it starts. Better: cargo build --release, and target/release/" + name + " as the script."
	}
	l.foundf("Cargo.toml: ", name)
	l.apps = append(l.apps, a)
}

// cleanName makes a name that an app can have: of "@acme/shop" it is shop.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '.' {
			return r
		}
		return plainRune(r)
	}, path.Base(name))
	name = strings.Trim(name, "-.")
	if checkName(name) != nil {
		return "app"
	}
	return name
}

// text is the file. Hints are comments in the first app, and few: the reference
// has the rest.
func (l *look) text(simple bool) string {
	var b strings.Builder
	b.WriteString("// What gopm keeps running here. Start it with: gopm start\n{\n  \"apps\": [\n")
	for i, a := range l.apps {
		if i > 0 {
			b.WriteString(",\n")
		}
		b.WriteString(a.text(!simple && i == 0, !simple))
	}
	b.WriteString("\n  ]\n}\n")
	return b.String()
}

func (a proposed) text(hints, comments bool) string {
	var lines []string
	add := func(name string, value any) {
		lines = append(lines, "      "+jsonString(name)+": "+plainJSON(value)+",")
	}
	add("name", a.name)
	add("script", a.script)
	if a.interpreter != "" {
		add("interpreter", a.interpreter)
	}
	if len(a.interpreterArgs) > 0 {
		add("interpreter_args", a.interpreterArgs)
	}
	if len(a.args) > 0 {
		add("args", a.args)
	}
	if a.port != "" {
		lines = append(lines, `      "port": `+a.port+",")
	}
	if a.envFile != "" {
		add("env_file", a.envFile)
	}
	if hints {
		lines = append(lines, strings.Split(strings.TrimSuffix(initHints, "\n"), "\n")...)
	} else {
		lines[len(lines)-1] = strings.TrimSuffix(lines[len(lines)-1], ",")
	}
	head := "    {\n"
	if a.comment != "" && comments {
		head += "      // " + a.comment + "\n"
	}
	return head + strings.Join(lines, "\n") + "\n    }"
}

// initHints are at most as many fields as make twelve with those of an app.
const initHints = `
      // Take the // away from what you need. All fields: gopm schema, docs/ecosystem.md
      // "env": {"NODE_ENV": "development"},
      // "env_production": {"NODE_ENV": "production"},  // with: gopm start --env production
      // "max_memory_restart": "300M",                 // restart when it uses more
      // "max_size": "50M", "retain": 30,              // log files: rotate at 50M, keep 30
`
