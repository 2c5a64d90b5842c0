package supervise

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func statText(pid int, name string, state string, ppid, group, threads int, start uint64) string {
	return fmt.Sprintf("%d (%s) %s %d %d 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 %d 0 %d 1000 50 1844\n",
		pid, name, state, ppid, group, threads, start)
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sh", "a) R 1 1 (b", "with\nnewline", "", ")"} {
		got, err := parseStat([]byte(statText(12, name, "S", 3, 4, 2, 777)))
		want := procStat{pid: 12, ppid: 3, group: 4, session: 1, state: 'S', flags: 4194560, threads: 2, start: 777}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	for _, text := range []string{"", "12", "12 (sh", ") 1 (", "12 (sh) S 1 2 3", "x (sh) S 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9"} {
		if st, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, st)
		}
	}
	self, err := procfs{root: "/proc"}.stat(os.Getpid())
	if err != nil || self.pid != os.Getpid() || self.ppid != os.Getppid() || !self.alive() {
		t.Errorf("ourselves: %+v, %v", self, err)
	}
}

func TestAlive(t *testing.T) {
	t.Parallel()
	for st, want := range map[procStat]bool{
		{pid: 1, state: 'S', threads: 1}: true,
		{pid: 1, state: 'Z', threads: 1}: false,
		{pid: 1, state: 'Z', threads: 3}: true, // only its first thread has ended
		{pid: 1, state: 'X', threads: 0}: false,
		{}:                               false,
	} {
		if st.alive() != want {
			t.Errorf("%+v: %v", st, !want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statText(12, "sh", "S", 3, 4, 1, 777)))
	f.Add([]byte("1 () Z"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if st, err := parseStat(line); err == nil && st.state == 0 {
			t.Errorf("%q has no state", line)
		}
	})
}

func TestHasEntries(t *testing.T) {
	t.Parallel()
	env := []byte("A=1\x00pm_id=33\x00GOPM_HOME=/x\x00LAST=y")
	for text, want := range map[string]bool{
		"A=1": true, "pm_id=33": true, "pm_id=3": false, "m_id=33": false, "GOPM_HOME=/x|A=1": true,
		"GOPM_HOME=/x|pm_id=3": false, "LAST=y": true, "A": false,
	} {
		if hasEntries(env, strings.Split(text, "|")) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	if (procfs{root: "/proc"}).marked(os.Getpid(), nil) {
		t.Error("no marker marks everybody")
	}
}

// dirent is a struct linux_dirent64.
func dirent(inode uint64, name string) []byte {
	b := make([]byte, (19+len(name)+1+7)/8*8)
	binary.NativeEndian.PutUint64(b, inode)
	binary.NativeEndian.PutUint16(b[16:], uint16(len(b)))
	copy(b[19:], name)
	return b
}

func TestEachEntry(t *testing.T) {
	t.Parallel()
	var got []entry
	buf := slices.Concat(dirent(1, "."), dirent(2, "self"), dirent(3, "1"), dirent(4, "12345"), dirent(5, "1x"))
	eachEntry(buf, func(e entry) { got = append(got, e) })
	if want := []entry{{1, 3}, {12345, 4}}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	found := false
	err := procfs{root: "/proc"}.list(func(e entry) { found = found || e.pid == os.Getpid() })
	if err != nil || !found {
		t.Errorf("we aren't in /proc: %v", err)
	}
}

func FuzzEachEntry(f *testing.F) {
	f.Add(slices.Concat(dirent(2, "self"), dirent(3, "1")))
	f.Fuzz(func(t *testing.T, buf []byte) {
		eachEntry(buf, func(e entry) {
			if e.pid <= 0 {
				t.Errorf("pid %d", e.pid)
			}
		})
	})
}

// fakeProc is a /proc with the files that are asked for.
func fakeProc(t *testing.T, files map[string]string) procfs {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return procfs{root: root}
}

// TestOrphans asks for the keeper's children in both ways: from the kernel's list,
// and by looking at every process where the kernel keeps none.
func TestOrphans(t *testing.T) {
	t.Parallel()
	ours, other := "pm_id=3\x00H=/x\x00", "pm_id=4\x00H=/x\x00"
	files := map[string]string{
		"50/stat": statText(50, "ours", "S", 9, 50, 1, 200), "50/environ": ours,
		"51/stat": statText(51, "other's", "S", 9, 51, 1, 200), "51/environ": other,
		"52/stat": statText(52, "dead", "Z", 9, 52, 1, 200), "52/environ": "",
		"53/stat": statText(53, "older", "S", 9, 53, 1, 99), "53/environ": ours,
		"54/stat": statText(54, "exiting", "R", 9, 54, 1, 200), "54/environ": "", "54/task/54/statm": "0 0 0 0 0 0 0\n",
		"55/stat": statText(55, "bare", "S", 9, 55, 1, 200), "55/environ": "", "55/task/55/statm": "100 20 3 4 0 5 0\n",
		"56/stat": statText(56, "not the keeper's", "S", 8, 56, 1, 200), "56/environ": ours,
		"57/stat": statText(57, "first thread ended", "Z", 9, 57, 2, 200), "57/environ": "", "57/task/58/environ": ours,
	}
	want := []int{50, 54, 57}
	for _, listed := range []bool{true, false} {
		if listed {
			files["9/task/9/children"] = "50 51 52 53 54 55 57 99999 "
		} else {
			delete(files, "9/task/9/children")
		}
		k := newTestKernel(t)
		k.proc, k.keeper = fakeProc(t, files), func() int { return 9 }
		for range 2 { // the second time with what is known from the first
			var got []int
			for _, st := range k.orphans(9, 100, []string{"pm_id=3", "H=/x"}) {
				got = append(got, st.pid)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("kernel's list %v: found %v, want %v", listed, got, want)
			}
		}
		if got := k.orphans(0, 100, []string{"pm_id=3"}); got != nil {
			t.Errorf("without a keeper: %v", got)
		}
	}
}

func TestCensusForgetsTheDead(t *testing.T) {
	t.Parallel()
	k := newTestKernel(t)
	c := &census{}
	for round := range 20 {
		files := map[string]string{}
		for i := range 10 {
			pid := 100 + round*10 + i
			files[fmt.Sprintf("%d/stat", pid)] = statText(pid, "x", "S", 1, pid, 1, 5)
		}
		k.proc = fakeProc(t, files)
		c.youngChildren(k, 9, 100)
	}
	if len(c.known) > 20 {
		t.Errorf("knows %d processes of 10", len(c.known))
	}
}

func TestOOMCounter(t *testing.T) {
	t.Parallel()
	const idle = "nr_free 1\noom_kill_x 9\noom_kill %d\n"
	root := t.TempDir()
	set := func(n int) { write(t, root, "vmstat", fmt.Sprintf(idle, n), 0o644) }
	set(5)
	o := newOOMCounter(root, filepath.Join(root, "none"))
	defer o.close()
	before := o.read()
	if before != 5 || o.grewSince(before) {
		t.Errorf("counts %d, grown from the start", before)
	}
	set(7) // two of ours at the same time
	for i, want := range []bool{true, true, false} {
		if o.grewSince(before) != want {
			t.Errorf("kill %d of 2 named: %v", i+1, !want)
		}
	}
	set(9)
	if o.grewSince(o.read()) {
		t.Error("kills from before its spawn are put down to it")
	}
}

func TestOOMCounterPrefersTheCgroup(t *testing.T) {
	t.Parallel()
	const groups, v1 = "4:memory:/old\n0::/app.slice/gopm\n", "oom_kill_disable 0\nunder_oom 0\noom_kill %d\n"
	v2 := func(n int) string { return fmt.Sprintf("low 0\noom 8\noom_kill %d\noom_group_kill 0\n", n) }
	for name, c := range map[string]struct {
		files map[string]string
		want  uint64
	}{
		"version 2":                   {map[string]string{"self/cgroup": groups, "app.slice/gopm/memory.events": v2(7)}, 7},
		"version 2 in a container":    {map[string]string{"self/cgroup": "0::/\n", "memory.events": v2(6)}, 6},
		"its name is the host's":      {map[string]string{"self/cgroup": "0::/docker/1\n", "memory.events": v2(5)}, 5},
		"version 1":                   {map[string]string{"self/cgroup": groups, "memory/old/memory.oom_control": fmt.Sprintf(v1, 4)}, 4},
		"version 1 in a container":    {map[string]string{"self/cgroup": "3:cpu,memory:/docker/1\n", "memory/memory.oom_control": fmt.Sprintf(v1, 3)}, 3},
		"version 1 before Linux 4.13": {map[string]string{"self/cgroup": groups, "memory/old/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 1},
		"none":                        {map[string]string{"self/cgroup": groups}, 1},
	} {
		c.files["vmstat"] = "oom_kill 1\n"
		proc := fakeProc(t, c.files).root
		o := newOOMCounter(proc, proc)
		if got := o.read(); got != c.want {
			t.Errorf("%s: counts %d, want %d", name, got, c.want)
		}
		o.close()
	}
}

// A service of the machine that is just exiting, a child of init like an orphan of an
// app, was taken for a leftover of any app that was cleared in that moment, and its
// children were killed. Exiting means: no environment to be read, and no memory.
func TestExitingStrangerIsNoLeftover(t *testing.T) {
	t.Parallel()
	const keeper, exiting = 50, 60
	root := t.TempDir()
	task := filepath.Join(root, strconv.Itoa(exiting), "task", strconv.Itoa(exiting))
	if err := os.MkdirAll(task, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{task + "/statm": "0 0 0 0 0 0 0\n", task + "/environ": "", filepath.Join(root, strconv.Itoa(exiting), "environ"): ""} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dead := range []bool{false, true} { // then init has its place, and its number is that of the parent
		k := &OSKernel{proc: procfs{root: root}, keeper: func() int { return keeper }, orphaned: func() bool { return dead }}
		c := &child{k: k, pid: 40, start: 1000, marker: []string{"pm_id=0"}}
		for parent, want := range map[int]bool{keeper: !dead, 1: false, 70: false} {
			st := procStat{pid: exiting, ppid: parent, group: exiting, start: 2000, state: 'R'}
			if got := c.isLeftover(st, []int{1, keeper, 70}); got != want {
				t.Errorf("a child of %d, the keeper dead: %v: %v, want %v", parent, dead, got, want)
			}
		}
	}
}
