package keeper

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// update is a hand-over to another binary, in three turns: the old daemon ends, a
// daemon of the new binary has to serve, then the keeper executes it, too. Whatever
// fails brings the old binary back.
type update struct {
	binary  int       // the new one, open; -1: no update is going on
	trying  bool      // the old daemon has ended
	limit   time.Time // for the present turn; zero: none, or it has passed
	late    bool      // the limit has passed
	refused string    // why the last one was given up, for the next daemon that serves
}

func noUpdate() update { return update{binary: -1} }

// path is what to execute. It names us and not "self": the child in which a daemon
// is started has closed its copy by then.
func (u update) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), u.binary) }

func (k *keeper) handOver(binary int) {
	if k.update.binary >= 0 {
		unix.Close(k.update.binary)
	}
	k.update = update{binary: binary, limit: time.Now().Add(k.trial)}
}

// judgeTrial ends a daemon that takes too long.
func (k *keeper) judgeTrial(now time.Time) {
	u := &k.update
	if u.limit.IsZero() || now.Before(u.limit) {
		return
	}
	u.limit, u.late = time.Time{}, true
	k.logf("the daemon (pid %d) did not %s within %s: killing it", k.daemon.pid, map[bool]string{true: "serve", false: "end"}[u.trying], k.trial)
	_ = k.daemon.signal(unix.SIGKILL)
}

// afterTurn decides what comes after a daemon that ended during an update.
func (k *keeper) afterTurn(e ending) {
	u := &k.update
	u.limit = time.Time{}
	k.reviver = reviver{}
	k.next = time.Now()
	k.before = k.before.next(e)
	if !u.trying {
		if e.clean {
			k.before.how = HandedOver
		}
		k.logf("the daemon %s for an update; starting the new one", k.before.how)
		u.trying, u.late = true, false
		return
	}
	why := "its daemon " + e.how
	if e.lived > 0 {
		why += " before it served"
	}
	if u.late {
		why = fmt.Sprintf("its daemon did not serve within %s", k.trial)
	}
	unix.Close(u.binary)
	k.update = noUpdate()
	k.update.refused = why
	k.logf("the update is given up: %s; starting the old daemon again", why)
	if e.leaving {
		k.end(e.code)
	}
}

// accepted executes the new binary once its daemon serves. If that fails, which
// nothing but a lack of memory explains, this keeper goes on beside the new daemon.
func (k *keeper) accepted() {
	if !k.update.trying {
		return
	}
	binary := k.update
	k.update = noUpdate()
	k.binary = binary.path() // for as long as it is we who start daemons
	err := k.execute(binary.path())
	k.logf("cannot replace the keeper by the new binary: %v; the old one goes on", err)
}

// execute replaces this process by the program at path, which gets everything we
// have. It returns only if that fails. An answer to Collect that didn't fit into the
// socket is lost: the daemon then takes the exit code as unknown.
func (k *keeper) execute(path string) error {
	memory, fds, err := k.remember()
	if err != nil {
		return err
	}
	defer unix.Close(memory)
	fds = append(fds, memory)
	defer setCloseOnExec(fds, true)
	if err := setCloseOnExec(fds, false); err != nil {
		return err
	}
	k.deafen()
	argv := []string{"gopm", keeperWord, k.opts.Home, modeResume, fmt.Sprint(memory)}
	err = syscall.Exec(path, argv, os.Environ())
	k.signals.stop()
	k.signals = watchSignals(k.opts.Foreground != nil)
	return err
}

// deafen is for the instant in which nobody catches signals: they must not end the new
// program. In the foreground they wait for it instead, for there all threads hold them
// back but the one that catches them (see withoutMask).
func (k *keeper) deafen() {
	if k.opts.Foreground != nil {
		k.signals.stop()
	} else {
		signal.Ignore(append(slices.Clone(ignoredSignals()), unix.SIGTERM, unix.SIGUSR1)...)
	}
	for { // the last ones that were caught
		select {
		case <-k.signals.terminate:
			k.stop(unix.SIGTERM)
		case s := <-k.signals.forward:
			k.forward(s.(unix.Signal))
		default:
			return
		}
	}
}

func setCloseOnExec(fds []int, on bool) error {
	flag := 0
	if on {
		flag = unix.FD_CLOEXEC
	}
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag); err != nil {
			return fmt.Errorf("cannot pass descriptor %d on: %w", fd, err)
		}
	}
	return nil
}
