package cmd_test

import (
	"fmt"
	"strings"
	"testing"
)

// HEALTHCHECK as an engine carries it out, in a container with nothing: any user, no home, no files but a small /tmp.
func TestContainerHealthcheck(t *testing.T) {
	p := newPodman(t)
	web, closed := freePort(t), freePort(t)
	p.file("eco.json", fmt.Sprintf(`{"apps": [
		{"name": "web", "script": "/usr/bin/web", "args": "-graceful 127.0.0.1:%d", %s},
		{"name": "ill", "script": "/usr/bin/web", "args": "-graceful 127.0.0.1:%d", "health": "127.0.0.1:%d", "ready": "uptime", %[2]s}]}`, web, quick, freePort(t), closed))
	options := append(unprivileged, "--read-only", "--tmpfs=/tmp:size=1m,mode=1777", `--health-cmd=["gopm", "healthcheck", "web"]`, "--health-interval=disable")
	b := p.box(p.bare(), options, "gopm", "runtime", "/work/eco.json")
	eventually(t, 3*soon, func() error {
		if r := b.execute(b.engine.command("healthcheck", "run", b.id)); r.code != 0 {
			return fmt.Errorf("%v", r)
		}
		return nil
	})
	r := b.exec("gopm", "healthcheck")
	if r.code != 1 || r.err != "" {
		t.Error(r)
	}
	contains(t, "healthcheck of all", r.out, "not healthy: ill:0 is ", "health check")
	if n := strings.Count(r.out, "\n"); n != 1 {
		t.Errorf("want one line, got %d", n)
	}
	if r := b.exec("gopm", "-s", "healthcheck"); r.code != 1 || r.out+r.err != "" {
		t.Error(r)
	}
}
