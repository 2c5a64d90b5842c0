// Package ecosystem turns a user's file (JSON with comments, YAML, or a node
// config module) or command line into validated apps, or into errors that point
// at lines. It has no goroutines of its own and never touches the network.
//
// The way of a file: its format's parser makes nodes (format*.go), the one
// table of fields (table.go) turns an app's node into a draft (draft.go), finish
// decides what depends on several fields, the program above all (finish.go,
// command.go), and Select lays the chosen env_<name> over env (select.go).
// Everything wrong is collected on the way and told at once, in the order of the
// lines; nothing is ever started here but node, for config modules.
package ecosystem

import (
	"context"
	"path/filepath"
)

// File is a file that was read without errors. Its apps still have their
// env_<name> blocks apart: Select chooses.
type File struct {
	Path     string   // absolute
	Problems Problems // warnings and notes only

	name   string // as the user named it
	world  *world
	drafts []*draft
}

// Names are the names of the file's apps, in its order.
func (f *File) Names() []string {
	names := make([]string, 0, len(f.drafts))
	for _, d := range f.drafts {
		names = append(names, d.app.Name)
	}
	return names
}

// Read reads and checks the whole file; nothing is started by it. Its error is
// Problems for everything wrong inside the file, and an ordinary error when the
// file cannot be read at all. Node is run (bounded by ctx) for *.config.js.
//
// The file's relative paths count from the app's cwd, and a relative cwd from
// the file's folder, which is also the default of cwd.
func Read(ctx context.Context, path string, o Options) (*File, error) {
	w := newWorld(o)
	abs := path
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(o.Dir, path)
	}
	r := &reader{name: path, dir: filepath.Dir(abs), world: w}
	root, err := r.tree(ctx, abs)
	if err != nil {
		return nil, err
	}
	var drafts []*draft
	if root != nil {
		r.duplicates(root, "")
		drafts = r.apps(root, filepath.Base(abs) == "package.json")
	}
	problems := r.done()
	if problems.failed() {
		return nil, problems
	}
	return &File{Path: abs, Problems: problems, name: path, world: w, drafts: drafts}, nil
}
