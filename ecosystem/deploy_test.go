package ecosystem

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func (p *project) deploys(name, content string) (*Deploys, error) {
	p.t.Helper()
	p.file(name, content)
	return ReadDeploys(p.t.Context(), name, p.options())
}

// everyDeployField is a block with all that there is.
const everyDeployField = `{
  "apps": [{"script": "not/here/yet.js", "env_production": {"A": "1"}}],
  "deploy": {"production": {
    "host": ["www1.example.com", "anna@10.0.0.7", "::1"], "user": "deploy", "key": "keys/id", "port": "2222",
    "ssh_options": ["StrictHostKeyChecking=accept-new", "-o LogLevel=ERROR"], "forward-agent": "yes",
    "repo": "git@git.example.com:team/web.git", "ref": "origin/main", "path": "${HOME}/web/", "fetch": "fast", "keep": 3,
    "env": {"PATH": "/opt/node/bin:/usr/bin", "N": 1, "NONE": null}, "needs_tty": false,
    "pre-setup": "a", "post-setup": "b", "pre-deploy-local": "c", "pre-deploy": "d", "post-deploy": ""
  }}}`

func TestReadDeploys(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("keys/id", "")
	all, err := p.deploys("eco.json", everyDeployField)
	if err != nil || len(all.Problems) > 0 {
		t.Fatal(err, all)
	}
	got, err := all.Find("production")
	must(t, err)
	want := Deploy{
		Name: "production", Hosts: []string{"www1.example.com", "anna@10.0.0.7", "::1"},
		SSH: SSH{User: "deploy", Key: p.dir + "/keys/id", Port: 2222,
			Options: []string{"StrictHostKeyChecking=accept-new", "LogLevel=ERROR"}, ForwardAgent: true},
		Repo: "git@git.example.com:team/web.git", Ref: "origin/main", Fast: true, Path: "~/web", Keep: 3,
		Env:   map[string]string{"PATH": "/opt/node/bin:/usr/bin", "N": "1"},
		Hooks: DeployHooks{PreSetup: "a", PostSetup: "b", PreDeployLocal: "c", PreDeploy: "d", PostDeployGiven: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if !all.HasApps || !all.HasEnv("production") || all.HasEnv("staging") {
		t.Errorf("apps %v, env_production %v", all.HasApps, all.HasEnv("production"))
	}
	root := (&reader{world: newWorld(Options{Dir: "/"})}).json([]byte(everyDeployField))
	s := newSchema(t)
	if err := s.check(s.root, plainValue(root), ""); err != nil {
		t.Errorf("the schema refuses it: %v", err)
	}
}

func TestRepoBelowTheHome(t *testing.T) {
	t.Parallel()
	for repo, want := range map[string]string{"$HOME/web.git": "~/web.git", "${HOME}/web.git": "~/web.git", "~/web.git": "~/web.git", "/srv/$HOME": "/srv/$HOME"} {
		all, err := newProject(t).deploys("eco.json", `{"apps": [{"script": "a"}], "deploy": {"p": {"host": "h", "path": "/srv/web", "repo": "`+repo+`"}}}`)
		must(t, err)
		if d, err := all.Find("p"); err != nil || d.Repo != want {
			t.Errorf("%s: got %q, %v, want %q", repo, d.Repo, err, want)
		}
	}
}

// What pm2's own `init` writes is read, with what it has to say to its user.
func TestReadDeploysOfPm2(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	all, err := p.deploys("eco.yaml", `
apps: [{script: app.js}]
deploy:
  x-base: anything
  production:
    user: SSH_USERNAME
    host: SSH_HOSTMACHINE
    ref: origin/master
    repo: GIT_REPOSITORY
    path: DESTINATION_PATH
    needs_tty: true
    pre-deploy-local: ''
    post-deploy: npm install && pm2 reload ecosystem.config.js --env production
    pre-setup: ''
`)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, problem := range all.Problems {
		said = append(said, problem.String())
	}
	want := "eco.yaml:11:5: deploy.production.needs_tty: no effect here: nothing is asked on the host\n" +
		"eco.yaml:13:18: deploy.production.post-deploy: it calls pm2; write gopm if gopm is to run the apps"
	if got := strings.Join(said, "\n"); got != want {
		t.Errorf("said:\n%s\nwant:\n%s", got, want)
	}
	if got := strings.Join(all.Names(), " "); got != "production" {
		t.Errorf("environments: %s", got)
	}
	if d, err := all.Find("production"); err != nil || d.Path != "~/DESTINATION_PATH" {
		t.Error(d, err)
	}
	if _, err := all.Find("prod"); err == nil || !strings.Contains(err.Error(), "there are production") {
		t.Error(err)
	}
}

// Every value that is no good is told with what would be.
func TestReadDeploysWrong(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	s := newSchema(t)
	tests := []struct {
		field, want string
		form        bool // the schema knows, too
	}{
		{`"host": ""`, `host: is empty`, false},
		{`"host": []`, `host: the list is empty`, false},
		{`"host": "-oProxyCommand=x"`, `host: can't begin with "-"`, false},
		{`"host": "a@-b"`, `host: want a host like`, false},
		{`"host": "a b"`, `host: want a host like`, false},
		{`"host": "ssh://a"`, `host: want a host`, false},
		{`"host": "a:22"`, `host: want the host without its port: "host": "a", "port": 22`, false},
		{`"host": {"a": 1}`, `host: want a text`, true},
		{`"user": "-l"`, `user: can't begin with "-"`, false},
		{`"port": 0`, `port: want a port from 1`, true},
		{`"key": "none"`, `key: no such file`, false},
		{`"ssh_options": ["-i", "x"]`, `ssh_options: want options of ssh_config like`, false},
		{`"forward-agent": "maybe"`, `forward-agent: want true or false`, true},
		{`"repo": "--upload-pack=x"`, `repo: can't begin with "-"`, false},
		{`"repo": "a\u001bb"`, `repo: can't have control characters`, false},
		{`"ref": "a..b"`, `ref: want a branch, a tag or a commit`, false},
		{`"path": "/"`, `path: want a folder of its own`, false},
		{`"path": "~"`, `path: want a folder of its own`, false},
		{`"path": "/srv/$NAME"`, `path: of variables only $HOME is known here`, false},
		{`"fetch": "slow"`, `fetch: want "full" or "fast"`, true},
		{`"keep": 0`, `keep: want at least 1, got 0`, true},
		{`"env": {"A-B": 1}`, `env: "A-B" cannot be a variable of a shell`, false},
		{`"env": 1`, `env: want an object of variables`, true},
		{`"pre-deploy": ["a"]`, `pre-deploy: want a text`, true},
		{`"post_deploy": "a"`, `post_deploy: unknown name, did you mean "post-deploy"?`, true},
		{`"whatever": 1`, `whatever: unknown name (there are host, user, key`, true},
		{`"ref": "a", "ref": "b"`, `ref: given twice, first in line 1`, false},
	}
	for _, test := range tests {
		fields := test.field
		for _, more := range []string{`"host": "h"`, `"repo": "r"`, `"path": "p"`} {
			if name, _, _ := strings.Cut(more, ":"); !strings.HasPrefix(test.field, name) {
				fields += ", " + more
			}
		}
		file := `{"apps": [{"script": "app.js"}], "deploy": {"production": {` + fields + `}}}`
		_, err := p.deploys("eco.json", file)
		var problems Problems
		if !errors.As(err, &problems) || len(problems) != 1 || !strings.Contains(err.Error(), "deploy.production."+test.want) {
			t.Errorf("%s: %v", test.field, err)
		}
		root := (&reader{world: newWorld(Options{Dir: "/"})}).json([]byte(file))
		if err := s.check(s.root, plainValue(root), ""); (err != nil) != test.form && test.form {
			t.Errorf("%s: the schema takes it", test.field)
		}
	}
	for file, want := range map[string]string{
		`{"deploy": []}`:                       `deploy: want {"production": {…}}, got a list`,
		`{"deploy": {}}`:                       `deploy: it names no environment`,
		`{"deploy": {"a b": {}}}`:              `deploy.a b: want a word like production`,
		`{"deploy": {"p": 1}}`:                 `deploy.p: want an object like`,
		`[{"script": "app.js"}]`:               `it has no block "deploy"`,
		`{"deploy": {"p": {"host": "localh"}}`: `eco.json:1:`,
	} {
		_, err := p.deploys("eco.json", file)
		mentions(t, err, want)
	}
}
