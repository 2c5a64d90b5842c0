package cmd

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// limits are what a daemon can run into. A number that isn't known is -1.
type limits struct {
	instances  int
	privileged bool
	files      int64 // that may be open: the hard limit, which Go raises the soft one to
	processes  int64 // of this user
	pidMax     int64
	pidsLeft   int64  // in this container or service
	pidsBy     string // the file that says so
	backlog    int64  // net.core.somaxconn
	synBacklog int64
	watches    int64 // of inotify
	watchers   int64
	pipePages  int64 // that pipes of one user may have
}

// limits reads those of the daemon if there is one, else our own.
func (p *patient) limits() limits {
	pid := "self"
	if p.ping.Pid != 0 {
		pid = strconv.Itoa(p.ping.Pid)
	}
	text, _ := os.ReadFile("/proc/" + pid + "/limits") // "" : nothing is known
	number := func(name string) int64 {
		if n, ok := kernelNumber(name); ok {
			return n
		}
		return -1
	}
	l := limits{
		instances: p.instances(), privileged: os.Geteuid() == 0, files: hardLimit(string(text), "Max open files"), processes: hardLimit(string(text), "Max processes"),
		pidMax: number("kernel/pid_max"), pidsLeft: -1, backlog: number("net/core/somaxconn"), synBacklog: number("net/ipv4/tcp_max_syn_backlog"),
		watches: number("fs/inotify/max_user_watches"), watchers: number("fs/inotify/max_user_instances"), pipePages: number("fs/pipe-user-pages-soft"),
	}
	l.pidsLeft, l.pidsBy = pidsLeft()
	return l
}

// hardLimit reads /proc/PID/limits: "Max open files   1024   524288   files".
func hardLimit(text, name string) int64 {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if words := strings.Fields(rest); ok && len(words) >= 2 {
			if words[1] == "unlimited" {
				return math.MaxInt64
			}
			if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
				return n
			}
		}
	}
	return -1
}

// pidsLeft is how many processes may still begin in our control group; -1: as many as the
// machine has room for.
func pidsLeft() (left int64, by string) {
	left = -1
	for line := range strings.Lines(readText("/proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "pids" {
			continue
		}
		for _, dir := range []string{filepath.Join("/sys/fs/cgroup", parts[1], parts[2]), filepath.Join("/sys/fs/cgroup", parts[1])} {
			most, err1 := strconv.ParseInt(strings.TrimSpace(readText(dir+"/pids.max")), 10, 64) // "max": an error, none
			now, err2 := strconv.ParseInt(strings.TrimSpace(readText(dir+"/pids.current")), 10, 64)
			if err1 == nil && err2 == nil && (left < 0 || most-now < left) {
				left, by = most-now, dir+"/pids.max"
			}
		}
	}
	return left, by
}

// readText is a file's text; "" if it can't be read.
func readText(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// What gopm takes: see docs/performance.md.
const (
	filesEach = 10 // descriptors of an instance: pipes, logs, a pidfd, in cluster mode a socket; twice while it is reloaded
	filesOwn  = 100
	pagesEach = 2 * 16 // of an instance's two pipes
)

func limitFindings(l limits) (all []finding) {
	need := int64(filesOwn + filesEach*l.instances)
	files := "LimitNOFILE= in the unit (gopm startup writes one), ulimit -n, or docker run --ulimit nofile=65536:65536"
	switch {
	case l.files < 0:
	case l.files < need:
		all = append(all, failure("open files", fmt.Sprintf("%d, and %s need about %d", l.files, counted(l.instances, "instance"), need), files))
	case l.files < max(2*need, 1024):
		all = append(all, warning("open files", fmt.Sprintf("%d: not many", l.files), files))
	default:
		all = append(all, fine("open files", "%s", unlimited(l.files)))
	}
	if least := int64(128 + 4*l.instances); l.processes >= 0 {
		all = append(all, atLeast("processes of this user", l.processes, least, "ulimit -u, LimitNPROC= in the unit"))
	}
	if l.pidsLeft >= 0 {
		f := atLeast("processes of this container or service", l.pidsLeft, 32, "TasksMax= in the unit, docker run --pids-limit")
		f.Found += " left (" + l.pidsBy + ")"
		all = append(all, f)
	}
	rows := []struct {
		what   string
		have   int64
		least  int64
		remedy string
	}{
		{"pid_max", l.pidMax, 4096, "sysctl kernel.pid_max=4194304"},
		{"accept queues: somaxconn", l.backlog, 1024, "sysctl net.core.somaxconn=4096: the kernel cuts the length of queues (backlog: 1024) to it"},
		{"half-open connections: tcp_max_syn_backlog", l.synBacklog, 256, "sysctl net.ipv4.tcp_max_syn_backlog=4096"},
		{"watch: inotify max_user_watches", l.watches, 8192, "sysctl fs.inotify.max_user_watches=524288: apps with watch look each second instead"},
		{"watch: inotify max_user_instances", l.watchers, 64, "sysctl fs.inotify.max_user_instances=512"},
	}
	for _, r := range rows {
		if r.have >= 0 {
			all = append(all, atLeast(r.what, r.have, r.least, r.remedy))
		}
	}
	if want := int64(pagesEach * l.instances); !l.privileged && l.pipePages > 0 {
		all = append(all, atLeast("pipes: pipe-user-pages-soft", l.pipePages, want, "sysctl fs.pipe-user-pages-soft=0 (or more): pipes of logs are a page long beyond it"))
	}
	return all
}

func atLeast(what string, have, least int64, remedy string) finding {
	if have < least {
		return warning(what, strconv.FormatInt(have, 10), remedy)
	}
	return fine(what, "%s", unlimited(have))
}

func unlimited(n int64) string {
	if n == math.MaxInt64 {
		return "unlimited"
	}
	return strconv.FormatInt(n, 10)
}
