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
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
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
