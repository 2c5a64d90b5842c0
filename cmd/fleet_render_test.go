package cmd

import (
	"strings"
	"testing"

	"gopm/daemon/api"
)

func TestServersOf(t *testing.T) {
	t.Parallel()
	e := api.Endpoints{Passing: []api.Endpoint{
		{ID: "gopm:a:web:0", Address: "10.0.0.1", Port: 80, Weight: 2},
		{ID: "gopm:a:web:1", Address: "10.0.0.1", Port: 80, Weight: 3},
		{ID: "gopm:b:web:0", Address: "fe80::1", Port: 81, Weight: 1 << 30},
		{ID: "c {", Address: "web.example.com", Port: 82},
		{ID: "d", Address: "1.1.1.1; }", Port: 83},
		{ID: "e", Address: "", Port: 84},
		{ID: "f", Address: "10.0.0.2", Port: 70000},
	}}
	servers, odd := serversOf(e)
	nginx := nginxBlock("web", servers)
	want := `upstream web {
    server 10.0.0.1:80 weight=5; # a_web_0
    server [fe80::1]:81 weight=1000; # b_web_0
    server web.example.com:82 weight=1; # c__
}
`
	if nginx != want || len(odd) != 3 {
		t.Errorf("%s, left out %q", nginx, odd)
	}
	haproxy := haproxyBlock("web", servers)
	for _, line := range []string{"server a_web_0 10.0.0.1:80 weight 1 check", "server b_web_0 [fe80::1]:81 weight 256 check"} {
		if !strings.Contains(haproxy, line) {
			t.Errorf("no %q in:\n%s", line, haproxy)
		}
	}
}
