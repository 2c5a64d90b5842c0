package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// notebook plays the daemon and the keeper for a store.
type notebook struct {
	mu    sync.Mutex
	text  string
	envs  map[string][]string
	told  map[string]string
	print []string
}

func (n *notebook) document(sequence uint64) document {
	n.mu.Lock()
	defer n.mu.Unlock()
	text := fmt.Sprintf(`{"format": 1, "sequence": %d, "gopm": %q, "complete": true}`, sequence, n.text)
	return document{[]byte(text), n.envs}
}

func (n *notebook) write(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = text
}

func (n *notebook) entrust(key string, f *os.File) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f == nil {
		delete(n.told, key)
		return
	}
	text, err := readMemory(f)
	if err != nil {
		panic(err)
	}
	n.told[key] = string(text)
}

func (n *notebook) log(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.print = append(n.print, fmt.Sprintf(format, args...))
}

func openStore(t *testing.T, home api.Home) (*store, *notebook) {
	t.Helper()
	if err := home.Prepare(); err != nil {
		t.Fatal(err)
	}
	n := &notebook{told: map[string]string{}, envs: map[string][]string{}}
	s := newStore(home, n.log, n.document, n.entrust)
	s.open(7)
	return s, n
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for late := time.After(10 * time.Second); !ok(); {
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

// What is committed is on disk when commit returns, and in state.json soon after.
func TestStoreCommit(t *testing.T) {
	t.Parallel()
	home := api.Home{Dir: filepath.Join(t.TempDir(), "h")}
	s, n := openStore(t, home)
	env := []string{"A=1", "SECRET=x y\nz"}
	n.envs[envName(env)] = env
	n.write("first")
	s.commit()
	if st, err := home.LoadState(); err != nil || st.Version != "first" || st.Sequence <= 7 {
		t.Errorf("after the commit: %+v, %v", st, err)
	}
	if got, err := readEnv(home.Env(), envName(env), nil); err != nil || len(got) != 2 || got[1] != env[1] {
		t.Errorf("the environment: %q, %v", got, err)
	}
	until(t, "state.json", func() bool { st, err := api.ReadState(home.State()); return err == nil && st.Version == "first" })
	n.write("second")
	s.changed()
	until(t, "the change", func() bool { st, err := api.ReadState(home.State()); return err == nil && st.Version == "second" })
	for _, path := range []string{home.State(), filepath.Join(home.Env(), envName(env))} {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	n.mu.Lock()
	if n.told[keyState] == "" || n.told[keyEnv+envName(env)] != string(encodeEnv(env)) {
		t.Errorf("the keeper has %q", n.told)
	}
	n.envs = map[string][]string{}
	n.mu.Unlock()
	s.commit()
	until(t, "the environment gone", func() bool {
		_, err := os.Stat(filepath.Join(home.Env(), envName(env)))
		return errors.Is(err, fs.ErrNotExist)
	})
	s.close()
	if _, kept := n.told[keyEnv+envName(env)]; kept {
		t.Error("the keeper still has an environment that nobody needs")
	}
}

// A full disk leaves the last good state, is told once, and heals by itself.
func TestStoreOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("only root can mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	home := api.Home{Dir: filepath.Join(dir, "h")}
	s, n := openStore(t, home)
	defer s.close()
	n.write("good")
	s.commit()
	until(t, "state.json", func() bool { // the second one, which follows each commit: it makes room again
		st, err := api.ReadState(home.State())
		_, next := os.Stat(home.NextState())
		return err == nil && st.Version == "good" && st.Sequence > 1 && errors.Is(next, fs.ErrNotExist)
	})

	fill, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	block := make([]byte, 4096)
	for err == nil {
		_, err = fill.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	n.write("later")
	s.commit()
	if tr := s.trouble.Load(); tr == nil || !errors.Is(tr.err, unix.ENOSPC) {
		t.Errorf("trouble: %+v", tr)
	}
	if text := s.ails(); !strings.Contains(text, "no space left") {
		t.Errorf("it says %q", text)
	}
	if st, err := home.LoadState(); err != nil || st.Version != "good" {
		t.Errorf("on the full disk: %+v, %v", st, err)
	}
	n.mu.Lock()
	if doc, err := api.ParseState([]byte(n.told[keyState])); err != nil || doc.Version != "later" {
		t.Errorf("the keeper has %+v, %v", doc, err)
	}
	n.mu.Unlock()
	if err := os.Remove(fill.Name()); err != nil {
		t.Fatal(err)
	}
	fill.Close()
	until(t, "healing", func() bool { st, err := api.ReadState(home.State()); return err == nil && st.Version == "later" })
	until(t, "no trouble", func() bool { return s.trouble.Load() == nil })
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.print) != 2 {
		t.Errorf("log: %q", n.print)
	}
}

// A disk that takes its time to make one document safe holds up nobody who writes the next.
func TestStoreOnASlowDisk(t *testing.T) {
	t.Parallel()
	home := api.Home{Dir: filepath.Join(t.TempDir(), "h")}
	if err := home.Prepare(); err != nil {
		t.Fatal(err)
	}
	n := &notebook{told: map[string]string{}, envs: map[string][]string{}}
	s := newStore(home, n.log, n.document, n.entrust)
	begun, over := make(chan struct{}, 10), make(chan struct{})
	s.files.sync = func(path string) (os.FileInfo, error) {
		begun <- struct{}{}
		<-over
		return syncFile(path)
	}
	s.open(7)
	for _, text := range []string{"first", "second", "third"} {
		n.write(text)
		s.changed()
		until(t, text, func() bool { st, err := home.LoadState(); return err == nil && st.Version == text })
		switch text {
		case "first":
			<-begun
		case "second":
			over <- struct{}{} // the first is safe; on to what has come meanwhile
			<-begun
		}
	}
	if st, err := api.ReadState(home.State()); err == nil && st.Version != "first" {
		t.Errorf("state.json was replaced before its disk had answered: %+v", st)
	}
	close(over)
	until(t, "state.json", func() bool { st, err := api.ReadState(home.State()); return err == nil && st.Version == "third" })
	s.close()
	names, _ := filepath.Glob(home.State() + "*")
	if len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

// To wait is not to work: a writer that had to wait for long goes on at once.
func TestStoreAfterALongWait(t *testing.T) {
	t.Parallel()
	home := api.Home{Dir: filepath.Join(t.TempDir(), "h")}
	s, n := openStore(t, home)
	defer s.close()
	has := func(text string) func() bool {
		return func() bool { st, err := home.LoadState(); return err == nil && st.Version == text }
	}
	n.write("waited")
	n.mu.Lock() // who writes the document waits, as on a busy machine
	s.changed()
	const wait = time.Second
	<-time.After(wait)
	n.mu.Unlock()
	until(t, "the first", has("waited"))
	n.write("next")
	s.changed()
	began := time.Now()
	until(t, "the change", has("next"))
	if took := time.Since(began); took > (saveShare-1)*wait/2 {
		t.Errorf("written after %v", took)
	}
}

// A document is replaced, never half written over, whatever is in the way.
func TestReplaceLeavesNoTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, []byte("text")); err == nil {
		t.Error("a folder was replaced")
	}
	names, _ := os.ReadDir(dir)
	if len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}
