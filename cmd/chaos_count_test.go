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
// first, and says how many there are of each run. Any other line, order or number is an error.
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
		run, n, ok := parseLine(line, c.tag)
		if !ok || err != nil || run < c.last || run >= len(c.got) || n != c.got[run] {
			return fmt.Errorf("%s:%d: %.80q (%v) after run %d, line %d; there are %d runs",
				filepath.Base(path), number, line, err, c.last, c.got[c.last]-1, len(c.got))
		}
		c.got[run]++
		c.last = run
	}
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
	for name, text := range map[string]string{
		"gap": "a 0 0 \na 0 2 \n", "twice": "a 0 0 \na 0 0 \n", "back": "a 1 0 \na 0 0 \n",
		"torn": "a 0 0 \na 0", "torn late": "a 0 0 x", "foreign": "b 0 0 \n", "run of nobody": "a 3 0 \n",
	} {
		if got, err := countLines([]string{write("bad", text)}, "a", 3); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
