package watch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

const soon = 20 * time.Second

// bench is a folder that is watched.
type bench struct {
	*testing.T
	dir    string
	w      *Watcher
	bursts chan Burst
	mu     sync.Mutex // guards lines
	lines  []string
}

func (b *bench) log(name, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, name+": "+fmt.Sprintf(format, args...))
}

func (b *bench) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

// newBench makes one with some files; what begins with "@" is not there yet.
func newBench(t *testing.T, files ...string) *bench {
	t.Helper()
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, dir: dir, bursts: make(chan Burst, 1000)}
	for _, f := range files {
		b.write(f)
	}
	b.w = New(Options{Changed: func(_ string, x Burst) { b.bursts <- x }, Log: b.log})
	t.Cleanup(func() {
		if err := b.w.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// watch watches the folder and returns when it is watched.
func (b *bench) watch(change func(*Tree)) {
	b.Helper()
	tree := Tree{Paths: []string{b.dir}, Dir: b.dir, Delay: 100 * time.Millisecond}
	if change != nil {
		change(&tree)
	}
	b.w.Set(map[string]Tree{"web": tree})
	b.eventually("it is watched", func() bool { _, ok := b.w.State("web"); return ok })
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name string) {
	b.Helper()
	b.do(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.do(os.WriteFile(b.path(name), []byte(time.Now().String()), 0o644))
}

func (b *bench) do(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(soon); !ok(); <-ticker.C {
		if time.Now().After(deadline) {
			b.Fatalf("not so within %v: %s; it said:\n%s", soon, what, b.said())
		}
	}
}

// next is the next burst, which has to be of some files.
func (b *bench) next(files ...string) Burst {
	b.Helper()
	select {
	case x := <-b.bursts:
		for _, f := range files {
			if !strings.Contains(" "+strings.Join(x.Files, " ")+" ", " "+f+" ") {
				b.Errorf("want %s among %v", f, x)
			}
		}
		return x
	case <-time.After(soon):
		b.Fatalf("nothing has changed; want %v; it said:\n%s", files, b.said())
	}
	return Burst{}
}

// only does something that counts for nothing, and sees by a change that does that it was so.
func (b *bench) only(mark string, do func()) {
	b.Helper()
	do()
	b.write(mark)
	if x := b.next(mark); x.Count != 1 {
		b.Errorf("want only %s, got %v", mark, x)
	}
}

func TestAChange(t *testing.T) {
	b := newBench(t, "server.js", "lib/a.js")
	b.watch(nil)
	b.write("server.js")
	b.next("server.js")
	b.write("lib/a.js")
	b.next("lib/a.js")
	b.do(os.Remove(b.path("lib/a.js")))
	b.next("lib/a.js")
	b.do(os.Rename(b.path("server.js"), b.path("lib/s.js")))
	if x := b.next("server.js", "lib/s.js"); x.Count != 2 {
		t.Errorf("want both names, got %v", x)
	}
	now := time.Now()
	b.do(os.Chtimes(b.path("lib/s.js"), now, now))
	b.next("lib/s.js")
	b.only("x", func() {
		b.do(os.Chmod(b.path("lib/s.js"), 0o600))
		if _, err := os.ReadFile(b.path("lib/s.js")); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOneForMany: ten thousand changes, as of a checkout, are one burst.
func TestOneForMany(t *testing.T) {
	b := newBench(t)
	b.watch(func(x *Tree) { x.Delay = time.Second })
	const folders, files = 20, 500
	for i := range folders {
		b.do(os.Mkdir(b.path(fmt.Sprint("d", i)), 0o755))
		for j := range files {
			b.do(os.WriteFile(b.path(fmt.Sprintf("d%d/f%d", i, j)), nil, 0o644))
		}
	}
	x := b.next()
	if x.Count != folders*files || len(x.Files) != fewFiles {
		t.Errorf("want %d files, got %d: %v", folders*files, x.Count, x.Files)
	}
	b.only("mark", func() {})
}

func TestIgnored(t *testing.T) {
	b := newBench(t, "node_modules/m/i.js", ".git/index", "data/d", "logs/out.txt", "a.js", "src/gen/g.js", "src/s.js")
	b.watch(func(x *Tree) {
		x.Ignore = []string{"data", "/src/gen/", "!.env", "tmp"}
		x.Own = []string{b.path("logs/out.txt"), b.path("web.id")}
	})
	b.only("a.js", func() {
		for _, f := range []string{
			"node_modules/m/i.js", "node_modules/n", ".git/index", ".hidden", "data/d", "data/e", "logs/out.txt", "logs/out-2026-01-02T03-04-05.000.txt",
			"logs/out-2026-01-02T03-04-05.000.txt.gz", "web.id", "x.log", "x.log.1", "web.pid", "4913", "a.js~", "#a.js#", ".a.js.swp", "a.js.swp",
			"src/gen/g.js", "__pycache__/a.cpython-311.pyc", "tmp/x", "lib/node_modules/z",
		} {
			b.write(f)
		}
	})
	b.write(".env")
	b.next(".env")
	b.write("src/s.js")
	b.next("src/s.js")
}

func TestGitignore(t *testing.T) {
	b := newBench(t, "repo/app/a.js", "repo/app/b.gen", "repo/app/sub/c.txt", "repo/.git/HEAD")
	b.do(os.WriteFile(b.path("repo/.gitignore"), []byte("*.gen\n"), 0o644))
	b.do(os.WriteFile(b.path("repo/app/sub/.gitignore"), []byte("/c.txt\n"), 0o644))
	b.watch(func(x *Tree) { x.Paths, x.Dir, x.Gitignore = []string{b.path("repo/app")}, b.path("repo/app"), true })
	b.write("repo/app/b.gen")
	b.write("repo/app/sub/c.txt")
	b.write("repo/app/a.js")
	if x := b.next("a.js"); x.Count != 1 {
		t.Errorf("want a.js only, got %v", x)
	}
	b.do(os.WriteFile(b.path("repo/app/sub/.gitignore"), []byte("other\n"), 0o644))
	b.eventually("the new rules hold", func() bool {
		b.write("repo/app/sub/c.txt")
		select {
		case <-b.bursts:
			return true
		case <-time.After(200 * time.Millisecond):
			return false
		}
	})
}

// TestNewFolders: what is in them is seen, however soon it was there.
func TestNewFolders(t *testing.T) {
	b := newBench(t, "a.js")
	b.watch(nil)
	for i := range 20 {
		deep := fmt.Sprintf("n%d/x/y/z/f", i)
		b.write(deep)
		b.next(deep)
		b.write(deep)
		b.next(deep)
	}
	b.do(os.Rename(b.path("n0"), b.path("m0")))
	b.next("n0", "m0/x/y/z/f")
	b.write("m0/x/y/z/f")
	if x := b.next("m0/x/y/z/f"); x.Count != 1 {
		t.Errorf("want one name, got %v", x)
	}
	b.do(os.RemoveAll(b.path("m0")))
	b.next("m0/x/y/z/f")
	b.write("m0/x/y/z/f")
	b.next("m0/x/y/z/f")
}

// TestASingleFile is replaced as editors do it, removed, and made anew.
func TestASingleFile(t *testing.T) {
	b := newBench(t, "conf/.env", "conf/other")
	b.watch(func(x *Tree) { x.Paths = []string{b.path("conf/.env")} })
	b.only("conf/.env", func() { b.write("conf/other") })
	b.write("conf/new")
	b.do(os.Rename(b.path("conf/new"), b.path("conf/.env")))
	b.next("conf/.env")
	b.do(os.Remove(b.path("conf/.env")))
	b.eventually("it is missed", func() bool { s, _ := b.w.State("web"); return len(s.Missing) == 1 })
	b.write("conf/.env")
	b.next("conf/.env")
	b.only("conf/.env", func() {})
}

// TestAPathThatVanishes is waited for: a restart meanwhile would find nothing.
func TestAPathThatVanishes(t *testing.T) {
	b := newBench(t, "app/a.js", "app/lib/b.js")
	b.watch(func(x *Tree) { x.Paths, x.Dir = []string{b.path("app")}, b.path("app") })
	b.do(os.RemoveAll(b.path("app")))
	b.eventually("it is missed", func() bool { s, _ := b.w.State("web"); return len(s.Missing) == 1 })
	if len(b.bursts) > 0 {
		t.Errorf("it was told of %v", <-b.bursts)
	}
	b.write("app/a.js")
	b.next("a.js")
	b.write("app/a.js")
	b.next("a.js")
	if !strings.Contains(b.said(), "is not there") {
		t.Errorf("nothing was said of it: %s", b.said())
	}
}

// TestALinkThatIsSwitched, as a deployment does it.
func TestALinkThatIsSwitched(t *testing.T) {
	b := newBench(t, "releases/1/a.js", "releases/2/a.js")
	b.do(os.Symlink("releases/1", b.path("current")))
	b.watch(func(x *Tree) { x.Paths, x.Dir = []string{b.path("current")}, b.path("current") })
	b.write("releases/1/a.js")
	b.next("a.js")
	b.do(os.Symlink("releases/2", b.path("next")))
	b.do(os.Rename(b.path("next"), b.path("current")))
	b.next(b.path("current"))
	b.write("releases/1/a.js")
	b.write("releases/2/a.js")
	if x := b.next("a.js"); x.Count != 1 {
		t.Errorf("want one name, got %v", x)
	}
	b.write("releases/2/b.js")
	b.next("b.js")
}

func TestLinks(t *testing.T) {
	b := newBench(t, "app/a.js", "shared/s.js")
	b.do(os.Symlink("../shared", b.path("app/lib")))
	b.do(os.Symlink("..", b.path("shared/up"))) // a circle
	b.watch(func(x *Tree) { x.Paths = []string{b.path("app")} })
	b.only("app/a.js", func() { b.write("shared/s.js") })
	b.watch(func(x *Tree) { x.Paths, x.Follow = []string{b.path("app")}, true })
	b.eventually("the link is followed", func() bool { s, _ := b.w.State("web"); return s.Folders > 1 })
	b.write("shared/s.js")
	b.next("app/lib/s.js")
}

// TestWhatIsNoFile: programs make sockets where they run, and remove them.
func TestWhatIsNoFile(t *testing.T) {
	b := newBench(t, "a.js")
	b.do(syscall.Mkfifo(b.path("old"), 0o600))
	b.watch(nil)
	b.only("a.js", func() {
		b.do(os.Remove(b.path("old")))
		for range 3 {
			b.do(syscall.Mkfifo(b.path("pipe"), 0o600))
			b.do(os.Remove(b.path("pipe")))
		}
		b.do(os.Mkdir(b.path("empty"), 0o700))
	})
}

// TestLimits: when the kernel gives no more watches the files are looked at.
func TestLimits(t *testing.T) {
	b := newBench(t, "a.js", "x/b.js", "y/c.js")
	given := 2
	limit := "1"
	var mu sync.Mutex // guards both
	b.w.open = func() (*source, error) {
		mu.Lock()
		defer mu.Unlock()
		from, err := openSource()
		if err != nil {
			return nil, err
		}
		add := from.add
		from.add = func(path string) error {
			mu.Lock()
			defer mu.Unlock()
			if given--; given < 0 {
				return syscall.ENOSPC
			}
			return add(path)
		}
		return from, nil
	}
	b.w.limit = func() string { mu.Lock(); defer mu.Unlock(); return limit }
	b.watch(nil)
	s, _ := b.w.State("web")
	if s.Polls == 0 || !strings.Contains(s.Trouble, "sysctl fs.inotify.max_user_watches=") || s.Folders != 3 {
		t.Errorf("it is watched so: %+v", s)
	}
	b.write("y/c.js")
	b.next("y/c.js")
	b.do(os.Remove(b.path("x/b.js")))
	b.next("x/b.js")
	b.write("z/d.js")
	b.next("z/d.js")
	if n := strings.Count(b.said(), "(sysctl "); n != 1 {
		t.Errorf("the remedy was said %d times: %s", n, b.said())
	}
	mu.Lock()
	given, limit = 100, "2"
	mu.Unlock()
	b.eventually("it is told again", func() bool { s, _ := b.w.State("web"); return s.Polls == 0 && s.Trouble == "" })
	b.write("y/c.js")
	b.next("y/c.js")
}

func TestNoInotify(t *testing.T) {
	b := newBench(t, "a.js")
	b.w.open = func() (*source, error) { return nil, syscall.EMFILE }
	b.watch(nil)
	b.write("a.js")
	b.next("a.js")
	if !strings.Contains(b.said(), "max_user_instances=") {
		t.Error(b.said())
	}
}

func TestPollingByChoice(t *testing.T) {
	b := newBench(t, "a.js", "node_modules/x")
	b.watch(func(x *Tree) { x.Poll = 100 * time.Millisecond })
	b.only("a.js", func() { b.write("node_modules/x") })
	if s, _ := b.w.State("web"); s.Polls < 100*time.Millisecond || s.Trouble != "" {
		t.Errorf("it is watched so: %+v", s)
	}
}

// TestOverflow: what the kernel had no room for is found by looking.
func TestOverflow(t *testing.T) {
	b := newBench(t, "a.js", "old.js", "lib/gone.js")
	old := time.Now().Add(-time.Hour)
	b.do(os.Chtimes(b.path("old.js"), old, old))
	events, failures := make(chan fsnotify.Event), make(chan error)
	b.w.open = func() (*source, error) { // one that hears nothing
		nothing := func(string) error { return nil }
		return &source{events: events, errors: failures, add: nothing, remove: nothing, close: func() error { return nil }}, nil
	}
	b.watch(nil)
	b.write("new/n.js")
	events <- fsnotify.Event{Name: b.path("a.js"), Op: fsnotify.Write}
	failures <- fsnotify.ErrEventOverflow
	x := b.next("a.js", "new/n.js")
	s, _ := b.w.State("web")
	if s.Folders != 3 {
		t.Errorf("it is watched so: %+v; %v", s, x)
	}
}

// TestSet: an app that is set again is watched on without a gap, one that is not set is not.
func TestSet(t *testing.T) {
	b := newBench(t, "a.js")
	b.watch(nil)
	b.write("a.js")
	b.watch(func(x *Tree) { x.Ignore = []string{"b.js"} })
	b.next("a.js")
	b.w.Set(nil)
	b.eventually("it is given up", func() bool { _, ok := b.w.State("web"); return !ok })
	b.write("a.js")
	b.watch(nil)
	b.only("c.js", func() {})
}

func TestBurst(t *testing.T) {
	t.Parallel()
	const delay = 200 * time.Millisecond
	begin := time.Now()
	var b burst
	if !b.due(delay).IsZero() {
		t.Error("nothing is due before anything has changed")
	}
	for at := time.Duration(0); at < time.Minute; at += delay / 2 {
		b.add(begin.Add(at), "f")
		if due := b.due(delay).Sub(begin); due != min(at+delay, longestWait) {
			t.Fatalf("after changes up to %v it is due at %v", at, due)
		}
	}
	b.held = true
	if !b.due(delay).IsZero() {
		t.Error("it is due though it waits")
	}
}

// TestWhatTheKernelMakesUp: who watches all of a machine doesn't watch its processes.
func TestWhatTheKernelMakesUp(t *testing.T) {
	t.Parallel()
	var st syscall.Stat_t
	if err := syscall.Stat("/", &st); err != nil {
		t.Fatal(err)
	}
	root := &dir{real: "/", dev: st.Dev}
	for path, want := range map[string]bool{"/proc": false, "/sys": false, os.TempDir(): true, "/nowhere": false} {
		if d := (&dir{real: path, up: root}); d.look() != want {
			t.Errorf("%s: %v, want %v", path, !want, want)
		}
	}
}

// TestTrouble: what can't be watched is said, and the rest is watched.
func TestTrouble(t *testing.T) {
	b := newBench(t, "a.js", "secret/s")
	denied := b.path("secret")
	b.w.open = func() (*source, error) {
		from, err := openSource()
		if err != nil {
			return nil, err
		}
		add := from.add
		from.add = func(path string) error {
			if path == denied {
				return syscall.EACCES
			}
			return add(path)
		}
		return from, nil
	}
	b.watch(nil)
	if s, _ := b.w.State("web"); !strings.Contains(s.Trouble, denied+" can't be watched: permission denied") || !strings.Contains(b.said(), s.Trouble) {
		t.Errorf("%+v; it said %s", s, b.said())
	}
	b.only("a.js", func() { b.write("secret/s") })
}

// TestTwoTrees may watch the same folder.
func TestTwoTrees(t *testing.T) {
	b := newBench(t, "a.js")
	tree := Tree{Paths: []string{b.dir}, Dir: b.dir, Delay: 100 * time.Millisecond}
	b.w.Set(map[string]Tree{"one": tree, "two": tree})
	b.eventually("both are watched", func() bool { _, one := b.w.State("one"); _, two := b.w.State("two"); return one && two })
	b.write("a.js")
	b.next("a.js")
	b.next("a.js")
	b.w.Set(map[string]Tree{"two": tree})
	b.eventually("one is given up", func() bool { _, one := b.w.State("one"); return !one })
	b.only("a.js", func() {})
}
