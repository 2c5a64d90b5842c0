package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// daemonFindings are about keeper and daemon.
func (p *patient) daemonFindings(own string) (all []finding) {
	const what = "daemon"
	switch {
	case noDaemon(p.err) && len(p.left.alive) > 0:
		return []finding{failure(what, fmt.Sprintf("not running, and %s still alive", counted(len(p.left.alive), "instance")), "gopm resurrect")}
	case noDaemon(p.err) && p.home.Keeper() > 0:
		return []finding{failure(what, fmt.Sprintf("not running, but its keeper%s is", p.home.Keeper().Text()), "look into "+p.home.Log()+", then gopm resurrect")}
	case noDaemon(p.err):
		return []finding{fine(what, "not running; gopm start begins one")}
	case p.err != nil:
		return []finding{failure(what, p.err.Error(), "look into "+p.home.Log())}
	}
	if p.ping.Version != own {
		all = append(all, warning(what, fmt.Sprintf("gopm %s, and this command is %s", p.ping.Version, own), "gopm update"))
	} else {
		all = append(all, fine(what, "%s, pid %d, up %s", p.ping.Version, p.ping.Pid, uptime(time.Since(p.ping.Started))))
	}
	if _, err := os.Stat(p.ping.Binary); err != nil {
		all = append(all, warning("program file", err.Error(), "put gopm there again: gopm update and a new keeper are started from it"))
	}
	all = append(all, p.keeperFinding())
	if p.ping.Before != "" && p.ping.Before != "handed over" {
		all = append(all, warning("the daemon before", "it "+p.ping.Before, "see "+p.home.Log()+"; gopm report for a bug report"))
	}
	if p.ping.Refused != "" {
		all = append(all, warning("last update", p.ping.Refused, "put a good gopm at "+p.ping.Binary+", then gopm update"))
	}
	if p.trouble != "" {
		all = append(all, failure("state", p.trouble, "see the disk of the home"))
	}
	return all
}

func (p *patient) keeperFinding() finding {
	const what = "keeper"
	pid := p.ping.KeeperPid
	state, _, _ := strings.Cut(wordAfter(fmt.Sprintf("/proc/%d/status", pid), "State:"), " ")
	switch {
	case pid == 0:
		return warning(what, "none: apps outlive this daemon, but how they end then is not known", "see "+p.home.Log())
	case state == "":
		return failure(what, fmt.Sprintf("pid %d is gone", pid), "the daemon starts another one; see "+p.home.Log())
	case state == "T":
		return failure(what, fmt.Sprintf("pid %d is stopped", pid), fmt.Sprintf("kill -CONT %d", pid))
	}
	return fine(what, "pid %d", pid)
}

// appFindings are what is wrong with apps now.
func appFindings(all []api.Detail) (found []finding) {
	for _, d := range all {
		found = append(found, instanceFindings(d)...)
	}
	if len(found) == 0 && len(all) > 0 {
		return []finding{fine("apps", "%s, none in trouble", counted(len(all), "instance"))}
	}
	return found
}

func instanceFindings(d api.Detail) (found []finding) {
	name := fmt.Sprintf("app %s:%d", d.Name, d.Index)
	add := func(f finding) { found = append(found, f) }
	if d.Process.Status == "errored" {
		text := "errored"
		if why := exitShort(d.Process.LastExit); why != "" {
			text += " " + why
		}
		add(failure(name, text, "gopm logs "+d.Name+" --err --lines 20, gopm info "+d.Name))
	}
	if h := d.Health; h != nil && h.State == api.HealthUnhealthy {
		add(warning(name, "unhealthy: "+h.Error, "gopm info "+d.Name))
	}
	if d.LogStatus != "" {
		add(failure(name, "its log takes nothing: "+d.LogStatus, "see the disks; gopm info "+d.Name))
	} else if d.Dropped > 0 {
		add(warning(name, bytesText(d.Dropped)+" of its output could not be written", "gopm events --kind log says when"))
	}
	if d.Place != nil && d.Place.Trouble != "" {
		add(warning(name, "not clustered: "+d.Place.Trouble, "see the kernel's features above, and docs/cluster.md"))
	}
	if d.Place != nil && d.Place.Refused != "" {
		add(warning(name, d.Place.Refused, "gopm info "+d.Name))
	}
	if d.Process.Stuck {
		add(warning(name, "waits for "+d.Process.Waits+", which does not come by itself", "gopm start "+strings.Join(d.Process.WaitsOn, " ")))
	}
	return found
}

