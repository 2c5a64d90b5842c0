package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopm/bench/load"
)

// balancer is a program that reads what is rendered, the system's or the parts'.
func (g *gopm) balancer(name string) (program string, env []string) {
	g.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	root := filepath.Join(g.parts(), "balancers-unpacked")
	program = filepath.Join(root, "usr/sbin", name)
	if _, err := os.Stat(program); err != nil {
		g.Skipf("no %s: run tools/parts test", name)
	}
	libs, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu*")
	return program, []string{"LD_LIBRARY_PATH=" + strings.Join(libs, ":")}
}

func TestFleetRender(t *testing.T) {
	g, c, port := startsListed(t, 2, `, "consul": {"weights": {"passing": 3}}`)
	c.awaitHealth("web", map[string]string{"gopm:h:web:0": "passing", "gopm:h:web:1": "passing"})
	six, err := load.FreePort()
	must(t, err)
	must(t, c.Ask("PUT", "/v1/agent/service/register", map[string]any{"ID": "six", "Name": "web", "Address": "::1", "Port": six}, nil))
	must(t, c.Ask("PUT", "/v1/agent/service/register", map[string]any{"ID": "evil", "Name": "web", "Address": "1.1.1.1; } evil {", "Port": six}, nil))
	nginx := g.run("fleet", "render", "nginx", "web")
	contains(t, "nginx", nginx, "upstream web {", fmt.Sprintf("server 127.0.0.1:%d weight=6; # h_web_0", port), fmt.Sprintf("server [::1]:%d weight=1; # six", six), "from Consul at", "(0 do not)")
	haproxy := g.run("fleet", "render", "haproxy", "web")
	contains(t, "haproxy", haproxy, "backend web", fmt.Sprintf("server six [::1]:%d weight 1 check", six))
	for _, text := range []string{nginx, haproxy} {
		if strings.Contains(text, "evil") {
			t.Errorf("what is no address is in it:\n%s", text)
		}
	}
	check := func(name, config string, args ...string) {
		t.Helper()
		program, env := g.balancer(name)
		cmd := exec.Command(program, append(args, g.file(name+".conf", config))...)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s refuses it: %v\n%s\n%s", name, err, out, config)
		}
	}
	check("nginx", fmt.Sprintf("pid %[1]s/nginx.pid;\nerror_log %[1]s/error.log;\nevents {}\nhttp {\naccess_log off;\nclient_body_temp_path %[1]s;\nproxy_temp_path %[1]s;\nfastcgi_temp_path %[1]s;\nuwsgi_temp_path %[1]s;\nscgi_temp_path %[1]s;\n%[2]sserver { listen 127.0.0.1:%[3]d; location / { proxy_pass http://web; } }\n}\n", g.dir, nginx, six), "-t", "-e", g.dir+"/error.log", "-c")
	check("haproxy", fmt.Sprintf("defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n%sfrontend all\n    bind 127.0.0.1:%d\n    default_backend web\n", haproxy, six), "-c", "-f")
	g.fail(1, []string{"no instance of the service api passes its checks"}, "fleet", "render", "nginx", "api")
	g.fail(2, []string{"wants nginx or haproxy"}, "fleet", "render", "apache", "web")
}

// TestRenderHere: without Consul, of what this gopm runs; a namespace is all of its apps.
func TestRenderHere(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.file("eco.json", `{"apps": [
		{"name": "a", "namespace": "web", "script": "./run", "port": 7001, "instances": 2, "exec_mode": "fork", "port_step": 1, "min_uptime": "100ms"},
		{"name": "b", "namespace": "web", "script": "./run", "port": 7011, "min_uptime": "100ms"},
		{"name": "c", "script": "./run", "min_uptime": "100ms"}]}`)
	g.run("start", "eco.json")
	if got, want := g.run("fleet", "render", "nginx", "web", "--here"), `# web: the instances of this gopm that pass their checks
# gopm fleet render nginx web
upstream web {
    server 127.0.0.1:7001 weight=1 max_fails=0; # a_0
    server 127.0.0.1:7002 weight=1 max_fails=0; # a_1
    server 127.0.0.1:7011 weight=1 max_fails=0; # b_0
}
`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	contains(t, "haproxy", g.run("fleet", "render", "haproxy", "b", "--here"), "backend b", "server b_0 127.0.0.1:7011 weight 1 check")
	g.fail(1, []string{"no app or namespace named \"d\" here"}, "fleet", "render", "nginx", "d", "--here")
	g.fail(1, []string{"no instance of c passes its checks (1 are here)"}, "fleet", "render", "nginx", "c", "--here") // it has no port
	g.fail(2, []string{"it wants --here"}, "fleet", "render", "nginx", "web", "--follow", "--output", "f")
	g.fail(2, []string{"they want --output FILE"}, "fleet", "render", "nginx", "web", "--here", "--follow")

	once := []string{"fleet", "render", "nginx", "web", "--here", "--output", "f.conf", "--exec", "echo once >>calls"}
	contains(t, "the first time", g.run(once...), "f.conf: 3 of 3 instances of web")
	if out := g.run(once...); out != "" {
		t.Errorf("nothing has changed, and it says %q", out)
	}
	g.run("start", g.binary, "--name", "follow", "--interpreter", "none", "--", "fleet", "render", "nginx", "web", "--here", "--follow", "--output", "f.conf", "--exec", "echo follow >>calls; false")
	g.run("stop", "a")
	servers := func(n int, also string) {
		t.Helper()
		eventually(t, soon, func() error {
			text, err := os.ReadFile(g.dir + "/f.conf")
			if err == nil && (strings.Count(string(text), "weight=") != n || !strings.Contains(string(text), also)) {
				err = fmt.Errorf("want %d servers in\n%s", n, text)
			}
			return err
		})
	}
	servers(1, "7011")
	g.run("stop", "b")
	servers(0, "server 127.0.0.1:9 down;") // nginx refuses a block without any
	g.run("start", "a")
	servers(2, "7001")
	g.killDaemon()
	g.run("start", "b") // the next daemon is followed
	servers(3, "7011")
	g.fileSays(g.dir+"/calls", "once\nfollow\n")
	contains(t, "its log", g.run("logs", "follow", "--nostream", "--err"), "f.conf is written, but echo follow >>calls; false: exit status 1")
	if e := g.app("follow"); e.Env.Restarts != 0 {
		t.Errorf("a command that fails isn't the end of it: %v", e)
	}
}
