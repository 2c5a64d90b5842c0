package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gopm/cluster"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// A hook is how one program is told something: a request to it, or a command.

// usualHookWait is for an app that was written down without a timeout.
const usualHookWait = 5 * time.Second

// runHook tells an instance's process. It takes no longer than the hook's timeout and a
// moment.
func (d *Daemon) runHook(ctx context.Context, a *app, in *instance, h ecosystem.Hook) error {
	wait := h.Timeout
	if wait <= 0 {
		wait = usualHookWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var err error
	if h.URL != "" {
		err = request(ctx, a.spec, in, h)
	} else {
		err = d.command(ctx, a, in, h.Exec)
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not done within %v", wait)
	}
	if err != nil {
		return errors.New(a.spec.Veil().Text(err.Error())) // it may have been in the command, or in the answer
	}
	return nil
}

// request sends an HTTP request to the one instance that is meant, though others may
// have the same port.
func request(ctx context.Context, spec ecosystem.App, in *instance, h ecosystem.Hook) error {
	r, err := in.requestOf(spec, h)
	if err != nil {
		return err
	}
	var control func(network, address string, c syscall.RawConn) error
	if slot := in.slot.Load(); slot != nil { // else it has its port for itself
		tapped, untap := tapping(slot)
		defer untap()
		control = tapped
	}
	client := &http.Client{
		Transport:     &http.Transport{DialContext: (&net.Dialer{Control: control}).DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r.WithContext(ctx))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	const enough = 200
	text, _ := io.ReadAll(io.LimitReader(answer.Body, enough)) // an error: the status says all that matters
	if answer.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s %s", h.Method, r.URL.Redacted(), answer.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// requestOf is a hook's request to an instance.
func (in *instance) requestOf(spec ecosystem.App, h ecosystem.Hook) (*http.Request, error) {
	url, err := in.named(spec, h.URL)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(cmp.Or(h.Method, http.MethodGet), url, strings.NewReader(h.Body))
	if err != nil {
		return nil, err
	}
	for name, value := range h.Headers {
		if r.Header.Set(name, value); strings.EqualFold(name, "Host") {
			r.Host = value
		}
	}
	return r, nil
}

// tapping gives connections their ports before they are made, so that they can be
// recognized and go to the slot; untap ends that.
func tapping(slot *cluster.Slot) (control func(network, address string, c syscall.RawConn) error, untap func()) {
	var mu sync.Mutex // names with two addresses are tried at the same time
	var taps []func()
	control = func(network, _ string, c syscall.RawConn) error {
		var port uint16
		var err error
		if e := c.Control(func(fd uintptr) { port, err = anyPort(int(fd), network == "tcp6") }); e != nil || err != nil {
			return errors.Join(e, err)
		}
		mu.Lock()
		defer mu.Unlock()
		taps = append(taps, slot.Tap(port))
		return nil
	}
	return control, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, end := range taps {
			end()
		}
		taps = nil
	}
}

// anyPort binds a socket to a port that is free.
func anyPort(fd int, six bool) (uint16, error) {
	var any unix.Sockaddr = &unix.SockaddrInet4{}
	if six {
		any = &unix.SockaddrInet6{}
	}
	if err := unix.Bind(fd, any); err != nil {
		return 0, err
	}
	own, err := unix.Getsockname(fd)
	switch own := own.(type) {
	case *unix.SockaddrInet4:
		return uint16(own.Port), err
	case *unix.SockaddrInet6:
		return uint16(own.Port), err
	}
	return 0, err
}

// portOf is the port of an instance: what its app names, else the first it listens on.
func portOf(spec ecosystem.App, in *instance, slot *cluster.Slot) string {
	if port := spec.Port(in.index); port != 0 {
		return strconv.Itoa(port)
	}
	for _, a := range slot.View().Addresses {
		if _, port, err := net.SplitHostPort(a); err == nil {
			return port
		}
	}
	return ""
}

// command runs a command line as a hook of the app is run: as its user, in its folder, with
// its environment, and held to what its program is held to.
func (d *Daemon) command(ctx context.Context, a *app, in *instance, line string) error {
	r := hookRun{in: in, app: a, name: "command", hook: ecosystem.Hook{Exec: line}, env: []string{"GOPM_PID=" + strconv.Itoa(in.proc.Snapshot().Pid)}}
	if slot := in.slot.Load(); slot != nil && a.spec.Port(in.index) == 0 {
		if port := portOf(a.spec, in, slot); port != "" {
			r.env = append(r.env, "PORT="+port)
		}
	}
	c, err := d.hookCommand(r)
	if err != nil {
		return err
	}
	exit, said, err := d.listen(ctx, c)
	var why string
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", line, err)
	case exit.Signal != 0:
		why = "ended by " + signalName(exit.Signal)
	case exit.Code != 0:
		why = "exit code " + strconv.Itoa(exit.Code)
	default:
		return nil
	}
	return fmt.Errorf("%s: %s: %s", line, why, said[strings.LastIndex(said, "\n")+1:])
}

// listen runs a command to its end, or to that of ctx, and returns the beginning of what
// it writes.
func (d *Daemon) listen(ctx context.Context, c supervise.Command) (exit supervise.Exit, said string, err error) {
	from, to, err := os.Pipe()
	if err != nil {
		return exit, "", err
	}
	defer from.Close()
	exited := make(chan struct{})
	child, err := d.kernel.Spawn(c, supervise.Launch{Out: to, Err: to}, func() { close(exited) })
	to.Close() // only the command has it now
	if err != nil {
		return exit, "", err
	}
	defer child.Release()
	pid, _ := child.Identity()
	forget := d.trust.boundGroup(ctx, pid)
	heard := make(chan string)
	go func() { // ends when nobody can write any more, or by the deadline below
		heard <- strings.TrimSpace(beginning(from))
	}()
	select {
	case <-exited:
	case <-ctx.Done():
		_ = child.Signal(syscall.SIGKILL, true) // an error: it has just ended
		<-exited
	}
	child.Reap(false, func(e supervise.Exit) { exit = e })
	forget()
	_ = from.SetReadDeadline(time.Now().Add(time.Second)) // something that it has left may have the pipe
	return exit, <-heard, nil
}

// beginning reads to the end and keeps what comes first.
func beginning(from io.Reader) string {
	const enough = 4 << 10
	var text strings.Builder
	_, _ = io.CopyN(&text, from, enough) // an error: there is no more
	_, _ = io.Copy(io.Discard, from)
	return text.String()
}

// boundGroup has the keeper kill a process group when its time is over, should we die
// before it ends; the returned function takes that back.
func (t *trust) boundGroup(ctx context.Context, pid int) (forget func()) {
	l := t.link.Load()
	due, bounded := ctx.Deadline()
	main, there := keeper.MainOf(pid)
	if l == nil || !bounded || !there {
		return func() {}
	}
	key := keyHook + strconv.Itoa(pid)
	l.Deadline(key, main, time.Until(due)+time.Second)
	return func() { l.Deadline(key, main, 0) }
}
