package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// Who has a port that one of our programs was refused. It takes a look at every
// process: that is for the goroutine of the tenant, which has the time.

// occupant is a socket that stands in the way of a bind.
type occupant struct {
	address   address
	inode     uint32 // 0: nobody has it any more
	uid       string
	listening bool
}

// taken says that a port is, and by whom.
func taken(a address) string { return fmt.Sprintf("port %d is taken: %s", a.port, proc.whoHas(a)) }

// whoHas says who has a port that the kernel has refused, for a person.
func (p procDir) whoHas(a address) string {
	var all []occupant
	for _, name := range []string{"tcp", "tcp6"} {
		table, _ := os.ReadFile(string(p) + "/thread-self/net/" + name) // one that can't be read shows nobody
		all = append(all, occupants(table, a)...)
	}
	slices.SortStableFunc(all, func(x, y occupant) int { return y.rank() - x.rank() })
	has := p.pidsOf(all)
	for _, o := range all {
		if pid := has[o.inode]; pid != 0 {
			return fmt.Sprintf("%s (pid %d, user %s) %s", p.nameOf(pid), pid, userName(o.uid), o.text())
		}
	}
	switch {
	case len(all) > 0 && all[0].inode == 0:
		return fmt.Sprintf("a connection from %s that has ended has it for a minute more", all[0].address)
	case len(all) > 0:
		return fmt.Sprintf("a process of the user %s that can't be seen from here %s", userName(all[0].uid), all[0].text())
	}
	return "a process that can't be seen from here has it"
}

// text is what an occupant does.
func (o occupant) text() string {
	if o.listening {
		return "listens on " + o.address.String()
	}
	return "has a connection from " + o.address.String()
}

// rank is higher for a socket that is more likely the one in the way.
func (o occupant) rank() int {
	switch {
	case o.listening:
		return 2
	case o.inode != 0:
		return 1
	}
	return 0
}

// occupants reads a table as /proc/net/tcp is one: the sockets that somebody has, and
// that overlap with an address.
func occupants(table []byte, a address) (all []occupant) {
	const local, state, uid, inode, least = 1, 3, 7, 9, 10
	for line := range bytes.Lines(table) {
		f := bytes.Fields(line)
		if len(f) < least {
			continue
		}
		at, err := parseProcAddress(string(f[local]))
		number, bad := strconv.ParseUint(string(f[inode]), 10, 32)
		if err != nil || bad != nil || !at.overlaps(a) {
			continue
		}
		all = append(all, occupant{at, uint32(number), string(f[uid]), string(f[state]) == "0A"})
	}
	return all
}

// parseProcAddress reads "0100007F:1F90": words of the machine's byte order. Whether
// an address of IPv6 takes IPv4, too, isn't shown.
func parseProcAddress(text string) (address, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, bad := strconv.ParseUint(port, 16, 16)
	if err != nil || bad != nil || len(raw)%4 != 0 {
		return address{}, errOtherFamily
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return address{}, errOtherFamily
	}
	return address{ip: ip.Unmap(), port: uint16(number)}, nil
}

// pidsOf are processes that have these sockets open, by inode, of those that we may look
// into. It is one look at all processes, however many the sockets are.
func (p procDir) pidsOf(all []occupant) (pids map[uint32]int) {
	wanted := map[uint32]bool{}
	for _, o := range all {
		if o.inode != 0 {
			wanted[o.inode] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	pids = map[uint32]int{}
	entries, _ := os.ReadDir(string(p))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		for inode := range p.owners([]int{pid}).sockets {
			if known := pids[inode]; wanted[inode] && (known == 0 || p.saysLess(known, pid)) {
				pids[inode] = pid
			}
		}
	}
	return pids
}

// saysLess compares two that have a socket open: another gopm that keeps it for its app says less
// than the app, and a process less than the one that started it.
func (p procDir) saysLess(known, other int) bool {
	_, parent, _ := p.stat(known)
	return parent == other || strings.HasPrefix(p.nameOf(known), "gopm-")
}

func (p procDir) nameOf(pid int) string {
	name, _ := os.ReadFile(p.path(pid, "comm")) // it has ended meanwhile
	if len(name) == 0 {
		return "a process"
	}
	return strings.TrimSpace(string(name))
}

func userName(uid string) string {
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}
