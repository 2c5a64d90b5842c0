package parent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests run this binary again as a keeper, as its daemon and as the daemon's
// apps; roleVar says which. All of them hold the write end of one pipe as
// descriptor 3: it carries their lines, and its end proves that all are gone.
const (
	roleVar  = "KEEPER_TEST_ROLE"
	sceneVar = "KEEPER_TEST_SCENE" // the apps that the daemon starts, by role
	wire     = 3
	linkFD   = 4 // in the daemon; in the keeper 4 is a stray of the user's shell
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVar); role {
	case "":
		os.Exit(m.Run())
	case "keeper":
		os.Exit(keeperRole())
	case "daemon":
		os.Exit(daemonRole())
	default:
		appRole(role)
	}
}

func keeperRole() int {
	s := defaults()
	s.look = 5 * time.Millisecond
	extra := []*os.File{os.NewFile(wire, "wire")}
	if binary := os.Getenv("KEEPER_TEST_DAEMON"); binary != "" {
		s.binary = binary
	}
	return run(s, []string{"gopm", "daemon"}, environ("daemon"), extra)
}

// environ is ours with another role; of two entries a program takes the first.
func environ(role string) []string {
	rest := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, roleVar+"=") || strings.HasPrefix(e, "GORACE=") })
	return append(rest, roleVar+"="+role, "GORACE=atexit_sleep_ms=0") // the race detector lingers for 1 s at each exit
}

func say(format string, args ...any) {
	unix.Write(wire, fmt.Appendf(nil, format+"\n", args...))
}

// daemonRole starts the scene's apps and then does what stdin tells it.
func daemonRole() int {
	link, err := Connect(linkFD)
	if err != nil {
		say("daemon failed %v", err)
		return 99
	}
	unix.CloseOnExec(wire) // apps get it by ForkExec's list
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, unix.SIGTERM)
	for _, role := range strings.Fields(os.Getenv(sceneVar)) {
		pid := spawn(role, &syscall.SysProcAttr{Setpgid: true})
		grace, told := map[string]time.Duration{"plain": 20 * time.Second, "stubborn": 100 * time.Millisecond}[role]
		if told {
			self, _ := look(pid)
			link.Spawned(pid, self.start, int(unix.SIGINT), grace)
		}
	}
	say("daemon %d %d", os.Getpid(), link.Pid())
	lines := make(chan string)
	go func() { // ended with the process
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			lines <- in.Text()
		}
		close(lines)
	}()
	select {
	case <-terminated:
		say("terminated %d", os.Getpid())
		link.Leaving()
		return 0
	case line := <-lines:
		return obey(link, line, terminated)
	case <-link.Lost(): // a failed test kills its keeper
		return 98
	}
}

func obey(link *Link, line string, terminated <-chan os.Signal) int {
	verb, code, _ := strings.Cut(line, " ")
	switch verb {
	case "leave":
		link.Leaving()
	case "burst": // the last words are still on their way when the daemon is gone
		for pid := 2; pid < 250; pid++ {
			link.Gone(pid)
		}
		link.Leaving()
	case "hush":
		unix.Close(wire)
		select {
		case <-terminated:
		case <-link.Lost():
		}
		link.Leaving()
	}
	link.Close()
	n, _ := strconv.Atoi(code)
	return n
}

// spawn starts an app and reaps it, as a daemon would.
func spawn(role string, attr *syscall.SysProcAttr) int {
	files := []uintptr{0, 1, 2, wire}
	if null, err := os.Open(os.DevNull); err == nil {
		defer null.Close()
		files[0] = null.Fd()
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"app-" + role}, &syscall.ProcAttr{Env: environ(role), Files: files, Sys: attr})
	if err != nil {
		say("failed %v", err)
		return 0
	}
	go unix.Wait4(pid, nil, 0, nil) // ended by the app's end
	return pid
}

