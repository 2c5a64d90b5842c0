package ecosystem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// nodeTimeout ends an evaluation that the caller set no nearer end for.
const nodeTimeout = 30 * time.Second

// bootstrap is what node runs: it imports the file (which serves CommonJS and
// ES modules alike) and writes one JSON object to descriptor 3, so that whatever
// the file prints does no harm. It ends node itself: a file may leave timers.
const bootstrap = `
const fs = require('fs'), url = require('url');
const file = process.argv[1];
function answer(o) {
  const b = Buffer.from(JSON.stringify(o));
  for (let n = 0; n < b.length;) n += fs.writeSync(3, b, n);
  process.exit(0);
}
function fail(e) {
  const stack = String(e && e.stack || e);
  const at = stack.split(file).slice(1).map(s => /^:(\d+)(?::(\d+))?/.exec(s)).find(m => m) || [];
  const text = e instanceof Error || e && e.message ? e.name + ': ' + e.message : String(e);
  answer({error: text, line: +at[1] || 0, col: +at[2] || 0});
}
process.on('uncaughtException', fail);
import(url.pathToFileURL(file).href).then(async m => {
  let v = m.default === undefined ? {...m} : m.default;
  if (v && v.__esModule && v.default !== undefined) v = v.default;
  v = await v;
  const text = JSON.stringify(v);
  answer(text === undefined ? {nothing: typeof v} : {value: text});
}).catch(fail);
`

// evaluation is what bootstrap answers.
type evaluation struct {
	Value   string `json:"value"`   // JSON of what the file exports
	Nothing string `json:"nothing"` // its type, when that is nothing JSON can say
	Error   string `json:"error"`
	Line    int    `json:"line"`
	Col     int    `json:"col"`
}

// module evaluates a node config module.
func (r *reader) module(ctx context.Context, path string) (*node, error) {
	program, ok := r.world.lookPath("node", r.world.path(), r.world.dir)
	if !ok {
		return nil, fmt.Errorf("cannot read %s: it is JavaScript and needs node, which is not on PATH; install node or write the file as JSON or YAML", r.name)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, nodeTimeout, fmt.Errorf("given up after %v", nodeTimeout))
	defer cancel()
	answer, err := runNode(ctx, program, path, r.world.environ)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", r.name, err)
	}
	return r.evaluated(answer)
}

// evaluated reads the answer of bootstrap, or what the file has written in its place.
func (r *reader) evaluated(answer []byte) (*node, error) {
	var e evaluation
	if err := json.Unmarshal(answer, &e); err != nil {
		return nil, fmt.Errorf("cannot read %s: node ended before the file had exported anything", r.name)
	}
	switch {
	case e.Error != "":
		r.errorf(place{max(e.Line, 0), max(e.Col, min(e.Line, 1), 0)}, "", "%s", shorten(e.Error))
	case e.Value == "":
		r.errorf(place{}, "", "it exports nothing usable (%s): want module.exports = {apps: [...]}", e.Nothing)
	default:
		n := r.json([]byte(e.Value))
		n.forgetPlaces()
		return n, nil
	}
	return nil, nil
}

// forgetPlaces removes places, which are of the JSON that node wrote.
func (n *node) forgetPlaces() {
	if n == nil {
		return
	}
	n.place = place{}
	for _, item := range n.items {
		item.forgetPlaces()
	}
	for i := range n.members {
		n.members[i].place = place{}
		n.members[i].value.forgetPlaces()
	}
}

// runNode returns what the bootstrap wrote to descriptor 3. node gets a process
// group of its own, so that whatever the file starts ends with ctx too.
func runNode(ctx context.Context, program, path string, environ []string) ([]byte, error) {
	result, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer result.Close()
	var stderr firstBytes
	cmd := exec.CommandContext(ctx, program, "--input-type=commonjs", "-e", bootstrap, path)
	cmd.Dir = filepath.Dir(path)
	cmd.Env = withoutPrivate(environ)
	cmd.Stderr = &stderr
	cmd.ExtraFiles = []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a grandchild that holds stderr open is not waited for
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot run node: %w", plainError(err))
	}
	stop := context.AfterFunc(ctx, func() { result.SetReadDeadline(time.Now()) })
	defer stop()
	answer, readErr := io.ReadAll(io.LimitReader(result, maxFile+1))
	if readErr != nil || len(answer) > maxFile {
		cmd.Cancel()
	}
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("node was still evaluating it: %w", context.Cause(ctx))
	case len(answer) > maxFile:
		return nil, fmt.Errorf("it exports more than %d MB", maxFile>>20)
	case len(answer) == 0 && waitErr != nil && !errors.Is(waitErr, exec.ErrWaitDelay):
		return nil, fmt.Errorf("node failed (%v): %s", waitErr, shorten(string(stderr.text)))
	}
	return answer, nil
}

// firstBytes keeps the beginning of what is written, which is where node says why.
type firstBytes struct{ text []byte }

func (t *firstBytes) Write(p []byte) (int, error) {
	t.text = append(t.text, p[:min(len(p), 8<<10-len(t.text))]...)
	return len(p), nil
}

// shorten keeps the lines of node's error text that a person reads: no empty
// ones, no stack frames, at most four.
func shorten(text string) string {
	var keep []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		noise := strings.HasPrefix(line, "at ") || strings.HasPrefix(line, "- /") ||
			line == "Require stack:" || strings.HasPrefix(line, "Node.js v")
		if line == "" || noise {
			continue
		}
		line = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1 // colours and worse
			}
			return r
		}, line)
		if keep = append(keep, line); len(keep) == 4 {
			break
		}
	}
	return strings.Join(keep, "; ")
}
