package logs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gopm/tools/stranger"
)

// The user of an app whose logs a gopm of root writes, and somebody else.
const appUID, otherUID = 54321, 54322

// as does something with the rights of another user.
func as(t *testing.T, uid int, do func() error) {
	t.Helper()
	if err := stranger.Do(uid, do); err != nil {
		t.Fatalf("uid %d: %v", uid, err)
	}
}

// ground is a folder that everybody can enter, with a folder of root's with precious
// files, one of the app's user, one of another's, and one that all can write to.
type ground struct {
	*testing.T
	dir string
}

func newGround(t *testing.T) ground {
	t.Helper()
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := ground{t, dir}
	g.done(os.Chmod(dir, 0o755))
	for name, uid := range map[string]int{"root": 0, "app": appUID, "other": otherUID, "all": 0} {
		g.done(os.Mkdir(g.at(name), 0o755))
		g.done(os.Chown(g.at(name), uid, uid))
	}
	g.done(os.Chmod(g.at("all"), 0o1777))
	for _, name := range []string{"root/a.log", "root/a-2020-01-01T00-00-00.000.log", "root/a-2020-01-02T00-00-00.000.log"} {
		put(t, g.at(name), "keep\n")
	}
	return g
}

func (g ground) at(name string) string { return filepath.Join(g.dir, name) }

