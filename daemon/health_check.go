package daemon

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"gopm/cluster"
	"gopm/ecosystem"
)

// One check: a request, a connection, or a command.

// usualCheckTime is for an app that was written down without a timeout.
const usualCheckTime = 3 * time.Second

// examine looks at an instance.
func (h *health) examine(ctx context.Context, in *instance, inc uint64) checked {
	k := checked{in: in, inc: inc}
	a := in.version.Load()
	spec := a.spec.Health
	leave := func() {}
	if spec.Exec != "" {
		leave = h.enter(ctx)
	}
	defer leave()
	k.began = time.Now() // to wait for its turn is no failure
	err := h.d.probe(ctx, a, in, k.began.Add(cmp.Or(spec.Timeout, usualCheckTime)))
	k.ended = time.Now()
	if err != nil {
		k.why, k.unsure = a.spec.Veil().Text(err.Error()), isOurs(err)
		if k.unsure {
			k.why = "it can't be checked: " + k.why
		}
	}
	return k
}

// startup is how long a command takes most of a processor, at most: one that hangs must
// not keep others from being started.
const startup = 500 * time.Millisecond

// enter waits until a command may begin. Leaving twice is once.
func (h *health) enter(ctx context.Context) (leave func()) {
	select {
	case h.places <- struct{}{}:
	case <-ctx.Done():
		return func() {}
	}
	free := sync.OnceFunc(func() { <-h.places })
	late := time.AfterFunc(startup, free) // ends by itself
	return func() {
		late.Stop()
		free()
	}
}

// isOurs is for what says nothing of the instance: gopm lacks what it needs to look.
func isOurs(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EAGAIN, syscall.EADDRNOTAVAIL},
		func(lack error) bool { return errors.Is(err, lack) })
}

