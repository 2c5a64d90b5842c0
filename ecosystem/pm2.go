package ecosystem

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Imported is an ecosystem file made from what pm2 knew about its apps.
type Imported struct {
	Text  []byte // JSON with comments; it may hold secrets
	Names []string
	Notes []string // what is not in it, or not the same, and why; never a value
}

// ImportPM2 makes an ecosystem file of pm2's list: what `pm2 jlist` prints, or a
// dump.pm2. modules is pm2's module_conf.json, which has pm2-logrotate's settings;
// nil is none. Options.Dir is the folder the file is for.
func ImportPM2(list, modules []byte, o Options) (Imported, error) {
	procs, err := pm2List(list)
	if err != nil {
		return Imported{}, err
	}
	im := importer{dir: o.Dir, world: newWorld(o)}
	for _, p := range procs {
		im.add(p)
	}
	if len(im.apps) == 0 {
		return Imported{}, fmt.Errorf("pm2's list has no apps")
	}
	rotation := im.rotation(modules)
	var out Imported
	var texts []string
	for _, a := range im.apps {
		fields := append(im.fields(a), rotation...)
		texts = append(texts, fields.text())
		out.Names = append(out.Names, a.name)
	}
	if len(im.doubtful) > 0 {
		im.notef("env: may be of the shell that pm2 was started from, look whether the apps need it: %s", strings.Join(im.doubtful, ", "))
	}
	out.Notes = im.notes
	out.Text = []byte("// Made from pm2's list by: gopm import pm2\n{\n  \"apps\": [\n" + strings.Join(texts, ",\n") + "\n  ]\n}\n")
	return out, nil
}

// pm2Proc is one process as pm2 knows it.
type pm2Proc struct {
	fields map[string]any // of pm2_env; numbers are json.Number
	env    map[string]any
}

func (p pm2Proc) text(name string) string {
	switch v := p.fields[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func (p pm2Proc) texts(name string) []string {
	list, _ := p.fields[name].([]any)
	var all []string
	for _, v := range list {
		all = append(all, fmt.Sprint(v))
	}
	return all
}

// pm2List finds the list in pm2's output, which may have remarks before it.
func pm2List(data []byte) ([]pm2Proc, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if at := tooDeep(data); at >= 0 {
		return nil, fmt.Errorf("not pm2's list: nested more than %d levels deep", maxDepth)
	}
	rest := data
	for tries := 0; tries < 100; tries++ {
		if text := bytes.TrimLeft(rest, " \t\r\n"); len(text) > 0 && text[0] == '[' {
			d := json.NewDecoder(bytes.NewReader(text))
			d.UseNumber()
			var list []map[string]any
			if err := d.Decode(&list); err == nil {
				return pm2Procs(list)
			}
		}
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
	}
	return nil, fmt.Errorf("not pm2's list: want what `pm2 jlist` prints, or a dump.pm2")
}

// pm2Procs takes both forms: jlist has the fields in pm2_env, a dump has them bare.
func pm2Procs(list []map[string]any) ([]pm2Proc, error) {
	var all []pm2Proc
	for i, entry := range list {
		p := pm2Proc{fields: entry}
		if inner, ok := entry["pm2_env"].(map[string]any); ok {
			p.fields = inner
		}
		p.env, _ = p.fields["env"].(map[string]any)
		if p.text("name") == "" || p.text("pm_exec_path") == "" {
			return nil, fmt.Errorf("not pm2's list: entry %d has no name or no pm_exec_path", i)
		}
		all = append(all, p)
	}
	return all, nil
}

// importer collects processes into apps.
type importer struct {
	dir   string
	world *world
	apps  []*pm2App
	notes []string

	doubtful []string // variables that may be of pm2's shell
}

// pm2App is one app: the processes that share a name and a program.
type pm2App struct {
	pm2Proc
	name  string
	count int
}

func (im *importer) notef(format string, args ...any) {
	if note := printable(fmt.Sprintf(format, args...)); !slices.Contains(im.notes, note) {
		im.notes = append(im.notes, note)
	}
}

// add takes a process: a further instance, or a new app. pm2 lets two apps have
// one name; then the second gets a new one.
func (im *importer) add(p pm2Proc) {
	name := p.text("name")
	if p.fields["pmx_module"] == true {
		if name == "pm2-logrotate" {
			im.notef("%s: not carried over: gopm rotates logs itself; its settings are in every app", name)
		} else {
			im.notef("%s: not carried over: gopm has no modules of pm2", name)
		}
		return
	}
	taken := func(name string) bool {
		return slices.ContainsFunc(im.apps, func(a *pm2App) bool { return a.name == name })
	}
	for _, a := range im.apps {
		if a.text("name") == name && a.sameProgram(p) {
			a.count++
			return
		}
	}
	a := &pm2App{pm2Proc: p, name: name, count: 1}
	if err := checkName(name); err != nil {
		a.name = "app-" + strings.Map(plainRune, name)
		im.notef("%s: is called %s now: %v", quote(name), a.name, err)
	}
	for base, n := a.name, 2; taken(a.name); n++ {
		a.name = base + "-" + strconv.Itoa(n)
	}
	if a.name != name && checkName(name) == nil {
		im.notef("%s: a second app of that name is called %s now", name, a.name)
	}
	im.apps = append(im.apps, a)
}

// printable is a text that plays no tricks on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

func plainRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
		return r
	}
	return '-'
}

