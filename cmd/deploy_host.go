package cmd

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"gopm/ecosystem"
)

// deployScript is what runs on a host. It is sent with every call, so that nothing has
// to be installed there.
//
//go:embed deploy.sh
var deployScript string

// deployHost is one host of a deployment. Between two calls it belongs to whoever has
// made the deployment, during a call to that.
type deployHost struct {
	name  string
	argv  []string // what runs a shell there that reads its script from standard input
	local bool
	holds bool // it may have our lock
	facts deployFacts
}

// deployFacts is what the script has told in one call.
type deployFacts struct {
	begun  bool
	done   bool
	fault  string // why it has failed
	locked string // "AGE WHO": by somebody else
	code   int    // of exec
	rows   []deployRow
	said   string // the last line on stderr; of ssh when nothing was told
}

// deployRow is one release.
type deployRow struct {
	number, commit, ref, subject string
	since                        time.Time // it became current; zero: never
	current                      bool
}

// newDeployHost says how a host is reached.
func newDeployHost(name string, s ecosystem.SSH) *deployHost {
	if name == "localhost" && s.User == "" && s.Port == 0 && s.Key == "" {
		return &deployHost{name: name, argv: []string{"sh", "-s"}, local: true}
	}
	argv := []string{"ssh", "-T"}
	if s.Port != 0 {
		argv = append(argv, "-p", strconv.Itoa(s.Port))
	}
	if s.Key != "" {
		argv = append(argv, "-i", s.Key)
	}
	for _, o := range s.Options { // of two the first one counts
		argv = append(argv, "-o", o)
	}
	argv = append(argv, "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15")
	if s.ForwardAgent {
		argv = append(argv, "-A")
	}
	destination := name
	if s.User != "" && !strings.Contains(name, "@") {
		destination = s.User + "@" + name
	}
	return &deployHost{name: name, argv: append(argv, "--", destination, "sh -s")}
}

// shell is the command by which a person gets a line done on the host.
func (h *deployHost) shell(line string) string {
	if h.local {
		return line
	}
	words := []string{"ssh"}
	for i := 2; i < len(h.argv)-3; i++ {
		words = append(words, quoteShell(h.argv[i]))
	}
	return strings.Join(append(words, h.argv[len(h.argv)-2], line), " ")
}

// call sends the script, has it do a step, and waits for its end. Everything that can
// go wrong is in the error, and whose fault it is.
func (h *deployHost) call(ctx context.Context, step string, d *deployment) error {
	h.facts = deployFacts{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.argv[0], h.argv[1:]...)
	cmd.Stdin = strings.NewReader(d.script(step))
	cmd.WaitDelay = 2 * time.Second // a program that was left behind may hold the pipes
	if h.local {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as sshd does
		cmd.Dir = os.Getenv("HOME")
	} else {
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it may have a terminal to put right
	}
	out, outEnd := io.Pipe()
	errs, errEnd := io.Pipe()
	cmd.Stdout, cmd.Stderr = outEnd, errEnd
	// The readers end with the pipes, which are closed when the command has ended, and
	// are waited for here.
	var readers sync.WaitGroup
	readers.Go(func() {
		eachLine(out, func(line string) {
			// What a hook has printed last may have no end of its line.
			text, fact, ours := strings.Cut(line, d.token+" ")
			if text != "" || !ours {
				d.print(h, text, false)
			}
			if ours && h.facts.take(fact) { // it was the last: who holds the pipes does not matter
				time.AfterFunc(cmd.WaitDelay, cancel)
			}
		})
	})
	readers.Go(func() {
		eachLine(errs, func(line string) {
			h.facts.said = orElse(strings.TrimSpace(line), h.facts.said)
			d.print(h, line, true)
		})
	})
	err := cmd.Run()
	outEnd.Close()
	errEnd.Close()
	readers.Wait()
	h.keepsLock(step)
	return h.verdict(ctx, err)
}

// keepsLock notes after a step whether the host may still have our lock.
func (h *deployHost) keepsLock(step string) {
	switch f := h.facts; {
	case f.done:
		h.holds = step == "lock" || step == "prepare" || step == "aim"
	case f.fault != "" || f.locked != "":
		h.holds = false
	case f.begun:
		h.holds = true
	}
}

// eachLine takes lines of any length until the pipe is closed.
func eachLine(r io.Reader, take func(line string)) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			take(strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			return
		}
	}
}

// verdict says what the end of a call means.
func (h *deployHost) verdict(ctx context.Context, err error) error {
	f := h.facts
	var exit *exec.ExitError
	switch {
	case f.done:
		return nil
	case f.fault != "":
		return errors.New(f.fault)
	case f.locked != "":
		return deployLocked{f.locked}
	case wasInterrupted(ctx):
		return context.Canceled
	case err == nil:
		return errors.New("the shell there has ended before its time")
	case !errors.As(err, &exit):
		return fmt.Errorf("cannot run %s: %v", h.argv[0], err)
	case !h.local && exit.ExitCode() == 255:
		return fmt.Errorf("ssh: %s; try: %s", orElse(f.said, "the connection was lost"), h.shell("true"))
	}
	return fmt.Errorf("the shell there has ended with %v: %s", exit, orElse(f.said, "it said nothing"))
}

// wasInterrupted says whether the user has ended what has just failed. The terminal
// tells ssh and hooks at the same time as gopm, and they may be quicker.
func wasInterrupted(ctx context.Context) bool {
	const quicker = 200 * time.Millisecond
	select {
	case <-ctx.Done():
		return true
	case <-time.After(quicker):
		return false
	}
}

// deployLocked says that somebody else deploys: for how long, and who.
type deployLocked struct{ text string }

func (e deployLocked) Error() string {
	age, who, _ := strings.Cut(e.text, " ")
	seconds, _ := strconv.Atoi(age) // a clock that was set back says 0
	return fmt.Sprintf("locked for %s by %s", uptime(time.Duration(seconds)*time.Second), orElse(who, "somebody"))
}

// take remembers what was told, and says whether it is the end.
func (f *deployFacts) take(fact string) (last bool) {
	word, rest, _ := strings.Cut(fact, " ")
	switch word {
	case "begun":
		f.begun = true
	case "done":
		f.done = true
	case "error":
		f.fault = rest
	case "locked":
		f.locked = rest
	case "code":
		f.code, _ = strconv.Atoi(rest) // our own script writes a number
	case "row":
		f.rows = append(f.rows, parseDeployRow(rest))
	}
	return word == "done" || word == "error" || word == "locked"
}

func parseDeployRow(text string) deployRow {
	cells := append(strings.SplitN(text, "\t", 6), make([]string, 6)...)
	r := deployRow{number: cells[0], commit: cells[1], ref: cells[3], current: cells[4] != "", subject: cells[5]}
	if at, err := strconv.ParseInt(cells[2], 10, 64); err == nil && at > 0 {
		r.since = time.Unix(at, 0)
	}
	return r
}

// short is a commit as git shows it.
func (r deployRow) short() string { return r.commit[:min(len(r.commit), 7)] }
