package ecosystem

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Options is the world a file is read in; all of it is injected.
type Options struct {
	Environ []string // the user's environment: PATH, HOME, variables for node
	Dir     string   // the user's working directory, absolute
	CPUs    int      // for instances: "max" and negatives
	Memory  int64    // in bytes, for parts of it (max_memory_restart: "50%"); 0 = not known
}

// room is what values are parts of.
type room struct {
	cpus   int
	memory int64
}

// world is Options made ready for use, and what was looked up in it before.
type world struct {
	environ  []string
	dir      string
	room     room
	versions map[string]string // folder → version of the nearest package.json
	seen     map[string]seen   // what was looked at: many apps run the same program
}

type seen struct {
	info fs.FileInfo
	err  error
	read bool
	head []byte
}

func newWorld(o Options) *world {
	return &world{environ: o.Environ, dir: o.Dir, room: room{max(o.CPUs, 1), o.Memory}, versions: map[string]string{}, seen: map[string]seen{}}
}

// getenv is a variable of the user; as in a shell, the last one counts.
func (w *world) getenv(name string) string {
	for i := len(w.environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(w.environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// path is where programs are looked for when an app says nothing else.
func (w *world) path() string {
	if p := w.getenv("PATH"); p != "" {
		return p
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// abs makes path absolute: ~/ is the user's home, the rest is relative to base.
func (w *world) abs(base, path string) string {
	if home := w.getenv("HOME"); home != "" && (path == "~" || strings.HasPrefix(path, "~/")) {
		path = home + path[1:]
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	return filepath.Clean(path)
}

// lookPath finds a program by its bare name in a PATH list; entries that are
// not absolute count from dir.
func (w *world) lookPath(name, list, dir string) (string, bool) {
	if name == "" || strings.Contains(name, "/") {
		return "", false
	}
	for _, folder := range filepath.SplitList(list) {
		if folder == "" {
			continue
		}
		path := w.abs(dir, filepath.Join(folder, name))
		if info, err := os.Stat(path); err == nil && executable(info) {
			return path, true
		}
	}
	return "", false
}

func executable(info os.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// version is that of the package.json nearest to dir, looking upwards.
func (w *world) version(dir string) string {
	if v, known := w.versions[dir]; known {
		return v
	}
	v := ""
	data, err := readLimited(filepath.Join(dir, "package.json"))
	switch parent := filepath.Dir(dir); {
	case err == nil:
		var p struct{ Version string }
		if json.Unmarshal(data, &p) == nil && len(p.Version) <= 64 && isPrintable(p.Version) {
			v = p.Version
		}
	case parent != dir:
		v = w.version(parent)
	}
	w.versions[dir] = v
	return v
}

// stat looks at a file once.
func (w *world) stat(path string) (fs.FileInfo, error) {
	s, known := w.seen[path]
	if !known {
		s.info, s.err = os.Stat(path)
		w.seen[path] = s
	}
	return s.info, s.err
}

// head is the beginning of a file, nothing when it can't be read: a program may be
// executable without being readable. It is read once.
func (w *world) head(path string) []byte {
	_, _ = w.stat(path) // so that it is known there, too
	s := w.seen[path]
	if !s.read {
		s.read = true
		s.head = readHead(path)
		w.seen[path] = s
	}
	return s.head
}

// readHead is the beginning of a file, nothing if it can't be read. A pipe or a device is
// not touched: who opens one may wait for ever.
func readHead(path string) []byte {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	head, _ := io.ReadAll(io.LimitReader(f, 512))
	return head
}
