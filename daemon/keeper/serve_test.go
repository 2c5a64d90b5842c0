package keeper

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The daemon's death is a non-event: the next one has everything, as it was.
func TestDaemonIsRevivedWithEverything(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	if d.Before != "" || len(d.Entries) != 0 || d.Keeper != h.cmd.Process.Pid {
		t.Fatalf("a fresh daemon: %+v", d.hello)
	}
	for i := range 3 {
		d.putPipe(fmt.Sprintf("i/%d", i), Main{}, fmt.Sprintf("text %d", i))
	}
	main := d.spawn("exec sleep 100")
	d.ask(request{Do: "put", Key: "i/1", Main: main, Note: "newer"}) // the file stays
	d.ask(request{Do: "put", Key: "x", Note: "dropped"})
	d.ask(request{Do: "drop", Key: "x"})
	d.do("ready")
	d.ask(request{Do: "put", Key: "last", Note: "\x00\n"})
	d = d.kill()
	if d.Before != "was killed by SIGKILL" || d.Keeper != h.cmd.Process.Pid {
		t.Errorf("%+v", d.hello)
	}
	keys := ""
	for _, e := range d.Entries {
		keys += e.Key + " "
	}
	if keys != "i/0 i/1 i/2 last " {
		t.Errorf("keys %q", keys)
	}
	if e := d.entry("i/1"); e.Note != "newer" || e.Main != main || e.Files != 1 {
		t.Errorf("%+v", e)
	}
	for i := range 3 {
		if got := d.ask(request{Do: "read", Key: fmt.Sprintf("i/%d", i)}).Text; got != fmt.Sprintf("text %d", i) {
			t.Errorf("pipe %d: %q", i, got)
		}
	}
	if parent(main.Pid) != h.cmd.Process.Pid {
		t.Error("the app has not fallen to the keeper")
	}
	d.do("ready")
	d = d.kill()
	if len(d.Entries) != 4 {
		t.Errorf("the third daemon: %v", d.Entries)
	}
	d.do("leaving")
	d.exits(0)
	if code := h.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What ended while no daemon was there keeps its exit code until it is asked for.
func TestExitCodeOfTheGap(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	main := d.spawn("exec sleep 100")
	stray := d.spawn("exit 3") // just forked: never put
	d.ask(request{Do: "put", Key: "i/1", Main: main})
	d.do("ready")
	d = d.kill()
	h.must(unix.Kill(main.Pid, unix.SIGTERM))
	eventually(t, "two zombies", func() bool { return state(main.Pid) == 'Z' && state(stray.Pid) == 'Z' })
	if r := d.ask(request{Do: "collect", Main: stray}); !r.OK || unix.WaitStatus(r.N).ExitStatus() != 3 {
		t.Errorf("stray: %+v", r)
	}
	stranger := d.spawn("(exec sleep 0.01) & exit 0") // leaves an orphan that ends
	d.do("ready")
	// Strangers are reaped behind the back of the one that is held.
	eventually(t, "the keeper's children", func() bool {
		return state(main.Pid) == 'Z' && state(stray.Pid) == 0 && len(childrenOf(h.cmd.Process.Pid)) == 2
	})
	// The daemon's own child, which it doesn't reap, isn't the keeper's business.
	eventually(t, "the daemon's child", func() bool { return state(stranger.Pid) == 'Z' })
	if r := d.ask(request{Do: "collect", Main: main}); !r.OK || unix.WaitStatus(r.N).Signal() != unix.SIGTERM {
		t.Errorf("main: %+v", r)
	}
	if state(main.Pid) != 0 {
		t.Error("collected, but not reaped")
	}
	for _, pid := range []int{main.Pid, d.Pid, 1 << 22} {
		if r := d.ask(request{Do: "collect", Main: Main{Pid: pid}}); r.OK {
			t.Errorf("collected %d: %+v", pid, r)
		}
	}
}

// childrenOf lists the children of any process.
func childrenOf(pid int) (list []int) {
	for _, p := range processes() {
		if p.ppid == pid {
			list = append(list, p.pid)
		}
	}
	return list
}

// What has ended is reaped once no entry speaks of it any more.
func TestForgottenMainIsReaped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	main, other := d.spawn("exit 1"), d.spawn("exit 2")
	d.ask(request{Do: "put", Key: "i/1", Main: main})
	d.ask(request{Do: "put", Key: "i/2", Main: other})
	d.do("ready")
	d = d.kill()
	d.do("ready")
	eventually(t, "zombies", func() bool { return state(main.Pid) == 'Z' && state(other.Pid) == 'Z' })
	d.ask(request{Do: "put", Key: "i/1", Main: Main{}})
	d.ask(request{Do: "drop", Key: "i/2"})
	eventually(t, "nobody", func() bool { return state(main.Pid) == 0 && state(other.Pid) == 0 })
}

