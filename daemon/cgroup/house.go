package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Leaf is the cgroup in which gopm itself is, and all that isn't limited, where it has a
// cgroup of version 2 to divide: there only the leaves of the tree may have processes. A
// service of systemd is put there from the start (DelegateSubgroup).
const Leaf = "gopm-self"

// House is where the groups of one home are.
type House struct {
	prefix string // of the names of its groups
	read   func(path string) ([]byte, error)

	mu   sync.Mutex // guards what is below, and that none is removed which is being made
	used map[string]bool
}

// Open is for the groups whose names begin so.
func Open(prefix string) *House {
	return &House{prefix: prefix, read: os.ReadFile, used: map[string]bool{}}
}

// Group is what limits one instance: a cgroup, or with version 1 one for each controller.
type Group struct {
	Dirs   []string
	Lacks  []string // controllers that can't be had
	Why    string   // and why not
	Joined []string // the files into which a process writes its number
}

// place is where groups may be made by a controller.
type place struct {
	version int
	base    string
}

// survey says where groups with these controllers may be made; why is for those that
// aren't in the result.
func (h *House) survey(controllers []string, change bool) (at map[string]place, why string) {
	groups, err := h.read("/proc/self/cgroup")
	mounts, e := h.read("/proc/self/mountinfo")
	if err = errors.Join(err, e); err != nil {
		return nil, err.Error()
	}
	at = map[string]place{}
	all := locate(string(groups), string(mounts))
	if len(all) == 0 {
		return nil, "no cgroups are mounted here"
	}
	for _, t := range all {
		if t.version == 1 {
			continue
		}
		base, refused := t.base(change)
		if refused != "" {
			why = refused
			continue
		}
		for _, c := range t.enable(base, controllers, change) {
			at[c] = place{2, base}
		}
	}
	for _, t := range all {
		for _, c := range t.controllers {
			if _, has := at[c]; !has && slices.Contains(controllers, c) {
				if err := mayWrite(t.dir); err != nil {
					why = fmt.Sprintf("cannot make cgroups below %s: %v", t.dir, err)
					continue
				}
				at[c] = place{1, t.dir}
			}
		}
	}
	if why == "" {
		why = "the kernel's controllers are not there"
	}
	return at, why
}

// base is the cgroup of version 2 that is ours to divide; refused says why there is none.
// We leave it for its leaf only in a container, whose root it is: elsewhere it has more in it
// than ours, or a service manager that would be in the way.
func (t hierarchy) base(change bool) (dir, refused string) {
	dir = t.dir
	if filepath.Base(dir) == Leaf {
		dir = filepath.Dir(dir)
		if err := mayWrite(dir); err != nil {
			return "", fmt.Sprintf("cannot make cgroups below %s: %v", dir, err)
		}
		return dir, ""
	}
	if dir != t.mount {
		return "", "the cgroup " + strings.TrimPrefix(dir, t.mount) + ", in which gopm runs, was not given to it: a service that gopm startup has made has its own, with systemd 254 or later"
	}
	if err := mayWrite(dir); err != nil {
		return "", fmt.Sprintf("cannot make cgroups below %s: %v (a container needs it writable and its own)", dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err != nil {
		return dir, "" // the root of all: it may have processes and controllers
	}
	if change {
		if err := evacuate(dir); err != nil {
			return "", err.Error()
		}
	}
	return dir, ""
}

// evacuate moves all processes of a cgroup into its leaf.
func evacuate(dir string) error {
	leaf := filepath.Join(dir, Leaf)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	const rounds = 10 // they may have had children meanwhile
	for range rounds {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil || len(text) == 0 {
			return err
		}
		for _, pid := range strings.Fields(string(text)) {
			err = os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("cannot move process %s into the cgroup %s: %w", pid, leaf, err)
			}
		}
	}
	return fmt.Errorf("cannot empty the cgroup %s: new processes come all the time", dir)
}

// enable lets the groups below have controllers, and returns those that they have.
func (t hierarchy) enable(base string, controllers []string, change bool) (has []string) {
	there, _ := os.ReadFile(filepath.Join(base, "cgroup.controllers")) // an error: there are none
	file := filepath.Join(base, "cgroup.subtree_control")
	on, _ := os.ReadFile(file)
	for _, c := range controllers {
		isOn := slices.Contains(strings.Fields(string(on)), c)
		switch {
		case isOn, slices.Contains(strings.Fields(string(there)), c) && !change:
			has = append(has, c)
		case slices.Contains(strings.Fields(string(there)), c) && os.WriteFile(file, []byte("+"+c), 0) == nil:
			has = append(has, c)
		}
	}
	return has
}

func mayWrite(dir string) error {
	const write, enter = 2, 1
	return syscall.Access(dir, write|enter)
}

// Lacks says which of these limits can't be had here, and why; "" when all can.
func (h *House) Lacks(l Limits) (lacks []string, why string) {
	need := wanted(l)
	at, why := h.survey(need, false)
	lacks = slices.DeleteFunc(need, func(c string) bool { _, has := at[c]; return has })
	return lacks, why
}

// Make makes the group of a name, or sets that to new limits which is there.
func (h *House) Make(name string, l Limits) (g Group, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	need := wanted(l)
	at, why := h.survey(need, true)
	h.used[h.prefix+name] = true
	for _, c := range need {
		p, has := at[c]
		if !has {
			g.Lacks, g.Why = append(g.Lacks, c), why
			continue
		}
		dir := filepath.Join(p.base, h.prefix+name)
		if slices.Contains(g.Dirs, dir) {
			continue
		}
		if err := p.make(dir, l); err != nil {
			return g, err
		}
		g.Dirs = append(g.Dirs, dir)
		g.Joined = append(g.Joined, filepath.Join(dir, "cgroup.procs"))
	}
	return g, nil
}

func (p place) make(dir string, l Limits) error {
	err := os.Mkdir(dir, 0o755)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make a cgroup: %w", err)
	}
	now := settings(p.version, l)
	for _, s := range released(p.version) { // of the limits before, if there were any
		if err != nil && !slices.ContainsFunc(now, func(o setting) bool { return o.controller == s.controller }) {
			_ = os.WriteFile(filepath.Join(dir, s.file), []byte(s.text), 0) // an error: this group hasn't that
		}
	}
	for _, s := range now {
		file := filepath.Join(dir, s.file)
		if _, err := os.Stat(file); err != nil {
			continue // another hierarchy has that
		}
		if err := os.WriteFile(file, []byte(s.text), 0); err != nil {
			return fmt.Errorf("cannot set %s to %s: %w", file, s.text, err)
		}
	}
	return nil
}

