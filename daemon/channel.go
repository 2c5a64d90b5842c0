package daemon

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// A program that is run by node or bun gets what node calls an IPC channel, as under pm2:
// a socket pair whose number is in NODE_CHANNEL_FD. Each message is a line of JSON.
// process.send('ready') makes it ready when its app says so (ready by message), and with
// shutdown_with_message it is asked to end by the message 'shutdown'. All else that it
// sends is passed over. Its end is not closed before the run has ended: node would tell the
// program ('disconnect'), and many end then.

// maxMessage is how long a message may be to be looked at.
const maxMessage = 16 << 10

// What is said in a channel.
const (
	messageReady    = `"ready"`
	messageShutdown = `"shutdown"` + "\n"
)

// handleWord begins a message that comes with a socket: until it is answered node sends
// nothing else.
var (
	handleWord   = []byte(`{"cmd":"NODE_HANDLE",`)
	handleAnswer = []byte(`{"cmd":"NODE_HANDLE_ACK"}` + "\n")
)

// openChannel makes a channel; the program's end goes behind what it inherits.
func (ln *line) openChannel(l *supervise.Launch) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("cannot make its channel: socketpair", err)
	}
	ln.channel = pair[0]
	l.Env = withChannel(l.Env, len(l.Inherit))
	l.Inherit = append(l.Inherit, os.NewFile(uintptr(pair[1]), "channel"))
	return nil
}

// withChannel is an environment of a program that inherits a channel behind other
// descriptors.
func withChannel(env []string, others int) []string {
	const first = 3
	return append(env, "NODE_CHANNEL_FD="+strconv.Itoa(first+others), "NODE_CHANNEL_SERIALIZATION_MODE=json")
}

// heed looks at what a program has sent, and says whether there may be more.
func (b *switchboard) heed(ln *line, buf []byte) bool {
	n, ended := ln.look(buf)
	if ended {
		b.ignore(ln) // it has closed its end: process.disconnect()
	}
	if n == 0 {
		return false
	}
	used, ready, handles := ln.understand(buf[:n], n == len(buf))
	if ln.skips && !ln.told {
		ln.told = true
		b.news(ln.in.event(api.EventSays, "sends messages of more than %d bytes, which gopm does not read", maxMessage))
	}
	if ready {
		ln.in.announce(ln.inc)
	}
	for range handles {
		ln.say(handleAnswer)
	}
	ln.consume(buf[:used])
	return used > 0
}

// look shows what waits in the channel, and leaves it there.
func (ln *line) look(buf []byte) (n int, ended bool) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.channel < 0 {
		return 0, false
	}
	n, _, err := unix.Recvfrom(ln.channel, buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return max(n, 0), err != unix.EAGAIN && err != unix.EINTR && n <= 0
}

// consume takes out of the channel what look has shown. Descriptors that came with it are
// closed by the kernel.
func (ln *line) consume(shown []byte) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for len(shown) > 0 && ln.channel >= 0 {
		n, _, err := unix.Recvfrom(ln.channel, shown, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		shown = shown[n:]
	}
}

// understand reads the complete messages in a text. Of one that is too long, for the text
// is full, all is used and nothing is read.
func (ln *line) understand(text []byte, full bool) (used int, ready bool, handles int) {
	for {
		length := bytes.IndexByte(text[used:], '\n')
		if length < 0 {
			break
		}
		message := bytes.TrimSpace(text[used : used+length])
		used += length + 1
		switch {
		case ln.skips:
			ln.skips = false
		case string(message) == messageReady:
			ready = true
		case bytes.HasPrefix(message, handleWord):
			handles++
		}
	}
	if used == 0 && full {
		ln.skips = true
	}
	if ln.skips {
		used = len(text)
	}
	return used, ready, handles
}

// say sends a message if there is room for it.
func (ln *line) say(message []byte) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.channel < 0 {
		return false
	}
	n, err := unix.SendmsgN(ln.channel, message, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return err == nil && n == len(message)
}

// askToEnd asks a run by a message, if its app wants that and there is a channel.
func (in *instance) askToEnd(inc uint64) bool {
	a, ln := in.version.Load(), in.line.Load()
	return a != nil && a.spec.Talk.ShutdownMessage && ln != nil && ln.inc == inc && ln.say([]byte(messageShutdown))
}

// announce is for a run that says it is ready. It returns when the next daemon would know
// it, too; or when that takes too long.
func (in *instance) announce(inc uint64) {
	if a := in.version.Load(); a == nil || a.spec.Ready.By != ecosystem.ReadyMessage {
		return
	}
	if s := in.proc.Snapshot(); s.Incarnation == inc && s.Ready == supervise.Reached {
		return
	}
	in.proc.Ready(inc)
	const patience = time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = in.proc.Await(ctx, func(supervise.Snapshot) bool { return true }) // an error: then a new daemon may not know
}
