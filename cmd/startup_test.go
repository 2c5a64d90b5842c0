package cmd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopm/daemon/api"
)

var updateUnits = flag.Bool("update-units", false, "write the units into testdata")

// TestUnits compares units with testdata/units, which a person has read, and asks
// systemd about each.
func TestUnits(t *testing.T) {
	t.Parallel()
	const path = "/usr/local/bin:/usr/bin:/bin"
	for name, u := range map[string]unit{
		"root":   {binary: "/usr/local/bin/gopm", user: "root", userHome: "/root", home: "/root/.gopm", path: path},
		"user":   {binary: "/usr/local/bin/gopm", user: "web", userHome: "/home/web", home: "/home/web/.gopm", path: path, online: true},
		"own":    {binary: "/home/web/bin/gopm", userHome: "/home/web", home: "/home/web/.gopm", path: path},
		"known":  {binary: "/usr/local/bin/gopm", user: "root", userHome: "/root", home: "/root/.gopm", path: path, known: []string{"GOPM_NODE=m1", "GOPM_SSH=deploy@m1:2222"}},
		"quoted": {binary: "/opt/my $tools/100%/gopm", user: "web", userHome: "/home/o'web", home: "/srv/100% a\\b", path: "/a b:/c%d:/$e"},
	} {
		text, err := u.text()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata/units", name+".service")
		if *updateUnits {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, text, want)
		}
	}
	for _, u := range []unit{{home: "/a\nExecStart=/bin/evil"}, {binary: `/opt/"a"/gopm`}} {
		if text, err := u.text(); err == nil {
			t.Errorf("it makes the unit\n%s", text)
		}
	}
}

// systemd takes the units without a word, but for the one that it knows since version 254.
func TestSystemdTakesUnits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	odd := filepath.Join(dir, "100% of $me")
	binary := filepath.Join(odd, "gopm")
	if err := errors.Join(os.Mkdir(odd, 0o755), os.Link("/bin/true", binary)); err != nil {
		if err := os.WriteFile(binary, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	u := unit{binary: binary, user: "root", userHome: "/o'root", home: odd + `/a\b "c"`, path: "/a b:/c%d:/$e", online: true}
	for _, manager := range []string{"system", "user"} {
		analyze, env := systemdAnalyze(t, manager)
		if manager == "user" {
			u.user = ""
		}
		text, err := u.text()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "gopm-"+manager+".service")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(analyze, "--"+manager, "--man=no", "verify", file)
		cmd.Env = append(append(os.Environ(), "XDG_RUNTIME_DIR="+dir), env...)
		said, err := cmd.CombinedOutput()
		lines := slices.DeleteFunc(strings.Split(string(said), "\n"), func(line string) bool {
			return strings.HasSuffix(line, "Unknown key 'DelegateSubgroup' in section [Service], ignoring.") // before systemd 254, as is meant
		})
		if rest := strings.Join(lines, "\n"); err != nil || rest != "" {
			t.Errorf("%s: %v\n%s\n%s", manager, err, said, text)
		}
	}
}

// systemdAnalyze is systemd's own, or the one that tools/parts has unpacked.
func systemdAnalyze(t *testing.T, manager string) (program string, env []string) {
	if path, err := exec.LookPath("systemd-analyze"); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob(filepath.Join(os.Getenv("GOPM_PARTS"), "systemd-*/usr/bin/systemd-analyze"))
	if len(found) == 0 {
		t.Skip("no systemd-analyze: run tools/parts test")
	}
	root := strings.TrimSuffix(found[0], "/usr/bin/systemd-analyze")
	libs, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu*")
	private, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu*/systemd")
	return found[0], []string{
		"LD_LIBRARY_PATH=" + strings.Join(append(private, libs...), ":"),
		"SYSTEMD_UNIT_PATH=" + root + "/lib/systemd/" + manager + ":" + root + "/usr/lib/systemd/" + manager,
	}
}

