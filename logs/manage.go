package logs

import (
	"cmp"
	"context"
	"errors"
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
	var t Target
	if err := s.manage("reopen", func() error { t = s.target; return nil }); err != nil {
		return err
	}
	return s.Retarget(t)
}

// Truncate empties the file in place, after what is in the pipe has gone into it.
func (s *Stream) Truncate() error {
	return s.manage("empty", func() error {
		s.pump.empty(s)
		return s.each(s.pump.truncate)
	})
}

// Rotate renames the file aside now, or, if it ends within a line, when that line
// ends. Not if it is empty, or was rotated less than a second ago.
func (s *Stream) Rotate() error {
	return s.manage("rotate", func() error {
		s.pump.empty(s)
		return s.each(s.pump.rotateNow)
	})
}

// manage runs f in the pump's goroutine, without waiting for ever.
func (s *Stream) manage(what string, f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), manageWait)
	defer cancel()
	err := s.do(ctx, f)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot %s log %s: its disk has not answered for %v", what, s.Stats().Path, manageWait)
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
