package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"gopm/daemon/api"
)

// ensureDaemon starts the daemon if nobody answers, and returns when it does.
func (c *cli) ensureDaemon(ctx context.Context) error {
	if c.alive() {
		return nil
	}
	home := c.client.Home()
	if err := home.Prepare(); err != nil {
		return err
	}
	dir, err := os.Open(home.Dir)
	if err != nil {
		return fmt.Errorf("cannot open the home: %v", err)
	}
	defer dir.Close() // ends the lock
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("cannot lock the home %s: %v", home.Dir, err)
	}
	if c.alive() { // somebody else has just started it
		return nil
	}
	if woken, err := c.wakeKeeper(ctx); woken || err != nil {
		return err
	}
	return c.launch(ctx, home)
}

// launch starts keeper and daemon in the background. The daemon says over a pipe
// that it listens, or why it cannot: nothing is polled.
func (c *cli) launch(ctx context.Context, home api.Home) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot start the daemon: %v", err)
	}
	defer r.Close()
	err = spawnKeeper(home, w)
	w.Close()
	if err != nil {
		return fmt.Errorf("cannot start the daemon: %v", err)
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	answer, err := io.ReadAll(io.LimitReader(r, 64<<10))
	text := strings.TrimSpace(string(answer))
	verdict, warnings, _ := strings.Cut(text, "\n")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case verdict == "ok":
		for line := range strings.Lines(warnings) {
			fmt.Fprintln(c.err, "gopm: warning:", strings.TrimSuffix(line, "\n"))
		}
		return nil
	case text != "":
		return fmt.Errorf("cannot start the daemon: %s", text)
	case err != nil:
		return fmt.Errorf("cannot start the daemon: %v", err)
	}
	return fmt.Errorf("cannot start the daemon: it ended without a word; the last lines of %s may tell", home.Log())
}

func spawnKeeper(home api.Home, handshake *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	log, err := os.OpenFile(home.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the daemon's log: %v", err)
	}
	defer log.Close()
	if err := log.Chmod(0o600); err != nil { // whatever the umask
		return fmt.Errorf("cannot protect the daemon's log: %v", err)
	}
	p, err := os.StartProcess("/proc/self/exe", []string{"gopm", keeperWord, home.Dir}, &os.ProcAttr{
		Dir:   "/",
		Env:   daemonEnviron(),
		Files: []*os.File{null, log, log, handshake},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	return p.Release()
}

// binaryVariable tells keepers and daemons the path of the first one's program.
const binaryVariable = "GOPM_BINARY"

// binaryPath is where this program was called, for `gopm update` to look there: a link
// is not resolved, because an update may change where it leads. When the name doesn't
// lead to this program, it is the path of its file.
func binaryPath() string {
	own, err := os.Stat("/proc/self/exe")
	if called, e := exec.LookPath(os.Args[0]); err == nil && e == nil {
		if abs, e := filepath.Abs(called); e == nil {
			if info, e := os.Stat(abs); e == nil && os.SameFile(own, info) {
				return behindShim(abs)
			}
		}
	}
	path, _ := os.Readlink("/proc/self/exe")
	return strings.TrimSuffix(path, " (deleted)")
}

// metricsVariable is where the daemon is to serve metrics.
const metricsVariable = "GOPM_METRICS"

// daemonEnviron is what the daemon itself needs; apps get their user's environment
// with the request that starts them, not through the daemon.
func daemonEnviron() []string {
	var env []string
	for _, name := range append([]string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "GOTRACEBACK", "GODEBUG", metricsVariable}, knownBy...) {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return append(env, binaryVariable+"="+binaryPath())
}

// noDaemon says whether an error only means that no daemon runs.
func noDaemon(err error) bool {
	var e *api.NoDaemonError
	return errors.As(err, &e)
}
