package cmd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/room"
)

func (c *cli) reportCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "report",
		Short: "Print what a bug report needs",
		Long: `Print what a bug report needs: versions, machine, limits, the daemon, the apps and the
end of gopm's own log. Variables and arguments of apps are never in it; names and
folders are: read it before you send it.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var ping api.Ping
			err := c.client.Get(cmd.Context(), api.PathPing, nil, &ping)
			c.fact("gopm", "%s, %s, %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			c.reportMachine()
			c.reportHome()
			absent := noDaemon(err)
			if absent {
				err = c.remains().explain(err)
			}
			if err != nil {
				c.fact("daemon", "%v", err)
				if pid := c.client.Home().Keeper(); pid > 0 {
					c.fact("keeper", "%s", processFacts(int(pid), 0))
				}
			} else {
				c.fact("daemon", "%s, %s, from %s", ping.Version, processFacts(ping.Pid, time.Since(ping.Started)), ping.Binary)
				c.fact("keeper", "%s", processFacts(ping.KeeperPid, 0))
				c.fact("its limits", "%s", limitFacts(ping.Pid))
				c.reportBefore(ping)
			}
			c.reportState()
			c.reportDoctor(cmd.Context())
			fmt.Fprintln(c.out)
			if err == nil || absent {
				if err := c.printList(cmd.Context(), listOptions{}); err != nil && !noDaemon(err) {
					return err
				}
			}
			c.reportLog()
			return nil
		},
	}
}

// fact prints one line of a report.
func (c *cli) fact(title, format string, args ...any) {
	fmt.Fprintf(c.out, "%-10s  %s\n", title, printable(fmt.Sprintf(format, args...)))
}

func (c *cli) reportMachine() {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		c.fact("kernel", "%s %s %s", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	c.fact("system", "%s", orElse(strings.Trim(wordAfter("/etc/os-release", "PRETTY_NAME="), `"`), "not known"))
	load, _ := os.ReadFile("/proc/loadavg")
	have := room.Of(int(c.client.Home().Holder()))
	c.fact("machine", "%s, %s memory, %s available, load %s", counted(have.Online, "cpu"),
		bytesText(have.Total), kilobytes(wordAfter("/proc/meminfo", "MemAvailable:")), strings.TrimSpace(string(load)))
	c.fact("can use", "%s", orElse(roomText(have), "all of it"))
	c.fact("cgroup", "%s", orElse(wordAfter("/proc/self/cgroup", "0::"), "not version 2"))
	c.fact("user", "%s (%d)", userName(uint32(os.Geteuid())), os.Geteuid())
}

// wordAfter is the rest of the first line of a file that begins with prefix.
func wordAfter(path, prefix string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// kilobytes reads the "123 kB" of /proc.
func kilobytes(text string) string {
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		return "?"
	}
	return bytesText(n << 10)
}

func (c *cli) reportHome() {
	home := c.client.Home()
	info, err := os.Stat(home.Dir)
	if err != nil {
		c.fact("home", "%v", err)
		return
	}
	var fs unix.Statfs_t
	free := "?"
	if unix.Statfs(home.Dir, &fs) == nil {
		free = bytesText(int64(fs.Bavail) * fs.Bsize)
	}
	files, size := 0, int64(0)
	entries, _ := os.ReadDir(home.Logs())
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files, size = files+1, size+info.Size()
		}
	}
	c.fact("home", "%s, %v, %s free; %s of logs in %s", api.Contract(home.Dir, os.Getenv("HOME")), info.Mode().Perm(), free, bytesText(size), counted(files, "file"))
}

// reportBefore says what became of the daemon before this one.
func (c *cli) reportBefore(p api.Ping) {
	if p.Before != "" {
		c.fact("before it", "a daemon that %s", p.Before)
	}
	if p.Refused != "" {
		c.fact("refused", "the last update: %s", p.Refused)
	}
}

// reportState says what a daemon would find after a reboot.
func (c *cli) reportState() {
	path := c.client.Home().State()
	info, err := os.Stat(path)
	if err != nil {
		c.fact("state", "%v", err)
		return
	}
	r := c.remains()
	if r.err != nil {
		c.fact("state", "%v", r.err)
		return
	}
	s := r.state
	c.fact("state", "%s in %s of format %d by gopm %s, written %s ago, %d alive", counted(len(s.Apps), "app"), bytesText(info.Size()),
		s.Format, s.Version, uptime(time.Since(s.Written)), len(r.alive))
	if s.Ended != "" {
		c.fact("", "the daemon that wrote it ended by %s", s.Ended)
	}
}

// reportDoctor prints what is not as it should be.
func (c *cli) reportDoctor(ctx context.Context) {
	title := "doctor"
	for _, f := range c.examineMachine(ctx) {
		if f.Status != gradeOK {
			c.fact(title, "%s: %s: %s", f.Status, f.What, f.Found)
			title = ""
		}
	}
	if title != "" {
		c.fact(title, "finds nothing wrong")
	}
}

// processFacts is what /proc says of one of gopm's own processes.
func processFacts(pid int, age time.Duration) string {
	dir := fmt.Sprintf("/proc/%d", pid)
	status := dir + "/status"
	facts := []string{fmt.Sprintf("pid %d", pid)}
	if age > 0 {
		facts = append(facts, "up "+uptime(age))
	}
	fds, _ := os.ReadDir(dir + "/fd")
	facts = append(facts, "rss "+kilobytes(wordAfter(status, "VmRSS:")), "pss "+kilobytes(wordAfter(dir+"/smaps_rollup", "Pss:")),
		"threads "+orElse(wordAfter(status, "Threads:"), "?"), fmt.Sprintf("descriptors %d", len(fds)))
	return strings.Join(facts, ", ")
}

// limitFacts are the limits that a supervisor can run into.
func limitFacts(pid int) string {
	path := fmt.Sprintf("/proc/%d/limits", pid)
	var facts []string
	for _, name := range []string{"Max open files", "Max processes", "Max file size", "Max locked memory"} {
		if words := strings.Fields(wordAfter(path, name)); len(words) >= 2 {
			facts = append(facts, fmt.Sprintf("%s %s/%s", strings.ToLower(strings.TrimPrefix(name, "Max ")), words[0], words[1]))
		}
	}
	return strings.Join(facts, ", ")
}

// reportLog prints the end of gopm's own log.
func (c *cli) reportLog() {
	const most, enough = 30, 64 << 10
	path := c.client.Home().Log()
	f, err := os.Open(path)
	if err != nil {
		return // no daemon ever
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil {
		return
	}
	text := make([]byte, min(size, enough))
	n, _ := f.ReadAt(text, size-int64(len(text)))
	lines := bytes.Split(bytes.TrimSuffix(text[:n], []byte("\n")), []byte("\n"))
	fmt.Fprintf(c.out, "\nlast lines of %s\n", api.Contract(path, os.Getenv("HOME")))
	for _, line := range lines[max(0, len(lines)-most):] {
		fmt.Fprintf(c.out, "  %s\n", printable(string(line)))
	}
}
