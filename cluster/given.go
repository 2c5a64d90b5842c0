package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Sockets that a program finds open when it starts, as from systemd. In cluster mode
// each slot has one of its own for a port, steered like those that programs bind; all
// others, and those in fork mode, are one socket that the instances of an app have in
// common.

// Given is such a socket. Network and Address mean what they mean to net.Listen.
type Given struct{ Network, Address string }

// Owner is as whom a path of the file system is made.
type Owner struct {
	Set      bool // else it is ours
	UID, GID int
	Umask    int // -1: ours
}

// common is a given socket that instances share.
type common struct {
	app    string
	given  Given
	owner  Owner
	number uint64
	fd     int
}

// commons are all of them; the host's mutex guards the list.
type commons struct {
	opening sync.Mutex // one is made at a time: instances start together
	all     []*common
}

// commonNote is what the keeper has of it beside the descriptor.
type commonNote struct {
	App   string `json:"app"`
	Given Given  `json:"given"`
	Owner Owner  `json:"owner"`
}

// Give returns the sockets of the slot's app, in their order, for a process that is
// about to start in it.
func (s *Slot) Give() ([]*os.File, error) {
	s.h.mu.Lock()
	app := s.app
	s.h.mu.Unlock()
	return s.h.giveAll(app, s)
}

// Give is the same for a process that isn't clustered.
func (h *Host) Give(app App) ([]*os.File, error) { return h.giveAll(app, nil) }

func (h *Host) giveAll(app App, s *Slot) (files []*os.File, err error) {
	h.dropUnlisted(app)
	for _, g := range app.Given {
		var fd int
		if s != nil && g.Network != "unix" {
			fd, err = s.give(g)
		} else {
			fd, err = h.share(app, g)
		}
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("cannot give it the socket %s: %w", g, err)
		}
		files = append(files, os.NewFile(uintptr(fd), g.String()))
	}
	return files, nil
}

func (g Given) String() string {
	if g.Network == "unix" {
		return "unix:" + g.Address
	}
	return g.Network + "://" + g.Address
}

// socket is what such an address is made of.
func (g Given) socket() (a address, sa unix.Sockaddr, err error) {
	host, text, err := net.SplitHostPort(g.Address)
	port, bad := strconv.ParseUint(text, 10, 16)
	if err != nil || bad != nil {
		return a, nil, fmt.Errorf("%s is no address", g.Address)
	}
	if a.ip, err = netip.ParseAddr(host); host == "" {
		a.ip, err = netip.IPv6Unspecified(), nil
		if g.Network == "tcp4" || g.Network == "tcp" && !hasIPv6() {
			a.ip = netip.IPv4Unspecified()
		}
	}
	a.port = uint16(port)
	if a.ip.Is4() {
		return a, &unix.SockaddrInet4{Port: int(port), Addr: a.ip.As4()}, err
	}
	a.only = g.Network == "tcp6"
	zone, _ := net.InterfaceByName(a.ip.Zone()) // none: then the kernel tells
	to := &unix.SockaddrInet6{Port: int(port), Addr: a.ip.As16()}
	if zone != nil {
		to.ZoneId = uint32(zone.Index)
		a.ip = a.ip.WithZone(strconv.Itoa(zone.Index))
	}
	return a, to, err
}

func hasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// tcpSocket is bound, and doesn't listen yet.
func tcpSocket(a address, sa unix.Sockaddr, option int) (fd int, err error) {
	family := unix.AF_INET6
	if a.ip.Is4() {
		family = unix.AF_INET
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 {
		only := 0
		if a.only {
			only = 1
		}
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1))
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// give is a duplicate of the slot's own socket for an address.
func (s *Slot) give(g Given) (int, error) {
	a, sa, err := g.socket()
	if err != nil {
		return -1, err
	}
	fd, err := s.giveAt(a, sa)
	if errors.Is(err, unix.EADDRINUSE) {
		err = errors.New(taken(a))
	}
	return fd, err
}

func (s *Slot) giveAt(a address, sa unix.Sockaddr) (int, error) {
	h := s.h
	h.mu.Lock()
	defer h.mu.Unlock()
	k := s.at(a)
	if k == nil {
		if o := h.other(s, a, false); o != nil {
			return -1, errors.New(o.owns(a))
		}
		fd, err := tcpSocket(a, sa, unix.SO_REUSEPORT)
		if err != nil {
			return -1, err
		}
		k = &socket{address: a, fd: fd, cookie: cookie(fd), inode: inode(fd)}
		s.add(k)
	}
	if !k.listening {
		if err := h.listen(k, s.app.Backlog); err != nil {
			s.drop(k)
			return -1, err
		}
		h.steer(h.groups[k.address])
	}
	return unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 0)
}

