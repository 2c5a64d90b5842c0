package logs

import "time"

const (
	maxPause   = 20 * time.Millisecond
	firstPause = 50 * time.Microsecond
)

// pace decides how long the pump leaves drained pipes alone before it arms them
// again. Without a pause each line of a chatty program would cost a wakeup; with
// a fixed one a flood would fill the pipe meanwhile and block the program.
type pace struct {
	pause time.Duration
	small int
	flood bool      // the last round found a pipe half full
	gave  time.Time // when the goroutine last gave way to others
}

// next is the pause after a round in which the fullest pipe gave eighths of its
// size, after waited without an event. The pause grows only while that is less
// than one eighth, and is gone at once when a pipe was half full. A line after
// silence costs no pause at all.
func (p *pace) next(eighths int, waited time.Duration) time.Duration {
	if waited >= maxPause {
		*p = pace{}
	}
	switch {
	case eighths >= 4:
		*p = pace{}
	case eighths >= 1: // in balance: enough per wakeup, and room for a burst
	default:
		p.small++
		if p.small > 1 {
			p.pause = min(max(2*p.pause, firstPause), maxPause)
		}
	}
	return p.pause
}

// tired says that in a flood the goroutine is to give way to others for once. Go's
// scheduler polls for a goroutine that hasn't for 10 ms, every 20 µs, and takes the
// processor from it in each of its system calls, which costs a tenth of the time.
func (p *pace) tired(now time.Time) bool {
	if d := now.Sub(p.gave); d >= 0 && d < 2*time.Millisecond {
		return false
	}
	p.gave = now
	return true
}
