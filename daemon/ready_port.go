package daemon

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// lookout finds out when instances listen on the port that makes them ready, where that
// isn't told: in fork mode, and on ports that are not shared. While none waits for that it
// looks at nothing, and without apps that have to listen it has no goroutine.
type lookout struct {
	worker
	d *Daemon
}

func newLookout(d *Daemon) *lookout { return &lookout{d: d} }

// look begins or ends the work, after the table has changed.
func (l *lookout) look() {
	l.keep(slices.ContainsFunc(l.d.everyone(), func(in *instance) bool {
		a := in.version.Load()
		return a != nil && a.spec.Ready.By == ecosystem.ReadyPort
	}), l.run)
}

// A young process is looked at often, one that takes its time less and less.
const (
	soonestLook = 20 * time.Millisecond
	latestLook  = 250 * time.Millisecond
)

// lookAgain is the time until the next look at a process of that age.
func lookAgain(age time.Duration) time.Duration { return min(max(age/8, soonestLook), latestLook) }

func (l *lookout) run(stop <-chan struct{}) {
	changes := l.d.hub.subscribe()
	defer l.d.hub.unsubscribe(changes)
	timer := time.NewTimer(0)
	defer timer.Stop()
	awaited := map[*instance]time.Time{} // and when each is looked at next
	for _, in := range l.d.everyone() {
		awaited[in] = time.Time{}
	}
	for {
		select {
		case <-stop:
			return
		case <-changes.wake:
			for _, key := range changes.take() {
				if in, is := key.(*instance); is && awaited[in].IsZero() {
					awaited[in] = time.Now()
				}
			}
		case <-timer.C:
		}
		timer.Reset(inspectPorts(awaited, time.Now()))
	}
}

// inspectPorts looks at those whose time it is, forgets who needn't be looked at any more,
// and gives the time until the next look.
func inspectPorts(awaited map[*instance]time.Time, now time.Time) (pause time.Duration) {
	pause = time.Hour
	for in, due := range awaited {
		s := in.proc.Snapshot()
		if s.Pid == 0 || s.Ready != supervise.Awaited || !in.isSilent() {
			delete(awaited, in)
			continue
		}
		if !now.Before(due) {
			if in.listensNow(s.Pid) {
				in.proc.Ready(s.Incarnation)
			}
			due = now.Add(lookAgain(now.Sub(s.Started)))
			awaited[in] = due
		}
		pause = min(pause, due.Sub(now))
	}
	return pause
}

// isSilent says that nobody tells when the instance listens on the port that makes it
// ready.
func (in *instance) isSilent() bool {
	a, slot := in.version.Load(), in.slot.Load()
	if a == nil || a.spec.Ready.By != ecosystem.ReadyPort {
		return false
	}
	if slot == nil || slot.View().Trouble != "" {
		return true
	}
	shared, port := a.spec.Cluster.Ports, a.spec.Ready.Port
	return port != 0 && len(shared) > 0 && !slices.Contains(shared, port)
}

// listensNow says whether its process, or one that this has started, listens on the port
// that makes it ready: the one that is named, else its PORT, else any.
func (in *instance) listensNow(pid int) bool {
	spec := in.version.Load().spec
	want := spec.Ready.Port
	if want == 0 {
		want = spec.Port(in.index)
	}
	ports := listeningPorts(pid, want)
	return len(ports) > 0
}

// listeningPorts are those on which a process or its descendants listen, the smallest
// first; with a port only that.
func listeningPorts(pid, only int) (ports []int) {
	there := map[uint64]int{} // port by inode
	for _, name := range []string{"tcp", "tcp6"} {
		listeners(fmt.Sprintf("/proc/%d/net/%s", pid, name), func(port int, inode uint64) {
			if only == 0 || port == only {
				there[inode] = port
			}
		})
	}
	if len(there) == 0 {
		return nil
	}
	for _, p := range tree(pid) {
		for _, inode := range sockets(p) {
			if port, is := there[inode]; is && !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	slices.Sort(ports)
	return ports
}

// listeners reads a list of the kernel. Who listens comes first in it: what follows can be
// very long, and isn't read.
func listeners(path string, each func(port int, inode uint64)) {
	f, err := os.Open(path)
	if err != nil {
		return // it has just ended, or there is no such network
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // the heading
	for lines.Scan() {
		const local, state, inode = 1, 3, 9
		fields := bytes.Fields(lines.Bytes())
		if len(fields) <= inode || string(fields[state]) != "0A" {
			return
		}
		_, text, _ := bytes.Cut(fields[local], []byte(":"))
		port, err := strconv.ParseUint(string(text), 16, 16)
		number, bad := strconv.ParseUint(string(fields[inode]), 10, 64)
		if err == nil && bad == nil {
			each(int(port), number)
		}
	}
}

// sockets are the inodes of a process's sockets.
func sockets(pid int) (inodes []uint64) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil // it has just ended, or it is not ours to look into
	}
	for _, n := range names {
		link, _ := os.Readlink(dir + "/" + n.Name()) // an error: it has just been closed
		var inode uint64
		if _, err := fmt.Sscanf(link, "socket:[%d]", &inode); err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}
