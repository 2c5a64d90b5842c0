package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// exposed is the address where metrics can be asked for besides the API's socket, if
// there is one.
type exposed struct {
	server *http.Server // nil: nobody listens
	done   chan struct{}
}

// metricsVariable is what the user has written the address into: "127.0.0.1:9209", or
// "unix:/run/gopm-metrics.sock".
const metricsVariable = "GOPM_METRICS"

// metricsAddress is where to listen.
type metricsAddress struct {
	network, address string
	public           bool // other machines reach it
}

// parseMetricsAddress takes no name but localhost, and no port alone: what is open to all
// the world should be written down as that.
func parseMetricsAddress(text string) (a metricsAddress, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return a, fmt.Errorf("want an absolute path in unix:%s", path)
		}
		return metricsAddress{network: "unix", address: path}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return a, errors.New("want 127.0.0.1:PORT or unix:/PATH")
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return a, fmt.Errorf("want an address before the port: 127.0.0.1:%s for this machine alone, 0.0.0.0:%s for all", port, port)
	}
	address, err := netip.ParseAddrPort(net.JoinHostPort(ip.String(), port))
	if err != nil || address.Port() == 0 {
		return a, fmt.Errorf("%q is no port", port)
	}
	return metricsAddress{network: "tcp", address: address.String(), public: !ip.IsLoopback()}, nil
}

// expose listens where the user says; "" is nowhere. A problem costs nothing but the
// metrics there.
func (m *meter) expose(where string) (problem string) {
	if where == "" {
		return ""
	}
	a, err := parseMetricsAddress(where)
	var l net.Listener
	if err == nil {
		l, err = a.listen()
	}
	if err != nil {
		return fmt.Sprintf("no metrics at %s=%s: %v; gopm metrics prints them", metricsVariable, where, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+api.PathMetrics, m)
	m.listening = exposed{
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 2 * metricsTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10},
		done:   make(chan struct{}),
	}
	go func() { // ended by conceal, which waits for it
		defer close(m.listening.done)
		_ = m.listening.server.Serve(&fewer{Listener: l, room: make(chan struct{}, mostScrapers)}) // its error says that it was closed
	}()
	text := ""
	if a.public {
		text = "; other machines can read them, without a password"
	}
	m.d.tellOfDaemon("metrics are served at %s%s%s", a.address, map[bool]string{true: api.PathMetrics}[a.network == "tcp"], text)
	return ""
}

// conceal ends the listening.
func (m *meter) conceal() {
	if m.listening.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if m.listening.server.Shutdown(ctx) != nil {
		m.listening.server.Close()
	}
	<-m.listening.done
}

func (a metricsAddress) listen() (net.Listener, error) {
	if a.network == "unix" {
		if err := removeStale(a.address); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen(a.network, a.address)
	if err != nil {
		return nil, err
	}
	if a.network == "unix" {
		if err := letGroupIn(a.address); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// letGroupIn gives a socket the rights 0660: who reads metrics is seldom the user whose apps
// these are. Nothing else gets them, whatever is in the socket's place by now.
func letGroupIn(path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s was replaced by somebody", path)
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o660)
}

// removeStale removes a socket at which nobody answers: the one of a daemon that died.
func removeStale(path string) error {
	dir, err := os.Stat(filepath.Dir(path))
	if err == nil && dir.Mode()&0o002 != 0 && dir.Mode()&os.ModeSticky == 0 {
		return fmt.Errorf("everybody can put something in its place: chmod o-w %s", filepath.Dir(path))
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket; it is left alone", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return fmt.Errorf("something else answers at %s", path)
	}
	return os.Remove(path)
}

// mostScrapers bounds the descriptors that strangers can take from the daemon.
const mostScrapers = 32

// fewer accepts connections as long as there is room.
type fewer struct {
	net.Listener
	room chan struct{}
}

// Accept closes what there is no room for, at once: what waits in the kernel's queue would
// be served long after its client has gone.
func (f *fewer) Accept() (net.Conn, error) {
	for {
		conn, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case f.room <- struct{}{}:
			return &roomy{Conn: conn, leave: f.room}, nil
		default:
			conn.Close()
		}
	}
}

// roomy gives its room back when it is closed.
type roomy struct {
	net.Conn
	leave chan struct{}
	once  sync.Once
}

func (c *roomy) Close() error {
	c.once.Do(func() { <-c.leave })
	return c.Conn.Close()
}