func TestGivesUpAfterFive(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.do("listen")
	d.ask(request{Do: "put", Key: "api", Files: 1})
	d.putPipe("i/1", Main{}, "still here")
	d.do("ready")
	h.behave("behave", "crash")
	h.must(unix.Kill(d.Pid, unix.SIGKILL))
	given := func(times int) func() bool {
		return func() bool { return strings.Count(h.log(), "giving up") == times }
	}
	eventually(t, "the end of its patience", given(1))
	if text := h.log(); strings.Count(text, "exited with code 2 after") > 4 || !strings.Contains(text, "exited with code 2, the 5th in a row") {
		t.Errorf("log:\n%s", text)
	}
	eventually(t, "clients to be refused", func() bool {
		_, err := net.Dial("unix", h.home+"/api.sock")
		return err != nil
	})
	h.must(h.cmd.Process.Signal(unix.SIGUSR1))
	eventually(t, "five more", given(2))
	h.behave("behave", "")
	h.must(h.cmd.Process.Signal(unix.SIGUSR1))
	d = h.daemon()
	if got := d.ask(request{Do: "read", Key: "i/1"}).Text; got != "still here" || len(d.Entries) != 1 || d.Before != "exited with code 2" {
		t.Errorf("%q %+v", got, d.hello)
	}
	h.must(unix.Kill(d.Pid, unix.SIGKILL))
	h.behave("behave", "exit 4") // before it even looks at what it is given
	eventually(t, "five that never served", given(3))
	h.must(h.cmd.Process.Signal(unix.SIGTERM))
	if code := h.exit(); code != 1 || !strings.Contains(h.log(), "the apps go on") {
		t.Errorf("exit code %d, log:\n%s", code, h.log())
	}
}

// A daemon that never served and has nothing has told its starter why.
func TestFirstDaemonThatFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.exits(5)
	if code := h.exit(); code != 5 || !strings.Contains(h.log(), "the daemon exited with code 5") {
		t.Errorf("exit code %d, log:\n%s", code, h.log())
	}
}

// The keeper dies: the daemon makes a new one, which revives like any other.
func TestGuestKeeper(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	d.do("ready")
	h.must(h.cmd.Process.Kill())
	h.cmd.Wait()
	d.do("lost")
	guest := d.ask(request{Do: "guest"}).N
	d.putPipe("i/1", Main{}, "once more")
	d.do("ready")
	eventually(t, "the guest's lock", func() bool { return h.lockPid() == guest })
	if d = d.kill(); !strings.Contains(d.Before, "how is not known") || !d.Elsewhere || d.Keeper != guest {
		t.Errorf("%+v, log:\n%s", d.hello, h.log())
	}
	if d = d.kill(); d.Before != "was killed by SIGKILL" || !d.Elsewhere { // nobody has looked for them yet
		t.Errorf("%+v", d.hello)
	}
	if got := d.ask(request{Do: "read", Key: "i/1"}).Text; got != "once more" {
		t.Errorf("pipe: %q", got)
	}
	d.do("ready")
	if d = d.kill(); d.Elsewhere {
		t.Errorf("%+v", d.hello)
	}
}

// A keeper that was told nothing yet when the daemon died, too, still revives it: what
// is on the disk may be enough.
func TestGuestThatWasToldNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	h.must(h.cmd.Process.Kill())
	h.cmd.Wait()
	d.do("lost")
	guest := d.ask(request{Do: "guest"}).N
	eventually(t, "the guest's lock", func() bool { return h.lockPid() == guest })
	if d = d.kill(); len(d.Entries) != 0 || !d.Elsewhere {
		t.Errorf("%+v", d.hello)
	}
}

// A daemon that had ended before its new keeper could look.
func TestGuestDaemonThatIsGone(t *testing.T) {
	t.Parallel()
	near, far, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(far)
	d, err := guestDaemon(1<<22, near, -1)
	if err != nil {
		t.Fatal(err)
	}
	<-d.gone
	if err := d.signal(unix.SIGTERM); err != unix.ESRCH {
		t.Error(err)
	}
	d.close()
}