// fakeMachine has its files in a folder and notes what would be run.
func fakeMachine(t *testing.T, uid int, programs ...string) (machine, *[]string) {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(root+"/run/systemd/system", 0o755); err != nil {
		t.Fatal(err)
	}
	ran := &[]string{}
	return machine{
		root: root, uid: uid,
		getenv: func(name string) string {
			return map[string]string{"PATH": "/usr/bin:.:/opt/my bin", "HOME": "/root"}[name]
		},
		look: func(program string) (string, error) {
			for _, p := range programs {
				if p == program {
					return "/usr/bin/" + p, nil
				}
			}
			return "", exec.ErrNotFound
		},
		run: func(_ context.Context, argv []string) error {
			*ran = append(*ran, strings.Join(argv, " "))
			return nil
		},
	}, ran
}

func fakeCLI(t *testing.T) (*cli, *bytes.Buffer, *bytes.Buffer) {
	var out, errOut bytes.Buffer
	return &cli{out: &out, err: &errOut, client: api.NewClient(api.Home{Dir: filepath.Join(t.TempDir(), ".gopm")}, "", nil)}, &out, &errOut
}

func expect(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s: want %q in:\n%s", what, w, text)
		}
	}
}

// As root, for another user: written, enabled, again without a change, and undone.
func TestStartupAndBack(t *testing.T) {
	t.Parallel()
	m, ran := fakeMachine(t, 0, "systemctl")
	c, out, _ := fakeCLI(t)
	ctx := context.Background()
	o := startupOptions{user: "web", home: "/home/web"}
	if err := c.startup(ctx, o, m); err != nil {
		t.Fatal(err)
	}
	file := m.root + "/etc/systemd/system/gopm-web.service"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "unit", string(text), "User=web\n", "GOPM_HOME=/home/web/.gopm\n", `"PATH=/usr/bin:/opt/my bin"`)
	expect(t, "answer", out.String(), "wrote "+file, "gopm-web.service is enabled", "systemctl start gopm-web.service")
	want := "systemctl daemon-reload, systemctl enable gopm-web.service"
	if got := strings.Join(*ran, ", "); got != want {
		t.Errorf("it ran %s, want %s", got, want)
	}
	out.Reset()
	if err := c.startup(ctx, o, m); err != nil {
		t.Fatal(err)
	}
	expect(t, "again", out.String(), "was there and is right")
	*ran = nil
	if err := c.unstartup(ctx, o, m); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the unit is still there")
	}
	want = "systemctl disable gopm-web.service, systemctl daemon-reload"
	if got := strings.Join(*ran, ", "); got != want {
		t.Errorf("it ran %s, want %s", got, want)
	}
	out.Reset()
	if err := c.unstartup(ctx, o, m); err != nil {
		t.Fatal(err)
	}
	expect(t, "undone twice", out.String(), "nothing to undo")
}

// A user's own systemd: below the home, enabled there, and linger is looked at.
func TestStartupOwn(t *testing.T) {
	t.Parallel()
	m, ran := fakeMachine(t, 1, "systemctl") // daemon, which every system has
	c, out, _ := fakeCLI(t)
	o := startupOptions{own: true, home: "/home/daemon"}
	if err := c.startup(context.Background(), o, m); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(m.root + "/home/daemon/.config/systemd/user/gopm.service")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "unit", string(text), "WantedBy=default.target\n", "GOPM_HOME=/home/daemon/.gopm\n")
	if strings.Contains(string(text), "User=") {
		t.Errorf("a unit of the user's own systemd names a user:\n%s", text)
	}
	if got, want := strings.Join(*ran, ", "), "systemctl --user daemon-reload, systemctl --user enable gopm.service"; got != want {
		t.Errorf("it ran %s, want %s", got, want)
	}
	expect(t, "answer", out.String(), "loginctl enable-linger daemon", "systemctl --user start gopm.service")
	out.Reset()
	if err := os.MkdirAll(m.root+"/var/lib/systemd/linger/daemon", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.startup(context.Background(), o, m); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "linger") {
		t.Errorf("linger is on, but: %s", out)
	}
}

