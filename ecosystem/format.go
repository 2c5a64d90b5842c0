package ecosystem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// usualNames are looked for by Find, in this order: ours and pm2's own names
// first, JavaScript before the rest as pm2 has it.
func usualNames() []string {
	return []string{
		"ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.config.mjs",
		"ecosystem.json", "ecosystem.yaml", "ecosystem.yml",
		"pm2.config.js", "pm2.config.cjs", "pm2.config.mjs", "pm2.json",
		"process.json", "process.yaml", "process.yml",
		"Procfile",
	}
}

// Find is the first of the usual names in dir, or an error that lists them.
func Find(dir string) (string, error) {
	for _, name := range usualNames() {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no ecosystem file in %s: looked for %s; name a file or a script", dir, strings.Join(usualNames(), ", "))
}

// IsFile says whether a target on the command line names an ecosystem file
// (by its name alone) rather than a script or a running app.
func IsFile(target string) bool {
	for _, end := range []string{".json", ".yml", ".yaml"} {
		if strings.HasSuffix(target, end) && filepath.Base(target) != end {
			return true
		}
	}
	return isModule(target) || isProcfile(target)
}

// isModule says whether a file has to be evaluated by node.
func isModule(path string) bool {
	for _, end := range []string{".config.js", ".config.cjs", ".config.mjs"} {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	return false
}

// maxFile bounds what is read: a file that a person wrote is far below it.
const maxFile = 4 << 20

// tree reads a file of any format into nodes. What is wrong inside it goes to
// the reader's problems (the node is nil then); the error is for a file that
// can't be read at all.
func (r *reader) tree(ctx context.Context, path string) (*node, error) {
	data, err := readLimited(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", r.name, err)
	}
	switch {
	case isModule(path):
		return r.module(ctx, path)
	case strings.HasSuffix(path, ".yml"), strings.HasSuffix(path, ".yaml"):
		return r.yaml(data), nil
	case isProcfile(path):
		env, port := r.foremanEnv()
		return r.procfile(data, env, port), nil
	default:
		return r.json(data), nil
	}
}

// readLimited reads a whole file of at most maxFile bytes.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, plainError(err)
	}
	defer f.Close()
	return limited(f)
}

// limited reads all of in, up to maxFile bytes, without a byte order mark.
func limited(in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, plainError(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %d MB", maxFile>>20)
	}
	return bytes.TrimPrefix(data, []byte("\ufeff")), nil
}

// plainError takes the path out of a file error: the caller says it better.
func plainError(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return e.Err
	}
	return err
}

// lines finds the line of an offset.
type lines struct {
	data   []byte
	starts []int // offset of each line's first byte
}

func newLines(data []byte) *lines {
	l := &lines{data: data, starts: []int{0}}
	for i, c := range data {
		if c == '\n' {
			l.starts = append(l.starts, i+1)
		}
	}
	return l
}

// line is the text of a 1-based line, without its end.
func (l *lines) line(n int) []byte {
	if n < 1 || n > len(l.starts) {
		return nil
	}
	rest := l.data[l.starts[n-1]:]
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return bytes.TrimSuffix(rest, []byte("\r"))
}

// clamp keeps a place inside the file: parsers point behind its end when it
// ends too early.
func (l *lines) clamp(p place) place {
	p.line = min(max(p.line, 1), len(l.starts))
	p.col = min(max(p.col, 1), len(l.line(p.line))+1)
	return p
}
