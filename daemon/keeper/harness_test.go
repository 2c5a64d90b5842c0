package keeper

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests run this binary again as a keeper and as its daemons, with the arguments
// that gopm uses. A daemon connects to the test and does what it is asked; before
// that it does what the file "behave" in the home says (or "behave.new", when it runs
// from the file "new": the binary of an update).
const homeVar = "KEEPER_TEST_HOME"

func TestMain(m *testing.M) {
	home := os.Getenv(homeVar)
	switch {
	case home == "" || len(os.Args) < 3:
		os.Exit(m.Run())
	case os.Args[1] == keeperWord:
		os.Exit(keeperRole(home))
	case os.Args[1] == "daemon":
		os.Exit(daemonRole(home))
	}
	os.Exit(m.Run())
}

func keeperRole(home string) int {
	s := defaults()
	s.lockWait = 300 * time.Millisecond
	if d, err := time.ParseDuration(os.Getenv("KEEPER_TEST_TRIAL")); err == nil {
		s.trial = d
	}
	if binary := os.Getenv("KEEPER_TEST_BINARY"); binary != "" {
		s.binary = binary
	}
	o := Options{Home: home, Lock: home + "/keeper.lock", Log: home + "/log", Mode: os.Args[3:], Daemon: []string{"gopm", "daemon", home}, Environ: os.Environ()}
	if len(o.Mode) == 0 {
		o.Handshake = os.NewFile(3, "handshake")
	}
	return run(s, o)
}

// hello is a daemon's first word to the test, reply what it says later.
type hello struct {
	Pid, Keeper     int
	Exe             string
	Before, Refused string
	Elsewhere       bool
	Entries         []helloEntry
}

type helloEntry struct {
	Key   string
	Main  Main
	Note  string
	Files int
}

type request struct {
	Do    string
	Key   string
	Main  Main
	Note  string
	Files int // of the files made by "pipe"
	Text  string
	N     int
}

type reply struct {
	Err  string
	Main Main
	Text string
	N    int
	OK   bool
}

// servant is a daemon of the tests.
type servant struct {
	home   string
	link   *Link
	files  []*os.File // made by "pipe", newest pair last
	given  map[string][]*os.File
	reader map[string]*bufio.Reader
}

func daemonRole(home string) int {
	exe, _ := os.Readlink("/proc/self/exe")
	behaviour := "behave"
	if filepath.Base(exe) == "new" {
		behaviour = "behave.new"
	}
	text, _ := os.ReadFile(home + "/" + behaviour)
	word, rest, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if code, err := strconv.Atoi(rest); word == "exit" && err == nil {
		return code
	}
	if word == "early" { // says something without having listened
		post(linkFD, []byte("2 drop i/0\n"), nil)
		_ = unix.Pause()
	}
	link, estate, err := Attach(linkFD)
	if err != nil {
		fmt.Fprintln(os.Stderr, "daemon:", err)
		return 99
	}
	switch word {
	case "crash": // after it served
		link.Ready()
		return 2
	case "hang":
		<-link.Lost()
		return 98
	}
	conn, err := net.Dial("unix", home+"/test.sock")
	if err != nil { // the test is over
		return 97
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, unix.SIGTERM) // before it says anything, as the real one does
	go func() {                             // ended with the process: a failed test kills its keeper
		<-terminated
		link.Leaving()
		os.Exit(0)
	}()
	s := &servant{home: home, link: link, given: map[string][]*os.File{}, reader: map[string]*bufio.Reader{}}
	h := hello{Pid: os.Getpid(), Keeper: link.Pid(), Exe: exe, Before: estate.Before, Elsewhere: estate.Elsewhere, Refused: estate.Refused}
	for _, e := range estate.Entries {
		h.Entries = append(h.Entries, helloEntry{e.Key, e.Main, string(e.Note), len(e.Files)})
		s.given[e.Key] = e.Files
	}
	out := json.NewEncoder(conn)
	_ = out.Encode(h)
	in := json.NewDecoder(conn)
	for {
		var q request
		if in.Decode(&q) != nil {
			return 96
		}
		if q.Do == "exit" {
			return q.N
		}
		_ = out.Encode(s.do(q))
	}
}

