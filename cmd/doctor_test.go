package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
)

// lines are findings as they are printed, without the columns.
func lines(all ...finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s: %s", f.Status, f.What, f.Found)
		if f.Remedy != "" {
			b.WriteString(" -> " + f.Remedy)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// same compares findings with the beginnings of lines, and parts of them behind "…".
func same(t *testing.T, name string, all []finding, want ...string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(lines(all...), "\n"), "\n")
	if len(all) != len(want) {
		t.Errorf("%s: %d findings, want %d:\n%s", name, len(all), len(want), lines(all...))
		return
	}
	for i, w := range want {
		for _, part := range strings.Split(w, "…") {
			if !strings.Contains(got[i], part) {
				t.Errorf("%s:\n%s\nwant %q in it", name, got[i], part)
			}
		}
	}
}

func TestDoctorOfKernels(t *testing.T) {
	for _, tt := range []struct {
		name, release string
		features      []feature
		err           error
		boxed         bool
		want          []string
	}{
		{"new", "6.1.0-18-amd64", nil, nil, false, []string{"ok kernel: Linux 6.1.0-18-amd64"}},
		{"old", "5.4.0", nil, nil, false, []string{"warn kernel: Linux 5.4.0: too old for clusters…-> Linux 5.9"}},
		{"very old", "4.19.0-26", nil, nil, false, []string{"fail kernel: Linux 4.19.0-26…-> gopm needs Linux 5.4"}},
		{"strange", "penguin", nil, nil, false, []string{"warn kernel: its version is not known: penguin"}},
		{"no child", "6.1", nil, errors.New("exec format error"), false, []string{"ok kernel", "fail kernel features: cannot try them: exec format error"}},
		{"all there", "6.1", []feature{{Name: "take"}, {Name: "of a later gopm"}}, nil, true, []string{"ok kernel", "ok sockets of programs: pidfd_getfd: works"}},
		{"Docker's profile", "6.1", []feature{{Name: "take", Error: "operation not permitted"}}, nil, true,
			[]string{"ok kernel", "warn sockets of programs: pidfd_getfd: operation not permitted: a socket of gopm's own…-> --cap-add SYS_PTRACE"}},
		{"yama", "6.1", []feature{{Name: "take", Error: "operation not permitted"}}, nil, false, []string{"ok kernel", "warn …-> kernel.yama.ptrace_scope"}},
		{"before pidfd_getfd", "5.4", []feature{{Name: "take", Error: "function not implemented", Old: true}}, nil, true, []string{"warn kernel", "warn …-> Linux 5.6"}},
		{"a strict profile", "6.1", []feature{{Name: "notify", Error: "operation not permitted"}}, nil, true,
			[]string{"ok kernel", "warn clusters…run as in fork mode -> a seccomp profile that allows seccomp"}},
		{"a unit", "6.1", []feature{{Name: "pidfd", Error: "operation not permitted"}}, nil, false, []string{"ok kernel", "fail watching processes…SystemCallFilter="}},
	} {
		same(t, tt.name, kernelFindings(tt.release, tt.features, tt.err, tt.boxed), tt.want...)
	}
	for _, f := range needs {
		if f.what == "" || f.without == "" || f.since == "" {
			t.Errorf("%+v lacks something", f)
		}
	}
}

func TestDoctorOfFirstProcesses(t *testing.T) {
	for call, want := range map[string]string{
		"/bin/sh -c gopm runtime eco.json": `warn PID 1: sh -c gopm runtime eco.json: a shell passes no signals on…-> the JSON form: CMD ["gopm", "runtime", "ecosystem.json"]`,
		"bash /start.sh":                   "warn PID 1: bash /start.sh",
		"/sbin/docker-init -- gopm":        "ok PID 1: docker-init",
		"sh":                               "ok PID 1: sh", // somebody sits at it
		"gopm keeper /run/gopm":            "ok PID 1: gopm-keeper: reaps orphans",
	} {
		comm := "x"
		if strings.HasPrefix(call, "gopm") {
			comm = "gopm-keeper"
		}
		same(t, call, []finding{firstProcess(comm, strings.Fields(call))}, want)
	}
}

func TestDoctorOfLimits(t *testing.T) {
	plenty := limits{instances: 10, files: 1 << 20, processes: math.MaxInt64, pidMax: 1 << 22, pidsLeft: -1, backlog: 4096, synBacklog: 2048, watches: 1 << 20, watchers: 128, pipePages: 16384}
	if text := lines(limitFindings(plenty)...); strings.Contains(text, "warn") || strings.Contains(text, "fail") || !strings.Contains(text, "unlimited") {
		t.Errorf("plenty of all:\n%s", text)
	}
	for _, tt := range []struct {
		name   string
		change func(*limits)
		want   string // the one line that isn't ok
	}{
		{"files", func(l *limits) { l.files = 150 }, "fail open files: 150, and 10 instances need about 200 -> LimitNOFILE="},
		{"few files", func(l *limits) { l.files = 800 }, "warn open files: 800"},
		{"processes", func(l *limits) { l.processes = 100 }, "warn processes of this user: 100 -> ulimit -u"},
		{"pids", func(l *limits) { l.pidsLeft, l.pidsBy = 3, "/x/pids.max" }, "warn processes of this container or service: 3 left (/x/pids.max) -> TasksMax="},
		{"queue", func(l *limits) { l.backlog = 128 }, "warn accept queues: somaxconn: 128 -> sysctl net.core.somaxconn"},
		{"watches", func(l *limits) { l.watches = 100 }, "warn watch: inotify max_user_watches: 100"},
		{"pipes", func(l *limits) { l.instances = 600 }, "warn pipes: pipe-user-pages-soft: 16384"},
	} {
		l := plenty
		tt.change(&l)
		var bad []finding
		for _, f := range limitFindings(l) {
			if f.Status != gradeOK {
				bad = append(bad, f)
			}
		}
		same(t, tt.name, bad, tt.want)
	}
	unknown := limits{files: -1, processes: -1, pidMax: -1, pidsLeft: -1, backlog: -1, synBacklog: -1, watches: -1, watchers: -1, pipePages: -1}
	same(t, "nothing known", limitFindings(unknown))
	text := "Limit   Soft Limit  Hard Limit  Units\nMax processes   100  unlimited processes\nMax open files  1024  524288  files\n"
	if a, b, c := hardLimit(text, "Max open files"), hardLimit(text, "Max processes"), hardLimit(text, "Max file size"); a != 524288 || b != math.MaxInt64 || c != -1 {
		t.Errorf("limits: %d, %d, %d", a, b, c)
	}
}

func TestDoctorOfDisks(t *testing.T) {
	const gb = 1 << 30
	for _, tt := range []struct {
		name string
		disk disk
		want []string
	}{
		{"room", disk{dir: "/h", free: 50 * gb, total: 100 * gb, nodes: 50, room: 100}, []string{"ok disk of /h: 50.0gb of 100.0gb free"}},
		{"a small tmpfs", disk{dir: "/h", free: gb / 1100, total: gb / 1024}, []string{"ok disk of /h"}},
		{"a large one with little", disk{dir: "/h", free: 20 * gb, total: 1000 * gb}, []string{"ok disk of /h"}},
		{"little", disk{dir: "/h", free: gb / 2, total: 100 * gb}, []string{"warn disk of /h…-> make room; max_total_size"}},
		{"full", disk{dir: "/h", total: 100 * gb}, []string{"fail disk of /h"}},
		{"no inodes", disk{dir: "/h", free: 50 * gb, total: 100 * gb, room: 100}, []string{"fail disk of /h: no inodes are free"}},
		{"few inodes", disk{dir: "/h", free: 50 * gb, total: 100 * gb, nodes: 9, room: 1000}, []string{"warn disk of /h: 9 of 1000 inodes free"}},
		{"read-only", disk{dir: "/h", free: 50 * gb, total: 100 * gb, readOnly: true}, []string{"fail disk of /h: it is mounted read-only"}},
		{"denied", disk{dir: "/h", free: 50 * gb, total: 100 * gb, denied: []string{"/l"}}, []string{"ok disk of /h", "fail logs in /l: …cannot write there"}},
	} {
		same(t, tt.name, diskFindings([]disk{tt.disk}), tt.want...)
	}
}

func TestDoctorOfDaemons(t *testing.T) {
	none := &api.NoDaemonError{Home: "/nowhere", Why: fs.ErrNotExist}
	for _, tt := range []struct {
		name    string
		patient patient
		want    []string
	}{
		{"none", patient{err: none}, []string{"ok daemon: not running"}},
		{"none, and apps", patient{err: none, left: remains{alive: map[int]int{1: 10, 2: 11}}}, []string{"fail daemon: not running, and 2 instances still alive -> gopm resurrect"}},
		{"silent", patient{err: errors.New("hung")}, []string{"fail daemon: hung"}},
		{"another version", patient{ping: api.Ping{Version: "v1", Binary: "/bin/sh", KeeperPid: 1}}, []string{"warn daemon: gopm v1, and this command is v2 -> gopm update", "ok keeper"}},
		{"its program is gone", patient{ping: api.Ping{Version: "v2", Binary: "/no/such/gopm", KeeperPid: 1}}, []string{"ok daemon", "warn program file: …/no/such/gopm", "ok keeper"}},
		{"no keeper", patient{ping: api.Ping{Version: "v2", Binary: "/bin/sh"}}, []string{"ok daemon", "warn keeper: none"}},
		{"a dead keeper", patient{ping: api.Ping{Version: "v2", Binary: "/bin/sh", KeeperPid: 1 << 30}}, []string{"ok daemon", "fail keeper: pid 1073741824 is gone"}},
		{"it had died", patient{trouble: "disk full", ping: api.Ping{Version: "v2", Binary: "/bin/sh", KeeperPid: 1, Before: "was killed by SIGKILL", Refused: "it is not a program"}},
			[]string{"ok daemon", "ok keeper", "warn the daemon before: it was killed by SIGKILL", "warn last update: it is not a program", "fail state: disk full"}},
		{"updated", patient{ping: api.Ping{Version: "v2", Binary: "/bin/sh", KeeperPid: 1, Before: "handed over"}}, []string{"ok daemon", "ok keeper"}},
	} {
		tt.patient.home.Dir = "/nowhere"
		same(t, tt.name, tt.patient.daemonFindings("v2"), tt.want...)
	}
}

func TestDoctorOfApps(t *testing.T) {
	named := func(change func(*api.Detail)) api.Detail {
		d := api.Detail{Instance: api.Instance{Name: "web", Index: 1, Process: api.Process{Status: "online"}}}
		change(&d)
		return d
	}
	for _, tt := range []struct {
		want   string
		change func(*api.Detail)
	}{
		{"ok apps: 1 instance, none in trouble", func(*api.Detail) {}},
		{"fail app web:1: errored (exit 3) -> gopm logs web --err", func(d *api.Detail) { d.Process.Status, d.Process.LastExit = "errored", &api.Exit{Code: 3} }},
		{"warn app web:1: unhealthy: 503", func(d *api.Detail) { d.Health = &api.Health{State: api.HealthUnhealthy, Error: "503"} }},
		{"fail app web:1: its log takes nothing: no space left", func(d *api.Detail) { d.LogStatus, d.Dropped = "no space left", 10 }},
		{"warn app web:1: 10b of its output", func(d *api.Detail) { d.Dropped = 10 }},
		{"warn app web:1: not clustered: seccomp", func(d *api.Detail) { d.Place = &api.Place{Trouble: "seccomp is refused"} }},
		{"warn app web:1: waits for db (stopped)…-> gopm start db", func(d *api.Detail) {
			d.Process.Wait = api.Wait{Waits: "db (stopped)", WaitsOn: []string{"db"}, Stuck: true}
		}},
	} {
		same(t, tt.want, appFindings([]api.Detail{named(tt.change)}), tt.want)
	}
	same(t, "no apps", appFindings(nil))
	well := named(func(d *api.Detail) {
		d.Consul = &api.Registration{Agent: "127.0.0.1:8500", Trouble: "Permission denied"}
	})
	away := named(func(d *api.Detail) {
		d.Consul = &api.Registration{Agent: "10.0.0.1:8500", Trouble: "old", Down: time.Now(), Error: "connection refused"}
	})
	same(t, "consul", consulFindings([]api.Detail{well, well, away}), "ok consul 127.0.0.1:8500: answers", "fail consul: web:1: Permission denied…service:write",
		"fail consul: web:1: Permission denied", "fail consul 10.0.0.1:8500: does not answer…connection refused")
}

func TestDoctorOfAgents(t *testing.T) {
	const self = `{"Config": {"Datacenter": "dc1"}}`
	for _, tt := range []struct {
		status int
		text   string
		err    error
		want   string
	}{
		{http.StatusOK, self, nil, "ok consul: a:8500 answers"},
		{http.StatusOK, "<html>", nil, "fail consul: a:8500 answers with status 200: it is no agent of Consul"},
		{http.StatusNotFound, "", nil, "fail consul"},
		{http.StatusForbidden, "ACL not found", nil, "fail consul: a:8500 does not know the token"},
		{http.StatusForbidden, "Permission denied", nil, "warn consul…-> agent:read"},
		{0, "", errors.New("connection refused"), "fail consul: connection refused"},
	} {
		same(t, tt.want, []finding{agentFinding("consul", "a:8500", tt.status, tt.text, tt.err)}, tt.want)
	}
	for address, want := range map[string]string{"127.0.0.1:8500": "http://127.0.0.1:8500", "https://c:8501/": "https://c:8501", "unix:///run/c.sock": "http://consul", "http://": ""} {
		if base, _, err := agentAt(address); base != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v; want %q", address, base, err, want)
		}
	}
}
