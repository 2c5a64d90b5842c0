package ecosystem

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// isProcfile says whether a file is a Procfile by its name: Procfile,
// Procfile.dev, shop.procfile.
func isProcfile(path string) bool {
	base := filepath.Base(path)
	return base == "Procfile" || strings.HasPrefix(base, "Procfile.") || strings.HasSuffix(base, ".procfile") && base != ".procfile"
}

// procfile reads the lines `name: command` into a list of apps, the way foreman
// does: each command is for a shell, the file .env beside it is read, and PORT is
// 5000 for the first line, 5100 for the second and so on; a PORT of .env or of the
// user's shell takes the place of 5000. env is that .env, "" when there is none.
func (r *reader) procfile(data []byte, env string, firstPort int) *node {
	list := &node{kind: kindList, place: place{1, 1}}
	l := newLines(data)
	for n := 1; n <= len(l.starts); n++ {
		text := strings.TrimSpace(string(l.line(n)))
		if text == "" || text[0] == '#' {
			continue
		}
		at := l.firstWord(n)
		name, command, ok := strings.Cut(text, ":")
		if command = strings.TrimSpace(command); !ok || !isProcName(name) || command == "" {
			r.errorf(at, "", "want a line like web: node server.js, got %s", quote(text))
			continue
		}
		port := firstPort + 100*len(list.items)
		app := &node{kind: kindObject, place: at, members: []member{
			{"name", &node{kind: kindText, text: name, place: at}, at},
			{"script", &node{kind: kindText, text: forShell(command), place: at}, at},
			{"port", &node{kind: kindNumber, text: strconv.Itoa(port), place: at}, at},
		}}
		if env != "" {
			app.members = append(app.members, member{"env_file", &node{kind: kindText, text: env, place: at}, at})
		}
		list.items = append(list.items, app)
	}
	if len(list.items) == 0 && !r.problems.failed() {
		r.errorf(place{1, 1}, "", "the file is empty: want lines like web: node server.js")
	}
	if r.problems.failed() {
		return nil
	}
	return list
}

// foremanEnv is the .env beside the file ("" when there is none), and the port of
// the first process. What is wrong in .env is said when the apps read it.
func (r *reader) foremanEnv() (path string, port int) {
	port = 5000
	given := r.world.getenv("PORT")
	beside := filepath.Join(r.dir, ".env")
	if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() {
		path = ".env" // counts from the app's folder, which is the file's
		if data, err := readLimited(beside); err == nil {
			if vars, err := parseDotenv(data); err == nil && vars["PORT"].value != "" {
				given = vars["PORT"].value
			}
		}
	}
	if n, err := strconv.Atoi(given); err == nil && n > 0 {
		port = n
	}
	return path, port
}

// forShell is a command that a shell runs. One with a blank goes to it anyway, a
// single plain word is run as it is, and one like $HOME/tool needs the help.
func forShell(command string) string {
	if !strings.ContainsAny(command, " \t") && strings.IndexFunc(command, needsQuotes) >= 0 {
		return "exec " + command
	}
	return command
}

// procs are the apps of a Procfile, named in messages by their names.
func (r *reader) procs(root *node) []*draft {
	var drafts []*draft
	for _, item := range root.items {
		drafts = append(drafts, r.app(item, item.get("name").text, false))
	}
	return r.unique(drafts)
}

func isProcName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.'
	}) < 0
}
