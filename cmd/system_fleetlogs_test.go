package cmd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/tools/agent"
)

// fleetOf is a gopm whose daemon knows these machines: all it can be asked is which.
func (f *field) fleetOf(machines ...api.FleetMachine) *gopm {
	f.Helper()
	near := *f.gopm
	near.home = filepath.Join(filepath.Dir(f.dir), "n")
	must(f.T, os.Mkdir(near.home, 0o700))
	l, err := net.Listen("unix", filepath.Join(near.home, "gopm.sock"))
	must(f.T, err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+api.PathFleet, func(w http.ResponseWriter, r *http.Request) {
		var q api.FleetQuery
		_ = json.NewDecoder(r.Body).Decode(&q) // an empty one asks for all
		answer := api.Fleet{Consul: "http://127.0.0.1:8500"}
		for _, m := range machines {
			if len(q.Hosts) == 0 || slices.Contains(q.Hosts, m.Host) {
				answer.Machines = append(answer.Machines, m)
			}
		}
		_ = json.NewEncoder(w).Encode(answer) // who has asked may be gone
	})
	server := &http.Server{Handler: mux}
	done := make(chan error)
	go func() { done <- server.Serve(l) }() // ends by Close
	f.Cleanup(func() {
		must(f.T, server.Close())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			f.Error(err)
		}
	})
	return &near
}

// timed apps note the time of each line when it is written; of others it is estimated,
// which is not enough for lines that follow each other so soon.
const timed = `{"apps": [{"name": "web", "script": "cat", "stdin": true, "min_uptime": "100ms", "log_type": "json"}]}`

// writes has the app of a machine write a line, and waits until it is written.
func (h *gopm) writes(line string) {
	h.Helper()
	h.run("send", "web", line)
	eventually(h.T, soon, func() error {
		if text := h.run("logs", "web", "--json", "--nostream"); !strings.Contains(text, `"message":"`+line+`"`) {
			return fmt.Errorf("%q is not in %q", line, text)
		}
		return nil
	})
}

func TestFleetLogs(t *testing.T) {
	f := newField(t, 3)
	f.byName()
	for _, h := range f.hosts {
		h.file("eco.json", timed)
		h.run("start", "eco.json", "-s")
	}
	one, two, three := f.hosts[0], f.hosts[1], f.hosts[2]
	machine := func(host, ssh string, home string) api.FleetMachine {
		return api.FleetMachine{Host: host, SSH: ssh, Home: home}
	}
	here := machine("c", "", three.home)
	here.Here = true // so there is no need for an address
	near := f.fleetOf(machine("a", "host1", one.home), machine("berta", "host2", two.home), here,
		machine("dead", "host0", "/h"), machine("silent", "", "/h"), machine("bad", "-oProxyCommand=x", "/h"))

	one.writes("first")
	two.writes("second")
	three.writes("third $x 'y'")
	one.writes("fourth")
	r := near.try("fleet", "logs", "web", "--host", "berta,a,c")
	want := "a     | 0|web | first\nberta | 0|web | second\nc     | 0|web | third $x 'y'\na     | 0|web | fourth\n"
	if r.code != 0 || r.out != want || r.err != "" {
		t.Errorf("merged: want %s\ngot %v", want, r)
	}

	// Those that can't be reached are named, and the others are shown.
	r = near.try("fleet", "logs", "web", "--lines", "1", "--json")
	if r.code != 1 || strings.Count(r.out, "\n") != 3 || strings.Count(r.err, "\n") != 3 {
		t.Errorf("with machines that can't be reached: %v", r)
	}
	contains(t, "those", r.err, "gopm: dead: ssh: ", "Connection refused", "try: ssh host0 true",
		"gopm: silent: it gives no address for ssh: set GOPM_SSH", "gopm: bad: the address it gives for ssh can't be used")
	var last struct {
		Host    string `json:"host"`
		Message string `json:"message"`
	}
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	if last.Host != "a" || last.Message != "fourth" {
		t.Errorf("the last line is %+v", last)
	}

	near.fail(1, []string{"gopm: a: no app or namespace named \"nosuch\"", "gopm: berta: no app"}, "fleet", "logs", "nosuch", "--host", "a,berta")
	near.fail(1, []string{"zulu has no app web"}, "fleet", "logs", "web", "--host", "a,zulu")
	near.fail(2, []string{"one app"}, "fleet", "logs")
	near.fail(2, []string{"-f and --until"}, "fleet", "logs", "web", "-f", "--until", "10:30")
	near.fail(2, []string{"lgos", "gopm fleet --help"}, "fleet", "lgos")
	if text := near.run("fleet", "logs", "web", "--host", "a,c", "--grep", "first|fourth", "--since", "1h", "--timestamp=YYYY"); text !=
		fmt.Sprintf("a | %[1]d 0|web | first\na | %[1]d 0|web | fourth\n", time.Now().Year()) {
		t.Errorf("with --grep and --timestamp: %s", text)
	}
}

