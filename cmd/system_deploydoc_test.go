package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What docs/deploy.md shows is what its file does, with a host of this machine in the
// place of www1.example.com.
func TestDeployDocs(t *testing.T) {
	f := newField(t, 1)
	text, err := os.ReadFile("../docs/deploy.md")
	must(t, err)
	_, example, found := strings.Cut(string(text), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	blocks := readmeBlocks(string(text))
	if !found || len(blocks) != 1 {
		t.Fatalf("want one example and one console block, got %d", len(blocks))
	}
	const user = `"user": "deploy",`
	eco := strings.NewReplacer(`"host": ["www1.example.com", "www2.example.com"]`, `"host": "127.0.0.1"`, "git@git.example.com:team/web.git", f.repo, `"/srv/web"`, `"app"`,
		user, fmt.Sprintf(`"port": %d, "key": "%s/user", "ssh_options": ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"],`, f.port, f.keys)).Replace(example)
	if strings.Contains(eco, "example.com") || strings.Contains(eco, user) {
		t.Fatalf("the example has changed: %s", eco)
	}
	f.file("ecosystem.json", eco)
	f.file("server.js", fmt.Sprintf("require('http').createServer((q, s) => s.end('x')).listen(%d, '127.0.0.1')\n", freePort(t)))
	f.file(".npmrc", "offline=true\naudit=false\nfund=false\nupdate-notifier=false\n")
	f.file("package.json", `{"name": "web", "version": "1.0.0"}`)
	f.file("package-lock.json", `{"name": "web", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "web", "version": "1.0.0"}}}`)
	f.git("add", ".")
	f.git("commit", "--quiet", "-m", "first one")
	first := f.git("rev-parse", "HEAD")
	f.git("push", "--quiet", "origin", "HEAD")
	f.run("deploy", "production", "setup")
	f.run("deploy", "production")
	f.git("commit", "--quiet", "--allow-empty", "-m", "second")
	second := f.git("rev-parse", "HEAD")
	f.git("push", "--quiet", "origin", "HEAD")
	asInDocs := strings.NewReplacer(f.repo, "git@git.example.com:team/web.git", "127.0.0.1", "www1.example.com", first[:7], "fcf973f", second[:7], "34ab77e")
	for _, step := range blocks[0].steps {
		cmd := exec.Command("sh", "-c", step.command)
		cmd.Dir, cmd.Env = f.dir, f.command().Env
		r, err := f.finish(cmd)
		must(t, err)
		if got := asInDocs.Replace(r.out + r.err); !matchLines(normalLines(step.output), normalLines(got)) {
			t.Errorf("$ %s\nprints:\n%s\nbut the docs say:\n%s", step.command, got, step.output)
		}
	}
}
