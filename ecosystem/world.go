package ecosystem

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// Options is the world a file is read in; all of it is injected.
type Options struct {
	Environ []string // the user's environment: PATH, HOME, variables for node
	Dir     string   // the user's working directory, absolute
	CPUs    int      // for instances: "max" and negatives
}

// world is Options made ready for use, and what was looked up in it before.
type world struct {
	environ  []string
	dir      string
	cpus     int
	versions map[string]string // folder → version of the nearest package.json
}

func newWorld(o Options) *world {
	return &world{environ: o.Environ, dir: o.Dir, cpus: max(o.CPUs, 1), versions: map[string]string{}}
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
