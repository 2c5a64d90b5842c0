package cmd

import (
	"strings"
	"testing"
)

func TestDeployCalls(t *testing.T) {
	t.Parallel()
	tests := map[string]deployCall{
		"production":                          {env: "production", action: "update"},
		"eco.json production":                 {file: "eco.json", env: "production", action: "update"},
		"sub/deploy production v1":            {file: "sub/deploy", env: "production", action: "update", ref: "v1"},
		"eco.yaml p setup":                    {file: "eco.yaml", env: "p", action: "setup"},
		"p update":                            {env: "p", action: "update"},
		"p update feature/x":                  {env: "p", action: "update", ref: "feature/x"},
		"p ref list":                          {env: "p", action: "update", ref: "list"},
		"p list":                              {env: "p", action: "list"},
		"p revert":                            {env: "p", action: "revert", count: 1},
		"p revert 3":                          {env: "p", action: "revert", count: 3},
		"p current":                           {env: "p", action: "curr"},
		"p previous":                          {env: "p", action: "prev"},
		"p run ls -l":                         {env: "p", action: "exec", command: "ls -l"},
		"deploy.config.js production exec ls": {file: "deploy.config.js", env: "production", action: "exec", command: "ls"},
	}
	for line, want := range tests {
		if got, err := deployCallOf(strings.Fields(line)); err != nil || got != want {
			t.Errorf("deploy %s: %+v, %v; want %+v", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		"":              "deploy where to?",
		"eco.json":      "deploy where to?",
		"p revert 0":    "revert wants",
		"p revert two":  "revert wants",
		"p exec":        "exec wants a command",
		"p -x":          "want a branch",
		"p a:b":         "want a branch",
		"p list all":    "list of deploy takes no more words",
		"p revert 1 2":  "revert of deploy takes no more words",
		"p v1 v2":       "v1 of deploy takes no more words",
		"p update v1 2": "update of deploy takes no more words",
	} {
		if _, err := deployCallOf(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("deploy %s: %v, want %q", line, err, want)
		}
	}
}

// The script is for every shell that a host may have as sh, and a script that was cut
// off does nothing.
func TestDeployScriptIsCalledAtItsEnd(t *testing.T) {
	t.Parallel()
	d := &deployment{token: "TOKEN"}
	d.block.Path, d.block.Repo = "~/it's", "~/r.git"
	d.block.Env = map[string]string{"A": "1 2"}
	script := d.script("list")
	for _, want := range []string{"\nexport A='1 2'\n", ` d_path="$HOME"/'it'\''s' d_repo="$HOME"/r.git` + "\n", "\nd_mark=TOKEN\n", "\nd_ref=''\n"} {
		if !strings.Contains("\n"+script, want) {
			t.Errorf("no %q in:\n%s", want, script)
		}
	}
	last := "main list </dev/null 2>&1\n"
	if !strings.HasSuffix(script, "\n"+last) || strings.Count(script, "\nmain ") != 1 {
		t.Errorf("it does not end with its only call %q", last)
	}
}