// isGiven says whether a kept socket is one that the app's programs find open.
func (s *Slot) isGiven(k *socket) bool {
	return slices.ContainsFunc(s.app.Given, func(g Given) bool {
		a, _, err := g.socket()
		return g.Network != "unix" && err == nil && a == k.address
	})
}

// serveGiven is for a process that has lived for its min_uptime: it has had the time to
// begin to serve what it was given. It makes no call by which we would know.
func (s *Slot) serveGiven() {
	t := s.tenant()
	if t == nil {
		return
	}
	for _, k := range s.sockets {
		if k.listening && s.isGiven(k) {
			k.served, t.ready = t.inc, true
		}
	}
}

// share is a duplicate of the app's common socket for an address.
func (h *Host) share(app App, g Given) (int, error) {
	h.commons.opening.Lock()
	defer h.commons.opening.Unlock()
	c := h.commonOf(app.Name, g)
	if c == nil {
		fd, err := g.open(app)
		if err != nil {
			return -1, err
		}
		c = h.addCommon(&common{app: app.Name, given: g, owner: app.Owner, fd: fd})
	}
	return unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
}

func (h *Host) commonOf(app string, g Given) *common {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.commons.all {
		if c.app == app && c.given == g {
			return c
		}
	}
	return nil
}

func (h *Host) addCommon(c *common) *common {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	c.number = h.last
	h.commons.all = append(h.commons.all, c)
	h.opts.Keep(c.key(), encode(commonNote{c.app, c.given, c.owner}), c.fd)
	return c
}

func (c *common) key() string { return fmt.Sprintf("%s%d", keyCommon, c.number) }

// open makes a socket that listens.
func (g Given) open(app App) (fd int, err error) {
	if g.Network == "unix" {
		err = app.Owner.do(func() error {
			var e error
			fd, e = listenUnix(g.Address, app.Backlog)
			return e
		})
		return fd, err
	}
	a, sa, err := g.socket()
	if err != nil {
		return -1, err
	}
	if fd, err = tcpSocket(a, sa, unix.SO_REUSEADDR); err == nil {
		if err = unix.Listen(fd, app.Backlog); err != nil {
			unix.Close(fd)
		}
	}
	if errors.Is(err, unix.EADDRINUSE) {
		err = errors.New(taken(a))
	}
	return fd, err
}

// Take closes what an app's instances have in common, if it is still idle at a moment in
// which none of them is given anything: who connects is refused at once, and paths are
// removed.
func (h *Host) Take(app string, idle func() bool) {
	h.closeCommons(func(c *common) bool { return c.app == app && idle() })
}

// Retain closes what was left of apps that there are no more: the daemon before has ended
// in the middle of a delete.
func (h *Host) Retain(apps []string) {
	h.closeCommons(func(c *common) bool { return !slices.Contains(apps, c.app) })
}

// dropUnlisted closes what an app doesn't list any more.
func (h *Host) dropUnlisted(app App) {
	h.closeCommons(func(c *common) bool { return c.app == app.Name && !slices.Contains(app.Given, c.given) })
}

func (h *Host) closeCommons(which func(*common) bool) {
	h.commons.opening.Lock()
	defer h.commons.opening.Unlock()
	h.mu.Lock()
	var gone []*common
	h.commons.all = slices.DeleteFunc(h.commons.all, func(c *common) bool {
		if which(c) {
			gone = append(gone, c)
			return true
		}
		return false
	})
	for _, c := range gone {
		h.opts.Keep(c.key(), nil)
	}
	h.mu.Unlock()
	for _, c := range gone {
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)                       // everywhere
		_ = c.owner.do(func() error { return removeSocket(c.given) }) // one that has become somebody else's stays
		unix.Close(c.fd)
	}
}

// adoptCommon goes on with what another daemon has left.
func (h *Host) adoptCommon(name string, l Left) error {
	number, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return err
	}
	var note commonNote
	if err := json.Unmarshal(l.Note, &note); err != nil {
		return err
	}
	fd, err := l.take()
	if err != nil {
		return err
	}
	h.last = max(h.last, number)
	h.commons.all = append(h.commons.all, &common{note.App, note.Given, note.Owner, number, fd})
	return nil
}
