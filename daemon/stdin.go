package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
)

// With `stdin: true` an app's processes have a pipe as their standard input, to which
// gopm send writes. gopm and the keeper have the other end until the run has ended, so
// that the program reads no end of file before.

// errSend is for what no waiting would help.
var errSend = errors.New("it cannot be sent")

// sendPatience is how long a line waits for a program to read what was sent before.
const sendPatience = 2 * time.Second

// openStdin makes the pipe.
func (ln *line) openStdin(l *supervise.Launch) error {
	var pair [2]int
	if err := unix.Pipe2(pair[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("cannot make its standard input: pipe", err)
	}
	_ = unix.SetNonblock(pair[1], true)
	ln.stdin = pair[1]
	l.In = os.NewFile(uintptr(pair[0]), "stdin")
	return nil
}

// send writes lines to the standard input of one instance.
func (d *Daemon) send(ctx context.Context, req api.Send) (api.Sent, error) {
	picked, err := d.table.Load().selection([]string{req.Target})
	if err != nil {
		return api.Sent{}, err
	}
	if len(picked) != 1 {
		var ids []string
		for _, in := range picked {
			ids = append(ids, strconv.Itoa(in.id))
		}
		return api.Sent{}, api.Errorf(api.KindInvalid, "%s is %d instances: send to one of them, by its id (%s)", req.Target, len(picked), strings.Join(ids, ", "))
	}
	in := picked[0]
	for i, text := range req.Lines {
		if err := in.write(ctx, text); err != nil {
			if i > 0 {
				err = fmt.Errorf("%w; %d lines before this one were sent", err, i)
			}
			kind := api.KindBusy
			if errors.Is(err, errSend) {
				kind = api.KindInvalid
			}
			return api.Sent{}, api.Errorf(kind, "%s (id %d): %v", in.name, in.id, err)
		}
	}
	return api.Sent{ID: in.id, Name: in.name, Lines: len(req.Lines)}, nil
}

// write sends a line, whole or not at all.
func (in *instance) write(ctx context.Context, text string) error {
	if strings.ContainsRune(text, '\n') {
		return fmt.Errorf("%w: it is more than one line; gopm send NAME - sends those of its own standard input", errSend)
	}
	ctx, cancel := context.WithTimeout(ctx, sendPatience)
	defer cancel()
	for {
		err := in.tryWrite([]byte(text + "\n"))
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
		const again = 10 * time.Millisecond
		select {
		case <-ctx.Done():
			return errors.New("it does not read its standard input: what was sent before still waits there")
		case <-time.After(again):
		}
	}
}

// tryWrite writes a line if there is room for the whole of it, else it fails with EAGAIN.
func (in *instance) tryWrite(text []byte) error {
	if in.proc.Snapshot().Pid == 0 {
		return errors.New("it is not running, and nobody reads its standard input")
	}
	ln := in.line.Load()
	if ln == nil {
		return in.withoutStdin()
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.stdin < 0 {
		return in.withoutStdin()
	}
	room, err := unix.FcntlInt(uintptr(ln.stdin), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return os.NewSyscallError("cannot look at its standard input: fcntl", err)
	}
	if len(text) > room {
		return fmt.Errorf("%w: a line may have %d bytes, and this one has %d", errSend, room-1, len(text)-1)
	}
	const atomic = 4096 // up to this size a pipe takes all or nothing
	if len(text) > atomic {
		if waiting, err := unix.IoctlGetInt(ln.stdin, unix.TIOCINQ); err != nil || waiting > 0 {
			return unix.EAGAIN // only an empty one is sure to take it
		}
	}
	_, err = unix.Write(ln.stdin, text)
	if errors.Is(err, unix.EPIPE) {
		return errors.New("it has closed its standard input")
	}
	return err
}

func (in *instance) withoutStdin() error {
	if a := in.app.Load(); a != nil && a.spec.Talk.Stdin {
		return errors.New("its process has no standard input of this gopm: it was started before it had stdin: true, or gopm has died with its keeper; gopm restart gives it one")
	}
	return fmt.Errorf("%w: its standard input is /dev/null; set stdin: true in its file and start that again", errSend)
}
