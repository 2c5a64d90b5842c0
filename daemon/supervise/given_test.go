package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// told is a pipe's reading end with some text in it.
func told(t *testing.T, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return r
}

// output runs a command to its end, and is what it writes.
func output(t *testing.T, k *OSKernel, c Command, l Launch) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ended := make(chan struct{})
	l.Out = w
	ch, err := k.Spawn(c, l, func() { close(ended) })
	l.close()
	if err != nil {
		t.Fatal(err)
	}
	defer ch.Release()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	ch.Reap(false, func(Exit) {})
	return string(text)
}

// TestInAndInherit: a program finds what it is given at the same numbers, whoever forks it:
// we, the thread, or a thread of its own; and nothing besides.
func TestInAndInherit(t *testing.T) {
	t.Parallel()
	const say = `read line; echo "in: $line"; for fd in 3 4 5; do if [ -e /proc/self/fd/$fd ]; then echo "$fd: $(cat <&$fd)"; fi; done`
	for name, prepare := range map[string]func(*OSKernel, *Launch){
		"directly":      func(k *OSKernel, _ *Launch) { k.spawner.few = 1000 },
		"by the thread": func(k *OSKernel, _ *Launch) { k.spawner.few = -1 },
		"alone":         func(_ *OSKernel, l *Launch) { l.Thread = func() error { return nil } },
	} {
		k := newTestKernel(t)
		for n := range 3 {
			l := Launch{}
			want := "in: \n"
			if n > 0 {
				l.In = told(t, "hello\n")
				want = "in: hello\n"
			}
			for i := range n {
				l.Inherit = append(l.Inherit, told(t, fmt.Sprint("given ", i)))
				want += fmt.Sprintf("%d: given %d\n", 3+i, i)
			}
			prepare(k, &l)
			if got := output(t, k, shell(say), l); got != want {
				t.Errorf("%s, %d files: it says %q, want %q", name, n, got, want)
			}
		}
	}
}

// TestMoreInheritedThanTheThreadTakes: they come by a thread of the program's own.
func TestMoreInheritedThanTheThreadTakes(t *testing.T) {
	t.Parallel()
	k := newTestKernel(t)
	k.spawner.few = -1
	l := Launch{}
	for i := range maxInherit + 5 {
		l.Inherit = append(l.Inherit, told(t, fmt.Sprintf("given %d\n", i)))
	}
	c := shell(fmt.Sprintf("cat /proc/self/fd/3 /proc/self/fd/%d", 3+maxInherit+4))
	if got, want := output(t, k, c, l), fmt.Sprintf("given 0\ngiven %d\n", maxInherit+4); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// TestSession: what is no incarnation has a session of its own, is no stray, alive or dead,
// and can be ended with its group.
func TestSession(t *testing.T) {
	t.Parallel()
	for _, few := range []int{-1, 1000} {
		k := newTestKernel(t)
		k.spawner.few = few
		home := t.TempDir()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		c := shell("sleep 1000 & echo; exec sleep 1000")
		c.Session, c.Env = true, append(os.Environ(), "GOPM_HOME="+home, "pm_id=3")
		ended := make(chan struct{})
		ch, err := k.Spawn(c, Launch{Out: w}, func() { close(ended) })
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := ch.Identity()
		if _, err := r.Read(make([]byte, 1)); err != nil { // its child is there
			t.Fatal(err)
		}
		sid, err := unix.Getsid(pid)
		if pg, e := unix.Getpgid(pid); sid != pid || pg != pid || errors.Join(err, e) != nil {
			t.Errorf("few %d: process %d has session %d, group %d", few, pid, sid, pg)
		}
		isStray := func() bool {
			strays, err := k.Strays(home, 0)
			if err != nil {
				t.Error(err)
			}
			for _, s := range strays {
				if s.Pid == pid {
					return true
				}
			}
			return false
		}
		if isStray() {
			t.Errorf("few %d: it is taken for a stray", few)
		}
		if err := ch.Signal(syscall.SIGKILL, true); err != nil {
			t.Error(err)
		}
		<-ended
		if isStray() {
			t.Errorf("few %d: dead, it is taken for a stray", few)
		}
		if _, err := io.ReadAll(r); err != nil { // ends with the last who has the pipe
			t.Error(err)
		}
		ch.Reap(false, func(Exit) {})
		ch.Release()
	}
}

// TestBeforePartAndAskForReal: a program is prepared, has something done before its end, and
// is asked for that in another way than by a signal.
func TestBeforePartAndAskForReal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "prepared")
	c := shell(`trap 'echo signal; exit 1' INT TERM; cat prepared; echo; read line; echo "asked: $line"; cat parted`)
	c.Dir = dir
	pol := realPolicy()
	pol.PreStop, pol.StopExitCodes = 20*time.Second, []int{0}
	in, asks, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer asks.Close()
	s := newScene(t, shell("exit 0"), realPolicy()) // whose pipe and kernel are used
	p := New(Config{Command: c, Policy: pol, Kernel: s.kernel,
		Launch: func(inc uint64) (Launch, error) {
			l, err := s.launch(inc)
			l.In = in
			l.Before = func(context.Context) error { return os.WriteFile(path, []byte("well prepared"), 0o644) }
			return l, err
		},
		Part: func(_ uint64, parted func()) {
			go func() { // ends at once; the actor waits for it
				if err := os.WriteFile(filepath.Join(dir, "parted"), []byte("after parting\n"), 0o644); err != nil {
					t.Error(err)
				}
				parted()
			}()
		},
		Ask: func(uint64) bool {
			_, err := asks.WriteString("please\n")
			return err == nil
		},
	})
	t.Cleanup(p.Close)
	p.Start()
	if got := s.line(); got != "well prepared" {
		t.Errorf("it says %q", got)
	}
	p.Stop()
	for _, want := range []string{"asked: please", "after parting"} {
		if got := s.line(); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	n := await(t, p, "stopped", func(n Snapshot) bool { return n.Status == StatusStopped })
	if n.LastExit.Code != 0 || n.LastExit.Signal != 0 || !n.LastExit.Requested {
		t.Errorf("it ended as %+v", n.LastExit)
	}
}
