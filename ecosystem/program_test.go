package ecosystem

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRunsNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		command Command
		want    bool
	}{
		"node":                 {Command{Interpreter: "/usr/bin/node", Script: "app.js"}, true},
		"of Debian":            {Command{Interpreter: "/usr/bin/nodejs", Script: "app.js"}, true},
		"bun":                  {Command{Interpreter: "/opt/bun", Script: "app.ts"}, true},
		"python":               {Command{Interpreter: "/usr/bin/python3", Script: write("node", "")}, false},
		"by its first line":    {Command{Script: write("npm", "#!/usr/bin/env node\n")}, true},
		"with an option":       {Command{Script: write("cli", "#!/usr/bin/env -S node --enable-source-maps\n")}, true},
		"an interpreter of it": {Command{Interpreter: write("tsx", "#!/usr/bin/env node\n"), Script: "app.ts"}, true},
		"a shell's script":     {Command{Script: write("run", "#!/bin/sh\nexec node app.js\n")}, false},
		"a command line":       {Command{Interpreter: "/bin/bash", InterpreterArgs: []string{"-c"}, Script: "PORT=1 exec node app.js | cat"}, true},
		"another command line": {Command{Interpreter: "/bin/sh", InterpreterArgs: []string{"-c"}, Script: "python3 node.py"}, false},
		"nothing there":        {Command{Script: filepath.Join(dir, "absent")}, false},
		"a pipe":               {Command{Script: pipe}, false},
		"nothing":              {Command{}, false},
	} {
		if got := c.command.RunsNode(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
