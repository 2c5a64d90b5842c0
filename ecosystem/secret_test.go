package ecosystem

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, value, want string }{
		{"API_TOKEN", "a", Masked},
		{"apiToken", "a", Masked},
		{"STRIPE_KEY", "a", Masked},
		{"AWS_ACCESS_KEY_ID", "a", Masked},
		{"SSH_KEYS", "a", Masked},
		{"KEYBOARD", "de", "de"},
		{"KEY", "a", Masked},
		{"PGPASSWORD", "a", Masked},
		{"DB_PASS", "a", Masked},
		{"MYSQL_PWD", "a", Masked},
		{"PWD", "/home", "/home"},
		{"OLDPWD", "/home", "/home"},
		{"SENTRY_DSN", "https://abc@sentry.io/1", Masked},
		{"AUTHOR", "me", "me"},
		{"BASIC_AUTH", "me", Masked},
		{"SECRET", "", ""},
		{"PORT", "3000", "3000"},
		{"URL", "http://h/p", "http://h/p"},
		{"URL", "http://me@h/p", "http://me@h/p"},
		{"URL", "redis://:pw@h:6379/0", "redis://:" + Masked + "@h:6379/0"},
		{"URL", "postgres://u:p@ss@h/db", "postgres://u:" + Masked + "@h/db"},
		{"URL", "postgres://u:p%zz@h/db", Masked},
		{"MAIL", "me@example.com", "me@example.com"},
		{"CERT", "-----BEGIN RSA PRIVATE KEY-----\nx", Masked},
		{"CONN", "Server=h;User Id=u;Password=p;", Masked},
	}
	for _, tt := range tests {
		if got := (Veil{}).Var(tt.name, tt.value); got != tt.want {
			t.Errorf("mask(%s, %s) = %s, want %s", tt.name, tt.value, got, tt.want)
		}
	}
}

// TestVeil: what is secret is hidden in other texts of the app, too, and nothing else is.
func TestVeil(t *testing.T) {
	t.Parallel()
	a := App{Env: Env{Vars: map[string]string{"STRIPE": "sk_live_1", "DB_PASS": "hunter22", "PORT": "3000", "PIN_PASS": "1"}, Secrets: []string{"STRIPE"}}}
	v := a.Veil()
	for text, want := range map[string]string{
		"":                                               "",
		"node app.js --port 3000":                        "node app.js --port 3000",
		"it says hunter22, sk_live_1 and 1":              "it says ******** and 1",
		"curl -u me:pw http://h":                         "curl -u me:******** http://h",
		"curl --user 'me:pw' x":                          "curl --user 'me:********' x",
		"psql postgres://u:pw@h:5432/db?x=1":             "psql postgres://u:********@h:5432/db?x=1",
		"http://h:80/a@b http://me@h":                    "http://h:80/a@b http://me@h",
		"GET https://h/x?token=abc&y=2":                  "GET https://h/x?token=********&y=2",
		"run --api-token abc --level 3":                  "run --api-token ******** --level 3",
		"run --api-token=abc -v":                         "run --api-token=******** -v",
		"API_KEY='a b c' run":                            "API_KEY='********' run",
		`{"password": "x y", "user": "me"}`:              `{"password": "********", "user": "me"}`,
		`-H "Authorization: Bearer abc.def" http://h`:    `-H "Authorization: ******** ********" http://h`,
		`-H "X: bearer abc.def" http://h`:                `-H "X: bearer ********" http://h`,
		"STRIPE=other ./run":                             "STRIPE=******** ./run",
		"a token of the past, its password; and --token": "a token of the past, its password; and --token",
		"token=":                           "token=",
		"127.0.0.1:80: connection refused": "127.0.0.1:80: connection refused",
	} {
		if text == "it says hunter22, sk_live_1 and 1" {
			want = "it says " + Masked + ", " + Masked + " and 1"
		}
		if got := v.Text(text); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
	got := v.Words([]string{"--api-token", "abc", "--port", "3000", "-u", "me:pw", "--no-token", "--x", "hunter22"})
	if want := []string{"--api-token", Masked, "--port", "3000", "-u", "me:" + Masked, "--no-token", "--x", Masked}; !slices.Equal(got, want) {
		t.Errorf("words: %q, want %q", got, want)
	}
}

// TestMaskedApp: what is shown of an app has none of its secrets, and the app itself has
// them still.
func TestMaskedApp(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	a := p.app(`"env": {"TOKEN": "sentinel"}, "args": ["--password", "sentinel"], "pre_start": "run sentinel",
		"health": {"http": {"url": "http://me:sentinel@h/", "headers": {"X-Auth": "sentinel"}, "body": "sentinel"}}, "instances": 2,
		"standby": {"promote": {"http": {"url": "http://127.0.0.1:1/", "headers": {"X": "sentinel"}, "body": {"a": "sentinel"}}}}`, "")
	before, err := json.Marshal(a)
	must(t, err)
	shown, err := json.Marshal(a.Masked())
	must(t, err)
	if n := strings.Count(string(before), "sentinel"); n != 8 {
		t.Fatalf("the app has it %d times: %s", n, before)
	}
	if strings.Contains(string(shown), "sentinel") || !strings.Contains(string(shown), "X-Auth") {
		t.Errorf("%s", shown)
	}
	if after, _ := json.Marshal(a); string(after) != string(before) {
		t.Errorf("the app itself was changed: %s", after)
	}
}

func FuzzVeil(f *testing.F) {
	for _, text := range []string{"a=b", "--token 'x", "http://a:b@c", "-u a:b", `{"password": "`, "bearer x"} {
		f.Add(text)
	}
	v := App{Env: Env{Vars: map[string]string{"A_TOKEN": "sentinel"}}}.Veil()
	f.Fuzz(func(t *testing.T, text string) {
		if got := v.Text(text); strings.Contains(got, "sentinel") {
			t.Errorf("%q becomes %q", text, got)
		}
		v.Words(strings.Fields(text))
		MaskURL(text)
	})
}

// FuzzMask: a password in an address is not shown, nor a variable that is called a secret.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"postgres://ann:hunter2@db/x", "https://a:b@c?d=e@f", "x://y@z", "://:@", "a b://u:p@h", "redis://:hunter2@h", "PASSWORD=x"} {
		f.Add("URL", s)
		f.Add("API_KEY", s)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		shown := (Veil{}).Var(name, value)
		if secretName(name) && value != "" && shown != Masked {
			t.Errorf("%s=%q is shown as %q", name, value, shown)
		}
		const secret = "hunter2"
		address := "db://ann:" + secret + "@host/" + strings.NewReplacer("@", "", "://", "").Replace(value)
		if text := (Veil{}).Var("URL", address); strings.Contains(text, "ann:"+secret+"@host") {
			t.Errorf("%q is shown as %q", address, text)
		}
	})
}