func TestFleetLive(t *testing.T) {
	f := newField(t, 2)
	f.byName()
	one, two := f.hosts[0], f.hosts[1]
	for _, h := range f.hosts {
		h.sleeper("run")
		h.run("start", "./run", "--name", "web", "--min-uptime", "100ms", "-s")
	}
	one.run("start", "./run", "--name", "other", "--namespace", "web", "--min-uptime", "100ms", "-s")
	stale := []api.Instance{{ID: 7, Name: "web", Process: api.Process{Status: "online", Pid: 1}}}
	near := f.fleetOf(
		api.FleetMachine{Host: "a", SSH: "host1", Home: one.home, Instances: stale},
		api.FleetMachine{Host: "b", Home: two.home, Instances: stale, Here: true},
		api.FleetMachine{Host: "dead", SSH: "host0", Home: "/h", Instances: stale, Down: "its check is critical"},
		api.FleetMachine{Host: "empty", SSH: "host1", Home: one.dir + "/nothing", Instances: stale})
	lacks(t, "ls", near.run("fleet", "ls", "web"), "mem", "Connection refused")
	text := near.run("fleet", "ls", "web", "--live")
	contains(t, "ls --live", text, "mem", "dead is down: its check is critical", "dead: ssh: connect to host", "Connection refused", "empty: daemon not running")
	var shown [][]string
	for _, line := range strings.Split(text, "\n") {
		if cells := strings.Split(line, "│"); len(cells) > 6 {
			shown = append(shown, []string{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2]), strings.TrimSpace(cells[len(cells)-3])})
		}
	}
	if len(shown) != 5 || !strings.HasSuffix(shown[1][2], "mb") || !strings.HasSuffix(shown[2][2], "mb") || shown[1][1] != "0" || shown[3][2] != "-" || shown[4][1] != "7" {
		t.Errorf("want a and b with what they take now, and what is known of the others, got %q in\n%s", shown, text)
	}
	var fleet api.Fleet
	must(t, json.Unmarshal([]byte(near.run("fleet", "ls", "web", "--live", "--json")), &fleet))
	if m := fleet.Machines; len(m) != 4 || !m[0].Live || len(m[0].Instances) != 1 || m[0].Instances[0].Usage.Memory == 0 || m[2].Live || m[2].LiveError == "" {
		t.Errorf("ls --live --json: %+v", m)
	}
}

// With a real agent: the machines are those of the catalog, one of them is this one, and
// the other is reached at the address that its daemon gives.
func TestFleetBySSH(t *testing.T) {
	f := newField(t, 2)
	f.byName()
	consul := startConsul(t, agent.Options{})
	for i, h := range f.hosts {
		h.env = append(f.env[:len(f.env):len(f.env)], append(consul.env(), fmt.Sprintf("GOPM_NODE=m%d", i+1), fmt.Sprintf("GOPM_SSH=host%d", i+1))...)
		h.file("eco.json", strings.Replace(timed, `"script"`, `"consul": true, "script"`, 1))
		h.run("start", "eco.json", "-s")
	}
	one, two := f.hosts[0], f.hosts[1]
	var fleet api.Fleet
	eventually(t, 2*soon, func() error {
		fleet = api.Fleet{}
		must(t, json.Unmarshal([]byte(one.run("fleet", "ls", "web", "--live", "--json")), &fleet))
		if m := fleet.Machines; len(m) != 2 || !m[0].Live || !m[1].Live || m[0].Here == m[1].Here || m[1].SSH != "host2" {
			return fmt.Errorf("the fleet is %+v", fleet)
		}
		return nil
	})
	for _, m := range fleet.Machines {
		if len(m.Instances) != 1 || m.Instances[0].Usage.Memory == 0 {
			t.Errorf("the machine itself tells %+v", m)
		}
	}
	calls, err := os.ReadFile(filepath.Join(f.keys, "calls"))
	must(t, err)
	contains(t, "ssh", string(calls), "-- host2 ")
	lacks(t, "ssh", string(calls), "-- host1 ")
	two.writes("there")
	one.writes("here")
	if text := one.run("fleet", "logs", "web"); text != "m2 | 0|web | there\nm1 | 0|web | here\n" {
		t.Errorf("the logs: %q", text)
	}
	contains(t, "from elsewhere", f.run("-H", "ssh://host1", "fleet", "ls", "web"), "m1", "m2")
	one.fail(1, []string{"nosuch"}, "fleet", "logs", "nosuch")
	one.fail(1, []string{"m3"}, "fleet", "logs", "web", "--host", "m3")
}

