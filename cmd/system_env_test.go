package cmd_test

import (
	"fmt"
	"strings"
	"testing"
)

// with runs the next commands with more variables in the shell.
func (g *gopm) with(vars ...string) *gopm {
	more := *g
	more.env = append(g.env[:len(g.env):len(g.env)], vars...)
	return &more
}

// wantEnv checks variables of an app's process; a value of "-" means unset.
func (g *gopm) wantEnv(app string, want map[string]string) {
	g.Helper()
	env := environOf(g.T, g.app(app).Pid)
	for name, value := range want {
		got, has := env[name]
		if value == "-" && has || value != "-" && got != value {
			g.Errorf("%s: %s=%q, want %q", app, name, got, value)
		}
	}
}

const threeEnvs = `{"apps": [{
  "name": "a", "script": "run", ` + quick + `,
  "env": {"MODE": "plain", "BASE": "1"},
  "env_production": {"MODE": "production"},
  "env_qa": {"MODE": "qa"},
}]}`

func TestEnvIsRememberedAndGoesBack(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.file("eco.json", threeEnvs)
	mode := func(want string) {
		t.Helper()
		g.wantEnv("a", map[string]string{"MODE": want, "BASE": "1"})
	}
	g.run("start", "eco.json", "--env", "production")
	mode("production")
	pid := g.app("a").Pid
	contains(t, "start without --env", g.run("start", "eco.json"), "env_production", "--env default", "a: unchanged")
	if g.app("a").Pid != pid {
		t.Error("it was restarted")
	}
	g.run("restart", "eco.json")
	mode("production")
	g.run("restart", "a")
	mode("production")
	contains(t, "ls", g.run("ls"), "env_production")
	contains(t, "start --env qa", g.run("start", "eco.json", "--env", "qa"), "env.MODE")
	mode("qa")
	g.run("start", "eco.json", "--env", "default")
	mode("plain")
	lacks(t, "start after default", g.run("start", "eco.json"), "env_qa", "env_production")
}

func TestUnknownEnvSuggests(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.file("eco.json", threeEnvs)
	g.fail(2, []string{"prodction", `production`}, "start", "eco.json", "--env", "prodction")
	if len(g.list()) != 0 {
		t.Error("something was started")
	}
	g.file("none.json", `{"name": "b", "script": "run", `+quick+`}`)
	r := g.try("start", "none.json", "--env", "production")
	contains(t, "a file without env_…", r.err, "warning", "--env production")
	if r.code != 0 {
		t.Error(r)
	}
}

func TestEnvWithoutFileIsRefused(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.fail(2, []string{"--env"}, "start", "./run", "--env", "production")
}

func TestEnvFile(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.file("conf/.env", "# a comment\nFROM_FILE=file\nexport QUOTED=\"two words\"\nBOTH='file'\n")
	g.file("eco.json", `{"name": "a", "script": "run", "env_file": "conf/.env", "env": {"BOTH": "env"}, `+quick+`}`)
	g.run("start", "eco.json")
	g.wantEnv("a", map[string]string{"FROM_FILE": "file", "QUOTED": "two words", "BOTH": "env"})
	g.file("conf/.env", "FROM_FILE=new\n")
	contains(t, "start", g.run("start", "eco.json"), "a: restarted (changed: ", "env.FROM_FILE", "env.QUOTED")
	g.wantEnv("a", map[string]string{"FROM_FILE": "new", "QUOTED": "-"})
	g.file("eco.json", `{"name": "a", "script": "run", "env_file": "gone.env"}`)
	g.fail(2, []string{"eco.json:1:", "env_file", "gone.env"}, "start", "eco.json")
}

func TestIdentityVariables(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "web", "namespace": "shop", "port": 8080`)
	g.run("start", "eco.json")
	g.wantEnv("web", map[string]string{
		"NODE_APP_INSTANCE": "0", "name": "web", "pm_id": "0", "namespace": "shop", "PORT": "8080",
	})
}

func TestInstanceVar(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "web", "instance_var": "NUMBER"`)
	g.run("start", "eco.json")
	g.wantEnv("web", map[string]string{"NUMBER": "0", "NODE_APP_INSTANCE": "-"})
}