func appRole(role string) {
	caught := make(chan os.Signal, 4)
	switch role {
	case "plain":
		signal.Notify(caught, unix.SIGINT, unix.SIGTERM)
	case "stubborn":
		signal.Notify(caught, unix.SIGINT, unix.SIGTERM)
		defer func() {
			for range caught {
			}
		}()
	case "parent": // leaves an orphan in a session of its own
		spawn("escapee", &syscall.SysProcAttr{Setsid: true})
		os.Exit(0)
	case "brief":
		spawn("orphan", &syscall.SysProcAttr{Setsid: true})
		os.Exit(0)
	case "orphan":
		say("orphan %d", os.Getpid())
		os.Exit(0)
	case "escapee":
		signal.Notify(caught, unix.SIGTERM)
	}
	say("%s %d", role, os.Getpid())
	time.AfterFunc(time.Minute, func() { os.Exit(1) }) // a failed test leaves nothing for long
	sig := <-caught
	say("%s-got-%s %d", role, unix.SignalName(sig.(unix.Signal)), os.Getpid())
}

// house is a running keeper with its daemon and apps.
type house struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
	seen  map[string]int // a line's first word → its first number
	count map[string]int // how many lines began with the word
}

// open starts a keeper and waits for the daemon and the lines named.
func open(t *testing.T, scene string, want ...string) *house {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, cmd: exec.Command(self), seen: map[string]int{}, count: map[string]int{}}
	h.cmd.Env = append(environ("keeper"), sceneVar+"="+scene)
	h.cmd.ExtraFiles = []*os.File{write, write}
	logFile, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	h.cmd.Stderr = logFile // a file: Wait then waits for the keeper alone
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	read.SetReadDeadline(time.Now().Add(20 * time.Second))
	h.lines = bufio.NewScanner(read)
	t.Cleanup(func() {
		h.cmd.Process.Kill()
		h.cmd.Wait()
		text, _ := os.ReadFile(logFile.Name())
		if t.Failed() {
			t.Logf("keeper's log:\n%s", text)
		}
		logFile.Close()
		read.Close()
	})
	h.expect(append(want, "daemon")...)
	return h
}

// next takes one line in; false is the end of the pipe: everybody is gone.
func (h *house) next() bool {
	h.t.Helper()
	if !h.lines.Scan() {
		if err := h.lines.Err(); err != nil {
			h.t.Fatalf("waiting for the test's processes: %v (seen %v)", err, h.seen)
		}
		return false
	}
	word, rest, _ := strings.Cut(h.lines.Text(), " ")
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		h.t.Fatalf("line %q", h.lines.Text())
	}
	h.seen[word] = n
	h.count[word]++
	return true
}

func (h *house) expect(words ...string) {
	h.t.Helper()
	for _, word := range words {
		for h.seen[word] == 0 {
			if !h.next() {
				h.t.Fatalf("all ended before %q (seen %v)", word, h.seen)
			}
		}
	}
}

// gone waits until no process of the house but the keeper can be alive.
func (h *house) gone() {
	h.t.Helper()
	for h.next() {
	}
}

// exit waits for the keeper and gives its exit code and log.
func (h *house) exit() (int, string) {
	h.t.Helper()
	err := h.cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		h.t.Fatal(err)
	}
	text, err := os.ReadFile(h.cmd.Stderr.(*os.File).Name())
	if err != nil {
		h.t.Fatal(err)
	}
	return h.cmd.ProcessState.ExitCode(), string(text)
}

// eventually waits for a fact.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !fact() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not seen: %s", what)
		}
	}
}

