package cmd_test

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
)

// The whole of doctor: before there is anything, with apps in trouble, and when nobody looks
// after them. Nothing is started and nothing made by it.
func TestDoctor(t *testing.T) {
	g := newGopm(t)
	r := g.try("doctor")
	contains(t, "doctor", r.out, "works", "not there yet, and can be made", "open files", "not running; gopm start begins one")
	if _, err := os.Stat(g.home); err == nil {
		t.Error("doctor has made the home")
	}
	if r.code != 0 || r.err != "" {
		t.Errorf("without any daemon: %v", r)
	}
	g.sleeper("idle")
	g.script("bad", "exit 3")
	g.run("start", "./idle", "--min-uptime", "100ms")
	if r := g.try("start", "./bad", "--max-restarts", "1"); r.code != 1 {
		t.Errorf("a start that fails: %v", r)
	}
	r = g.fail(1, nil, "doctor", "-s")
	contains(t, "doctor -s", r.out, "fail  app bad:0", "errored (exit 3)  -> gopm logs bad")
	lacks(t, "doctor -s", r.out, "ok  ")
	contains(t, "report", g.run("report"), "fail: app bad:0: errored (exit 3)")
	g.run("delete", "bad")
	var all []struct{ Status, What, Found, Remedy string }
	must(t, json.Unmarshal([]byte(g.run("doctor", "--json")), &all))
	seen := map[string]string{}
	for _, f := range all {
		seen[f.What] = f.Status
		if f.What == "" || f.Found == "" || (f.Status == "ok") != (f.Remedy == "") {
			t.Errorf("%+v", f)
		}
	}
	for _, what := range []string{"kernel", "home", "socket", "daemon", "keeper", "apps", "clock", "draining: sock_diag"} {
		if seen[what] != "ok" {
			t.Errorf("%s is %q", what, seen[what])
		}
	}
	must(t, os.Chmod(g.home+"/gopm.sock", 0o666))
	must(t, os.Chmod(g.home, 0o777))
	r = g.fail(1, nil, "doctor", "-s")
	contains(t, "an open home", r.out, "chmod 700", "others can give orders")
	must(t, os.Chmod(g.home, 0o700))
	must(t, os.Chmod(g.home+"/gopm.sock", 0o600))
	g.killBoth()
	r = g.fail(1, nil, "doctor", "-s")
	contains(t, "without gopm", r.out, "1 instance still alive  -> gopm resurrect")
	g.run("resurrect")
}

// An ordinary user gets the same answers about the machine.
func TestDoctorOfOrdinaryUser(t *testing.T) {
	g := newGopm(t)
	if os.Geteuid() != 0 {
		t.Skip("is one already")
	}
	g.cred = &syscall.Credential{Uid: 65534, Gid: 65534}
	r := g.try("doctor")
	contains(t, "doctor", r.out, "clusters: seccomp user notification", "fail  home", "cannot be made", "GOPM_HOME=a folder that nobody can write to")
	if r.code != 1 {
		t.Errorf("without a home that could be made: %v", r)
	}
	must(t, os.Mkdir(g.home, 0o700))
	must(t, os.Chown(g.home, 65534, 65534))
	if r := g.try("doctor"); r.code != 0 || !strings.Contains(r.out, "of nobody") {
		t.Errorf("with a home: %v", r)
	}
}
