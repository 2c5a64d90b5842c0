package cmd_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// countLines reads lines "TAG RUN NUMBER ..." from a stream's files, the oldest
// first, and says how many there are of each run. Any other line, order or number is an
// error, but for the last line of a run: a program that is killed while it writes can
// leave the beginning of one, and its successor goes on there.
func countLines(files []string, tag string, runs int) ([]int, error) {
	c := counter{tag: tag, got: make([]int, runs)}
	for _, path := range files {
		if err := c.file(path); err != nil {
			return nil, err
		}
	}
	return c.got, nil
}

type counter struct {
	tag  string
	got  []int
	last int // run
}

func (c *counter) file(path string) error {
	r, err := openLog(path)
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		line, err = c.dropTorn(line, err)
		if len(line) == 0 {
			continue
		}
		run, n, ok := parseLine(line, c.tag)
		glued := bytes.Count(line, []byte(c.tag+" ")) > 1
		if !ok || glued || err != nil || run < c.last || run >= len(c.got) || n != c.got[run] {
			return fmt.Errorf("%s:%d: %.80q (%v) after run %d, line %d; there are %d runs",
				filepath.Base(path), number, line, err, c.last, c.got[c.last]-1, len(c.got))
		}
		c.got[run]++
		c.last = run
	}
}

// dropTorn takes away what a killed run has left of a line, before the first line of a
// later run or at the very end.
func (c *counter) dropTorn(line []byte, end error) ([]byte, error) {
	next := fmt.Sprintf("%s %d %09d ", c.tag, c.last, c.got[c.last])
	torn := line
	if i := bytes.LastIndex(line, []byte(c.tag+" ")); i > 0 {
		run, n, ok := parseLine(line[i:], c.tag)
		if !ok || run <= c.last || n != 0 {
			return line, end
		}
		torn = line[:i]
	} else if end == nil {
		return line, end
	}
	if m := min(len(torn), len(next)); string(torn[:m]) != next[:m] {
		return line, end
	}
	if line = line[len(torn):]; len(line) == 0 {
		end = nil
	}
	return line, end
}

func parseLine(line []byte, tag string) (run, n int, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(tag+" "))
	if !ok {
		return 0, 0, false
	}
	first, rest, _ := bytes.Cut(rest, []byte(" "))
	second, _, ok := bytes.Cut(rest, []byte(" "))
	run, errRun := strconv.Atoi(string(first))
	n, errNumber := strconv.Atoi(string(second))
	return run, n, ok && errRun == nil && errNumber == nil
}

// openLog opens a log file, packed or not; a missing one is empty.
func openLog(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	switch {
	case os.IsNotExist(err):
		return io.NopCloser(strings.NewReader("")), nil
	case err != nil:
		return nil, err
	case !strings.HasSuffix(path, ".gz"):
		return f, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %v", path, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

func TestCountLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	good := []string{write("1", "a 0 0 x\na 0 1 x\n"), write("2", "a 0 2 \na 2 0 \n"), dir + "/none"}
	if got, err := countLines(good, "a", 3); err != nil || fmt.Sprint(got) != "[3 0 1]" {
		t.Error(got, err)
	}
	torn := []string{write("3", "a 0 000000000 x\na 0 0000a 1 000000000 \n"), write("4", "a 1 000000001 xa 2 000000000 y\na 2 00000")}
	if got, err := countLines(torn, "a", 3); err != nil || fmt.Sprint(got) != "[1 1 1]" {
		t.Error(got, err)
	}
	for name, text := range map[string]string{
		"torn by nobody": "a 0 000000000 \na 0 00000a 0 000000001 \n", "glued": "a 0 000000000 a 0 000000001 \n", "gap in the torn": "a 0 000000000 \na 0 000000003a 1 000000000 \n",
		"gap": "a 0 0 \na 0 2 \n", "twice": "a 0 0 \na 0 0 \n", "back": "a 1 0 \na 0 0 \n",
		"foreign": "b 0 0 \n", "run of nobody": "a 3 0 \n",
	} {
		if got, err := countLines([]string{write("bad", text)}, "a", 3); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
