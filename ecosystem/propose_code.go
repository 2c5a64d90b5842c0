package ecosystem

import (
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// This file knows how programs of npm, Go and Python are usually started.

// npmPackage is what matters of a package.json.
type npmPackage struct {
	Name         string            `json:"name"`
	Main         string            `json:"main"`
	Scripts      map[string]string `json:"scripts"`
	Dependencies map[string]string `json:"dependencies"`
	PM2          any               `json:"pm2"`
}

// npmPackage is the folder's package.json, nil when there is none.
func (l *look) npmPackage() *npmPackage {
	var p npmPackage
	if json.Unmarshal([]byte(l.read("package.json")), &p) != nil {
		return nil
	}
	return &p
}

func (l *look) packageHasApps() bool {
	p := l.npmPackage()
	return p != nil && p.PM2 != nil && p.PM2 != false
}

// npm takes scripts.start, as directly as possible: npm between gopm and the
// program would have to pass signals on. Else main, else the one dependency that
// is a program.
func (l *look) npm() {
	p := l.npmPackage()
	if p == nil {
		return
	}
	a := proposed{name: l.name}
	if p.Name != "" {
		a.name = cleanName(p.Name)
	}
	why := ""
	if start := p.Scripts["start"]; start != "" {
		l.npmStart(&a, start, orMain(l, p))
		why = `"start": "` + start + `"`
	} else if a.script = l.first(p.Main, "server.js", "app.js", "index.js", "server.mjs", "index.mjs", "src/index.js"); a.script != "" {
		why = a.script
	} else if bins := l.dependencyPrograms(p); len(bins) == 1 {
		a.script = bins[0]
		a.name = cleanName(bins[0])
		why = a.script
	}
	if a.script == "" {
		return
	}
	for _, framework := range []string{"next", "nuxt", "@nestjs/core", "express", "koa", "fastify", "hapi"} {
		if _, uses := p.Dependencies[framework]; uses {
			why += ", " + framework
		}
	}
	l.foundf("package.json: ", why)
	if _, err := fs.Stat(l, "node_modules"); err != nil && len(p.Dependencies) > 0 {
		l.foundf("node_modules is not there yet: npm install")
	}
	if build := p.Scripts["build"]; build != "" && strings.Contains(a.script, "/") && !l.has(a.script) {
		l.foundf(a.script, " is not there yet: npm run build")
	}
	l.apps = append(l.apps, a)
}

// orMain is what node runs in a package's folder.
func orMain(l *look, p *npmPackage) string { return l.first(p.Main, p.Main+".js", "index.js") }

func (l *look) npmStart(a *proposed, start, main string) {
	words, err := splitWords(start)
	plain := err == nil && len(words) > 0 && !strings.ContainsAny(start, "&|;<>$`*?()=")
	if plain && words[0] == "node" {
		rest := words[1:]
		for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
			a.interpreterArgs, rest = append(a.interpreterArgs, rest[0]), rest[1:]
		}
		if len(rest) > 0 && path.Clean(rest[0]) == "." && main != "" {
			rest[0] = main
		}
		if len(rest) > 0 && (l.has(rest[0]) || strings.HasSuffix(rest[0], "js")) {
			a.script, a.args = rest[0], rest[1:]
			return
		}
		if len(rest) > 0 && l.has(rest[0]+".js") {
			a.script, a.args = rest[0]+".js", rest[1:]
			return
		}
		a.interpreterArgs = nil
	}
	if plain && l.has("node_modules/.bin/"+words[0]) {
		a.script, a.args = "node_modules/.bin/"+words[0], words[1:]
		return
	}
	a.script, a.args = "npm", []string{"start"}
}

// dependencyPrograms are the dependencies that brought a program of their name.
func (l *look) dependencyPrograms(p *npmPackage) []string {
	var all []string
	for name := range p.Dependencies {
		if bin := "node_modules/.bin/" + path.Base(name); l.has(bin) {
			all = append(all, bin)
		}
	}
	slices.Sort(all)
	return all
}

