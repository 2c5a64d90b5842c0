package cmd_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// A promise is as good as its test: those that SECURITY.md names are there.
func TestSecurityPageNamesTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../SECURITY.md")
	must(t, err)
	grep := exec.Command("grep", "-rhoE", `^func (Test|Fuzz)\w+\(`, "--include=*_test.go", "..")
	out, err := grep.Output()
	must(t, err)
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 10 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, n := range named {
		if !strings.Contains(string(out), "func "+n[1]+"(") {
			t.Errorf("SECURITY.md names %s, which doesn't exist", n[1])
		}
	}
}
