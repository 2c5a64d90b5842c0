package cmd

import (
	"context"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// output is standard output that remembers its first error, so that a command
// whose words nobody could read does not exit with 0.
type output struct {
	io.Writer
	screen *screen // what is before it; nil: it is no terminal, or --raw
	err    error
}

func newOutput(w io.Writer) *output {
	o := &output{Writer: w}
	if isTerminal(w) {
		o.screen = &screen{to: w}
	}
	return o
}

func (o *output) Write(b []byte) (int, error) {
	to := o.Writer
	if o.screen != nil {
		to = o.screen
	}
	n, err := to.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// direct has what is written reach a terminal as it is.
func direct(w io.Writer) {
	if o, ours := w.(*output); ours {
		o.end()
		o.screen = nil
	}
}

// end is the end of what is written.
func (o *output) end() {
	if o.screen != nil {
		o.screen.end()
	}
}

// under is what an output writes to, for a program that is to have it as its own.
func under(w io.Writer) io.Writer {
	if o, ours := w.(*output); ours {
		return o.Writer
	}
	return w
}

// forProgram is w for a program: what is no terminal it writes to itself.
func forProgram(w io.Writer) io.Writer {
	if o, ours := w.(*output); ours && o.screen == nil {
		return o.Writer
	}
	return w
}

// untilUnread ends ctx when standard output is a pipe that nobody reads any more:
// `gopm logs | head` must not wait for the next line to notice.
func untilUnread(ctx context.Context, o io.Writer) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	out, ours := o.(*output)
	if !ours {
		return ctx, cancel
	}
	f, isFile := out.Writer.(*os.File)
	if !isFile || !isPipe(int(f.Fd())) {
		return ctx, cancel
	}
	go func() { // ends with the reader, or with the process
		for {
			fds := []unix.PollFd{{Fd: int32(f.Fd())}}
			n, err := unix.Poll(fds, -1)
			if n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLNVAL) != 0 || err != nil && err != unix.EINTR {
				cancel()
				return
			}
		}
	}()
	return ctx, cancel
}
