package cmd_test

import (
	"fmt"
	"strings"
	"testing"
)

// An image as its users have it, with gopm in pm2's place: what the image starts is called pm2-runtime, and pm2 works in it.
func TestContainerOfPM2Runtime(t *testing.T) {
	p := newPodman(t)
	port := freePort(t)
	image := p.image("FROM "+p.node()+"\nCOPY app /app\nRUN [\"gopm\", \"shims\", \"/usr/local/bin\"]\nWORKDIR /app\nUSER 1000:1000\n"+
		"HEALTHCHECK CMD [\"gopm\", \"healthcheck\"]\nCMD [\"pm2-runtime\", \"start\", \"-i\", \"2\", \"@noco/lib/index.js\", \"--\", \"start\"]", map[string]string{
		"app/@noco/lib/index.js": `require('http').createServer((q, a) => a.end(process.argv[2])).listen(` + fmt.Sprint(port) + `, '127.0.0.1', () => console.log('up'))
			process.on('SIGTERM', () => process.exit(0))`})
	b := p.box(image, []string{"--cap-drop=ALL", "--read-only", "--tmpfs=/tmp:size=1m,mode=1777"})
	eventually(t, 3*soon, func() error {
		text, err := getText(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil && text != "start" {
			t.Errorf("it says %q", text)
		}
		if out, _ := b.logs(); err == nil && strings.Count(out, "up\n") != 2 {
			err = fmt.Errorf("stdout: %q", out)
		}
		return err
	})
	for _, words := range []string{"pm2 pid", "pm2 reload all"} {
		if r := b.exec(strings.Fields(words)...); r.code != 0 || r.out == "" {
			t.Errorf("%s: %v", words, r)
		}
	}
	if r := b.exec("gopm", "healthcheck"); r.code != 0 || r.out != "healthy: 2 instances\n" {
		t.Error(r)
	}
	b.signal("SIGTERM")
	if code := b.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
