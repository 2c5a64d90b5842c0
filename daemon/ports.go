package daemon

import (
	"net"
	"slices"
	"strconv"
	"syscall"

	psnet "github.com/shirou/gopsutil/v3/net"

	"gopm/daemon/api"
)

// deepen adds what takes a moment to find out: the process tree, the ports that
// are listened on, and what the program wrote to stderr before its last end.
func (d *Daemon) deepen(detail *api.Detail, in *instance) {
	if pid := detail.Process.Pid; pid != 0 {
		pids := tree(pid)
		detail.Tree = api.Tree{Processes: len(pids), Memory: treeMemory(pids)}
		detail.Ports = ports(pids)
	}
	detail.Last = in.lastWords(detail.Process)
}

// ports are the addresses that processes listen on (TCP) or are bound to (UDP
// without a peer).
func ports(pids []int) []string {
	var found []string
	for _, pid := range pids {
		conns, err := psnet.ConnectionsPid("inet", int32(pid))
		if err != nil {
			continue // it has ended, or it is not ours to look into
		}
		for _, c := range conns {
			if p, ok := listening(c); ok && !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
	}
	slices.Sort(found)
	return found
}

func listening(c psnet.ConnectionStat) (string, bool) {
	addr := net.JoinHostPort(c.Laddr.IP, strconv.Itoa(int(c.Laddr.Port)))
	switch {
	case c.Type == syscall.SOCK_STREAM && c.Status == "LISTEN":
		return "tcp " + addr, true
	case c.Type == syscall.SOCK_DGRAM && c.Raddr.Port == 0:
		return "udp " + addr, true
	}
	return "", false
}
