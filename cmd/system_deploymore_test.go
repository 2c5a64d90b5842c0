package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Only hooks are for a shell. Whatever else is in the file arrives as it was written.
func TestDeployValuesAreNoScript(t *testing.T) {
	f := newField(t, 1)
	nasty := "it's \"$HOME\" `id` $(id) \\ ; * #\n  two"
	folder := "a b'c; touch x"
	f.block(fmt.Sprintf(`, "env": {"VALUE": %q, "EMPTY": ""}, "post-deploy": "", "post-setup": "printf %%s \"$VALUE\" > ~/value; printf %%s \"$PWD\" > ~/folder"`, nasty))
	f.file("ecosystem.json", strings.Replace(f.read("ecosystem.json"), "$HOME/app", "~/"+folder, 1))
	f.commit("one", stays)
	f.run("deploy", "production", "setup")
	home := f.hosts[0].dir
	if got := f.fileSays(home+"/value", "two"); got != nasty {
		t.Errorf("the variable arrived as %q", got)
	}
	if got := f.fileSays(home+"/folder", folder); got != home+"/"+folder {
		t.Errorf("the folder is %q", got)
	}
	f.run("deploy", "production")
	if link, _ := os.Readlink(home + "/" + folder + "/current"); link != "releases/1" {
		t.Errorf("current is %q", link)
	}
	if got := f.run("deploy", "production", "exec", `printf '%s|' "$VALUE" $EMPTY end`); got != nasty+"|end|\n" {
		t.Errorf("exec says %q", got)
	}
	f.fail(2, []string{`want a branch, a tag or a commit, got "--upload-pack=x"`}, "deploy", "production", "update", "--", "--upload-pack=x")
	f.fail(1, []string{"there is no branch, tag or commit a';touch${IFS}x;'"}, "deploy", "production", "a';touch${IFS}x;'")
}

func TestDeployTakesAPathOverFromPm2(t *testing.T) {
	f := newField(t, 1)
	f.block("")
	f.commit("one", stays)
	app := f.hosts[0].dir + "/app"
	f.git("clone", "--quiet", f.repo, app+"/source")
	must(t, os.Symlink(app+"/source", app+"/current"))
	contains(t, "setup", f.run("deploy", "production", "setup"), "current is "+app+"/source, as another tool has made it")
	f.commit("broken", "exit 5")
	f.fail(1, []string{"current is " + app + "/source again"}, "deploy", "production")
	f.runs(0, "one")
	f.clean(0)
	f.commit("two", stays)
	f.run("deploy", "production")
	f.runs(0, "two")
	f.clean(0, "2")

	must(t, os.Remove(app+"/current"))
	must(t, os.Mkdir(app+"/current", 0o755))
	f.fail(1, []string{app + "/current is no link: move it away"}, "deploy", "production")
	f.clean(0, "2")
}

// localhost is this machine, without ssh.
func TestDeployHere(t *testing.T) {
	f := newField(t, 0)
	home := filepath.Join(filepath.Dir(f.dir), "u")
	must(t, os.Mkdir(home, 0o755))
	f.file("sub/ecosystem.json", fmt.Sprintf(`{
  "apps": [{"name": "web", "script": "run", "cwd": "..", "min_uptime": 300}],
  "deploy": {"here": {"host": "localhost", "repo": %q, "path": "app", "keep": 2, "fetch": "fast", "pre-deploy": "git log --oneline | wc -l > count"}}}`, f.repo))
	for i := range 8 {
		f.commit(fmt.Sprint(i), stays)
	}
	inside := *f.gopm // the file is not at the top of the repository
	inside.dir = filepath.Join(f.dir, "sub")
	inside.run("deploy", "here", "setup")
	contains(t, "update", inside.run("deploy", "here"), "post-deploy: gopm startOrReload sub/ecosystem.json\n", "is current on localhost")
	f.awaitStatus("web", "online")
	if count := strings.TrimSpace(f.fileSays(home+"/app/current/count", "")); count != "5" {
		t.Errorf("a fast fetch has got %s commits", count)
	}
	old := f.git("rev-parse", "HEAD~7")
	inside.run("deploy", "here", old)
	if got := inside.run("deploy", "here", "curr"); got != old+"\n" {
		t.Errorf("current is %q, want %q", got, old)
	}
	inside.file("ecosystem.json", strings.Replace(f.read("sub/ecosystem.json"), `"fetch": "fast", `, "", 1))
	inside.run("deploy", "here")
	if count := strings.TrimSpace(f.fileSays(home+"/app/current/count", "")); count != "8" {
		t.Errorf("a full fetch after a fast one has got %s commits", count)
	}
	if left, _ := filepath.Glob(home + "/app/releases/[0-9]*"); len(left) != 2 {
		t.Errorf("want 2 releases: %v", left)
	}
}

