package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, dir, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

type spawnFault struct {
	name string
	c    Command
	want string // D is the folder
}

func TestSpawnFailuresSayWhatToDo(t *testing.T) {
	t.Parallel()
	k := newTestKernel(t)
	dir := t.TempDir()
	for _, f := range append(spawnFaults(t, dir), userFault(t, dir)) {
		_, err := k.Spawn(f.c, Launch{}, func() { t.Errorf("%s: an exit was seen", f.name) })
		if err == nil {
			t.Errorf("%s: was spawned", f.name)
		} else if got := strings.ReplaceAll(err.Error(), dir, "D"); got != f.want {
			t.Errorf("%s:\n got %s\nwant %s", f.name, got, f.want)
		}
	}
}

func spawnFaults(t *testing.T, dir string) []spawnFault {
	t.Helper()
	plain := write(t, dir, "plain", "echo hello\n", 0o644)
	return []spawnFault{
		{"missing", Command{Argv: []string{dir + "/none"}}, "no such file or directory: D/none"},
		{"missing, relative", Command{Argv: []string{"./none"}, Dir: dir}, "no such file or directory: D/none"},
		{"no x bit", Command{Argv: []string{plain}}, "permission denied: D/plain (not executable: chmod +x D/plain)"},
		{"a folder", Command{Argv: []string{dir}}, "is a directory: D"},
		{"no shebang", Command{Argv: []string{write(t, dir, "bare", "echo hello\n", 0o755)}},
			"exec format error: D/bare (no shebang? its first line must be like #!/bin/sh)"},
		{"empty", Command{Argv: []string{write(t, dir, "empty", "", 0o755)}}, "exec format error: D/empty (it is empty)"},
		{"byte order mark", Command{Argv: []string{write(t, dir, "bom", "\xef\xbb\xbf#!/bin/sh\n", 0o755)}},
			"exec format error: D/bom (a byte order mark stands before #!)"},
		{"another machine", Command{Argv: []string{write(t, dir, "alien", "\x7fELF"+strings.Repeat("x", 60), 0o755)}},
			"exec format error: D/alien (built for another kind of machine?)"},
		{"no interpreter", Command{Argv: []string{write(t, dir, "interp", "#!/no/such/thing -x\n", 0o755)}},
			"cannot run D/interp: no such file or directory: its interpreter /no/such/thing"},
		{"windows", Command{Argv: []string{write(t, dir, "dos", "#!/bin/sh\r\necho\r\n", 0o755)}},
			`cannot run D/dos: its lines end as on Windows, so its interpreter is "/bin/sh\r" (sed -i 's/\r$//' D/dos)`},
		{"no cwd", Command{Argv: []string{"/bin/true"}, Dir: dir + "/gone"}, "cannot enter cwd D/gone: no such file or directory"},
		{"cwd is a file", Command{Argv: []string{"/bin/true"}, Dir: plain}, "cannot enter cwd D/plain: not a directory"},
		{"too long", Command{Argv: []string{"/bin/true", strings.Repeat("x", 200<<10)}},
			"the arguments and the environment are too long: /bin/true"},
		{"nothing", Command{}, "there is no command to run"},
		{"a zero byte", Command{Argv: []string{"/bin/true", "a\x00b"}}, "invalid argument: /bin/true"},
	}
}

// userFault is what goes wrong with another user, as root and as somebody else.
func userFault(t *testing.T, dir string) spawnFault {
	t.Helper()
	c := Command{Argv: []string{"/bin/true"}, User: &Credential{UID: 65534, GID: 65534}}
	if os.Geteuid() != 0 {
		c.User = &Credential{UID: 1, GID: 1}
		return spawnFault{"another user", c, "cannot become uid 1, gid 1: operation not permitted (only a daemon of root can)"}
	}
	c.Dir = filepath.Join(dir, "closed")
	if err := errors.Join(os.Mkdir(c.Dir, 0o700), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	return spawnFault{"cwd closed to the user", c, "cannot enter cwd D/closed: permission denied (as uid 65534)"}
}

// TestSurroundings: what a program finds at its first instruction.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := readUmask(t)
	for _, refused := range []bool{false, true} {
		c := role(t, "surroundings")
		mask := 0o027
		c.Umask, c.Dir = &mask, dir
		s := newScene(t, c, realPolicy())
		if refused {
			s.kernel.spawner.fs = false
		}
		s.Start()
		want := []string{"umask 0027", "cwd " + dir, "own group true", "stdin /dev/null", fmt.Sprintf("env %d", len(c.Env))}
		for i, w := range want {
			got := s.line()
			if refused && i == 4 { // the shell adds PWD and the like
				continue
			}
			if got != w {
				t.Errorf("unshare refused %v: got %q, want %q", refused, got, w)
			}
		}
		if got := s.line(); !strings.HasPrefix(got, "ready ") {
			t.Errorf("got %q", got)
		}
	}
	if got := readUmask(t); got != own {
		t.Errorf("our own umask became %s, was %s", got, own)
	}
}

func readUmask(t *testing.T) string {
	t.Helper()
	return statusLine(t, "/proc/thread-self/status", "Umask:")
}

