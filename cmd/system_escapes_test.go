package cmd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What programs say never drives the terminal on which gopm shows it.

// onTerminal runs a command on a terminal of its own, types keys once awaited has been
// shown, and returns every byte that has reached it.
func (g *gopm) onTerminal(awaited, keys string, args ...string) string {
	g.Helper()
	master, slave := newTerminal(g.T)
	defer master.Close()
	cmd := g.command(args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(g.T, cmd.Start())
	slave.Close()
	must(g.T, master.SetReadDeadline(time.Now().Add(commandLimit)))
	var seen []byte
	buf := make([]byte, 64<<10)
	for typed := keys == ""; ; {
		n, err := master.Read(buf)
		seen = append(seen, buf[:n]...)
		if !typed && strings.Contains(string(seen), awaited) {
			typed = true
			_, err := io.WriteString(master, keys)
			must(g.T, err)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			_ = cmd.Process.Kill()
			g.Errorf("gopm %s has not ended; its terminal has %q", strings.Join(args, " "), seen)
		}
		if err != nil { // EIO: nobody has the other end any more
			break
		}
	}
	_ = cmd.Wait() // some have to fail
	return string(seen)
}

// newTerminal is a terminal that passes every byte as it is.
func newTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	master = os.NewFile(uintptr(fd), "ptmx")
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	own := int(slave.Fd())
	mode, err := unix.IoctlGetTermios(own, unix.TCGETS)
	must(t, err)
	mode.Oflag &^= unix.OPOST
	mode.Lflag &^= unix.ECHO | unix.ICANON
	must(t, unix.IoctlSetTermios(own, unix.TCSETS, mode))
	must(t, unix.IoctlSetWinsize(own, unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 160}))
	return master, slave
}

// evilProgram says what drives a terminal wherever a program can say something.
const evilProgram = `
import os, signal, socket, sys
evil = b"\x1b]0;OWNED\x07\x1b[2J\x1b[1;1H\xc2\x9b2J\x08\r0|other | faked\x1b[31mred"
with open("/proc/self/comm", "wb") as f: f.write(b"\x1b]0;OWNED\x07")
name = os.environ.get("NOTIFY_SOCKET")
if name:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(b"STATUS=" + evil, "\0" + name[1:])
for fd in (1, 2):
    os.write(fd, b"it says " + evil + b"\n")
if "dies" in sys.argv: sys.exit(3)
print("second line", flush=True)
while True: signal.pause()
`

var sgr = regexp.MustCompile("\x1b\\[[0-9;:]*m")

func quoted(text string) string {
	b, _ := json.Marshal(text) // a text can be written
	return string(b)
}

// isTame fails if a text has anything but text and colours.
func isTame(t *testing.T, what, text string) {
	t.Helper()
	left := strings.ReplaceAll(sgr.ReplaceAllString(text, ""), "\r\n", "\n")
	if i := strings.IndexFunc(left, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 }); i >= 0 {
		t.Errorf("%s brings %q to the terminal: %q", what, left[i:min(len(left), i+20)], text)
	}
}

func TestEscapeSequences(t *testing.T) {
	g := newGopm(t)
	program := g.file("evil.py", evilProgram)
	const evil = "\x1b]0;OWNED\x07\u009b2J"
	g.script("check", `printf '\033]0;OWNED\007\033[2J'; exit 1`)
	file := g.file("e.json", fmt.Sprintf(`{"apps": [{"name": "evil", "script": %s, "interpreter": "python3", "args": ["stays", %s], "env": {"EVIL": %s}, `+quick+`,
		"ready": "uptime", "health": {"exec": "./check", "interval": "200ms", "retries": 1, "start_period": "0s"}}]}`, quoted(program), quoted(evil), quoted(evil)))
	r := g.try("start", file, "--wait", "0")
	if r.code != 0 {
		t.Fatal(r)
	}
	g.says("evil", "second line")
	eventually(t, soon, func() error {
		if out := g.run("events", "--json", "--nostream"); !strings.Contains(out, "unhealthy") || !strings.Contains(out, "says:") {
			return fmt.Errorf("not there yet: %s", out)
		}
		return nil
	})
	dies := []string{"start", program, "--interpreter", "python3", "-n", "dies", "--max-restarts", "1", "--min-uptime", "100s", "--", "dies", evil}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"logs", "--nostream"}, `\x1b]0;OWNED\x07\x1b[2J`}, {[]string{"logs", "evil", "--nostream", "--timestamp"}, `\u009b2J\x08\x0d0|other | faked` + "\x1b[31mred\x1b[0m\n"},
		{[]string{"ls"}, "evil"}, {[]string{"info", "evil"}, "OWNED"}, {[]string{"env", "evil"}, "OWNED"},
		{[]string{"events", "--nostream"}, "OWNED"}, {dies, "it says"}, {[]string{"ls", "--json"}, "OWNED"}, {[]string{"info", "no" + evil}, `no\x1b]0;OWNED`},
		{[]string{"stop", evil}, `\x1b]0;OWNED`}, {[]string{evil}, `\x1b]0;OWNED`}, {[]string{"start", "./no" + evil}, `OWNED`},
	} {
		what := "gopm " + strings.Join(c.args, " ")
		text := g.onTerminal("", "", c.args...)
		isTame(t, what, text)
		contains(t, what, text, c.want)
	}
	t.Run("redrawn", func(t *testing.T) { // what is drawn in place has controls of gopm's own
		for _, c := range [][]string{{"it says", "q", "monit"}, {"evil", "\x03", "ls", "--watch"}} {
			text := g.onTerminal(c[0], c[1], c[2:]...)
			contains(t, c[2], text, c[0])
			lacks(t, c[2], text, "\x1b]0;OWNED", "\u009b", "\x08\r0|")
		}
	})
	raw := g.onTerminal("", "", "logs", "evil", "--nostream", "--raw")
	contains(t, "logs --raw", raw, "\x1b]0;OWNED\x07\x1b[2J\x1b[1;1H\u009b2J\x08\r0|other | faked\x1b[31mred\n")
	contains(t, "logs into a pipe", g.run("logs", "evil", "--nostream"), "\x1b]0;OWNED\x07\x1b[2J")
	isTame(t, "gopm's own log", g.log())
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is needed: tools/parts test installs it")
	}
	s := newScreen(g, 160, "gopm logs evil --nostream; gopm info evil; gopm ls")
	contains(t, "a terminal", s.capture(), `it says \x1b]0;OWNED\x07\x1b[2J`, "TAILING")
	if title := s.tmux("display-message", "-p", "#{pane_title}"); strings.Contains(title, "OWNED") {
		t.Errorf("the terminal's title is %q", title)
	}
}
