package ecosystem

import (
	"bytes"
	"context"
	"encoding/json"
)

// Convert is a file of any format as JSON, with the values it has now: what a
// module takes from the environment is what it took when it was evaluated.
func Convert(ctx context.Context, path string, o Options) ([]byte, error) {
	r, abs := newReader(path, o)
	root, err := r.tree(ctx, abs)
	if err != nil {
		return nil, err
	}
	if problems := r.done(); problems.failed() {
		return nil, problems
	}
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(root.json()), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