// A daemon that hangs is named, and the others are shown meanwhile.
func TestFleetWithAHangingDaemon(t *testing.T) {
	f := newField(t, 2)
	f.byName()
	one, two := f.hosts[0], f.hosts[1]
	for _, h := range f.hosts {
		h.file("eco.json", timed)
		h.run("start", "eco.json", "-s")
		h.writes("early")
	}
	near := f.fleetOf(api.FleetMachine{Host: "a", SSH: "host1", Home: one.home}, api.FleetMachine{Host: "b", SSH: "host2", Home: two.home})
	daemon, _ := two.daemon()
	must(t, syscall.Kill(daemon, syscall.SIGSTOP))
	goOn := func() { must(t, syscall.Kill(daemon, syscall.SIGCONT)) }
	defer goOn()
	cmd := near.command("fleet", "logs", "web", "-f")
	out := &output{}
	cmd.Stdout = out
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was ended by a signal
	})
	eventually(t, 2*soon, func() error {
		if got := out.String(); got != "a | 0|web | early\n" {
			return fmt.Errorf("the logs: %q", got)
		}
		return nil
	})
	one.writes("late")
	contains(t, "ls --live", near.run("fleet", "ls", "web", "--live"), "b: no answer for 10s")
	contains(t, "the logs", out.String(), "a | 0|web | late\n")
	goOn()
	eventually(t, 2*soon, func() error {
		if got := out.String(); !strings.Contains(got, "b | 0|web | early\n") {
			return fmt.Errorf("the logs: %q", got)
		}
		return nil
	})
}

// What is followed goes on when a machine is gone, and ends on all of them with the command.
func TestFleetLogsFollows(t *testing.T) {
	f := newField(t, 2)
	f.byName()
	for _, h := range f.hosts {
		h.file("eco.json", `{"apps": [{"name": "web", "script": "cat", "stdin": true, "min_uptime": "100ms"}]}`)
		h.run("start", "eco.json", "-s")
	}
	one, two := f.hosts[0], f.hosts[1]
	one.writes("early")
	near := f.fleetOf(api.FleetMachine{Host: "a", SSH: "host1", Home: one.home}, api.FleetMachine{Host: "b", SSH: "host2", Home: two.home})
	cmd := near.command("fleet", "logs", "web", "-f")
	out, said := &output{}, &output{}
	cmd.Stdout, cmd.Stderr = out, said
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	shows := func(want string) {
		t.Helper()
		eventually(t, 2*soon, func() error {
			if got := out.String(); got != want {
				return fmt.Errorf("want %q, got %q; %s", want, got, said)
			}
			return nil
		})
	}
	shows("a | 0|web | early\n")
	two.writes("one")
	shows("a | 0|web | early\nb | 0|web | one\n")
	one.writes("two")
	shows("a | 0|web | early\nb | 0|web | one\na | 0|web | two\n")
	f.endCalls("logs", one.home)
	eventually(t, soon, func() error {
		if !strings.Contains(said.String(), "gopm: a: ") {
			return fmt.Errorf("it is not said that a is gone: %s", said)
		}
		return nil
	})
	two.writes("three")
	shows("a | 0|web | early\nb | 0|web | one\na | 0|web | two\nb | 0|web | three\n")
	must(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait() // the code tells
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("left by Ctrl-C: exit code %d, %s", code, said)
	}
	eventually(t, soon, func() error {
		if n := len(calledThere("logs", two.home)); n != 0 {
			return fmt.Errorf("%d processes of gopm logs are left", n)
		}
		return nil
	})
}
