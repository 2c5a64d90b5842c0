package cgroup

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

const (
	mountsV2      = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
	mountsV1      = "30 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n31 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 25 0:29 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n33 25 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
	mountsHybrid  = mountsV1 + "34 25 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	mountsDocker1 = "40 35 0:27 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n41 35 0:29 /docker/ab /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n"
)

// TestLocate: where we are, by what the kernel writes.
func TestLocate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ groups, mounts, want string }{
		"version 2, a service":   {"0::/system.slice/gopm.service/gopm-self\n", mountsV2, "v2 [] /sys/fs/cgroup/system.slice/gopm.service/gopm-self"},
		"version 2, a container": {"0::/\n", mountsV2, "v2 [] /sys/fs/cgroup"},
		"version 1": {"4:memory:/user.slice\n3:cpu,cpuacct:/user.slice/a b\n1:name=systemd:/user.slice\n", mountsV1,
			"v1 [cpu] /sys/fs/cgroup/cpu,cpuacct/user.slice/a b; v1 [memory] /sys/fs/cgroup/memory/user.slice"},
		"both": {"4:memory:/m\n3:cpu,cpuacct:/\n0::/x\n", mountsHybrid,
			"v1 [cpu] /sys/fs/cgroup/cpu,cpuacct; v1 [memory] /sys/fs/cgroup/memory/m; v2 [] /sys/fs/cgroup/unified/x"},
		"a container that sees its own part": {"4:pids:/docker/ab\n3:cpu,cpuacct:/docker/ab/in\n", mountsDocker1,
			"v1 [cpu] /sys/fs/cgroup/cpu,cpuacct/in; v1 [pids] /sys/fs/cgroup/pids"},
		"beside what is seen": {"4:pids:/docker/abc\n3:cpu,cpuacct:/other\n", mountsDocker1,
			"v1 [cpu] /sys/fs/cgroup/cpu,cpuacct; v1 [pids] /sys/fs/cgroup/pids"},
		"a blank in the path": {"0::/\n", `29 23 0:26 / /mnt/my\040groups rw - cgroup2 none rw` + "\n", "v2 [] /mnt/my groups"},
		"nothing":             {"", "", ""},
		"rubbish":             {"x\n0::\n:::\n0:::\n", "a b c\n - \n1 2 3 / - cgroup2 x\n - cgroup2 x y\n", ""},
	} {
		var got []string
		for _, h := range locate(c.groups, c.mounts) {
			got = append(got, fmt.Sprintf("v%d %v %s", h.version, h.controllers, h.dir))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, text, c.want)
		}
	}
}

