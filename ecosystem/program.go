package ecosystem

import "path/filepath"

// isNode says whether a program is one of those that speak node's protocol with their
// parent.
func isNode(program string) bool {
	return program == "node" || program == "nodejs" || program == "bun"
}

// RunsNode says whether what a command starts is node, or a program like it: by its name,
// by the first line of a script, or as the program of a command line. It looks at files.
func (c Command) RunsNode() bool {
	if c.isShell() {
		program, _ := commandWords(c.Script)
		return isNode(program)
	}
	file := c.Argv()[0]
	return isNode(filepath.Base(file)) || isNode(shebang(readHead(file)))
}
