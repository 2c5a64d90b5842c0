package daemon

import (
	"context"
	"os"
	"strings"
	"testing"
)

// A program that says more than an answer can have is refused before it fills our memory.
func TestAskOneThatTalks(t *testing.T) {
	t.Parallel()
	binary, err := os.Open("/usr/bin/yes")
	if err != nil {
		t.Skip(err)
	}
	defer binary.Close()
	_, err = ask(context.Background(), binary)
	if err == nil || !strings.Contains(err.Error(), "says too much") && !strings.Contains(err.Error(), "signal: broken pipe") {
		t.Errorf("%v", err)
	}
}