func (a *pm2App) sameProgram(p pm2Proc) bool {
	for _, field := range []string{"namespace", "pm_exec_path", "pm_cwd", "exec_interpreter"} {
		if a.text(field) != p.text(field) {
			return false
		}
	}
	return slices.Equal(a.texts("args"), p.texts("args"))
}

// jsonFields are the fields of an app that is written.
type jsonFields []jsonField

type jsonField struct {
	name  string
	value any
}

// text is the app as JSON, a field a line, an object's member a line.
func (fs jsonFields) text() string {
	var lines []string
	for _, f := range fs {
		line := "      " + jsonString(f.name) + ": "
		if object, ok := f.value.(map[string]any); ok && len(object) > 0 {
			var members []string
			for _, name := range slices.Sorted(maps.Keys(object)) {
				members = append(members, "        "+jsonString(name)+": "+plainJSON(object[name]))
			}
			line += "{\n" + strings.Join(members, ",\n") + "\n      }"
		} else {
			line += plainJSON(f.value)
		}
		lines = append(lines, line)
	}
	return "    {\n" + strings.Join(lines, ",\n") + "\n    }"
}

// plainJSON is a value as JSON, with < and & as they are.
func plainJSON(v any) string {
	if list, ok := v.([]string); ok {
		var items []string
		for _, s := range list {
			items = append(items, plainJSON(s))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // what was JSON before, or texts and numbers
	return strings.TrimSuffix(b.String(), "\n")
}

// rotation is what pm2-logrotate was told, for every app.
func (im *importer) rotation(modules []byte) jsonFields {
	var all map[string]map[string]any
	_ = json.Unmarshal(modules, &all) // without settings, or with others' broken ones, there are none
	settings, ok := all["pm2-logrotate"]
	if !ok {
		im.notef("logs: pm2 kept them for ever; gopm rotates at 10M and keeps 10 (max_size, retain)")
		return nil
	}
	var fs jsonFields
	for _, f := range []struct{ from, to string }{{"max_size", "max_size"}, {"retain", "retain"}, {"compress", "compress"}, {"rotateInterval", "rotate_interval"}} {
		value, given := settings[f.from]
		text := fmt.Sprint(value)
		if zone, _ := settings["TZ"].(string); zone != "" && f.from == "rotateInterval" && !textNode(text).isOff() {
			text = "CRON_TZ=" + zone + " " + text
		}
		if f.from == "retain" {
			if _, err := strconv.Atoi(text); err != nil {
				text = "0" // "all"
			}
		}
		d := &draft{app: defaults()}
		err := byName()[f.to].assign(d, textNode(text), room{cpus: 1})
		switch {
		case !given, value == nil:
		case err != nil:
			im.notef("pm2-logrotate: %s not carried over: %v", f.from, err)
		case byName()[f.to].show(&d.app) != byName()[f.to].show(ptr(defaults())):
			fs = append(fs, jsonField{f.to, typed(text)})
		}
	}
	if v, given := settings["dateFormat"]; given && v != "" && v != nil && v != "YYYY-MM-DD_HH-mm-ss" {
		im.notef("pm2-logrotate: dateFormat not carried over: %s", byName()["dateFormat"].doc)
	}
	return fs
}

func ptr[T any](v T) *T { return &v }

// typed is a text of pm2's settings, which are all texts, as what it means.
func typed(text string) any {
	if b, err := strconv.ParseBool(text); err == nil && len(text) > 1 {
		return b
	}
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return text
}

// inFolder is a path below dir as a relative one, others as they are.
func inFolder(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
