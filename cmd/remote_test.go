package cmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseSSH(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]sshHost{
		"ssh://web1":                         {host: "web1"},
		"ssh://web1/":                        {host: "web1"},
		"ssh://ann@web1.example.com:2222":    {user: "ann", host: "web1.example.com", port: 2222},
		"ssh://ann@web1/srv/my%20home/.gopm": {user: "ann", host: "web1", home: "/srv/my home/.gopm"},
		"ssh://[::1]:22/h/":                  {host: "::1", port: 22, home: "/h"},
		"ssh://[fe80::1%25eth0]":             {host: "fe80::1%eth0"},
		"ssh://a_b-c":                        {host: "a_b-c"},
	} {
		got, err := parseSSH(text)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, why := range map[string]string{
		"web1":                            "want ssh://",
		"http://web1":                     "want ssh://",
		"tcp://web1:22":                   "want ssh://",
		"ssh:web1":                        "want ssh://",
		"ssh://":                          "the host is missing",
		"ssh:///home":                     "the host is missing",
		"ssh://@web1":                     "the user before @ is missing",
		"ssh://-oProxyCommand=x":          "letters, digits",
		"ssh://-x":                        "begin with -",
		"ssh://-l@web1":                   "begin with -",
		"ssh://ann:secret@web1":           "password",
		"ssh://web 1":                     "invalid character",
		"ssh://web1:0":                    "1 to 65535",
		"ssh://web1:70000":                "1 to 65535",
		"ssh://web1:http":                 "invalid port",
		"ssh://web1?x=1":                  "want ssh://",
		"ssh://web1#x":                    "want ssh://",
		"ssh://web1/a%0Ab":                "control characters",
		"ssh://a%20b@web1":                "isn't given to ssh",
		"ssh://$(touch%20x)@web1":         "",
		"ssh://%60x%60@web1":              "isn't given to ssh",
		"ssh://web1;x":                    "letters, digits",
		"ssh://web1$(x)":                  "",
		"ssh://ann@web1 -oProxyCommand=x": "invalid character",
	} {
		h, err := parseSSH(text)
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "parse ") {
			t.Errorf("%s: got %+v, %v; want an error that says %q", text, h, err, why)
		}
	}
}

func FuzzParseSSH(f *testing.F) {
	for _, s := range []string{"ssh://ann@web1:22/h", "ssh://-x", "ssh://[::1]", "ssh://a%0a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseSSH(text)
		if err != nil {
			return
		}
		argv := h.argv(nil, "", "ls")
		end := slices.Index(argv, "--")
		if end < 0 || len(argv) != end+3 || strings.HasPrefix(argv[end+1], "-") || strings.ContainsAny(argv[end+1], " '`\"$;&|<>\n") {
			t.Errorf("%q gives ssh %q", text, argv)
		}
	})
}

