// Package ecosystem turns a user's file (JSON with comments, YAML, a node config
// module, or a Procfile) or command line into validated apps, or into errors that point
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
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
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

// Names are the names that the file's apps can have, in its order: with
// append_env_to_name there is one for each env_<name> of the file, too.
func (f *File) Names() []string {
	names := make([]string, 0, len(f.drafts))
	for _, d := range f.drafts {
		names = append(names, d.app.Name)
		if d.appendEnv {
			for _, env := range f.envs() {
				names = append(names, d.nameWith(env))
			}
		}
	}
	return names
}

// envs are the names of all env_<name> blocks.
func (f *File) envs() []string {
	all := map[string]bool{}
	for _, d := range f.drafts {
		for name := range d.envs {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Read reads and checks the whole file; nothing is started by it. Its error is
// Problems for everything wrong inside the file, and an ordinary error when the
// file cannot be read at all. Node is run (bounded by ctx) for *.config.js.
//
// The file's relative paths count from the app's cwd, and a relative cwd from
// the file's folder, which is also the default of cwd.
func Read(ctx context.Context, path string, o Options) (*File, error) {
	r, abs := newReader(path, o)
	root, err := r.tree(ctx, abs)
	if err != nil {
		return nil, err
	}
	return r.file(root, abs)
}

// newReader reads the file of that path, which as an absolute one is abs.
func newReader(path string, o Options) (r *reader, abs string) {
	abs = path
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(o.Dir, path)
	}
	return &reader{name: path, dir: filepath.Dir(abs), world: newWorld(o)}, abs
}

// ReadFrom reads a file from a stream, such as standard input: JSON, or YAML when
// it does not begin as JSON does. Relative paths count from Options.Dir, and the
// File has no Path.
func ReadFrom(in io.Reader, o Options) (*File, error) {
	data, err := limited(in)
	if err != nil {
		return nil, fmt.Errorf("cannot read standard input: %v", err)
	}
	r := &reader{name: "-", dir: o.Dir, world: newWorld(o)}
	if text := bytes.TrimSpace(data); len(text) > 0 && bytes.IndexByte([]byte("{[/"), text[0]) < 0 {
		return r.file(r.yaml(data), "")
	}
	return r.file(r.json(data), "")
}

// file makes a File of a tree, or tells everything that is wrong with it.
func (r *reader) file(root *node, path string) (*File, error) {
	var drafts []*draft
	if root != nil {
		r.duplicates(root, "")
		if isProcfile(path) {
			drafts = r.procs(root)
		} else {
			drafts = r.apps(root, filepath.Base(path) == "package.json")
		}
	}
	f := &File{Path: path, name: r.name, world: r.world, drafts: drafts}
	f.needs(r)
	f.Problems = r.done()
	if f.Problems.failed() {
		return nil, f.Problems
	}
	return f, nil
}