// probe is nil if an instance answers as it should before the deadline.
func (d *Daemon) probe(ctx context.Context, a *app, in *instance, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	began, spec := time.Now(), a.spec.Health
	var err error
	var what string
	switch {
	case spec.HTTP.URL != "":
		what, err = d.probeHTTP(ctx, a.spec, in)
	case spec.TCP != "":
		what, err = d.probeTCP(ctx, a.spec, in)
	default:
		err = d.command(ctx, a, in, spec.Exec)
		if what = ""; err != nil && ctx.Err() != nil {
			what = spec.Exec
		}
	}
	var late net.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.As(err, &late) && late.Timeout():
		err = fmt.Errorf("not done within %v", deadline.Sub(began).Round(time.Millisecond))
	}
	if what == "" {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// target is where a check goes: to the one instance that is meant, though others may have
// the same port.
type target struct {
	network string
	slot    *cluster.Slot // connections are steered to it; nil: as anybody's
}

// aim has a check of an address go to an instance. One that shares the port and doesn't
// listen yet can't be reached: another would answer.
func (in *instance) aim(spec ecosystem.App, host, port string) (t target, err error) {
	t.network = "tcp"
	slot := in.slot.Load()
	if slot == nil {
		return t, nil
	}
	v := slot.View()
	number, _ := strconv.Atoi(port)
	if v.Trouble != "" || len(spec.Cluster.Ports) > 0 && !slices.Contains(spec.Cluster.Ports, number) {
		return t, nil
	}
	t.slot = slot
	if isLocal(host) && !slices.Contains(portsOf(v.Served), number) && len(spec.Cluster.Listen) == 0 {
		return t, fmt.Errorf("it does not listen on port %s", port)
	}
	return t, nil
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// dial connects to what is aimed at. The connection ends with ctx.
func (t target) dial(ctx context.Context, address string) (net.Conn, func(), error) {
	d, untap := net.Dialer{}, func() {}
	if t.slot != nil {
		d.Control, untap = tapping(t.slot)
	}
	conn, err := d.DialContext(ctx, t.network, address)
	if err != nil {
		untap()
		return nil, nil, plain(err)
	}
	late, _ := ctx.Deadline()
	_ = conn.SetDeadline(late)
	forget := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() {
		forget()
		conn.Close()
		untap()
	}, nil
}

// plain is what went wrong without where: that is said before it.
func plain(err error) error {
	var number syscall.Errno
	var dns *net.DNSError
	switch {
	case errors.As(err, &number):
		return number
	case errors.As(err, &dns):
		return dns
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed without an answer")
	}
	return err
}

// named puts what an instance has in the place of the marks in a text.
func (in *instance) named(spec ecosystem.App, text string) (string, error) {
	if !strings.Contains(text, "{") {
		return text, nil
	}
	port := ""
	if strings.Contains(text, ecosystem.PortMark) {
		if port = in.ownPort(spec); port == "" {
			return text, errors.New("its port is not known yet: it listens on none, and neither port nor PORT names one")
		}
	}
	pid := strconv.Itoa(in.proc.Snapshot().Pid)
	return strings.NewReplacer(ecosystem.PortMark, port, "{index}", strconv.Itoa(in.index), "{pid}", pid).Replace(text), nil
}

// ownPort is the port that is the instance's; "": none is known.
func (in *instance) ownPort(spec ecosystem.App) string {
	if slot := in.slot.Load(); slot != nil {
		return portOf(spec, in, slot)
	}
	if port := spec.Port(in.index); port != 0 {
		return strconv.Itoa(port)
	}
	if ports := listeningPorts(in.proc.Snapshot().Pid, 0); len(ports) > 0 {
		return strconv.Itoa(ports[0])
	}
	return ""
}

func (d *Daemon) probeTCP(ctx context.Context, spec ecosystem.App, in *instance) (what string, err error) {
	address, err := in.named(spec, spec.Health.TCP)
	what = "tcp " + address
	if err != nil {
		return what, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return what, err
	}
	to, err := in.aim(spec, host, port)
	if err != nil {
		return what, err
	}
	_, end, err := to.dial(ctx, address)
	if err != nil {
		return what, err
	}
	end()
	return what, nil
}

func (d *Daemon) probeHTTP(ctx context.Context, spec ecosystem.App, in *instance) (what string, err error) {
	hook := spec.Health.HTTP
	r, err := in.requestOf(spec, hook)
	if err != nil {
		return cmp.Or(hook.Method, http.MethodGet) + " " + hook.URL, err
	}
	what, r.Close = r.Method+" "+r.URL.Redacted(), true
	if _, given := r.Header["User-Agent"]; !given {
		r.Header.Set("User-Agent", "gopm-health")
	}
	port := cmp.Or(r.URL.Port(), map[string]string{"https": "443"}[r.URL.Scheme], "80")
	to, err := in.aim(spec, r.URL.Hostname(), port)
	if err != nil {
		return what, err
	}
	conn, end, err := to.dial(ctx, net.JoinHostPort(r.URL.Hostname(), port))
	if err != nil {
		return what, err
	}
	defer end()
	return what, converse(conn, r)
}

// converse sends a request and judges the answer. Redirects are answers.
func converse(conn net.Conn, r *http.Request) error {
	if r.URL.Scheme == "https" {
		conn = tls.Client(conn, clientConfig(r.URL))
	}
	if err := r.Write(conn); err != nil {
		return plain(err)
	}
	const room = 1 << 10
	from := bufio.NewReaderSize(io.LimitReader(conn, 1<<20), room)
	for {
		answer, err := http.ReadResponse(from, r)
		if err != nil {
			return plain(err)
		}
		if answer.StatusCode < http.StatusOK && answer.StatusCode != http.StatusSwitchingProtocols {
			continue // the real one follows
		}
		defer answer.Body.Close()
		if answer.StatusCode < http.StatusBadRequest {
			return nil
		}
		return errors.New(strings.TrimSpace(answer.Status + " " + firstWords(answer.Body)))
	}
}

// clientConfig is for a certificate that names the app's public name: on this machine
// nobody is in between.
func clientConfig(u *url.URL) *tls.Config {
	return &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: isLocal(u.Hostname())}
}

// firstWords are the first words of a text, on one line.
func firstWords(from io.Reader) string {
	const enough = 120
	text, _ := io.ReadAll(io.LimitReader(from, enough)) // an error: the status says all that matters
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), ""))
	return strings.Join(strings.Fields(line), " ")
}