func TestFindHost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		variable, call string
		host, from     string // "": here
		rest           string
	}{
		{"", "ls", "", "", "ls"},
		{"", "-H ssh://a ls", "ssh://a", "-H", "ls"},
		{"", "-Hssh://a ls", "ssh://a", "-H", "ls"},
		{"", "--host=ssh://a ls", "ssh://a", "-H", "ls"},
		{"", "-s --host ssh://a --no-color ls --json", "ssh://a", "-H", "-s --no-color ls --json"},
		{"", "-H ssh://a -H ssh://b ls", "ssh://b", "-H", "ls"},
		{"ssh://e", "ls", "ssh://e", "GOPM_HOST", "ls"},
		{"ssh://e", "-H ssh://a ls", "ssh://a", "-H", "ls"},
		{"", "fleet ls --host a,b", "", "", "fleet ls --host a,b"},
		{"ssh://e", "fleet ls --host a,b", "ssh://e", "GOPM_HOST", "fleet ls --host a,b"},
		{"ssh://e", "start x.js -- -h", "ssh://e", "GOPM_HOST", "start x.js -- -h"},
		// What asks no gopm that runs.
		{"ssh://e", "deploy f production", "", "", "deploy f production"},
		{"ssh://e", "init", "", "", "init"},
		{"ssh://e", "completion bash", "", "", "completion bash"},
		{"ssh://e", "", "", "", ""},
		{"ssh://e", "--help", "", "", "--help"},
		{"ssh://e", "ls --help", "", "", "ls --help"},
		{"nonsense", "help", "", "", "help"},
		{"", "-H ssh://a help", "", "", "help"},
		// What a shell asks; the last word is unfinished.
		{"ssh://e", "__complete stop w", "ssh://e", "GOPM_HOST", "__complete stop w"},
		{"", "__complete -H ssh://a stop w", "ssh://a", "-H", "__complete stop w"},
		{"", "__complete -H ssh://a st", "", "", "__complete st"},
		{"", "__complete -H ssh://", "", "", "__complete -H ssh://"},
		{"", "__complete", "", "", "__complete"},
	} {
		call, rest, err := findHost(strings.Fields(tt.call), func(name string) string {
			if name != hostVariable {
				t.Errorf("asks for %s", name)
			}
			return tt.variable
		})
		host, from := "", ""
		if call != nil {
			host, from, rest = call.host.String(), call.from, call.args
		}
		if err != nil || host != tt.host || from != tt.from || strings.Join(rest, " ") != tt.rest {
			t.Errorf("%s=%s gopm %s: got %q by %q and %q, %v", hostVariable, tt.variable, tt.call, host, from, rest, err)
		}
	}
	for call, why := range map[string]string{
		"-H":                        "wants ssh://",
		"-H= ls":                    "wants ssh://",
		"-H web1 ls":                "-H: \"web1\"",
		"--host a,b ls":             "want ssh://",
		"-H ssh://a deploy f p":     "the files of this machine",
		"-H ssh://a init":           "the files of this machine",
		"__complete -H web1 stop w": "-H: \"web1\"",
	} {
		if _, _, err := findHost(strings.Fields(call), func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("gopm %s: got %v, want an error that says %q", call, err, why)
		}
	}
}

// The line that ssh gives to the shell there, run by a shell here.
func TestFindThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home := filepath.Join(dir, "it's home")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(home, ".local/bin"), 0o755))
	// A shell of its own reads the line, as sshd has it done.
	run := func(h sshHost, path string, args ...string) (string, error) {
		argv := h.argv(nil, "", args...)
		cmd := exec.Command("/bin/sh", "-c", argv[len(argv)-1])
		cmd.Env = []string{"HOME=" + home, "PATH=" + path, "GOPM_HOST=ssh://further", "GOPM_HOME=/usual"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run(sshHost{host: "a"}, "/usr/bin:/bin", "ls")
	if exit := (&exec.ExitError{}); err == nil || !strings.Contains(out, "there is no gopm on") {
		t.Errorf("without a gopm: %v, %s", err, out)
	} else if exit, _ = err.(*exec.ExitError); exit.ExitCode() != exitNotRun {
		t.Errorf("without a gopm: %v", err)
	}
	script := "#!/bin/sh\necho \"$GOPM_HOME|$GOPM_HOST|$PATH\"\nprintf '%s\\n' \"$@\"\n"
	must(os.WriteFile(filepath.Join(home, ".local/bin/gopm"), []byte(script), 0o755))
	odd := []string{"stop", "a b", "", "it's", "$(x)", "*", "-x", `\`, "two\nlines"}
	out, err = run(sshHost{host: "a"}, "/usr/bin:/bin", odd...)
	if want := "/usual||/usr/bin:/bin\n" + strings.Join(odd, "\n") + "\n"; err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	out, err = run(sshHost{host: "a", home: "/srv/it's"}, "/usr/bin:/bin", "ls")
	if want := "/srv/it's||/usr/bin:/bin\nls\n"; err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	l := &lastLine{}
	for _, part := range []string{"Warning: one\nssh: conn", "ect: no\x1b[2J", "\r\n"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := l.String(); got != "ssh: connect: no·[2J" {
		t.Errorf("got %q", got)
	}
}
