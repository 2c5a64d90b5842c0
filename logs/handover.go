package logs

import (
	"bytes"
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// HandOver ends all movement for good and leaves everything in pipes: another
// daemon goes on with AdoptAll, and no line is lost, doubled or cut in two. What is
// in memory, the beginning of a line or what a full FIFO hasn't taken, goes into
// second pipes, of which Options.Second is told before this returns. Stats afterwards
// are final. Only a disk that hangs (after 3 s), or a FIFO or terminal that nobody
// reads (after 1 s), costs what was on its way there; and a file that refuses, where
// lines have a format, the end of the line it was torn in.
func (p *Pump) HandOver() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	packed := p.fam.packer.close()
	p.askEnd(ctx, yield) // first: queues must be taken from while it ends
	p.awaitEnd(ctx)
	guests := p.fam.pumps()
	for _, g := range guests {
		g.askEnd(ctx, yield)
	}
	for _, g := range guests {
		g.awaitEnd(ctx)
	}
	select {
	case <-packed:
	case <-ctx.Done():
	}
}

// yield leaves a stream to the next daemon. FIFOs and queues may take until by.
func (p *Pump) yield(s *Stream, by time.Time) {
	for i := range s.outs {
		if k := s.outs[i].sink; k != nil {
			k.waitRest(by)
		}
	}
	p.endSkip(s)
	var head []byte
	for {
		head = s.inMemory()
		if n := waiting(s.fd); len(head) == 0 || s.front == nil || n == 0 ||
			n+len(head) <= pipeSize(s.fd)/2 || !time.Now().Before(by) {
			break
		}
		p.turn(s) // makes room for the head in a user's largest pipe
	}
	if len(head) > 0 {
		p.takeBack(s, slices.Clone(head))
	}
	for i := range s.outs {
		p.release(s, &s.outs[i])
	}
	s.publish()
}

// endSkip takes away what is there of a line whose beginning was dropped.
func (p *Pump) endSkip(s *Stream) {
	o := &s.outs[0]
	for o.skip {
		next, _ := p.peeker.peek(s.source(), p.buf)
		if len(next) == 0 {
			if s.dry() == pipeEmpty {
				return
			}
			continue
		}
		if i := bytes.IndexByte(next, '\n'); i >= 0 {
			next = next[:i+1]
		}
		n, _ := retryInt(func() (int, error) { return unix.Read(s.source(), next) })
		s.inflow.taken += int64(max(n, 0))
		p.skipDropped(s, o, next[:max(n, 0)])
	}
}

// inMemory is what was taken out of the stream's pipe and isn't in a file, as the
// program wrote it.
func (s *Stream) inMemory() []byte {
	k := s.outs[0].sink
	if s.framed() || k.queue {
		return s.frame.held
	}
	return slices.Concat(k.rest, s.frame.held)
}

// takeBack puts what a stream has in memory before what comes next.
func (p *Pump) takeBack(s *Stream, head []byte) {
	if k := s.outs[0].sink; !s.framed() && !k.queue {
		k.rest = nil
	}
	s.frame.held, s.frame.behind = nil, false
	s.inflow.taken -= int64(len(head))
	lost, err := p.precede(s, head)
	if lost > 0 {
		s.inflow.taken += int64(lost)
		s.lose(&s.outs[0], lost, p.now())
		p.log("log %s: %d bytes are lost in the change of daemons: %v", s.target.Path, lost, err)
	}
}

// waitRest lets a FIFO, a terminal or a queue take what has to go there.
func (k *sink) waitRest(by time.Time) {
	for k.putRest() == unix.EAGAIN {
		left := time.Until(by)
		if left <= 0 {
			return
		}
		fds := []unix.PollFd{{Fd: int32(k.fd), Events: unix.POLLOUT}}
		unix.Poll(fds, int(left.Milliseconds())+1)
	}
}

// closePipes closes what a hand-over has left open.
func (p *Pump) closePipes() {
	for _, q := range append(p.fam.pumps(), p) {
		select {
		case <-q.ended:
		default:
			continue // its disk hangs
		}
		for fd, s := range q.streams {
			s.mu.Lock()
			unix.Close(s.fd)
			s.fd = -1
			s.mu.Unlock()
			if s.inflow.basin >= 0 {
				unix.Close(s.inflow.basin)
				s.inflow.basin = -1
			}
			delete(q.streams, fd)
		}
	}
}
