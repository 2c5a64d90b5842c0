package cmd

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gopm/daemon/api"
)

// dialStdioCmd makes its standard input and output a connection to the daemon: by it
// another machine gets at the API, and no port is open.
func (c *cli) dialStdioCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "dial-stdio",
		Short:  "Connect standard input and output with the daemon's API",
		Args:   noArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conn, err := c.client.Home().Dial()
			if err != nil {
				return cmp.Or(c.client.Get(cmd.Context(), api.PathPing, nil, nil), err) // it says what that means
			}
			defer conn.Close()
			defer context.AfterFunc(cmd.Context(), func() { conn.Close() })()
			go func() { // ends with the input, or with the process
				_, _ = io.Copy(conn, c.in) // the daemon has hung up: its last words are on their way
				_ = conn.(interface{ CloseWrite() error }).CloseWrite()
			}()
			_, err = io.Copy(c.out, conn)
			return cmp.Or(cmd.Context().Err(), err)
		},
	}
}

// sshConn is a connection to the API of another machine: a process of ssh.
type sshConn struct {
	host sshHost
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader // behind the greeting
	meet func() error  // reads that, once
	said *lastLine
	wait func() error // of the process, once
}

// dialSSH connects to the daemon behind a host. Nobody is asked for a password: several
// of these may be made at once.
func dialSSH(h sshHost) func(context.Context) (io.ReadWriteCloser, error) {
	return func(context.Context) (io.ReadWriteCloser, error) {
		argv := h.argv(fleetOptions(), greeting, "dial-stdio")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.WaitDelay = time.Second // what ssh has begun itself may hold its pipes
		conn := &sshConn{host: h, cmd: cmd, said: &lastLine{}, wait: sync.OnceValue(cmd.Wait)}
		cmd.Stderr = conn.said
		var err error
		if conn.in, err = cmd.StdinPipe(); err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		conn.out = bufio.NewReader(out)
		conn.meet = sync.OnceValue(func() (err error) {
			for line := ""; err == nil && strings.TrimSpace(line) != greeting; {
				line, err = conn.out.ReadString('\n')
			}
			return err
		})
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("cannot run ssh: %v", err)
		}
		return conn, nil
	}
}

// fleetOptions are those of ssh where many machines are asked and nobody is there to
// answer a question.
func fleetOptions() []string {
	return []string{"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"}
}

func (s *sshConn) Write(b []byte) (int, error) {
	n, err := s.in.Write(b)
	return n, s.why(err)
}

func (s *sshConn) Read(b []byte) (int, error) {
	if err := s.meet(); err != nil {
		return 0, s.why(err)
	}
	n, err := s.out.Read(b)
	return n, s.why(err)
}

// why is the reason that a connection has ended: ssh knows better than its pipes.
func (s *sshConn) why(err error) error {
	if err == nil {
		return nil
	}
	if broken := s.host.verdict(s.wait(), s.said.String()); broken != nil {
		return broken
	}
	return err
}

// Close ends ssh and waits for it.
func (s *sshConn) Close() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	s.in.Close()
	_ = s.wait() // it was ended by us
	return nil
}

// verdict says what the end of a `ssh host gopm …` means; said is its last line on stderr.
func (h sshHost) verdict(err error, said string) error {
	var exit *exec.ExitError
	said = strings.TrimPrefix(said, "gopm: ")
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("cannot run ssh: %v", err)
	case exit.ExitCode() == exitSSH:
		return fmt.Errorf("ssh: %s; try: %s", orElse(strings.TrimPrefix(said, "ssh: "), "the connection was lost"), h.try())
	case strings.HasPrefix(said, "command not found"):
		return errors.New("the gopm there is too old for this: install the version of this one")
	case said != "":
		return errors.New(said)
	}
	return fmt.Errorf("gopm there has ended: %v", exit)
}

// lastLine keeps the last line that is written to it, as far as it is worth showing.
type lastLine struct {
	mu   sync.Mutex
	text []byte
}

const longestLine = 4 << 10

func (l *lastLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if i := strings.LastIndexByte(strings.TrimRight(string(l.text), "\r\n"), '\n'); i >= 0 {
		l.text = append(l.text[:0], l.text[i+1:]...)
	}
	if len(l.text) > longestLine {
		l.text = l.text[:longestLine]
	}
	return len(b), nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return printable(strings.TrimSpace(string(l.text)))
}
