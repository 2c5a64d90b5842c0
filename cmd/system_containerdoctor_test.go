package cmd_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestContainerDoctor: what a container lacks is named, with what gives it.
func TestContainerDoctor(t *testing.T) {
	p := newPodman(t)
	p.file("eco.json", fmt.Sprintf(`{"apps": [{"name": "web", "script": "/usr/bin/web", "args": "-graceful 127.0.0.1:%d", %s}]}`, freePort(t), quick))
	options := append(unprivileged, "--read-only", "--tmpfs=/tmp:size=1m,mode=1777", "--memory=100m", p.docker())
	b := p.box(p.bare(), options, "gopm", "runtime", "/work/eco.json")
	g := b.inside()
	eventually(t, 3*soon, func() error {
		if r := g.try("healthcheck"); r.code != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	r := g.try("doctor")
	if r.code != 0 {
		t.Errorf("warnings are no failure: %v", r)
	}
	for _, words := range [][]string{
		{"warn", "sockets of programs: pidfd_getfd", "operation not permitted", "-> --cap-add SYS_PTRACE"},
		{"ok", "clusters: seccomp user notification", "works"},
		{"ok", "PID 1", "gopm-keeper: reaps orphans"},
		{"ok", "limits of this container or service", "100.0mb"},
		{"ok", "root file system", "read-only"},
		{"ok", "keeper", "pid 1"},
		{"ok", "apps", "1 instance, none in trouble"},
	} {
		if line := lineWith(r.out, "  "+words[1]); !strings.HasPrefix(line, words[0]) {
			t.Errorf("want %s of %s, got %q in\n%s", words[0], words[1], line, r.out)
		} else {
			contains(t, words[1], line, words[2:]...)
		}
	}
}

// lineWith is the first line that has a word.
func lineWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}