func (s *servant) do(q request) (r reply) {
	fail := func(err error) {
		if err != nil {
			r.Err = err.Error()
		}
	}
	switch q.Do {
	case "pipe": // a pipe with a text in it, as an app's stdout
		p := make([]int, 2)
		fail(unix.Pipe2(p, unix.O_CLOEXEC|unix.O_NONBLOCK))
		_, err := unix.Write(p[1], []byte(q.Text))
		fail(err)
		unix.Close(p[1])
		s.files = append(s.files, os.NewFile(uintptr(p[0]), "pipe"))
	case "listen":
		l, err := net.Listen("unix", s.home+"/api.sock")
		fail(err)
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		f, err := l.(*net.UnixListener).File()
		fail(err)
		s.files = append(s.files, f)
	case "put":
		s.link.Put(q.Key, q.Main, []byte(q.Note), s.files[len(s.files)-q.Files:]...)
	case "puts": // a key that changes often
		for i := range q.N {
			s.link.Put(q.Key, q.Main, strconv.AppendInt(nil, int64(i), 10))
		}
	case "many": // N entries of two files each
		r.Err = s.many(q.N, []byte(q.Note))
	case "drop":
		s.link.Drop(q.Key)
	case "ready":
		s.link.Ready()
	case "collect":
		status, ok := s.link.Collect(q.Main.Pid)
		r.N, r.OK = int(status), ok
	case "deadline":
		s.link.Deadline(q.Key, q.Main, time.Duration(q.N)*time.Millisecond)
	case "until": // N: ms of CLOCK_BOOTTIME; Text: its marker
		var marker []string
		if q.Text != "" {
			marker = []string{q.Text, "GOPM_TEST=lease"}
		}
		s.link.DeadlineAt(q.Key, q.Main, time.Duration(q.N)*time.Millisecond, marker...)
	case "handover":
		f, err := os.Open(q.Text)
		fail(err)
		s.link.HandOver(f)
	case "leaving":
		s.link.Leaving()
	case "lost":
		<-s.link.Lost()
	case "guest":
		link, err := Spawn(s.home)
		fail(err)
		s.link, r.N = link, link.Pid()
	case "spawn":
		pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", q.Text}, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}})
		fail(err)
		p, _ := look(pid)
		r.Main = Main{pid, p.start}
	case "read": // a file that was given back
		files := s.given[q.Key]
		if q.N >= len(files) {
			r.Err = "no such file"
			return r
		}
		buf := make([]byte, 1000)
		n, err := files[q.N].Read(buf)
		if !errors.Is(err, io.EOF) {
			fail(err)
		}
		r.Text = string(buf[:n])
	default:
		r.Err = "what is " + q.Do + "?"
	}
	return r
}

func (s *servant) many(n int, note []byte) string {
	for i := range n {
		p := make([]int, 2)
		if err := unix.Pipe2(p, unix.O_CLOEXEC); err != nil {
			return err.Error()
		}
		a, b := os.NewFile(uintptr(p[0]), "a"), os.NewFile(uintptr(p[1]), "b")
		s.link.Put("i/"+strconv.Itoa(i), Main{}, note, a, b)
		a.Close()
		b.Close()
	}
	return ""
}

// house is a running keeper, seen from the test.
type house struct {
	*testing.T
	home   string
	cmd    *exec.Cmd
	shake  *os.File // the starter's end of the handshake
	listen *net.UnixListener
	groups []int // to be killed at the end
}

// newHouse makes a home; start runs its keeper.
func newHouse(t *testing.T, env ...string) *house {
	t.Helper()
	h := &house{T: t, home: t.TempDir()}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.home + "/test.sock", Net: "unix"})
	h.must(err)
	h.listen = l
	r, w, err := os.Pipe()
	h.must(err)
	h.shake = r
	h.cmd = h.keeper(env...)
	h.cmd.ExtraFiles = []*os.File{w}
	t.Cleanup(func() { h.close() })
	h.must(h.cmd.Start())
	w.Close()
	return h
}

// keeper is a command that runs a keeper for the home.
func (h *house) keeper(env ...string) *exec.Cmd {
	h.Helper()
	self, err := os.Executable()
	h.must(err)
	log, err := os.OpenFile(h.home+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	h.must(err)
	h.Cleanup(func() { log.Close() })
	cmd := exec.Command(self)
	cmd.Args = []string{"gopm", keeperWord, h.home}
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GORACE=") }),
		append(env, homeVar+"="+h.home, "GORACE=atexit_sleep_ms=0")...) // the race detector lingers for 1 s at each exit
	cmd.Stderr = log
	return cmd
}

