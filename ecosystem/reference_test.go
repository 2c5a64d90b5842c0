package ecosystem

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

const reference = "../docs/ecosystem.md"

// TestReference: the reference of all fields is what the table says.
func TestReference(t *testing.T) {
	t.Parallel()
	want := referenceText()
	got, err := os.ReadFile(reference)
	if err == nil && string(got) == want {
		return
	}
	if *update {
		must(t, os.WriteFile(reference, []byte(want), 0o644))
		return
	}
	t.Errorf("%s is not what the table of fields says (%v); to write it anew: go test ./ecosystem -run TestReference -args -update", reference, err)
}

// TestExamples: the example of each field is taken as it stands.
func TestExamples(t *testing.T) {
	t.Parallel()
	for i := range table {
		f := &table[i]
		switch {
		case f.stage != stageNow:
			continue
		case !json.Valid([]byte(f.example)):
			t.Errorf("%s: example %s", f.name, f.example)
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.file("server.js", "1\n")
			p.file("api/server.js", "1\n")
			p.file(".env", "A=1\n")
			file := `[{"script": "server.js", "` + f.name + `": ` + f.example + `}]`
			if f.name == "script" {
				file = `[{"script": ` + f.example + `}]`
			}
			_, err := p.read("e.json", file)
			if (f.name == "uid" || f.name == "gid") && err != nil && strings.Contains(err.Error(), "on this machine") {
				return // a machine without www-data
			}
			must(t, err)
		})
	}
}

const referenceHead = `# The ecosystem file

<!-- Made from the table of fields (ecosystem/table.go) by: go test ./ecosystem -run TestReference -args -update -->

What ` + "`gopm start`" + ` reads: JSON with comments and trailing commas, YAML, a module that node evaluates
(` + "`*.config.js`, `*.config.cjs`, `*.config.mjs`" + `), or a Procfile. Without an argument the first of these is used:
%s.

` + "```json" + `
{
  "apps": [
    {"name": "web", "script": "server.js", "env": {"PORT": 3000}, "env_production": {"PORT": 80}},
    {"name": "worker", "script": "worker.py", "max_memory_restart": "300M"}
  ]
}
` + "```" + `

At the top stands ` + "`apps`" + ` (or ` + "`pm2`" + `, as in package.json), a list of apps, or one app. Names that begin with ` + "`x-`" + ` are
free for your own use; ` + "`$schema`" + ` may name the schema that ` + "`gopm schema`" + ` prints. An unknown name is an error that says which
one was probably meant, and all mistakes of a file are told at once, with their lines.

- Every name has a camelCase form, too (` + "`maxMemoryRestart`" + `). ` + "`null`" + ` is the same as leaving a field out.
- A relative path counts from the app's ` + "`cwd`" + `, and a relative ` + "`cwd`" + ` from the file's folder. ` + "`~/`" + ` is the home folder.
- Durations are milliseconds (` + "`3000`" + `) or texts (` + "`\"500ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"`" + `). Sizes are bytes or ` + "`\"200K\"`, `\"300M\"`, `\"1G\"`" + `,
  powers of 1024.
- ` + "`env_<name>`" + ` is laid over ` + "`env`" + ` by ` + "`--env <name>`" + `.
- Schedules are cron's five fields (minute, hour, day, month, weekday), or six with the seconds first, or ` + "`@hourly`, `@daily`,\n  `@weekly`, `@monthly`, `@yearly`, `@every 90m`" + `, in the daemon's local time. A time that the clock skips in spring is not due
  that day, one that comes twice in autumn is due twice.
- Most fields are options of ` + "`gopm start` and `gopm restart`" + `, too.

A Procfile has lines ` + "`name: command`" + `. As with foreman each command is run by a shell in the file's folder, the file ` + "`.env`" + `
beside it is read, and PORT is 5000 for the first line, 5100 for the second and so on; a PORT in ` + "`.env`" + ` or in your shell takes the
place of 5000.
`

const referenceTail = `
## Not yet in this version

Accepted with a warning: %s.

## Without an effect

Accepted with a note, so that pm2's files work as they are:

| field | why |
|---|---|
%s`

func referenceText() string {
	var b strings.Builder
	fmt.Fprintf(&b, referenceHead, code(usualNames()))
	var later, none []string
	for i := range table {
		f := &table[i]
		switch f.stage {
		case stageLater:
			later = append(later, code([]string{f.name}))
		case stageFixed, stageNode:
			none = append(none, fmt.Sprintf("| %s | %s |\n", code([]string{f.name}), f.doc))
		case stageNow:
			if f.group != "" {
				b.WriteString("\n## " + f.group + "\n\n| field | value | default | meaning | example | option |\n|---|---|---|---|---|---|\n")
			}
			b.WriteString(f.row())
		}
	}
	fmt.Fprintf(&b, referenceTail, strings.Join(later, ", "), strings.Join(none, ""))
	return b.String()
}

// row is a field in the reference; camelCase forms are not worth their space.
func (f *field) row() string {
	name := code([]string{f.name})
	if len(f.aliases) > 0 {
		name += "<br>also " + code(f.aliases)
	}
	var options []string
	for _, o := range f.flags {
		option := "--" + o.name
		if o.short != "" {
			option = "-" + o.short + ", " + option
		}
		options = append(options, option)
	}
	plain := strings.NewReplacer("<", "&lt;", "|", `\|`).Replace
	return fmt.Sprintf("| %s | %s | %s | %s | `%s` | %s |\n",
		name, f.kind, plain(f.def), plain(f.doc), strings.ReplaceAll(f.example, "|", `\|`), code(options))
}

// code lists words as code.
func code(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "`" + strings.Join(slices.Clone(words), "`, `") + "`"
}
