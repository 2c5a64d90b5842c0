package ecosystem

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// request is what was said about the program to run.
type request struct {
	script, interpreter, cwd string
	args, interpreterArgs    []string
	path                     string // PATH for looking up programs
	also                     string // a second folder that script may be relative to; "" = none
}

// plan is how to run it.
type plan struct {
	command Command
	name    string // what an app without a name is called
	program string // the program's own name, as far as known: "node", "python3"
	home    string // the folder whose version it has
	plain   bool   // there is no interpreter, so that its arguments mean nothing
}

// fault is an error about one field of a request.
type fault struct{ field, text string }

func faultf(field, format string, args ...any) *fault {
	return &fault{field, fmt.Sprintf(format, args...)}
}

// plan finds the program and how to run it. It looks at files, and changes nothing.
func (w *world) plan(q request) (plan, *fault) {
	if info, err := w.stat(q.cwd); err != nil {
		return plan{}, faultf("cwd", "no such folder: %s", q.cwd)
	} else if !info.IsDir() {
		return plan{}, faultf("cwd", "not a folder: %s", q.cwd)
	}
	file, fromPath := w.locate(q)
	p := plan{command: Command{Cwd: q.cwd, Args: q.args}, home: q.cwd}
	switch {
	case file != "":
		if !fromPath {
			p.home = filepath.Dir(file)
		}
		p.name = baseName(file)
		return p, w.planFile(&p, q, file)
	case strings.ContainsAny(q.script, " \t\n") && (q.interpreter == "" || q.interpreter == "none"):
		return p, w.planShell(&p, q)
	}
	text := "no such file: " + w.abs(q.cwd, q.script)
	if !strings.Contains(q.script, "/") {
		text += ", and no program of that name on PATH"
	}
	return plan{}, faultf("script", "%s", text)
}

// servers is where distributions put programs like mosquitto and nginx. An ordinary user's
// PATH on Debian lacks these folders, though everybody may run what is there.
const servers = "/usr/local/sbin:/usr/sbin:/sbin"

// locate finds the script as a file, else as a program on PATH or among the servers. A folder
// gives way to a program: "serve" beside a folder serve/ means the program.
func (w *world) locate(q request) (file string, fromPath bool) {
	folder := ""
	for _, base := range []string{q.cwd, q.also} {
		if base == "" {
			continue
		}
		path := w.abs(base, q.script)
		info, err := w.stat(path)
		switch {
		case err != nil:
		case !info.IsDir():
			return path, false
		case folder == "":
			folder = path
		}
	}
	for _, list := range []string{q.path, servers} {
		if path, ok := w.lookPath(q.script, list, q.cwd); ok {
			return path, true
		}
	}
	return folder, false
}

// baseName is a file's name without folder and last extension.
func baseName(path string) string {
	base := filepath.Base(path)
	if short := strings.TrimSuffix(base, filepath.Ext(base)); short != "" {
		return short
	}
	return base
}

// planShell runs a command line. Arguments belong to it as if typed behind it.
func (w *world) planShell(p *plan, q request) *fault {
	shell, ok := w.firstOnPath(q, "bash", "sh")
	if !ok {
		return faultf("script", "no such file: %s; to run it as a command line, bash or sh is needed on PATH", w.abs(q.cwd, q.script))
	}
	text := q.script
	if len(q.args) > 0 {
		text += " " + joinWords(q.args)
	}
	p.command.Interpreter, p.command.InterpreterArgs = shell, []string{"-c"}
	p.command.Script, p.command.Args = text, nil
	p.program, p.name = commandWords(q.script)
	p.plain = true
	return nil
}

// commandWords are the program of a command line (its first word that is neither
// an assignment nor exec or env) and a name for it: app for `node app.js`.
func commandWords(text string) (program, name string) {
	for _, word := range strings.Fields(text) {
		word = strings.Trim(word, `"'`)
		switch {
		case program != "":
			if interpreters(filepath.Ext(word)) != nil {
				return program, baseName(word)
			}
			if !strings.HasPrefix(word, "-") {
				return program, baseName(program)
			}
		case word != "exec" && word != "env" && word != "" && !strings.Contains(word, "="):
			program = filepath.Base(word)
		}
	}
	if program == "" {
		return "", "shell"
	}
	return program, baseName(program)
}

// isShell says whether a command is a command line for a shell.
func (c Command) isShell() bool {
	base := filepath.Base(c.Interpreter)
	return (base == "bash" || base == "sh") && len(c.InterpreterArgs) == 1 && c.InterpreterArgs[0] == "-c"
}