func TestDaemonKilled(t *testing.T) {
	t.Parallel()
	h := open(t, "plain stubborn parent", "plain", "stubborn", "escapee")
	if err := unix.Kill(h.seen["daemon"], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.gone()
	code, text := h.exit()
	if code != 128+9 || !strings.Contains(text, "was killed by SIGKILL; stopping what it left (apps it told of: 2)") {
		t.Errorf("exit code %d, log:\n%s", code, text)
	}
	// An app that held the link would hide the daemon's last messages: "still open".
	if !strings.Contains(text, "stopped what the daemon left") || strings.Contains(text, "does not end") || strings.Contains(text, "still open") {
		t.Errorf("log:\n%s", text)
	}
	if h.seen["plain-got-SIGINT"] == 0 || h.seen["escapee-got-SIGTERM"] == 0 {
		t.Errorf("each app should get its own signal, the rest SIGTERM: %v", h.seen)
	}
}

func TestCleanLeave(t *testing.T) {
	t.Parallel()
	h := open(t, "parent", "escapee")
	// What the daemon leaves running on purpose (treekill: false) stays.
	left, err := os.FindProcess(h.seen["escapee"])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(h.stdin, "leave 0")
	if code, text := h.exit(); code != 0 || text != "" {
		t.Errorf("exit code %d, log:\n%s", code, text)
	}
	if err := left.Signal(unix.SIGTERM); err != nil {
		t.Errorf("the process left on purpose: %v", err)
	}
	h.gone()
	if h.count["escapee-got-SIGTERM"] != 1 {
		t.Errorf("seen %v", h.seen)
	}
}

func TestLeaveWithAppsStillTold(t *testing.T) {
	t.Parallel()
	h := open(t, "plain stubborn", "plain", "stubborn")
	fmt.Fprintln(h.stdin, "leave 0")
	h.gone()
	if code, text := h.exit(); code != 0 || !strings.Contains(text, "exited with code 0; stopping what it left (apps it told of: 2)") {
		t.Errorf("exit code %d, log:\n%s", code, text)
	}
}

func TestDaemonsOwnEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		order string
		code  int
		log   string
	}{
		{"leave 0", 0, ""},
		{"burst 0", 0, ""},
		{"leave 5", 5, "exited with code 5; it left nothing running"},
		{"end 3", 3, "exited with code 3; it left nothing running"},
		{"end 0", 1, "exited with code 0; it left nothing running"},
	}
	for _, test := range tests {
		t.Run(test.order, func(t *testing.T) {
			t.Parallel()
			h := open(t, "")
			fmt.Fprintln(h.stdin, test.order)
			code, text := h.exit()
			if code != test.code || !strings.Contains(text, test.log) || (test.log == "") != (text == "") {
				t.Errorf("exit code %d, want %d; log:\n%s", code, test.code, text)
			}
		})
	}
}

func TestSignalsToTheKeeper(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	if got := h.cmd.Process.Pid; !strings.Contains(h.lines.Text(), fmt.Sprintf(" %d", got)) {
		t.Errorf("Link.Pid: %q, want %d", h.lines.Text(), got)
	}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGPIPE, unix.SIGTERM} {
		if err := unix.Kill(h.cmd.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
	}
	h.expect("terminated")
	if code, text := h.exit(); code != 0 {
		t.Errorf("exit code %d, log:\n%s", code, text)
	}
}

// The other end of a handshake must be the daemon's alone: its death without a word
// is told by the pipe's end, at once. And what the user's shell had open (here the
// pipe's end again) must not be held by a process that stays.
func TestKeeperHoldsNothingOfTheDaemons(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	fmt.Fprintln(h.stdin, "hush")
	h.gone()
	if err := unix.Kill(h.cmd.Process.Pid, unix.SIGTERM); err != nil {
		t.Errorf("the keeper should be there still: %v", err)
	}
	if code, text := h.exit(); code != 0 {
		t.Errorf("exit code %d, log:\n%s", code, text)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	h := open(t, strings.Repeat("brief ", 8))
	for h.count["orphan"] < 8 {
		if !h.next() {
			t.Fatalf("ended early: %v", h.count)
		}
	}
	eventually(t, "a keeper with the daemon as its only child", func() bool {
		all, err := processes()
		if err != nil {
			t.Fatal(err)
		}
		children := 0
		for _, p := range all {
			if p.ppid == h.cmd.Process.Pid {
				children++
			}
		}
		return children == 1
	})
	fmt.Fprintln(h.stdin, "leave 0")
	if code, text := h.exit(); code != 0 || text != "" {
		t.Errorf("exit code %d, log:\n%s", code, text)
	}
}

func TestDaemonThatCannotStart(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(environ("keeper"), "KEEPER_TEST_DAEMON=/nonexistent/gopm")
	wireFile, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer wireFile.Close()
	cmd.ExtraFiles = []*os.File{wireFile}
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(text), "cannot start the daemon (/nonexistent/gopm): no such file") {
		t.Errorf("%v\n%s", err, text)
	}
}
