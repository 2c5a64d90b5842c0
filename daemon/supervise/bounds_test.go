package supervise

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// saysOf runs a command of a shell with bounds and returns what it writes.
func saysOf(t *testing.T, k *OSKernel, c Command, l Launch) (string, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ended := make(chan struct{})
	l.Out = w
	ch, err := k.Spawn(c, l, func() { close(ended) })
	w.Close()
	if err != nil {
		return "", err
	}
	<-ended
	ch.Reap(false, func(Exit) {})
	ch.Release()
	text, _ := io.ReadAll(r)
	return string(text), nil
}

// TestBound: a program has its bounds at its first instruction, and nothing of what it was
// given them by.
func TestBound(t *testing.T) {
	t.Parallel()
	k := newTestKernel(t)
	nice := 7
	b := &Bounds{NoNewPrivs: true, Nice: &nice, Rlimits: []Rlimit{
		{"core", unix.RLIMIT_CORE, 0, 0}, {"nofile", unix.RLIMIT_NOFILE, 123, 200}, {"as", unix.RLIMIT_AS, 512 << 20, unix.RLIM_INFINITY},
	}}
	file := filepath.Join(t.TempDir(), "fds")
	list := "(ls /proc/$$/fd >" + file + "); echo $(cat " + file + ")" // a pipe of the shell's would be a descriptor of its own
	look := list + `; ulimit -c; ulimit -Sn; ulimit -Hn; ulimit -v; nice; grep NoNewPrivs /proc/self/status; tr '\0' ' ' </proc/$$/cmdline; :`
	c := Command{Argv: []string{"/bin/sh", "-c", look, "x"}, Env: []string{"PATH=/usr/bin:/bin"}, Bounds: b}
	got, err := saysOf(t, k, c, Launch{})
	want := "0 1 2\n0\n123\n200\n524288\n7\nNoNewPrivs:\t1\n/bin/sh -c " + look + " x "
	if err != nil || got != want {
		t.Errorf("%v\n got %q\nwant %q", err, got, want)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	c.Argv[2] = list + "; umask"
	mask := 0o031
	c.Umask = &mask
	for _, few := range []int{k.spawner.few, -1} { // as we are, and by the thread
		k.spawner.few = few
		if got, err := saysOf(t, k, c, Launch{Inherit: []*os.File{null}}); err != nil || got != "0 1 2 3\n0031\n" {
			t.Errorf("with a descriptor of its own: %q, %v", got, err)
		}
	}
}

// TestBoundGroups: it is in its groups before it begins.
func TestBoundGroups(t *testing.T) {
	t.Parallel()
	k := newTestKernel(t)
	dir := t.TempDir()
	file := write(t, dir, "cgroup.procs", "", 0o644)
	got, err := saysOf(t, k, Command{Argv: []string{"/bin/sh", "-c", "echo $$; cat " + file}}, Launch{Groups: []string{file}})
	first, second, _ := strings.Cut(got, "\n")
	if err != nil || first == "" || first != strings.TrimSpace(second) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestBoundFaults isn't parallel: it counts the descriptors of the whole process.
func TestBoundFaults(t *testing.T) {
	k := newTestKernel(t)
	dir := t.TempDir()
	plain := write(t, dir, "plain", "echo hello\n", 0o644)
	cases := map[string]struct {
		argv   []string
		groups []string
		soft   uint64 // the hard one is 100
		want   string
	}{
		"no program":     {[]string{dir + "/none"}, nil, 100, "no such file or directory: D/none"},
		"not executable": {[]string{plain}, nil, 100, "permission denied: D/plain (not executable: chmod +x D/plain)"},
		"no group":       {[]string{"/bin/true"}, []string{dir + "/gone/cgroup.procs"}, 100, "cannot enter the cgroup by D/gone/cgroup.procs: no such file or directory"},
		"a wrong limit":  {[]string{"/bin/true"}, nil, 101, "cannot set rlimits.nofile to 100: invalid argument"},
	}
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := descriptors()
	for range 10 {
		for name, c := range cases {
			_, err := k.Spawn(Command{Argv: c.argv, Dir: "/", Bounds: &Bounds{Rlimits: []Rlimit{{"nofile", unix.RLIMIT_NOFILE, c.soft, 100}}}}, Launch{Groups: c.groups}, func() { t.Errorf("%s: an exit was seen", name) })
			if err == nil {
				t.Errorf("%s: was spawned", name)
			} else if got := strings.ReplaceAll(err.Error(), dir, "D"); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
			}
		}
	}
	if after := descriptors(); after > before+5 { // of 40 spawns
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestBoundUser: who becomes another user has what only root can give, and nothing else of
// root's.
func TestBoundUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can change users")
	}
	k := newTestKernel(t)
	nice := -3
	c := Command{Argv: []string{"/bin/sh", "-c", "nice; id -u; id -g; id -G; grep -E 'Cap(Eff|Prm|Amb|Inh)' /proc/self/status | cut -f2 | sort -u; pwd"}, Env: []string{"PATH=/usr/bin:/bin"},
		Dir: "/", User: &Credential{UID: 4242, GID: 4343, Groups: []uint32{4343, 4444}}, Bounds: &Bounds{Nice: &nice}}
	got, err := saysOf(t, k, c, Launch{})
	if want := "-3\n4242\n4343\n4343 4444\n0000000000000000\n/\n"; err != nil || got != want {
		t.Errorf("%v\n got %q\nwant %q", err, got, want)
	}
	c.User.Groups = nil
	if got, err = saysOf(t, k, c, Launch{}); err != nil || !strings.Contains(got, "4343\n4343\n") {
		t.Errorf("without groups: %q, %v", got, err)
	}
	dir := t.TempDir()
	c.Dir = filepath.Join(dir, "closed")
	if err := errors.Join(os.Mkdir(c.Dir, 0o700), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	_, err = saysOf(t, k, c, Launch{})
	if want := "cannot enter cwd " + c.Dir + ": permission denied (as uid 4242)"; err == nil || err.Error() != want {
		t.Errorf("a folder that the user can't enter: %v, want %s", err, want)
	}
}

// TestBoundRefusals: what is said of a limit that can't be set names what helps.
func TestBoundRefusals(t *testing.T) {
	t.Parallel()
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	got := Rlimit{"nofile", unix.RLIMIT_NOFILE, 1, now.Max + 1}.refusal(unix.EPERM)
	for _, want := range []string{"cannot set rlimits.nofile to " + strconv.FormatUint(now.Max+1, 10), "the hard limit is " + limitText(now.Max), "LimitNOFILE="} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if err := BecomeBound([]string{"{"}); err == nil {
		t.Error("a broken order is carried out")
	}
}

// BenchmarkSpawn is what a spawn costs without bounds, and with.
func BenchmarkSpawn(b *testing.B) {
	k := newTestKernel(b)
	for name, bounds := range map[string]*Bounds{"free": nil, "bound": {NoNewPrivs: true}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ended := make(chan struct{})
				ch, err := k.Spawn(Command{Argv: []string{"/bin/true"}, Bounds: bounds}, Launch{}, func() { close(ended) })
				if err != nil {
					b.Fatal(err)
				}
				<-ended
				ch.Reap(false, func(Exit) {})
				ch.Release()
			}
		})
	}
}
