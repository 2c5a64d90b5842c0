package ecosystem

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestArgv(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		c    Command
		want string
	}{
		{Command{Script: "/a", Args: []string{"x"}}, "/a x"},
		{Command{Script: "/a", Args: []string{"x"}, Interpreter: "/n", InterpreterArgs: []string{"-v"}}, "/n -v /a x"},
	} {
		if got := strings.Join(c.c.Argv(), " "); got != c.want {
			t.Errorf("argv = %q, want %q", got, c.want)
		}
	}
}

// TestJSON: an app survives the way over the API, and does not differ then.
func TestJSON(t *testing.T) {
	t.Parallel()
	a := newProject(t).app(`"args": "x y", "umask": "022", "env": {"A": 1, "B": null}, "filter_env": ["S"], "stop_exit_codes": 3`, "")
	b, err := json.Marshal(a)
	must(t, err)
	var back App
	must(t, json.Unmarshal(b, &back))
	if !reflect.DeepEqual(a, back) {
		t.Errorf("%+v\nbecame\n%+v", a, back)
	}
	if changes := Diff(a, back); changes != nil {
		t.Errorf("changes = %v", changes)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("lib/app.js", "")
	base := `"name": "web", "args": "a b", "env": {"KEEP": "1", "OLD": "1", "PASS": "x", "BACK": null}, "env_qa": {"PASS": "y"}, "instances": 2`
	old := p.app(base, "")
	for _, c := range []struct{ name, fields, want string }{
		{"nothing", base, ""},
		{"order and form", `"instances": "2", "exec_mode": "cluster", "args": ["a", "b"], "env": {"BACK": null, "PASS": "x", "OLD": 1, "KEEP": "1"}, "name": "web", "kill_timeout": 5000`, ""},
		{"args", strings.Replace(base, "a b", "a 'b c'", 1), "args: a b -> a 'b c'"},
		{"instances", strings.Replace(base, `"instances": 2`, `"instances": 3`, 1), "instances: 2 -> 3"},
		{"script", base + `, "cwd": "lib"`, "script: $DIR/app.js -> $DIR/lib/app.js; cwd: $DIR -> $DIR/lib"},
		{"env", strings.NewReplacer(`"OLD": "1", `, "", `"x"`, `"secret"`, `"BACK": null`, `"NEW": 1`).Replace(base),
			"env.BACK: removed (null) -> ; env.NEW:  -> set; env.OLD: set -> ; env.PASS: set -> set to another value"},
		{"explicit", base + `, "max_restarts": 16`, "max_restarts: 16 (default) -> 16"},
		{"units", base + `, "max_memory_restart": "200M", "min_uptime": "2s", "umask": "027", "autorestart": false, "stop_exit_codes": [2, 0]`,
			"umask:  -> 027; autorestart: true -> false; stop_exit_codes:  -> 0 2; min_uptime: 1s -> 2s; max_memory_restart: 0 -> 200M"},
		{"inherited", base + `, "inherit_env": ["B", "A"], "filter_env": "X"`, "inherit_env: true -> A B; filter_env:  -> X"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, x := range Diff(old, p.app(c.fields, "")) {
				got = append(got, fmt.Sprintf("%s: %s -> %s", x.Field, x.Old, x.New))
			}
			if text := p.hide(strings.Join(got, "; ")); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
		})
	}
	if got := Diff(old, p.app(base, "qa")); len(got) != 1 || got[0].Field != "env.PASS" {
		t.Errorf("--env qa: %v", got)
	}
	other := old
	other.Version = "2"
	if got := Diff(old, other); got != nil {
		t.Errorf("version: %v", got)
	}
}

// TestDiffSeesAll: a change of any field that lives in an App is seen.
func TestDiffSeesAll(t *testing.T) {
	t.Parallel()
	for i := range table {
		f := &table[i]
		if f.at == nil {
			continue
		}
		old, changed := defaults(), defaults()
		setOther(reflect.ValueOf(f.at(&changed)).Elem())
		if got := Diff(old, changed); len(got) != 1 || got[0].Field != f.name {
			t.Errorf("%s: %v", f.name, got)
		}
	}
}

// setOther gives v a value that no default has; of a struct it is the first field.
func setOther(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Struct:
		setOther(v.Field(0))
	}
}