// golang takes the folder's program and those below cmd: as built, else by go run.
func (l *look) golang() {
	module := ""
	for line := range strings.Lines(l.read("go.mod")) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			module = strings.TrimSpace(name)
			break
		}
	}
	if module == "" {
		return
	}
	name := path.Base(module)
	if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
		name = path.Base(path.Dir(module)) // example.org/shop/v2
	}
	programs := map[string]string{} // package → name
	if l.isMain(".") {
		programs["."] = cleanName(name)
	}
	dirs, _ := fs.ReadDir(l, "cmd") // without it there are none
	for _, dir := range dirs {
		if dir.IsDir() && l.isMain("cmd/"+dir.Name()) {
			programs["./cmd/"+dir.Name()] = cleanName(dir.Name())
		}
	}
	var packages []string
	for pkg, name := range programs {
		packages = append(packages, pkg)
		if pkg != "." && name == programs["."] {
			name += "-cmd"
		}
		a := proposed{name: name, script: l.program("./"+name, "./bin/"+name, "./build/"+name)}
		if a.script == "" {
			a.script = "go run " + pkg
			a.comment = "Built when it starts. Better: go build -o bin/" + name + " " + pkg + `, and "script": "./bin/` + name + `"`
		}
		l.apps = append(l.apps, a)
	}
	slices.Sort(packages)
	slices.SortFunc(l.apps, func(a, b proposed) int { return strings.Compare(a.name, b.name) })
	if len(packages) > 0 {
		l.foundf("go.mod: ", module, ", programs ", strings.Join(packages, ", "))
	}
}

// isMain says whether a folder has a program in Go.
func (l *look) isMain(dir string) bool {
	files, _ := fs.Glob(l, path.Join(dir, "*.go")) // the pattern is right
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text := l.read(file)
		if strings.HasPrefix(text, "//go:build ignore") {
			continue
		}
		if strings.HasPrefix(text, "package main\n") || strings.Contains(text, "\npackage main\n") {
			return true
		}
	}
	return false
}

// python takes manage.py, an app of uvicorn or gunicorn, or the main file.
func (l *look) python() {
	file := l.first("manage.py", "main.py", "app.py", "server.py", "wsgi.py", "src/main.py")
	if file == "" {
		return
	}
	needs := strings.ToLower(l.read("requirements.txt") + l.read("pyproject.toml") + l.read("Pipfile"))
	bin := ""
	for _, dir := range []string{".venv/bin/", "venv/bin/", "env/bin/"} {
		if l.has(dir + "python") {
			bin = dir
			break
		}
	}
	a := proposed{name: l.name, script: file}
	text := l.read(file)
	server := func(program string, args ...string) {
		a.script, a.args = program, args
		if l.has(bin + program) {
			a.script = bin + program
		}
	}
	module := strings.ReplaceAll(strings.TrimSuffix(file, ".py"), "/", ".") + ":app"
	hasApp := strings.Contains("\n"+text, "\napp =") || strings.Contains("\n"+text, "\napp=")
	switch {
	case file == "manage.py":
		a.args = []string{"runserver", "127.0.0.1:8000", "--noreload"}
		a.comment = "Django's own server; for the public: gunicorn, or what you deploy with."
	case hasApp && strings.Contains(needs, "uvicorn"):
		server("uvicorn", module, "--port", "8000")
	case hasApp && strings.Contains(needs, "gunicorn"):
		server("gunicorn", module, "--bind", "127.0.0.1:8000")
	}
	if bin != "" && strings.HasSuffix(a.script, ".py") {
		a.interpreter = bin + "python"
	}
	found := file
	for _, name := range []string{"django", "fastapi", "flask", "uvicorn", "gunicorn"} {
		if strings.Contains(needs, name) {
			found += ", " + name
		}
	}
	l.foundf(found)
	if bin != "" {
		l.foundf(strings.TrimSuffix(bin, "/bin/"), ": its python")
	}
	l.apps = append(l.apps, a)
}