func statusLine(t *testing.T, path, key string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// TestWithAndWithoutTheThread: a program finds the same, whoever forks it.
func TestWithAndWithoutTheThread(t *testing.T) {
	t.Parallel()
	for _, few := range []int{-1, 1000} {
		c := shell(`echo $(ls /proc/self/fd); readlink /proc/self/fd/0; grep -E 'SigIgn|SigBlk' /proc/self/status | tr -d '\n'; echo; exec sleep 1000`)
		s := newScene(t, c, realPolicy())
		s.kernel.spawner.few = few
		s.Start()
		for _, want := range []string{"0 1 2 3", "/dev/null"} { // 3 is the folder that ls reads
			if got := s.line(); got != want {
				t.Errorf("few %d: got %q, want %q", few, got, want)
			}
		}
		if got := s.line(); !strings.HasPrefix(got, "SigBlk:\t0000000000000000") {
			t.Errorf("few %d: got %q", few, got)
		}
		missing := Command{Argv: []string{"/no/such/program"}}
		if _, err := s.kernel.Spawn(missing, Launch{}, func() {}); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("few %d: a program that is not there: %v", few, err)
		}
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	c := shell("id -u; id -g; id -G; kill -STOP $$")
	c.User = &Credential{UID: 65534, GID: 65533, Groups: []uint32{65533, 12345}}
	s := newScene(t, c, realPolicy())
	s.Start()
	for _, want := range []string{"65534", "65533", "65533 12345"} {
		if got := s.line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOwnUserNeedsNoPrivilege(t *testing.T) {
	t.Parallel()
	c := shell("echo ready 1; exec sleep 1000")
	c.User = &Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	s := newScene(t, c, realPolicy())
	s.Start()
	s.ready()
}

// TestIgnoredSignalsAreReset: a daemon that was started by nohup must not make
// its apps deaf. Not parallel: it changes what the process ignores.
func TestIgnoredSignalsAreReset(t *testing.T) {
	var ign [4]uint64
	ign[0] = 1 // SIG_IGN behind the back of os/signal, as if inherited
	set := func(sig syscall.Signal) {
		if err := sigaction(sig, &ign); err != nil {
			t.Fatal(err)
		}
	}
	set(unix.SIGTSTP)
	set(unix.SIGHUP)
	s := newScene(t, shell("grep -E 'SigIgn|SigBlk' /proc/self/status; exec sleep 1000"), realPolicy())
	s.Start()
	for range 2 {
		got := s.line()
		// 32 and 33 are the C library's own, beyond Go's reach; make ignores them for
		// what it starts.
		const cLibrary = 1<<(32-1) | 1<<(33-1)
		_, mask, _ := strings.Cut(got, "\t")
		if bits, err := strconv.ParseUint(mask, 16, 64); err != nil || bits&^cLibrary != 0 {
			t.Errorf("the program starts with %q", got)
		}
	}
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil { // must still do nothing to us
		t.Error(err)
	}
}

func TestExplainOfUnknown(t *testing.T) {
	t.Parallel()
	c := Command{Argv: []string{"/x/app"}}
	for err, want := range map[error]string{
		unix.EAGAIN:       "cannot start another process: a limit on processes is reached (ulimit -u, pids.max)",
		unix.ENOMEM:       "cannot start another process: out of memory",
		unix.EMFILE:       "cannot start another process: too many open files (ulimit -n)",
		unix.ETXTBSY:      "cannot run /x/app: somebody is still writing it",
		unix.EIO:          "input/output error: /x/app",
		errors.New("odd"): "cannot run /x/app: odd",
	} {
		if got := explain(c, err).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func sigaction(sig syscall.Signal, act *[4]uint64) error {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), 0, 8, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

func TestMayEnter(t *testing.T) {
	t.Parallel()
	user := &Credential{UID: 5, GID: 6, Groups: []uint32{7}}
	for _, c := range []struct {
		uid, gid uint32
		mode     uint32
		want     bool
	}{
		{5, 0, 0o100, true}, {5, 0, 0o077, false}, // the owner's bits alone count for the owner
		{0, 6, 0o010, true}, {0, 6, 0o701, false},
		{0, 7, 0o010, true}, {0, 7, 0o701, false},
		{0, 0, 0o001, true}, {0, 0, 0o770, false},
	} {
		if got := mayEnter(&unix.Stat_t{Uid: c.uid, Gid: c.gid, Mode: c.mode}, user); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestSignalName(t *testing.T) {
	t.Parallel()
	for sig, want := range map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", 40: "signal 40"} {
		if got := SignalName(sig); got != want {
			t.Errorf("%d: %s", sig, got)
		}
	}
}

// TestThreadOfASpawn: what is done to the thread is the program's and nobody else's.
func TestThreadOfASpawn(t *testing.T) {
	t.Parallel()
	k := newTestKernel(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 3 {
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		ch, err := k.Spawn(Command{Argv: []string{"/bin/sh", "-c", "grep NoNewPrivs /proc/self/status; readlink /proc/self/fd/3"}}, Launch{
			Out: w, Inherit: []*os.File{null},
			Thread: func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
		}, func() { close(ended) })
		if err != nil {
			t.Fatal(err)
		}
		null.Close()
		<-ended
		ch.Reap(false, func(Exit) {})
		ch.Release()
	}
	w.Close()
	if text, _ := io.ReadAll(r); string(text) != strings.Repeat("NoNewPrivs:\t1\n/dev/null\n", 3) {
		t.Errorf("the programs say %q", text)
	}
	threads, _ := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		status, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/status")
		if err == nil && strings.Contains(string(status), "NoNewPrivs:\t1") {
			t.Errorf("thread %s of ours has kept it", thread.Name())
		}
	}
	if _, err := k.Spawn(Command{Argv: []string{"/bin/true"}}, Launch{Thread: func() error { return errors.New("it refuses") }}, nil); err == nil || !strings.Contains(err.Error(), "it refuses") {
		t.Errorf("a thread that can't be prepared: %v", err)
	}
}
