package room

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// Each file in testdata is a machine: its files, and what is to be found there.
func TestLimitsOfMachines(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no machines: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			fsys := unpack(string(text))
			want := string(fsys["want"].Data)
			if got := describe(fsys); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// unpack reads "-- NAME --" and what follows it.
func unpack(text string) fstest.MapFS {
	files := fstest.MapFS{}
	var name string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(rest, " --\n") {
			name = strings.TrimSuffix(rest, " --\n")
			files[name] = &fstest.MapFile{}
		} else if name != "" {
			files[name].Data = append(files[name].Data, line...)
		}
	}
	return files
}

// describe is what was found, for a machine whose every processor may be used.
func describe(fsys fstest.MapFS) string {
	r := look(fsys, "self")
	r.Allowed = r.Online
	text := fmt.Sprintf("cpus %d of %d", r.CPUs(), r.Online)
	if r.Time.Period > 0 {
		text += fmt.Sprintf(", time %g by %s", r.Time.Processors(), r.Time.By)
	}
	text += fmt.Sprintf("\nmemory %d of %d", r.Bytes(), r.Total)
	if r.Narrows() {
		text += " by " + r.Memory.By
	}
	return text + "\n"
}

func TestRoom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		room   Limits
		cpus   int
		memory int64
	}{
		{Limits{Online: 8, Allowed: 8, Total: 1000}, 8, 1000},
		{Limits{Online: 8, Allowed: 3, Total: 1000}, 3, 1000},
		{Limits{Online: 8, Allowed: 3, Time: Quota{Used: 10000, Period: 100000}}, 1, 0},
		{Limits{Online: 8, Allowed: 3, Time: Quota{Used: 250000, Period: 100000}}, 3, 0},
		{Limits{Online: 8, Allowed: 8, Time: Quota{Used: 200000, Period: 100000}}, 2, 0},
		{Limits{Online: 8, Allowed: 8, Time: Quota{Used: 1 << 40, Period: 1}, Total: 10, Memory: Limit{Bytes: 11}}, 8, 10},
		{Limits{Memory: Limit{Bytes: 11}}, 1, 11},
		{Limits{}, 1, 0},
	} {
		if cpus, memory := c.room.CPUs(), c.room.Bytes(); cpus != c.cpus || memory != c.memory {
			t.Errorf("%+v: %d cpus, %d bytes; want %d, %d", c.room, cpus, memory, c.cpus, c.memory)
		}
	}
}

// This process has what every other way of asking says.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	r, other := Of(0), Of(os.Getpid())
	if r != other {
		t.Errorf("self: %+v, by pid: %+v", r, other)
	}
	if r.Allowed != runtime.NumCPU() || r.CPUs() > r.Allowed || r.Online < r.Allowed {
		t.Errorf("%+v, the runtime says %d", r, runtime.NumCPU())
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		t.Fatal(err)
	}
	if total := int64(info.Totalram) * int64(info.Unit); r.Total != total {
		t.Errorf("%d bytes of memory, the kernel says %d", r.Total, total)
	}
}

func TestCountList(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"0\n": 1, "0-3\n": 4, "0-3,6,8-9": 7, "": 0, "x": 0, "3-1": 0, "0-": 0, "0-99999999999": 0} {
		if got := countList(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// Whatever the files say, what comes of it is a machine that something can run on.
func FuzzLook(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		m := unpack(string(text))
		at := func(name string) []byte {
			if m[name] == nil {
				return nil
			}
			return m[name].Data
		}
		f.Add(at("proc/self/cgroup"), at("proc/self/mountinfo"), at("sys/fs/cgroup/cpu.max"), at("sys/fs/cgroup/memory.max"), at("proc/meminfo"), at("sys/devices/system/cpu/online"))
	}
	f.Fuzz(func(t *testing.T, cgroup, mounts, cpu, memory, info, online []byte) {
		fsys := fstest.MapFS{
			"proc/self/cgroup": {Data: cgroup}, "proc/self/mountinfo": {Data: mounts}, "proc/meminfo": {Data: info},
			"sys/fs/cgroup/cpu.max": {Data: cpu}, "sys/fs/cgroup/memory.max": {Data: memory}, "sys/devices/system/cpu/online": {Data: online},
			"sys/fs/cgroup/cpu.cfs_quota_us": {Data: cpu}, "sys/fs/cgroup/cpu.cfs_period_us": {Data: memory}, "sys/fs/cgroup/memory.limit_in_bytes": {Data: memory},
		}
		r := look(fsys, "self")
		r.Allowed = r.Online
		if n := r.CPUs(); n < 1 || n > max(r.Online, 1) {
			t.Errorf("%d processors of %d", n, r.Online)
		}
		if n := r.Bytes(); n < 0 || r.Total > 0 && n > r.Total {
			t.Errorf("%d bytes of %d", n, r.Total)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	for b.Loop() {
		Of(0)
	}
}