// A program that a hook leaves in the background holds the connection's pipes.
func TestDeployDoesNotWaitForWhatAHookLeaves(t *testing.T) {
	f := newField(t, 1)
	f.block(`, "post-deploy": "sleep 1000 & echo $! > ~/pid"`)
	f.commit("one", stays)
	f.run("deploy", "production", "setup")
	f.run("deploy", "production")
	var pid int
	_, err := fmt.Sscan(f.fileSays(f.hosts[0].dir+"/pid", "\n"), &pid)
	must(t, err)
	if !alive(pid) {
		t.Error("it was ended")
	}
	f.slay(pid)
}

func TestDeploySubmodules(t *testing.T) {
	f := newField(t, 1)
	f.block(`, "post-deploy": "cat part/text", "env": {"GIT_ALLOW_PROTOCOL": "file"}`)
	part := filepath.Join(filepath.Dir(f.dir), "part")
	f.must("git", "init", "--quiet", part)
	must(t, os.WriteFile(part+"/text", []byte("of the submodule\n"), 0o644))
	f.git("-C", part, "add", ".")
	f.git("-C", part, "commit", "--quiet", "-m", "part")
	f.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", part, "part")
	f.commit("one", stays)
	f.run("deploy", "production", "setup")
	contains(t, "deploy", f.run("deploy", "production"), "\nof the submodule\n")
	f.run("deploy", "production")
	f.clean(0, "1", "2")
}

func TestDeployToAHostThatDoesNotAnswer(t *testing.T) {
	f := newField(t, 1)
	f.block("")
	f.file("ecosystem.json", strings.Replace(f.read("ecosystem.json"), `"port": `+fmt.Sprint(f.port), `"port": `+fmt.Sprint(freePort(t)), 1))
	f.fail(1, []string{"production: 127.0.0.1: ssh: ", "Connection refused", "; try: ssh -p "}, "deploy", "production")
}

func TestDeployWithAWrongFile(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.file("eco.json", `{"apps": [{"script": "run"}],
  "deploy": {
    "production": {"hsot": "a", "repo": "r", "path": "$SRV/app", "fetch": "quick"},
    "staging": {"host": ["b", "b", "c:22"], "repo": "r", "path": "p", "ref": "-x", "key": "nokey"}}}`)
	r := g.fail(2, []string{
		`eco.json:3:5: deploy.production: it has no host: say where`,
		`eco.json:3:20: deploy.production.hsot: unknown name, did you mean "host"?`,
		`eco.json:3:54: deploy.production.path: of variables only $HOME is known here, got "$SRV/app"`,
		`eco.json:3:75: deploy.production.fetch: want "full" or "fast"`,
		`eco.json:4:31: deploy.staging.host[1]: b is in the list already`,
		`eco.json:4:36: deploy.staging.host[2]: want the host without its port: "host": "c", "port": 22`,
		`eco.json:4:78: deploy.staging.ref: want a branch, a tag or a commit, got "-x"`,
		`eco.json:4:91: deploy.staging.key: no such file: ` + g.dir + `/nokey`,
	}, "deploy", "eco.json", "production")
	if r.out != "" {
		t.Errorf("stdout: %q", r.out)
	}
	g.file("two.json", `{"apps": [{"script": "run"}], "deploy": {"production": {"host": "a.invalid", "repo": "r", "path": "p"}}}`)
	g.fail(2, []string{`no environment "prodction"`, `did you mean "production"?`}, "deploy", "two.json", "prodction")
	g.fail(2, []string{"deploy where to?"}, "deploy", "two.json")
	g.fail(2, []string{"revert wants how many"}, "deploy", "two.json", "production", "revert", "x")
	g.fail(2, []string{"exec wants a command"}, "deploy", "two.json", "production", "exec")
	g.fail(2, []string{"no more words"}, "deploy", "two.json", "production", "setup", "now")
	g.fail(2, []string{"cannot read no.json"}, "deploy", "no.json", "production")
	g.fail(2, []string{"no apps", "post-deploy"}, "deploy", g.file("bare.json", `{"deploy": {"p": {"host": "a.invalid", "repo": "r", "path": "p"}}}`), "p")
	g.fail(2, []string{`it has no block "deploy"`}, "deploy", g.file("none.json", `{"apps": [{"script": "run"}]}`), "p")
}
