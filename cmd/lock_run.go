package cmd

import (
	"cmp"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// The command of gopm lock stays in our process group, so that Ctrl-C, Ctrl-Z and a
// pipeline do with it what they always do. By what all its processes have in their
// environment the daemon knows them.

// signalled is what a shell adds to the number of the signal that has ended a command.
const signalled = 128

func signalOf(s *os.ProcessState) syscall.Signal {
	ws, _ := s.Sys().(syscall.WaitStatus)
	return ws.Signal()
}

// lockState is what the daemon that comes next has to be told.
type lockState struct {
	held *api.LockLeft
	pid  int
}

// request is what a daemon is asked, the first one and each that takes its place.
func (v *lockView) request() func() api.LockRequest {
	return func() api.LockRequest {
		req := v.req
		if s := v.now.Load(); s != nil {
			req.Left, req.Pid = s.held, s.pid
		}
		return req
	}
}

// command runs it while the lock is ours.
func (v *lockView) command(ctx context.Context, program string, argv []string, held *api.LockLeft) error {
	v.now.Store(&lockState{held: held})
	signals := forwarded()
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	command := v.prepare(program, argv, held)
	if err := command.Start(); err != nil {
		return err
	}
	v.now.Store(&lockState{held, command.Process.Pid})
	ctx = context.WithoutCancel(ctx) // from here on a signal is the command's
	telling, told := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() { v.tell(telling, api.LockUse{ID: v.req.ID, Pid: command.Process.Pid}) }) // ended by told
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }() // ended by the command's end; waited for through ended
	lost := v.attend(command, signals, ended)
	told()
	teller.Wait()
	if lost == "" {
		lost = v.over(ctx)
	}
	if lost != "" {
		v.warn("gopm: %s", v.lostText(lost))
		return quiet{exitLockLost}
	}
	return exitOf(command.ProcessState)
}

// attend is with the command until its end; lost says that this is none of its own.
func (v *lockView) attend(command *exec.Cmd, signals <-chan os.Signal, ended <-chan error) (lost string) {
	late := time.NewTimer(v.left())
	defer late.Stop()
	end := v.end
	for {
		select {
		case s := <-signals:
			if sig, is := s.(syscall.Signal); is && !fromTerminal(sig) {
				_ = command.Process.Signal(sig) // an error: it has ended
			}
		case p := <-v.parts:
			if p.Held != nil {
				v.now.Store(&lockState{p.Held, command.Process.Pid})
				late.Reset(v.left())
			}
			lost = p.Lost
			if p.Refused != nil {
				lost = p.Refused.Message
			}
		case err := <-end:
			end = nil // nobody renews it; its time is not over yet
			if lost == "" && err != nil {
				v.warn("gopm: %s: %v; the command may run for another %s", v.req.Name, err, v.left().Round(time.Second))
			}
		case <-late.C:
			lost = "it could not be renewed"
		case <-ended:
			if lost == "" && v.left() == 0 { // the keeper was faster
				lost = "it could not be renewed"
			}
			return lost
		}
		if lost != "" {
			_ = command.Process.Kill() // the daemon or the keeper have done so, or are about to
		}
	}
}

// left is how long the command may run if nothing is heard any more.
func (v *lockView) left() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // always there
	return max(v.now.Load().held.Until-time.Duration(now.Nano()), 0)
}

// tell is for a daemon that may be another by now.
func (v *lockView) tell(ctx context.Context, use api.LockUse) (freed api.LockFreed) {
	const patience = 10 * time.Second
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	_ = v.client.Post(ctx, api.PathLocked, use, &freed) // an error: it is told with the next request, or sees our end
	return freed
}

// over waits until nothing of the command is left, and the lock is free. It may have
// been lost before, and that was the command's end: then there is a last word.
func (v *lockView) over(ctx context.Context) (lost string) {
	freed := make(chan api.LockFreed, 1)
	go func() { freed <- v.tell(ctx, api.LockUse{ID: v.req.ID, Done: true}) }() // bounded by tell; waited for through freed
	ended := 0
	var late <-chan time.Time
	for {
		select {
		case p := <-v.parts:
			lost = cmp.Or(lost, p.Lost)
		case f := <-freed:
			const lastWord = time.Second
			ended, late = f.Ended, time.After(lastWord)
		case <-v.end:
			if late == nil {
				ended = (<-freed).Ended
			}
			if text := leftText(ended); text != "" && lost == "" {
				v.warn("gopm: %s", text)
			}
			return lost
		case <-late:
			return lost
		}
	}
}

// forwarded are the signals that the command gets when we get them.
func forwarded() chan os.Signal {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	return signals
}

// fromTerminal says that the command has had a signal already: from the terminal, which
// gives it to all who are in front.
func fromTerminal(sig syscall.Signal) bool {
	if sig != unix.SIGINT && sig != unix.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	front, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && front == unix.Getpgrp()
}