// planFile decides what runs an existing file.
func (w *world) planFile(p *plan, q request, file string) *fault {
	info, err := w.stat(file)
	if err != nil {
		return faultf("script", "cannot look at %s: %v", file, plainError(err))
	}
	p.command.Script = file
	head := w.head(file)
	names := []string{q.interpreter}
	switch {
	case info.IsDir() && q.interpreter == "":
		names = []string{"node"}
	case !info.IsDir() && !info.Mode().IsRegular():
		return faultf("script", "not a file that can be run: %s", file)
	case q.interpreter == "none":
		if !executable(info) {
			return faultf("script", "not executable: %s; chmod +x it, or set interpreter", file)
		}
		names = nil
	case q.interpreter == "":
		var problem string
		names, problem = detect(file, executable(info), head, len(q.interpreterArgs) > 0)
		if problem != "" {
			return faultf("script", "%s: %s", file, problem)
		}
	}
	if names == nil {
		p.plain = true
		p.program = filepath.Base(file)
		if program := shebang(head); program != "" {
			p.program = program
			return shebangFault(file, head)
		}
		return nil
	}
	return w.planInterpreter(p, q, names)
}

// planInterpreter sets the first of the named interpreters that is there.
func (w *world) planInterpreter(p *plan, q request, names []string) *fault {
	interpreter, ok := w.firstOnPath(q, names...)
	if strings.Contains(names[0], "/") {
		interpreter = w.abs(q.cwd, names[0])
		info, err := w.stat(interpreter)
		ok = err == nil && executable(info)
	}
	p.command.Interpreter, p.command.InterpreterArgs = interpreter, q.interpreterArgs
	p.program = filepath.Base(interpreter)
	switch {
	case ok:
		return nil
	case q.interpreter == "":
		return faultf("script", "%s needs %s, which is not on PATH; install it or set interpreter", p.command.Script, strings.Join(names, " or "))
	case strings.Contains(q.interpreter, "@"):
		return faultf("interpreter", "no such program: %s; versions of nvm are not looked up, give the path of the program", q.interpreter)
	case strings.ContainsAny(q.interpreter, " \t"):
		return faultf("interpreter", "no such program: %q; its arguments belong into interpreter_args", q.interpreter)
	case strings.Contains(q.interpreter, "/"):
		return faultf("interpreter", "no such program: %s", interpreter)
	}
	return faultf("interpreter", "no program %q on PATH", q.interpreter)
}

func (w *world) firstOnPath(q request, names ...string) (string, bool) {
	for _, name := range names {
		if path, ok := w.lookPath(name, q.path, q.cwd); ok {
			return path, true
		}
	}
	return "", false
}

// detect decides how a file runs: by itself (no names), or by the first
// interpreter of names that exists. wantArgs says that there are arguments for
// an interpreter, so that one is needed although the file could run by itself.
func detect(file string, canExecute bool, head []byte, wantArgs bool) (names []string, problem string) {
	byExtension := interpreters(filepath.Ext(file))
	isText := !bytes.Contains(head, []byte{0})
	hasShebang := bytes.HasPrefix(head, []byte("#!"))
	unreadable := head == nil && canExecute
	switch {
	case wantArgs && byExtension != nil:
		return byExtension, ""
	case canExecute && (hasShebang || !isText || unreadable):
		return nil, ""
	case byExtension != nil:
		return byExtension, ""
	case hasShebang:
		return nil, "not executable; chmod +x it, or set interpreter"
	case !isText:
		return nil, "a binary that is not executable; chmod +x it, or set interpreter"
	}
	return nil, "cannot tell what runs it: set interpreter, or begin it with a line like #!/bin/sh and chmod +x it"
}

// interpreters are the programs for a file's extension, the best first.
func interpreters(ext string) []string {
	switch ext {
	case ".js", ".cjs", ".mjs":
		return []string{"node"}
	case ".ts", ".tsx", ".cts", ".mts":
		return []string{"bun", "node"} // node runs TypeScript from 22.18 on
	case ".py":
		return []string{"python3", "python"}
	case ".sh", ".bash":
		return []string{"bash", "sh"}
	case ".rb":
		return []string{"ruby"}
	case ".php":
		return []string{"php"}
	case ".pl":
		return []string{"perl"}
	case ".lua":
		return []string{"lua"}
	}
	return nil
}

// shebangLine are the words of a file's #! line.
func shebangLine(head []byte) []string {
	line, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return nil
	}
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	return strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || r == '\t' })
}

// shebang is the name of the program that a #! line asks for: python3 for
// `#!/usr/bin/env -S python3 -u`.
func shebang(head []byte) string {
	words := shebangLine(head)
	if len(words) == 0 {
		return ""
	}
	if filepath.Base(words[0]) == "env" {
		for _, word := range words[1:] {
			if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
				return filepath.Base(word)
			}
		}
	}
	return filepath.Base(words[0])
}

// shebangFault explains what the kernel would only call "no such file".
func shebangFault(file string, head []byte) *fault {
	words := shebangLine(head)
	program := strings.TrimSuffix(words[0], "\r")
	last := words[len(words)-1]
	switch _, err := os.Stat(program); {
	case !filepath.IsAbs(program):
		return nil // the kernel takes it from the working folder; rare, not ours to judge
	case err != nil:
		return faultf("script", "%s: its first line asks for %s, which is not there", file, program)
	case strings.HasSuffix(last, "\r"):
		return faultf("script", "%s: its first line ends as on Windows (\\r\\n), which Linux can't run", file)
	}
	return nil
}
