package daemon

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
)

// A program that says more than an answer can have is refused before it fills our memory.
func TestAskOneThatTalks(t *testing.T) {
	t.Parallel()
	binary, err := os.Open("/usr/bin/yes")
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	_, err = ask(context.Background(), binary)
	if err == nil || !strings.Contains(err.Error(), "says too much") && !strings.Contains(err.Error(), "signal: broken pipe") {
		t.Errorf("%v", err)
	}
}

// A binary may take over if it knows the formats of this daemon, or later ones.
func TestUnderstand(t *testing.T) {
	t.Parallel()
	answer := func(protocol string, state int) string {
		return fmt.Sprintf("gopm v9 keeper %s state %d\n", protocol, state)
	}
	for _, c := range []struct{ answer, fault string }{
		{Hello("v9"), ""},
		{answer("99", api.StateFormat+1), ""},
		{Hello("v9") + "and more", ""},
		{answer("1", api.StateFormat), "gopm v9 does not know the keeper format " + keeper.Protocol},
		{answer(keeper.Protocol, api.StateFormat-1), "does not know the state format"},
		{answer("two", api.StateFormat), "keeper format"},
		{"", "not a gopm"},
		{"bin\nboot\ndev\netc\nhome\nlib\n", "not a gopm"},
	} {
		version, err := understand(c.answer)
		if c.fault == "" && (err != nil || version != "v9") {
			t.Errorf("%q: %q, %v", c.answer, version, err)
		}
		if c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%q: error %v, want %q", c.answer, err, c.fault)
		}
	}
}
