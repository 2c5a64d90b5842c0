package supervise

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStrays: the leader of a group that carries the home or writes into a pipe is
// one; a daemon of its own, a member of a group, and another home's are not.
func TestStrays(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(w.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	start := func(attr syscall.SysProcAttr, out *os.File, env ...string) int {
		t.Helper()
		cmd := exec.Command("/bin/sleep", "1000")
		cmd.Env, cmd.SysProcAttr, cmd.Stdout = append([]string{"X=1"}, env...), &attr, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	leads := syscall.SysProcAttr{Setpgid: true}
	ours := start(leads, w, "GOPM_HOME="+home, "pm_id=12", "name=shop")
	bare := start(leads, w)
	start(leads, nil, "GOPM_HOME="+home+"2", "pm_id=12")
	start(syscall.SysProcAttr{}, w, "GOPM_HOME="+home, "pm_id=12")
	start(syscall.SysProcAttr{Setsid: true}, w, "GOPM_HOME="+home, "pm_id=12")
	k := newTestKernel(t)
	all, err := k.Strays(home, 0) // below us would be only what has fallen to us
	if err != nil {
		t.Fatal(err)
	}
	var got []Stray
	for _, s := range all {
		if s.ID == 12 || s.Pipes[0] == st.Ino {
			s.Started = t0
			got = append(got, s)
		}
	}
	want := []Stray{
		{Run: Run{Pid: ours, Started: t0}, Parent: os.Getpid(), Pipes: [2]uint64{st.Ino, 0}, ID: 12, Name: "shop"},
		{Run: Run{Pid: bare, Started: t0}, Parent: os.Getpid(), Pipes: [2]uint64{st.Ino, 0}, ID: -1},
	}
	for i := range want {
		stat, _ := k.proc.stat(want[i].Pid)
		want[i].StartTime = stat.start
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestOnItsWay: what is about to become a program is known by how the kernel makes one.
func TestOnItsWay(t *testing.T) {
	t.Parallel()
	own := program{call: []byte("gopm\x00daemon\x00")}
	k := newTestKernel(t)
	young := k.proc.now() + 100
	for name, c := range map[string]struct {
		call string
		st   procStat
		want bool
	}{
		"a copy of the daemon": {"gopm\x00daemon\x00", procStat{pid: 70, group: 70, state: 'R', flags: 0x40, start: young}, true},
		"the daemon":           {"gopm\x00daemon\x00", procStat{pid: 70, group: 70, state: 'R', start: young}, false},
		"becoming a program":   {"", procStat{pid: 70, group: 70, state: 'R', start: young}, true},
		"a program":            {"sleep\x00", procStat{pid: 70, group: 70, state: 'S', start: young}, false},
		"a program's worker":   {"sleep\x00", procStat{pid: 70, group: 70, state: 'S', flags: 0x40, start: young}, false},
		"an old one":           {"", procStat{pid: 70, group: 70, state: 'S', start: 1}, false},
		"dead":                 {"", procStat{pid: 70, group: 70, state: 'Z', start: young}, false},
		"a kernel's thread":    {"", procStat{pid: 70, state: 'S', start: young}, false},
	} {
		k := &OSKernel{proc: fakeProc(t, map[string]string{"70/cmdline": c.call})}
		if got := k.onItsWay(c.st, own); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
