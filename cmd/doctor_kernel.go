package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/room"
)

// kernelRelease is "6.1.0-18-amd64".
func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// kernelVersion is 6, 1 for "6.1.0-18-amd64".
func kernelVersion(release string) (major, minor int, ok bool) {
	n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor)
	return major, minor, n == 2
}

func kernelFindings(release string, features []feature, err error, boxed bool) (all []finding) {
	const what = "kernel"
	major, minor, ok := kernelVersion(release)
	before := func(a, b int) bool { return major < a || major == a && minor < b }
	switch {
	case !ok:
		all = append(all, warning(what, "its version is not known: "+release, "Linux 5.9 or later is good"))
	case before(5, 4):
		all = append(all, failure(what, "Linux "+release, "gopm needs Linux 5.4, and 5.9 for clusters"))
	case before(5, 9):
		all = append(all, warning(what, "Linux "+release+": too old for clusters, whose apps run as in fork mode", "Linux 5.9 or later"))
	default:
		all = append(all, fine(what, "Linux %s", release))
	}
	if err != nil {
		return append(all, failure("kernel features", fmt.Sprintf("cannot try them: %v", err), "is /proc mounted, and may this user start processes?"))
	}
	for _, f := range features {
		if found, known := featureFinding(f, boxed); known {
			all = append(all, found)
		}
	}
	return all
}

// need is what a feature is for.
type need struct {
	name, what string
	without    string // what becomes of gopm without it
	since      string // the kernel that has it
	call       string // what a profile has to allow
	vital      bool
}

var needs = [...]need{
	{name: "notify", what: "clusters: seccomp user notification", without: "apps with several instances run as in fork mode", since: "Linux 5.9", call: "seccomp"},
	{name: "pidfd", what: "watching processes: pidfd_open", without: "no process can be watched", since: "Linux 5.3", call: "pidfd_open", vital: true},
	{name: "take", what: "sockets of programs: pidfd_getfd", without: "a socket of gopm's own takes the place of the program's, and a reload waits drain.idle, for it cannot close kept connections",
		since: "Linux 5.6", call: "pidfd_getfd"},
	{name: "read", what: "addresses of programs: process_vm_readv", without: "/proc/PID/mem is read instead", since: "a kernel with CONFIG_CROSS_MEMORY_ATTACH", call: "process_vm_readv"},
	{name: "steer", what: "balance: SO_ATTACH_REUSEPORT_CBPF", without: "connections are spread by the kernel's hash, and cannot be steered away from who is to end", since: "Linux 4.5", call: "setsockopt"},
	{name: "sock_diag", what: "draining: sock_diag", without: "a reload cannot see which connections are busy", since: "a kernel with CONFIG_INET_DIAG (modprobe tcp_diag)", call: "sockets of AF_NETLINK"},
	{name: "close_range", what: "starting apps: close_range", without: "the thousandth app starts more slowly", since: "Linux 5.9", call: "close_range"},
	{name: "proc_children", what: "descendants: /proc/PID/task/TID/children", without: "orphans are looked for among all processes", since: "a kernel with CONFIG_PROC_CHILDREN"},
}

// featureFinding says what a feature that isn't there means, and who can give it.
func featureFinding(f feature, boxed bool) (finding, bool) {
	for _, n := range needs {
		if n.name != f.Name {
			continue
		}
		if f.Error == "" {
			return fine(n.what, "works"), true
		}
		remedy := n.since
		switch {
		case f.Old:
		case boxed && (n.name == "take" || n.name == "read"):
			remedy = "--cap-add SYS_PTRACE (cap_add: [SYS_PTRACE] in a compose file), or a seccomp profile that allows " + n.call
		case boxed:
			remedy = "a seccomp profile that allows " + n.call
		case n.name == "take" || n.name == "read":
			remedy = "kernel.yama.ptrace_scope at most 1 (sysctl), or gopm as root"
		default:
			remedy = "whoever restricts this session (a sandbox, SystemCallFilter= of a unit) has to allow " + n.call
		}
		bad := finding{gradeWarn, n.what, f.Error + ": " + n.without, remedy}
		if n.vital {
			bad.Status = gradeFail
		}
		return bad, true
	}
	return finding{}, false
}