func (g ground) done(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// isPrecious fails if anything of root's folder has changed.
func (g ground) isPrecious() {
	g.Helper()
	names := listFolder(g.at("root"))
	if len(names) != 3 {
		g.Errorf("root's folder has %q", names)
	}
	for _, name := range names {
		path := g.at("root/" + name)
		var st unix.Stat_t
		g.done(unix.Stat(path, &st))
		if text := content(g.T, path); text != "keep\n" || st.Uid != 0 {
			g.Errorf("root's %s has %q and is uid %d's", name, text, st.Uid)
		}
	}
}

// What is laid in the way of a log is refused where somebody gains by it, and says what is
// wrong; what its owner could do without us is not.
func TestWhatLiesInTheWay(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	link := func(uid int, to, at string) {
		as(t, uid, func() error { return os.Symlink(to, g.at(at)) })
	}
	link(appUID, g.at("root"), "app/evil")
	link(appUID, "../root", "app/near")
	link(appUID, g.at("app/evil"), "app/twice")
	link(appUID, g.at("root/new"), "app/missing")
	link(appUID, "loop", "app/loop")
	as(t, appUID, func() error { return os.MkdirAll(g.at("app/releases/1"), 0o755) })
	link(appUID, "releases/1", "app/current")
	link(otherUID, g.at("root"), "all/evil")
	link(0, g.at("root"), "all/rootsown")
	g.done(os.Mkdir(g.at("roots"), 0o755))
	link(0, g.at("app"), "roots/toapp")
	as(t, otherUID, func() error { return os.WriteFile(g.at("all/laid.log"), nil, 0o666) })
	as(t, otherUID, func() error { return unix.Mkfifo(g.at("all/fifo.log"), 0o666) })
	as(t, appUID, func() error { return os.WriteFile(g.at("app/own.log"), nil, 0o600) })
	put(t, g.at("app/roots.log"), "")
	g.done(os.Link(g.at("root/a.log"), g.at("app/hard.log"))) // fs.protected_hardlinks may be 0
	link(appUID, g.at("root/a.log"), "app/soft.log")
	p, _ := startPump(t)
	for path, says := range map[string]string{
		"app/evil/a.log":        "evil on the way there is a link of uid 54321",
		"app/evil/new.log":      "isn't his",
		"app/near/new.log":      "isn't his",
		"app/twice/new.log":     "isn't his",
		"app/missing/new.log":   "no such file",
		"app/loop/new.log":      "too many levels of symbolic links",
		"all/evil/new.log":      "isn't his",
		"all/laid.log":          "belongs to uid 54322",
		"all/fifo.log":          "belongs to uid 54322",
		"app/hard.log":          "second name of another file",
		"app/soft.log":          "is a link to",
		"app/own.log":           "",
		"app/roots.log":         "",
		"app/new.log":           "",
		"app/sub/folder/n.log":  "",
		"app/current/n.log":     "",
		"app/current/sub/n.log": "",
		"roots/toapp/via.log":   "",
		"all/fresh.log":         "",
	} {
		s, err := p.Open(Target{Path: g.at(path), UID: appUID, GID: appUID})
		switch {
		case err == nil && says != "":
			t.Errorf("%s was opened", path)
		case err != nil && (says == "" || !strings.Contains(err.Error(), says)):
			t.Errorf("%s: %v", path, err)
		case err == nil:
			var st unix.Stat_t
			if err := unix.Stat(g.at(path), &st); err != nil || st.Uid != appUID && path != "app/roots.log" {
				t.Errorf("%s: uid %d, %v", path, st.Uid, err)
			}
			s.Close()
		}
	}
	g.isPrecious()
}

// While logs are written, rotated, compressed, emptied, opened anew and removed, the app's
// user exchanges their folder, and the log itself, for links to root's again and again.
func TestFolderIsSwappedForALink(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	path := g.at("app/logs/a.log")
	as(t, appUID, func() error { return os.Mkdir(g.at("app/logs"), 0o755) })
	p, _ := startPump(t)
	s, w := openStream(t, p, Target{Path: path, UID: appUID, GID: appUID, Rotation: Rotation{MaxSize: 200, Retain: 1, Compress: true}})
	stop := make(chan struct{})
	var attack sync.WaitGroup
	var swaps atomic.Int64
	attack.Go(func() { // ended by stop
		as(t, appUID, func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				if os.Rename(g.at("app/logs"), g.at("app/aside")) == nil {
					_ = os.Symlink(g.at("root"), g.at("app/logs")) // gopm may have made a folder there
					runtime.Gosched()
					_ = os.Remove(g.at("app/logs"))
					_ = os.Rename(g.at("app/aside"), g.at("app/logs"))
					swaps.Add(1)
				}
				if i%7 == 0 {
					_ = os.Remove(path)
					_ = os.Symlink(g.at("root/a.log"), path)
					runtime.Gosched()
					_ = os.Remove(path)
				}
				if _, err := os.Lstat(g.at("app/logs")); err == nil { // so that it goes on whatever gopm has made
					_ = os.RemoveAll(g.at("app/aside"))
				}
			}
		})
	})
	const rounds, enough = 300, 30
	end := time.Now().Add(20 * time.Second)
	for i := 0; i < rounds || swaps.Load() < enough && time.Now().Before(end); i++ {
		write(t, w, strings.Repeat("x", 150)+"\n")
		flush(t, s)
		_ = s.Reopen() // refused as often as not
		if i%5 == 0 {
			_ = s.Truncate()
			_, _ = Trim([]string{path}, 0)
			if more, err := p.Open(Target{Path: path, UID: appUID, GID: appUID}); err == nil {
				more.Close()
			}
		}
	}
	close(stop)
	attack.Wait()
	t.Logf("%d swaps, %d rotations", swaps.Load(), s.Stats().Rotations)
	if n := swaps.Load(); n < enough {
		t.Errorf("only %d swaps: nothing was shown", n)
	}
	g.isPrecious()
	// Afterwards the log works as ever.
	os.RemoveAll(g.at("app/aside"))
	eventually(t, func() error {
		_ = s.Reopen()
		write(t, w, "afterwards\n")
		flush(t, s)
		if text, err := os.ReadFile(path); err != nil || !bytes.Contains(text, []byte("afterwards\n")) {
			return fmt.Errorf("%q, %v", text, err)
		}
		return nil
	})
}

// What others can do in their folder, links apart, stays there: a walk that makes folders
// makes none behind a link.
func TestOpenFolderMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	f, err := OpenFolder(g.at("app/one/two"))
	g.done(err)
	defer f.Close()
	for _, dir := range []string{"app/one", "app/one/two"} {
		info, err := os.Stat(g.at(dir))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
	w := way{} // as on a kernel without openat2, or where a filter refuses it
	fd, err := w.from("/", g.at("app/./one//two"))
	g.done(err)
	defer unix.Close(fd)
	var one, two unix.Stat_t
	g.done(unix.Fstat(fd, &one))
	g.done(unix.Fstat(int(f.Fd()), &two))
	if idOf(&one) != idOf(&two) {
		t.Errorf("the walk has come to %v, not to %v", idOf(&one), idOf(&two))
	}
	as(t, appUID, func() error { return os.Symlink(g.at("root/new"), g.at("app/dangling")) })
	if _, err := OpenFolder(g.at("app/dangling/x")); err == nil {
		t.Error("a folder was made behind a link")
	}
	if _, err := OpenFolder(g.at("root/a.log/x")); err == nil {
		t.Error("a file was taken for a folder")
	}
	g.isPrecious()
}