func (h *house) close() {
	h.listen.Close()
	if pid := h.lockPid(); pid > 0 && pid != h.cmd.Process.Pid {
		unix.Kill(pid, unix.SIGKILL) // a guest
	}
	if h.Failed() {
		h.cmd.Process.Signal(unix.SIGQUIT) // where it is, for the log
	} else {
		h.cmd.Process.Kill()
	}
	h.cmd.Wait()
	for _, pid := range h.groups {
		unix.Kill(-pid, unix.SIGKILL)
	}
	dismissAll(h.home) // a guard outlives its keeper for as long as there is a lease
	h.shake.Close()
	if h.Failed() {
		h.Logf("keeper's log:\n%s", h.log())
	}
}

// lockPid is the keeper that holds the home now; 0: none.
func (h *house) lockPid() int {
	lock, err := os.Open(h.home + "/keeper.lock")
	if err != nil {
		return 0
	}
	defer lock.Close() // ends our lock, if we got one
	if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return 0
	}
	text, _ := io.ReadAll(lock)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func (h *house) log() string {
	text, _ := os.ReadFile(h.home + "/log")
	return string(text)
}

func (h *house) behave(name, what string) {
	h.Helper()
	h.must(os.WriteFile(h.home+"/"+name, []byte(what), 0o600))
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// exit waits for the keeper's end.
func (h *house) exit() int {
	h.Helper()
	done := make(chan struct{})
	go func() { // ended by the keeper's end, at the latest by close
		h.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		h.Fatal("the keeper does not end")
	}
	return h.cmd.ProcessState.ExitCode()
}

// steward is the test's end of the wire to one daemon.
type steward struct {
	*house
	conn net.Conn
	in   *json.Decoder
	out  *json.Encoder
	hello
}

// daemon waits for the next daemon.
func (h *house) daemon() *steward {
	h.Helper()
	s, err := h.visitor()
	h.must(err)
	return s
}

// visitor is a daemon that may be killed before it has said anything: an error.
func (h *house) visitor() (*steward, error) {
	h.Helper()
	h.must(h.listen.SetDeadline(time.Now().Add(20 * time.Second)))
	conn, err := h.listen.Accept()
	if err != nil {
		h.Fatalf("no daemon: %v", err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	h.Cleanup(func() { conn.Close() })
	s := &steward{house: h, conn: conn, in: json.NewDecoder(conn), out: json.NewEncoder(conn)}
	return s, s.in.Decode(&s.hello)
}

func (s *steward) ask(q request) reply {
	s.Helper()
	var r reply
	s.must(s.out.Encode(q))
	if err := s.in.Decode(&r); err != nil {
		s.Fatalf("%s: %v", q.Do, err)
	}
	if r.Err != "" {
		s.Fatalf("%s: %s", q.Do, r.Err)
	}
	return r
}

func (s *steward) do(what string) { s.Helper(); s.ask(request{Do: what}) }

// kill ends the daemon and gives the next one.
func (s *steward) kill() *steward {
	s.Helper()
	s.must(unix.Kill(s.Pid, unix.SIGKILL))
	return s.house.daemon()
}

// exits has the daemon end with a code.
func (s *steward) exits(code int) {
	s.Helper()
	s.must(s.out.Encode(request{Do: "exit", N: code}))
}

// spawn starts a shell script in a group of its own.
func (s *steward) spawn(script string) Main {
	s.Helper()
	main := s.ask(request{Do: "spawn", Text: script}).Main
	s.groups = append(s.groups, main.Pid)
	return main
}

// putPipe puts a key with a pipe that has a text in it.
func (s *steward) putPipe(key string, main Main, text string) {
	s.Helper()
	s.ask(request{Do: "pipe", Text: text})
	s.ask(request{Do: "put", Key: key, Main: main, Note: "note of " + key, Files: 1})
}

func (s *steward) entry(key string) helloEntry {
	s.Helper()
	for _, e := range s.Entries {
		if e.Key == key {
			return e
		}
	}
	s.Fatalf("no entry %s in %v", key, s.Entries)
	return helloEntry{}
}

// eventually waits for a fact.
func eventually(t testing.TB, what string, fact func() bool) {
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

// state is a process's letter in /proc; 0: it is gone.
func state(pid int) byte {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	return text[strings.LastIndexByte(string(text), ')')+2]
}

func parent(pid int) int {
	p, _ := look(pid)
	return p.ppid
}
