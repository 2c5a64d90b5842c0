package cmd

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// Exit codes of gopm lock alone, besides those of its command.
const (
	exitNotLocked = 75 // EX_TEMPFAIL: the same call may succeed later
	exitLockLost  = 76
)

func (c *cli) lockCmd() *cobra.Command {
	v := &lockView{cli: c}
	cmd := &cobra.Command{
		Use:   "lock NAME -- COMMAND [ARGUMENT...]",
		Short: "Run a command while it has a lock of Consul, on one machine at a time",
		Long: `Wait for a lock of Consul, run a command under it in the foreground, and give the lock
back when the command, and all that it has started, has ended. The exit code is the
command's.

NAME is a key of Consul, the same one that an app's singleton lock may have. The agent
is the one that CONSUL_HTTP_ADDR and the like say, here or in the daemon's environment.
The command finds in GOPM_FENCE a number that grows from one holder to the next.

If the lock is lost (the agent is gone for about --ttl, or somebody has taken it away)
the command is killed before another can have it, and the exit code is 76. It is 75 if
the lock could not be had within --wait.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.ArgsLenAtDash()
			switch {
			case at < 0 || at == 0 && len(args) > 0 || len(args) == 0:
				return usagef("lock wants a name, two dashes and a command, as in: gopm lock locks/migrate -- ./migrate.sh --all")
			case at > 1:
				return usagef("lock wants one name before the two dashes, not %s", strings.Join(args[:at], " "))
			case len(args) == at:
				return usagef("lock wants a command after the two dashes, as in: gopm lock %s -- ./migrate.sh", args[0])
			}
			v.req.Name = args[0]
			return v.run(cmd.Context(), args[1:])
		},
	}
	cmd.Flags().DurationVar(&v.req.TTL, "ttl", 15*time.Second, "how long the lock outlives a machine that is gone; at least 10s")
	cmd.Flags().DurationVar(&v.req.Wait, "wait", 30*time.Second, "how long to wait for the lock; 0: not at all")
	return cmd
}

// lockView is one call of gopm lock.
type lockView struct {
	*cli
	req   api.LockRequest
	parts chan api.LockPart
	end   chan error // why there are no more parts
	now   atomic.Pointer[lockState]
}

// run waits for the lock, and then has the command run.
func (v *lockView) run(ctx context.Context, argv []string) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("cannot run %s: %v", argv[0], errors.Unwrap(err))
	}
	if err := v.ensureDaemon(ctx); err != nil {
		return err
	}
	v.introduce()
	asking, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	v.parts, v.end = make(chan api.LockPart), make(chan error, 1)
	heard := make(chan struct{})
	go func() { // ended by hangUp
		defer close(heard)
		v.end <- v.client.Lock(asking, v.request(), func(p api.LockPart) error {
			select {
			case v.parts <- p:
				return nil
			case <-asking.Done():
				return asking.Err()
			}
		})
	}()
	defer func() {
		hangUp()
		<-heard
	}()
	held, err := v.await(ctx)
	if err != nil {
		return err
	}
	return v.command(ctx, program, argv, held)
}

// introduce says who asks.
func (v *lockView) introduce() {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	v.req.ID = hex.EncodeToString(id[:])
	v.req.Holder = fmt.Sprintf("gopm lock (pid %d)", os.Getpid())
	if u, err := user.Current(); err == nil {
		v.req.Holder = fmt.Sprintf("gopm lock (pid %d of %s)", os.Getpid(), u.Username)
	}
	v.req.Agent = map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "CONSUL_") {
			continue
		}
		switch name {
		case "CONSUL_CACERT", "CONSUL_CAPATH", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY", "CONSUL_HTTP_TOKEN_FILE":
			if abs, err := filepath.Abs(value); err == nil && value != "" { // the daemon is in another folder
				value = abs
			}
		}
		v.req.Agent[name] = value
	}
}

// await returns when the lock is ours.
func (v *lockView) await(ctx context.Context) (*api.LockLeft, error) {
	for {
		select {
		case p := <-v.parts:
			switch {
			case p.Held != nil:
				return p.Held, nil
			case p.Refused != nil && p.Refused.Kind == api.KindBusy:
				v.warn("gopm: %s", p.Refused.Message)
				return nil, quiet{exitNotLocked}
			case p.Refused != nil:
				return nil, p.Refused
			case p.Lost != "":
				return nil, fmt.Errorf("%s: %s", v.req.Name, p.Lost)
			case p.Waiting != "" && v.req.Wait > 0 && !v.silent:
				v.warn("gopm: waiting for %s: %s", v.req.Name, p.Waiting)
			}
		case err := <-v.end:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fileOf is a stream as a file, which a command can have as it is.
func fileOf(stream any, otherwise *os.File) *os.File {
	if w, is := stream.(io.Writer); is {
		stream = under(w)
	}
	if f, is := stream.(*os.File); is {
		return f
	}
	return otherwise
}

// prepare makes the command.
func (v *lockView) prepare(program string, argv []string, held *api.LockLeft) *exec.Cmd {
	command := exec.Command(program)
	command.Args = argv
	command.Stdin, command.Stdout, command.Stderr = fileOf(v.in, os.Stdin), fileOf(v.out, os.Stdout), fileOf(v.err, os.Stderr)
	command.Env = append(os.Environ(), "GOPM_LOCK="+v.req.Name, fmt.Sprintf("GOPM_FENCE=%d", held.Fence), api.LockMarker(v.req.ID))
	return command
}

// exitOf is the exit code that a command's end becomes.
func exitOf(s *os.ProcessState) error {
	code := s.ExitCode()
	if code < 0 {
		code = signalled + int(signalOf(s))
	}
	if code == 0 {
		return nil
	}
	return quiet{code}
}

// leftText says what the command has left behind; "": nothing.
func leftText(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "a process that the command had left running was ended: it would run without the lock"
	}
	return fmt.Sprintf("%d processes that the command had left running were ended: they would run without the lock", n)
}

// lostText says what a loss has done.
func (v *lockView) lostText(why string) string {
	return fmt.Sprintf("the lock %s is lost: %s; the command was killed", v.req.Name, cmp.Or(why, "nobody renews it any more"))
}
