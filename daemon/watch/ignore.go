package watch

import (
	"bufio"
	"os"
	"strings"
)

// Defaults are the patterns of what is never watched unless a pattern of the user's
// takes it back: what is hidden, what package managers and interpreters write, logs, pids,
// and what editors leave.
var Defaults = []string{
	".*", "node_modules/", "__pycache__/", "*.pyc", "*.log", "*.log.*", "*.pid",
	"*~", `\#*#`, "*.swp", "*.swx", "4913",
}

// rules are the patterns of one source, in their order, and whose word counts when they
// say nothing.
type rules struct {
	base  string // the folder that they are relative to; "" = what they are asked about is relative already
	list  []pattern
	outer *rules
}

type verdict int

const (
	silent verdict = iota
	ignored
	wanted
)

func parseRules(base string, lines []string, outer *rules) *rules {
	r := &rules{base: base, outer: outer}
	for _, line := range lines {
		if p, ok := parsePattern(line); ok {
			r.list = append(r.list, p)
		}
	}
	return r
}

// verdict is what the last pattern says that is about a path.
func (r *rules) verdict(path string, isFolder bool) verdict {
	for ; r != nil; r = r.outer {
		rel, below := path, true
		if r.base != "" {
			rel, below = strings.CutPrefix(path, strings.TrimSuffix(r.base, "/")+"/")
		}
		for i := len(r.list) - 1; i >= 0 && (below || r.list[i].anywhere); i-- {
			switch {
			case !r.list[i].matches(rel, isFolder):
			case r.list[i].negated:
				return wanted
			default:
				return ignored
			}
		}
	}
	return silent
}

const ignoreFile = ".gitignore"

// fileRules are those of a folder's .gitignore; of one without any, the outer ones.
func fileRules(folder string, outer *rules) *rules {
	f, err := os.Open(folder + "/" + ignoreFile)
	if err != nil {
		return outer
	}
	defer f.Close()
	var lines []string
	for in := bufio.NewScanner(f); in.Scan(); { // what is no text file is read as far as it is one
		lines = append(lines, in.Text())
	}
	return parseRules(folder, lines, outer)
}

// aboveRules are those of the .gitignore files in the folders above one, up to where
// its repository begins.
func aboveRules(folder string, outer *rules) *rules {
	var above []string
	for at := folder; at != "/" && at != "."; {
		if _, err := os.Lstat(at + "/.git"); err == nil {
			for i := len(above) - 1; i >= 0; i-- {
				outer = fileRules(above[i], outer)
			}
			return outer
		}
		at = parentOf(at)
		above = append(above, at)
	}
	return outer
}

func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}
