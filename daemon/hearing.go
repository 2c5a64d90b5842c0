package daemon

import (
	"time"

	"golang.org/x/sys/unix"

	"gopm/cluster"
)

// A program that talks without end must not take a processor from the others. What it
// says may cost a burst, and then a share of the time: in between it isn't listened to.
// The kernel keeps what is said meanwhile, and has the program wait when that is too much.
// The socket of sd_notify is everybody's: there a flood makes the letters of the others
// late, by as many turns as the kernel keeps letters.

const (
	mailBurst = 200 * time.Millisecond // thousands of letters: those of a thousand apps that are started at once
	lineBurst = 100 * time.Millisecond // some hundred megabytes
	mailTurn  = 64                     // letters that are heard between two looks at the channels
	leastRest = 5 * time.Millisecond   // shorter ones come together
)

// pause is what was heard of somebody lately, and when that goes on.
type pause struct {
	pace  cluster.Pace
	timer *time.Timer // nil: it has never been too much
}

// after hears something, and returns how long nothing more is to be heard; 0: go on.
func (p *pause) after(burst time.Duration, hear func()) time.Duration {
	p.pace.Burst = burst
	if rest := p.pace.Pay(time.Now(), cluster.ProcessorTime(hear)); rest >= leastRest {
		return rest
	}
	return 0
}

// until has what ends a pause happen. The timer ends by itself; end stops it.
func (p *pause) until(rest time.Duration, goOn func()) {
	if p.timer == nil {
		p.timer = time.AfterFunc(rest, goOn)
		return
	}
	p.timer.Reset(rest)
}

func (p *pause) end() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

// hearMail reads some letters.
func (b *switchboard) hearMail() {
	rest := b.pause.after(mailBurst, func() { b.mail.hearSome(mailTurn) })
	if rest == 0 {
		return
	}
	fd := b.mail.fd                                      // is closed after the listener has ended
	_ = b.control(unix.EPOLL_CTL_MOD, fd, 0, mailNumber) // an error: then it is heard at once
	b.pause.until(rest, func() { _ = b.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN, mailNumber) })
}

// heedAtPace is heed, unless the program talks too much: then it is false, and the
// channel is looked at again after a pause.
func (b *switchboard) heedAtPace(ln *line, buf []byte) (more bool) {
	rest := ln.pause.after(lineBurst, func() { more = b.heed(ln, buf) })
	if rest == 0 {
		return more
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.channel < 0 {
		return false
	}
	_ = b.control(unix.EPOLL_CTL_MOD, ln.channel, unix.EPOLLET, ln.number) // an error: it has closed its end
	ln.pause.until(rest, func() { b.listenAgain(ln) })
	return false
}

// listenAgain ends the pause of a channel: if it has something, that is heard now.
func (b *switchboard) listenAgain(ln *line) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.channel >= 0 {
		_ = b.control(unix.EPOLL_CTL_MOD, ln.channel, unix.EPOLLIN|unix.EPOLLET, ln.number) // an error: it has closed its end
	}
}