// cgroup is where this process is.
type cgroup struct {
	path      string // of version 2; "": none
	delegated bool   // groups may be made there
}

func ownCgroup() (g cgroup) {
	if g.path = wordAfter("/proc/self/cgroup", "0::"); g.path == "" {
		return g
	}
	dir := filepath.Join("/sys/fs/cgroup", g.path)
	if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err != nil {
		return cgroup{} // a machine with both versions
	}
	g.delegated = unix.Access(dir, unix.W_OK) == nil && unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK) == nil
	return g
}

func cgroupFindings(g cgroup) []finding {
	const what = "cgroups"
	switch {
	case g.path == "":
		return []finding{fine(what, "version 1; of an app with limits gopm info says whether they hold")}
	case !g.delegated:
		return []finding{fine(what, "version 2, not delegated: limits of single apps need that (gopm startup: Delegate=)")}
	}
	return []finding{fine(what, "version 2, delegated: %s", g.path)}
}

// isContainer goes by the marks that engines leave.
func isContainer() bool {
	for _, path := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	text, _ := os.ReadFile("/proc/1/environ") // only for its own user
	return os.Getenv("KUBERNETES_SERVICE_HOST") != "" || os.Getenv("container") != "" || strings.Contains("\x00"+string(text), "\x00container=")
}

// boxFindings are those of a container.
func (p *patient) boxFindings() (all []finding) {
	have := room.Of(p.ping.Pid)
	if text := roomText(have); text != "" {
		all = append(all, fine("limits of this container or service", "%s", text))
	}
	if !p.boxed {
		return all
	}
	call, _ := os.ReadFile("/proc/1/cmdline")
	comm, _ := os.ReadFile("/proc/1/comm")
	all = append(all, firstProcess(strings.TrimSpace(string(comm)), strings.Split(strings.TrimSuffix(string(call), "\x00"), "\x00")))
	var fs unix.Statfs_t
	if unix.Statfs("/", &fs) == nil && fs.Flags&unix.ST_RDONLY != 0 {
		all = append(all, fine("root file system", "read-only: gopm's own files are in %s", p.home.Dir))
	}
	return all
}

// firstProcess judges the PID 1 of a container.
func firstProcess(comm string, argv []string) finding {
	const what = "PID 1"
	program := filepath.Base(argv[0])
	switch program {
	case "sh", "bash", "dash", "ash", "busybox":
		if len(argv) > 1 {
			return warning(what, program+" "+strings.Join(argv[1:], " ")+": a shell passes no signals on, so docker stop kills everything after its grace period",
				`the JSON form: CMD ["gopm", "runtime", "ecosystem.json"], or exec before the command`)
		}
	}
	if strings.HasPrefix(comm, "gopm") {
		return fine(what, "%s: reaps orphans and passes signals on", comm)
	}
	return fine(what, "%s", orElse(program, comm))
}

func clockFindings(now time.Time) []finding {
	const what, first = "clock", 2025
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return []finding{failure(what, fmt.Sprintf("CLOCK_BOOTTIME: %v", err), "Linux 2.6.39 or later: leases of locks are counted by it")}
	}
	if now.Year() < first {
		return []finding{warning(what, "it is "+now.Format(time.DateTime)+" here", "set the clock: schedules, the times of logs and certificates go by it")}
	}
	return []finding{fine(what, "%s, up %s", now.Format(time.DateTime+" MST"), uptime(time.Duration(since.Nano())))}
}

// kernelNumber reads a file of /proc/sys; false: there is none.
func kernelNumber(name string) (int64, bool) {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