func TestEnvironmentIsDeclaredOverInherited(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "env": {"BOTH": "file", "OBJECT": {"x": [1]}, "NUMBER": 7, "GONE": null}`)
	g.with("BOTH=shell", "SHELL_ONLY=1", "GONE=shell").run("start", "eco.json")
	g.wantEnv("a", map[string]string{
		"BOTH": "file", "SHELL_ONLY": "1", "OBJECT": `{"x":[1]}`, "NUMBER": "7", "GONE": "-",
	})
}

func TestVariableWithTheAppsOwnName(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "TOKEN", "env": {"TOKEN": "secret"}`)
	g.run("start", "eco.json")
	g.wantEnv("TOKEN", map[string]string{"TOKEN": "secret"})
}

func TestSessionVariablesAreDropped(t *testing.T) {
	g := newGopm(t)
	session := []string{"SSH_CLIENT", "SSH_AUTH_SOCK", "TERM", "TMUX", "TMUX_PANE", "DISPLAY",
		"DBUS_SESSION_BUS_ADDRESS", "XDG_SESSION_ID", "SUDO_USER", "SHLVL", "OLDPWD"}
	var vars []string
	want := map[string]string{"STAYS": "1"}
	for _, name := range session {
		vars = append(vars, name+"=session")
		want[name] = "-"
	}
	g.eco("eco.json", `"name": "a"`)
	// Without a shell: bash sets some of them itself.
	g.file("eco.json", `{"name": "a", "script": "sleep", "args": "1000", `+quick+`}`)
	g.with(append(vars, "STAYS=1")...).run("start", "eco.json")
	g.wantEnv("a", want)
}

func TestInheritEnv(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "none", "inherit_env": false, "env": {"OWN": "1"}`, `"name": "some", "inherit_env": ["WANTED"]`)
	g.with("WANTED=1", "OTHER=1").run("start", "eco.json")
	g.wantEnv("none", map[string]string{"OWN": "1", "WANTED": "-", "OTHER": "-"})
	g.wantEnv("some", map[string]string{"WANTED": "1", "OTHER": "-"})
}

func TestUpdateEnv(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.with("V=1").run("start", "eco.json")
	g.with("V=2").run("start", "eco.json")
	g.with("V=2").run("restart", "a")
	g.wantEnv("a", map[string]string{"V": "1"})
	g.with("V=3").run("restart", "a", "-a")
	g.wantEnv("a", map[string]string{"V": "3"})
	g.with("V=4").run("restart", "eco.json")
	g.wantEnv("a", map[string]string{"V": "3"})
	g.with("V=5").run("start", "eco.json", "--update-env")
	g.wantEnv("a", map[string]string{"V": "5"})
}

// pm2 took settings from variables: max_restarts=1 in a shell changed every app.
func TestVariablesAreNeverSettings(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a", "env": {"autorestart": "false"}`)
	shell := g.with("max_restarts=1", "watch=true", "restart_delay=777", "name=wrong", "instances=3", "kill_timeout=1")
	r := shell.try("start", "eco.json")
	if r.code != 0 || strings.Contains(r.err, "watch") {
		t.Error(r)
	}
	info := g.run("info", "a")
	contains(t, "info", info, "errored after 16 ", "SIGKILL after 5s", "yes;")
	lacks(t, "info", info, "restart delay")
	g.wantEnv("a", map[string]string{"max_restarts": "1", "autorestart": "false", "name": "a"})
}

func TestAppendEnvToName(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.file("eco.json", strings.Replace(threeEnvs, `"name": "a"`, `"name": "a", "append_env_to_name": true`, 1))
	g.run("start", "eco.json", "--env", "qa")
	g.wantEnv("a-qa", map[string]string{"MODE": "qa", "name": "a-qa"})
}

func TestValuesAreMasked(t *testing.T) {
	g := newGopm(t)
	g.eco("eco.json", `"name": "a"`)
	g.with("SHELL_SECRET=hunter2").run("start", "eco.json")
	for _, command := range []string{"ls", "info a", "jlist"} {
		lacks(t, command, fmt.Sprint(g.try(strings.Fields(command)...)), "hunter2")
	}
}
