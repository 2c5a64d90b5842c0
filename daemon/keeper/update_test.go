package keeper

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newBinary puts this test's program beside the home under the name "new".
func (h *house) newBinary() string {
	h.Helper()
	self, err := os.Executable()
	h.must(err)
	path := h.home + "/new"
	if os.Link(self, path) == nil {
		return path
	}
	from, err := os.Open(self)
	h.must(err)
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o700)
	h.must(err)
	_, err = io.Copy(to, from)
	h.must(err)
	h.must(to.Close())
	return path
}

func (h *house) keeperExe() string {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", h.cmd.Process.Pid))
	return filepath.Base(exe)
}

// Keeper and daemon become the new binary; nothing else notices.
func TestUpdate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	binary := h.newBinary()
	main, ended := d.spawn("exec sleep 100"), d.spawn("exit 9")
	d.putPipe("i/1", main, "kept")
	d.ask(request{Do: "put", Key: "i/2", Main: ended, Note: "\x00é\"\n"})
	d.do("ready")
	d = d.kill() // so that both are the keeper's children
	d.do("ready")
	d.ask(request{Do: "deadline", Key: "d", Main: d.spawn("exec sleep 100"), N: 600_000})
	d.ask(request{Do: "handover", Text: binary})
	d.exits(0)
	d = h.daemon()
	if filepath.Base(d.Exe) != "new" || d.Before != "handed over" || d.Refused != "" {
		t.Fatalf("%+v", d.hello)
	}
	if got := h.keeperExe(); got == "new" {
		t.Error("the keeper was replaced before the new daemon served")
	}
	d.do("ready")
	d.ask(request{Do: "puts", Key: "busy", N: 10_000}) // while the keeper is being replaced
	eventually(t, "the new keeper", func() bool { return h.keeperExe() == "new" && strings.Contains(h.log(), "has become the new binary") })
	if r := d.ask(request{Do: "collect", Main: ended}); !r.OK || unix.WaitStatus(r.N).ExitStatus() != 9 {
		t.Errorf("collected %+v", r)
	}
	if parent(main.Pid) != h.cmd.Process.Pid || h.lockPid() != h.cmd.Process.Pid {
		t.Error("the app or the lock is lost")
	}
	orphan := d.spawn("exec sleep 100") // falls to the keeper: still a subreaper
	d = d.kill()
	if filepath.Base(d.Exe) != "new" || d.Before != "was killed by SIGKILL" || len(d.Entries) != 3 || d.entry("busy").Note != "9999" {
		t.Errorf("%+v", d.hello)
	}
	if parent(orphan.Pid) != h.cmd.Process.Pid {
		t.Error("an orphan has gone elsewhere")
	}
	if e := d.entry("i/2"); e.Note != "\x00é\"\n" || e.Main != ended {
		t.Errorf("%+v", e)
	}
	if got := d.ask(request{Do: "read", Key: "i/1"}).Text; got != "kept" {
		t.Errorf("pipe: %q", got)
	}
	if fds := open(t, h.cmd.Process.Pid); strings.Contains(strings.Join(fds, " "), "memfd") {
		t.Errorf("the memory is still open: %v", fds)
	}
	d.do("leaving")
	d.exits(0)
	if code := h.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// open lists what a process has open.
func open(t *testing.T, pid int) (list []string) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, _ := os.Readlink(dir + "/" + e.Name())
		list = append(list, target)
	}
	return list
}

// Whatever is wrong with the new binary, the old one comes back and says why.
func TestUpdateRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(h *house) string
		refused string
	}{
		"ends": {func(h *house) string {
			h.behave("behave.new", "exit 3")
			return h.newBinary()
		}, "its daemon exited with code 3 before it served"},
		"hangs": {func(h *house) string {
			h.behave("behave.new", "hang")
			return h.newBinary()
		}, "its daemon did not serve within 1s"},
		"no program": {func(h *house) string {
			h.behave("text", "this is no program")
			h.must(os.Chmod(h.home+"/text", 0o700))
			return h.home + "/text"
		}, "exec format error"},
		"another program": {func(*house) string { return "/bin/true" }, "its daemon exited with code 0 before it served"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "KEEPER_TEST_TRIAL=1s")
			d := h.daemon()
			d.putPipe("i/1", Main{}, "kept")
			d.do("ready")
			d.ask(request{Do: "handover", Text: test.prepare(h)})
			d.exits(0)
			d = h.daemon()
			if !strings.Contains(d.Refused, test.refused) || filepath.Base(d.Exe) == "new" {
				t.Errorf("refused %q by %s, want %q", d.Refused, d.Exe, test.refused)
			}
			if got := d.ask(request{Do: "read", Key: "i/1"}).Text; got != "kept" {
				t.Errorf("pipe: %q", got)
			}
			d.do("ready")
			if d = d.kill(); d.Refused != "" {
				t.Errorf("the reason is told again: %q", d.Refused)
			}
		})
	}
}

// A daemon that wants to hand over and doesn't end is killed; the next one is new.
func TestUpdateOfADaemonThatHangs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "KEEPER_TEST_TRIAL=1s")
	d := h.daemon()
	d.do("ready")
	d.ask(request{Do: "handover", Text: h.newBinary()})
	if d = h.daemon(); filepath.Base(d.Exe) != "new" || d.Before != "was killed by SIGKILL" {
		t.Errorf("%+v", d.hello)
	}
}

// A guest is replaced like any other keeper.
func TestUpdateOfAGuest(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	h.must(h.cmd.Process.Kill())
	h.cmd.Wait()
	d.do("lost")
	guest := d.ask(request{Do: "guest"}).N
	d.putPipe("i/1", Main{}, "kept")
	d.do("ready")
	d.ask(request{Do: "handover", Text: h.newBinary()})
	d.exits(0)
	d = h.daemon()
	if filepath.Base(d.Exe) != "new" || d.Before != "handed over" || d.Keeper != guest {
		t.Fatalf("%+v", d.hello)
	}
	d.do("ready")
	eventually(t, "the new keeper", func() bool { return strings.Contains(h.log(), "has become the new binary") })
	if d = d.kill(); d.Keeper != guest || d.Before != "was killed by SIGKILL" {
		t.Errorf("%+v", d.hello)
	}
	if got := d.ask(request{Do: "read", Key: "i/1"}).Text; got != "kept" {
		t.Errorf("pipe: %q", got)
	}
}