// consulFindings are what the daemon knows of the agents that its apps use.
func consulFindings(all []api.Detail) (found []finding) {
	known := map[string]bool{}
	for _, d := range all {
		r := d.Consul
		if r == nil {
			continue
		}
		if r.Agent != "" && !known[r.Agent] {
			known[r.Agent] = true
			if r.Down.IsZero() {
				found = append(found, fine("consul "+r.Agent, "answers"))
			} else {
				found = append(found, failure("consul "+r.Agent, "does not answer since "+r.Down.Local().Format(time.TimeOnly)+": "+r.Error, "start the agent, or mend the address and token of the app; what runs goes on"))
			}
		}
		if r.Trouble != "" && r.Down.IsZero() {
			found = append(found, failure(fmt.Sprintf("consul: %s:%d", d.Name, d.Index), r.Trouble, "gopm info "+d.Name+"; a token needs service:write, for locks session:write and key:write, for configuration key:read"))
		}
	}
	return found
}

// agentFindings ask the agent of CONSUL_HTTP_ADDR, if that is set.
func (p *patient) agentFindings(ctx context.Context, getenv func(string) string) []finding {
	address := getenv("CONSUL_HTTP_ADDR")
	if address == "" {
		return nil
	}
	what := "consul of CONSUL_HTTP_ADDR"
	base, client, err := agentAt(address)
	if err != nil {
		return []finding{failure(what, err.Error(), "CONSUL_HTTP_ADDR=127.0.0.1:8500")}
	}
	status, text, err := askAgent(ctx, client, base+"/v1/agent/self", getenv("CONSUL_HTTP_TOKEN"))
	return []finding{agentFinding(what, ecosystem.MaskURL(address), status, text, err)}
}

// agentFinding judges the answer to who somebody is.
func agentFinding(what, address string, status int, text string, err error) finding {
	switch {
	case err != nil:
		return failure(what, err.Error(), "start the agent, or unset CONSUL_HTTP_ADDR")
	case status == http.StatusForbidden && strings.Contains(text, "ACL not found"):
		return failure(what, address+" does not know the token", "CONSUL_HTTP_TOKEN=a token of this datacenter")
	case status == http.StatusForbidden:
		return warning(what, address+" answers, but the token may not ask it who it is", "agent:read; apps need service:write, for locks session:write and key:write")
	case status != http.StatusOK || !strings.Contains(text, `"Config"`):
		return failure(what, fmt.Sprintf("%s answers with status %d: it is no agent of Consul", address, status), "CONSUL_HTTP_ADDR=127.0.0.1:8500")
	}
	return fine(what, "%s answers", address)
}

// agentAt understands "127.0.0.1:8500", "https://consul:8501" and "unix:///run/consul.sock".
func agentAt(address string) (base string, client *http.Client, err error) {
	const patience = 5 * time.Second
	way := &http.Transport{DisableKeepAlives: true}
	client = &http.Client{Transport: way, Timeout: patience}
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		way.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return "http://consul", client, nil
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", nil, fmt.Errorf("%s is no address", ecosystem.MaskURL(address))
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/"), client, nil
}

func askAgent(ctx context.Context, client *http.Client, what, token string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, what, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	resp, err := client.Do(req)
	var where *url.Error
	if errors.As(err, &where) {
		err = where.Err // the rest says what we asked for
	}
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	return resp.StatusCode, string(body), err
}