// Whoever is not root gets the line for sudo, and nothing is changed.
func TestStartupNeedsRoot(t *testing.T) {
	t.Parallel()
	m, ran := fakeMachine(t, 1, "systemctl")
	for word, call := range map[string]func(*cli, startupOptions) error{
		"startup":   func(c *cli, o startupOptions) error { return c.startup(context.Background(), o, m) },
		"unstartup": func(c *cli, o startupOptions) error { return c.unstartup(context.Background(), o, m) },
	} {
		c, out, errOut := fakeCLI(t)
		err := call(c, startupOptions{home: "/home/a b", service: "my"})
		var shown quiet
		if !errors.As(err, &shown) || shown.code != exitFailed {
			t.Errorf("%s: %v", word, err)
		}
		expect(t, word, out.String(), "sudo env PATH='/usr/bin:/opt/my bin' /", " "+word+" -u daemon", "--service-name my")
		expect(t, word, errOut.String(), "root", "--user")
	}
	if entries, _ := os.ReadDir(m.root); len(entries) != 1 || len(*ran) != 0 {
		t.Errorf("something was changed: %v, %v", entries, *ran)
	}
}

// What startup cannot or must not do is an error, and nothing is done.
func TestStartupRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		o        startupOptions
		programs string
		file     string // of the unit, before
		want     string
	}{
		{name: "openrc", programs: "rc-update", want: "systemd is not here (found: openrc)"},
		{name: "nothing", programs: "", want: "no init system"},
		{name: "another's unit", programs: "systemctl", o: startupOptions{service: "nginx"}, file: "[Unit]\n", want: "nginx.service was not written by gopm"},
		{name: "no such user", programs: "systemctl", o: startupOptions{user: "no-such-user"}, want: "no user no-such-user"},
		{name: "odd name", programs: "systemctl", o: startupOptions{service: "../evil"}, want: "cannot be called"},
		{name: "own and another", programs: "systemctl", o: startupOptions{own: true, user: "web"}, want: "without -u"},
		{name: "relative home", programs: "systemctl", o: startupOptions{home: "web"}, want: "absolute"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, ran := fakeMachine(t, 0, tt.programs)
			file := filepath.Join(m.root, "etc/systemd/system", tt.o.service+".service")
			if tt.file != "" {
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(tt.file), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			c, out, _ := fakeCLI(t)
			err := c.startup(context.Background(), tt.o, m)
			if err == nil {
				t.Fatal("no error")
			}
			expect(t, "error", err.Error(), tt.want)
			if len(*ran) != 0 {
				t.Errorf("it ran %v", *ran)
			}
			if now, _ := os.ReadFile(file); string(now) != tt.file {
				t.Errorf("the unit is now %q", now)
			}
			if tt.programs != "systemctl" {
				expect(t, "model", out.String(), "ExecStart=")
			}
		})
	}
}

// What systemctl says is shown, and a machine that systemd doesn't run isn't asked to
// read anew.
func TestStartupSystemctl(t *testing.T) {
	t.Parallel()
	m, ran := fakeMachine(t, 0, "systemctl")
	if err := os.RemoveAll(m.root + "/run"); err != nil {
		t.Fatal(err)
	}
	c, out, _ := fakeCLI(t)
	if err := c.startup(context.Background(), startupOptions{user: "root"}, m); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(*ran, ", "); got != "systemctl enable gopm.service" {
		t.Errorf("it ran %s", got)
	}
	expect(t, "answer", out.String(), "systemd does not run here")
	m.run = func(context.Context, []string) error { return errors.New("systemctl enable x: no") }
	if err := c.startup(context.Background(), startupOptions{user: "root"}, m); err == nil || !strings.Contains(err.Error(), "systemctl enable x: no") {
		t.Errorf("the error is %v", err)
	}
	if err := runProgram(context.Background(), []string{"sh", "-c", "echo words >&2; exit 1"}); err == nil || !strings.HasSuffix(err.Error(), ": words") {
		t.Errorf("the error is %v", err)
	}
}