// Has says whether a process is in the group of a name, by every controller it may have.
func (h *House) Has(name string, pid int) bool {
	for _, dir := range h.dirs(h.prefix + name) {
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // an error: it is gone
		if slices.Contains(strings.Fields(string(text)), strconv.Itoa(pid)) {
			return true
		}
	}
	return false
}

// Leave removes the group of a name. With kill nothing that is left in it survives: what
// has left its process group, its parents and its environment is found here.
func (h *House) Leave(name string, kill bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.used, h.prefix+name)
	for _, dir := range h.dirs(h.prefix + name) {
		if kill {
			killAll(dir)
		}
		remove(dir, kill)
	}
}

// remove removes a cgroup. What was killed takes a moment to die; what lives longer keeps
// the group until somebody sweeps.
func remove(dir string, dying bool) {
	const tries, pause = 40, 5 * time.Millisecond
	for range tries {
		if err := os.Remove(dir); !dying || !errors.Is(err, syscall.EBUSY) {
			return
		}
		time.Sleep(pause)
	}
}

// Sweep removes the groups that nobody uses any more. One with processes stays: the kernel
// sees to that.
func (h *House) Sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, dir := range h.dirs(h.prefix + "*") {
		if !h.used[filepath.Base(dir)] {
			remove(dir, false)
		}
	}
}

// dirs are the cgroups of a name, in all trees.
func (h *House) dirs(pattern string) (found []string) {
	groups, _ := h.read("/proc/self/cgroup")
	mounts, _ := h.read("/proc/self/mountinfo")
	for _, t := range locate(string(groups), string(mounts)) {
		base := t.dir
		if t.version == 2 && filepath.Base(base) == Leaf {
			base = filepath.Dir(base)
		}
		here, _ := filepath.Glob(filepath.Join(base, pattern)) // its only error is a bad pattern
		found = append(found, here...)
	}
	return found
}

// killAll ends all in a cgroup: by one call since Linux 5.14, else one after the other,
// which a group that forks all the time may outlive.
func killAll(dir string) {
	if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
		return
	}
	const rounds = 5
	for range rounds {
		text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		pids := strings.Fields(string(text))
		if len(pids) == 0 {
			return
		}
		for _, s := range pids {
			if pid, err := strconv.Atoi(s); err == nil && pid > 1 && pid != os.Getpid() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}
