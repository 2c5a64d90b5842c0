package logs

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// manageWait bounds what somebody waits for who manages log files: a disk may hang.
	manageWait = 5 * time.Second
	// rotatedStep is the least time between two timed rotations of a file: its
	// streams are all asked, one after the other.
	rotatedStep = time.Second
)

// Reopen opens what the path means now, after somebody has moved the file away.
func (s *Stream) Reopen() error {
	return s.manage("reopen", func(w *Stream) error {
		o, err := openTargets(w.target)
		if err == nil {
			err = w.pump.aim(w, w.target, o)
		}
		return err
	})
}

// Truncate empties the file in place, after what is in the pipe has gone into it.
func (s *Stream) Truncate() error {
	return s.manage("empty", func(w *Stream) error { return w.each(w.pump.truncate) })
}

// Rotate renames the file aside now, or, if it ends within a line, when that line
// ends. Not if it is empty, or was rotated less than a second ago.
func (s *Stream) Rotate() error {
	return s.manage("rotate", func(w *Stream) error { return w.each(w.pump.rotateNow) })
}

// manage runs f where the files are written, after what is in the pipe, but doesn't
// wait for ever.
func (s *Stream) manage(what string, f func(w *Stream) error) error {
	w := s.writer()
	if w != s {
		if err := s.push(context.Background()); err != nil {
			return err
		}
	}
	var err error
	_, e := w.pump.doWithin(manageWait, func() {
		if err = errClosed; w.fd >= 0 {
			w.pump.empty(w)
			err = f(w)
		}
	})
	if e != nil {
		return fmt.Errorf("cannot %s log %s: %w", what, s.Stats().Path, e)
	}
	return err
}

// each does something to the stream's regular files, whatever comes of the first.
func (s *Stream) each(f func(*sink) error) (err error) {
	for i := range s.outs {
		if k := s.outs[i].sink; k != nil && k.kind == kindFile {
			err = cmp.Or(err, f(k))
		}
	}
	return err
}

func (p *Pump) truncate(k *sink) error {
	if err := unix.Ftruncate(k.fd, 0); err != nil {
		return fmt.Errorf("cannot empty log %s: %w", k.target.Path, err)
	}
	k.off, k.mid, k.rest, k.due = 0, false, nil, 0
	k.index.renewed(k.id.ino)
	p.publishAll(k)
	return nil
}

func (p *Pump) rotateNow(k *sink) error {
	if k.path == "" || k.look() != nil || k.off == 0 {
		return nil
	}
	if since := p.now().Sub(k.rotated); since >= 0 && since < rotatedStep {
		return nil
	}
	if k.midline() {
		k.due = k.off
		return nil
	}
	if err := p.rotate(k); err != nil {
		return fmt.Errorf("cannot rotate log %s: %w", k.target.Path, err)
	}
	p.publishAll(k)
	return nil
}
