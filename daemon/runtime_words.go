package daemon

import (
	"bytes"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/logs"
)

// voice is our stderr, for what the daemon in the foreground says itself. While the pump
// runs it goes by way of a stream of its own, so that it never comes in the middle of an
// app's line. Nobody is kept waiting by whoever doesn't read it: then words are dropped.
type voice struct {
	mu     sync.Mutex // guards what follows
	pipe   *os.File   // nil: straight to stderr
	stream *logs.Stream
}

// maxForegroundText of a line is what a FIFO takes at once or not at all.
const maxForegroundText = 3 << 10

// join leads the words through the pump.
func (w *voice) join(pump *logs.Pump) error {
	s, err := pump.Open(logs.Target{Key: "gopm", Path: "/dev/stderr", Patient: true, UID: -1, GID: -1})
	if err != nil {
		return err
	}
	pipe, err := s.ChildFile()
	if err == nil {
		err = unix.SetNonblock(int(pipe.Fd()), true) // its description is our own
	}
	if err != nil {
		s.Close()
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pipe, w.stream = pipe, s
	return nil
}

// leave ends that. What was said before is written first.
func (w *voice) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream == nil {
		return
	}
	_ = w.stream.Close() // an error: the pump has ended
	_ = w.pipe.Close()
	w.pipe, w.stream = nil, nil
}

// Write is called with whole lines.
func (w *voice) Write(all []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range bytes.Lines(all) {
		if w.pipe != nil {
			_, _ = syscall.Write(int(w.pipe.Fd()), line) // full: nobody reads it
		} else {
			saySoon(2, line)
		}
	}
	return len(all), nil
}

func (w *voice) Close() error { return nil }

// saySoon writes a line, if somebody takes it in a moment.
func saySoon(fd int, line []byte) {
	const moment = 100 * time.Millisecond
	room := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(room, int(moment.Milliseconds())); n == 1 && err == nil {
		_, _ = syscall.Write(fd, line)
	}
}

// console is where the foreground has the lines of an app, and how.
func (p logPlace) console(t logs.Target, usual string) logs.Console {
	c := logs.Console{Path: "/dev/stdout", Format: t.Format}
	if usual == errLog {
		c.Path = "/dev/stderr"
	}
	f := logs.Format{Layout: t.Format.Layout, App: p.app, ID: p.id}
	switch p.settings.Form {
	case api.FormJSON:
		f.JSON = true
	case api.FormPairs:
		f.Pairs = true
	case api.FormNamed:
		f = logs.Format{Layout: t.Format.Layout, Prefix: p.settings.Column(p.id, p.app)}
	default:
		return c
	}
	f.Err = usual == errLog
	c.Format = f
	return c
}