func FuzzLocate(f *testing.F) {
	f.Add("0::/a\n4:memory:/m\n", mountsHybrid)
	f.Add("0::/", `29 23 0:26 / /mnt/\777\04 rw - cgroup2 none rw`)
	f.Fuzz(func(t *testing.T, groups, mounts string) {
		for _, h := range locate(groups, mounts) {
			if h.version != 1 && h.version != 2 || h.version == 1 && len(h.controllers) == 0 {
				t.Errorf("%+v", h)
			}
		}
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	l := Limits{CPU: 0.5, Memory: 64 << 20, Pids: 9}
	for version, want := range map[int][]setting{
		1: {{"cpu", "cpu.cfs_period_us", "100000"}, {"cpu", "cpu.cfs_quota_us", "50000"}, {"memory", "memory.limit_in_bytes", "67108864"}, {"pids", "pids.max", "9"}},
		2: {{"cpu", "cpu.max", "50000 100000"}, {"memory", "memory.max", "67108864"}, {"pids", "pids.max", "9"}},
	} {
		if got := settings(version, l); !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: %v", version, got)
		}
	}
	if got := settings(2, Limits{CPU: 0.01}); got[0].text != "1000 100000" {
		t.Errorf("the least of a processor: %v", got)
	}
	if got := wanted(Limits{Memory: 1}); !reflect.DeepEqual(got, []string{"memory"}) {
		t.Errorf("wanted: %v", got)
	}
}

// pretend is a tree of version 2 in a folder, as the kernel shows it, and we are in it.
func pretend(t *testing.T, own string) (h *House, dir string) {
	t.Helper()
	dir = t.TempDir()
	h = Open("gopm-x-")
	h.read = func(path string) ([]byte, error) {
		switch path {
		case "/proc/self/cgroup":
			return []byte("0::" + own + "\n"), nil
		case "/proc/self/mountinfo":
			return []byte("29 23 0:26 / " + dir + " rw - cgroup2 cgroup2 rw\n"), nil
		}
		return nil, os.ErrNotExist
	}
	return h, dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestService: in the leaf that a service manager made for us, groups are made beside it.
func TestService(t *testing.T) {
	t.Parallel()
	h, dir := pretend(t, "/gopm.service/"+Leaf)
	base := dir + "/gopm.service"
	for _, d := range []string{base, base + "/" + Leaf, base + "/gopm-x-1"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, base+"/cgroup.controllers", "cpuset cpu memory\n")
	write(t, base+"/cgroup.subtree_control", "memory\n")
	write(t, base+"/gopm-x-1/memory.max", "max")
	write(t, base+"/gopm-x-1/cpu.max", "max")
	lacks, why := h.Lacks(Limits{CPU: 1, Memory: 1 << 20, Pids: 3})
	if !reflect.DeepEqual(lacks, []string{"pids"}) || why != "the kernel's controllers are not there" {
		t.Errorf("lacks %v: %s", lacks, why)
	}
	if got := read(t, base+"/cgroup.subtree_control"); got != "memory\n" {
		t.Errorf("who only asks has changed subtree_control to %q", got)
	}
	g, err := h.Make("1", Limits{CPU: 1, Memory: 1 << 20, Pids: 3})
	if err != nil || !reflect.DeepEqual(g.Joined, []string{base + "/gopm-x-1/cgroup.procs"}) || !reflect.DeepEqual(g.Lacks, []string{"pids"}) {
		t.Fatalf("%+v, %v", g, err)
	}
	for file, want := range map[string]string{"cgroup.subtree_control": "+cpu", "gopm-x-1/memory.max": "1048576", "gopm-x-1/cpu.max": "100000 100000"} {
		if got := read(t, base+"/"+file); !strings.HasPrefix(got, want) {
			t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	if _, err := h.Make("1", Limits{CPU: 1}); err != nil || read(t, base+"/gopm-x-1/memory.max") != "max" {
		t.Errorf("a limit that there is no more: %v, %q", err, read(t, base+"/gopm-x-1/memory.max"))
	}
	write(t, base+"/gopm-x-1/cgroup.procs", "7\n8\n")
	if !h.Has("1", 8) || h.Has("1", 9) || h.Has("2", 8) {
		t.Error("who is in the group isn't known")
	}
}

// TestContainer: the root of a container is left for the leaf before it is divided.
func TestContainer(t *testing.T) {
	t.Parallel()
	h, dir := pretend(t, "/")
	write(t, dir+"/cgroup.type", "domain\n")
	write(t, dir+"/cgroup.controllers", "pids\n")
	write(t, dir+"/cgroup.subtree_control", "")
	write(t, dir+"/cgroup.procs", "")
	if lacks, why := h.Lacks(Limits{Pids: 3}); len(lacks) > 0 {
		t.Errorf("lacks %v: %s", lacks, why)
	}
	if _, err := os.Stat(dir + "/" + Leaf); err == nil {
		t.Error("who only asks has made the leaf")
	}
	if g, err := h.Make("1", Limits{Pids: 3}); err != nil || len(g.Lacks) > 0 {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := os.Stat(dir + "/" + Leaf); err != nil {
		t.Error(err)
	}
}

// TestForeign: a cgroup that was not given to us is left alone.
func TestForeign(t *testing.T) {
	t.Parallel()
	h, dir := pretend(t, "/user.slice/session-3.scope")
	if err := os.MkdirAll(dir+"/user.slice/session-3.scope", 0o755); err != nil {
		t.Fatal(err)
	}
	lacks, why := h.Lacks(Limits{Memory: 1 << 20})
	if len(lacks) != 1 || !strings.Contains(why, "/user.slice/session-3.scope, in which gopm runs, was not given to it") {
		t.Errorf("lacks %v: %s", lacks, why)
	}
	g, err := h.Make("1", Limits{Memory: 1 << 20})
	if err != nil || len(g.Joined) > 0 || len(g.Lacks) != 1 {
		t.Errorf("%+v, %v", g, err)
	}
	if left, _ := os.ReadDir(dir + "/user.slice/session-3.scope"); len(left) > 0 {
		t.Errorf("made %v", left)
	}
	h.read = func(string) ([]byte, error) { return nil, nil }
	if _, why := h.Lacks(Limits{Pids: 1}); why != "no cgroups are mounted here" {
		t.Errorf("without any: %s", why)
	}
}