func TestInherited(t *testing.T) {
	t.Parallel()
	environ := []string{"PATH=/bin", "HOME=/h", "EMPTY=", "SSH_TTY=x", "SSH_AUTH_SOCK=x", "TERM=x", "TMUX=x", "TMUX_PANE=x", "DISPLAY=:0", "DBUS_SESSION_BUS_ADDRESS=x",
		"XDG_SESSION_ID=1", "XDG_RUNTIME_DIR=/run", "SUDO_USER=x", "PWD=/", "OLDPWD=/", "SHLVL=1", "_=x", "API_SECRET=x", "SECRETARY=x", "TERMINAL=x",
		"NODE_CHANNEL_FD=3", "LISTEN_PID=1", "broken", "=x", "GOPM_HOME=/g"}
	for _, c := range []struct {
		name string
		env  Env
		want string
	}{
		{"all", Env{Inherit: Inherit{All: true}}, "PATH HOME EMPTY XDG_RUNTIME_DIR API_SECRET SECRETARY TERMINAL GOPM_HOME"},
		{"none", Env{}, ""},
		{"names", Env{Inherit: Inherit{Names: []string{"HOME", "NOPE", "DISPLAY", "NODE_CHANNEL_FD"}}}, "HOME DISPLAY"},
		{"parts", Env{Inherit: Inherit{All: true}, Filter: []string{"SECRET", "OME"}}, "PATH EMPTY XDG_RUNTIME_DIR TERMINAL"},
		{"whole", Env{Inherit: Inherit{All: true}, Filter: []string{"=HOME=", ""}}, "PATH EMPTY XDG_RUNTIME_DIR API_SECRET SECRETARY TERMINAL GOPM_HOME"},
	} {
		got := Inherited(environ, c.env)
		var names []string
		for _, e := range got {
			name, _, _ := strings.Cut(e, "=")
			names = append(names, name)
		}
		if strings.Join(names, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, names, c.want)
		}
		if again := Inherited(got, c.env); !slices.Equal(again, got) {
			t.Errorf("%s: again gives %v", c.name, again)
		}
	}
}

// TestEnvNull: null takes a variable away from the layers below and from what is inherited.
func TestEnvNull(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file(".env", "A=file\nB=file\n")
	a := p.app(`"env_file": ".env", "env": {"A": null, "C": 1}, "env_qa": {"B": null, "A": "back"}, "filter_env": true`, "qa")
	if want := (map[string]string{"A": "back", "C": "1"}); !reflect.DeepEqual(a.Env.Vars, want) {
		t.Errorf("vars = %v, want %v", a.Env.Vars, want)
	}
	if !slices.Equal(a.Env.Filter, []string{"=B="}) || a.Env.Inherit.All {
		t.Errorf("env = %+v", a.Env)
	}
}

func TestNamesWithEnv(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	f, err := p.read("e.json", `[{"script": "app.js", "append_env_to_name": true, "env_qa": {}, "env_prod": {}}, {"script": "api.js", "name": "app-qa"}]`)
	must(t, err)
	if got := strings.Join(f.Names(), " "); got != "app app-prod app-qa app-qa" {
		t.Errorf("names = %s", got)
	}
	apps, _, err := f.Select("prod", []string{"app"})
	if err != nil || len(apps) != 1 || apps[0].Name != "app-prod" || apps[0].Env.Selected != "prod" {
		t.Errorf("apps = %+v, %v", apps, err)
	}
	_, _, err = f.Select("qa", nil)
	mentions(t, err, `two apps get the name "app-qa"`)
	apps, _, err = f.Select("default", nil)
	if err != nil || apps[0].Name != "app" || apps[0].Env.Selected != "" {
		t.Errorf("apps = %+v, %v", apps, err)
	}
}

// TestSelectIsIndependent: what is done to a selected app is not in the next one.
func TestSelectIsIndependent(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	f, err := p.read("e.json", `[{"script": "app.js", "env": {"A": "1"}, "env_x": {"A": "2"}}]`)
	must(t, err)
	for range 2 {
		apps, _, err := f.Select("", nil)
		must(t, err)
		if apps[0].Env.Vars["A"] != "1" {
			t.Fatalf("A = %q", apps[0].Env.Vars["A"])
		}
		apps[0].Env.Vars["A"] = "3"
	}
}
