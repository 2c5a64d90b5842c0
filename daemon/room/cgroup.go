package room

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Where the limits of a process are. There are two versions of control groups, and a
// machine may have both at once (the second without the controllers that the first has).
// A process is in one group of each hierarchy, and the limits of all the groups above it
// hold, too, as far as they can be seen: a container sees those from its own on.

// Mount is where a hierarchy of control groups can be looked at.
type Mount struct {
	Point       string   // without the leading slash
	Root        string   // the group that is seen there
	Unified     bool     // version 2
	Controllers []string // of version 1: those of cpu, memory and pids that it has
}

func (m Mount) has(controller string) bool { return slices.Contains(m.Controllers, controller) }

// Membership is the group of a process in one hierarchy.
type Membership struct {
	unified     bool
	controllers []string
	group       string
}

// Memberships reads /proc/PID/cgroup: "0::/app.slice" and "4:cpu,cpuacct:/docker/1".
func Memberships(text []byte) (all []Membership) {
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(parts) != 3 || !strings.HasPrefix(parts[2], "/") {
			continue
		}
		all = append(all, Membership{
			unified: parts[0] == "0" && parts[1] == "", controllers: strings.Split(parts[1], ","), group: parts[2],
		})
	}
	return all
}

// Mounts finds the hierarchies in /proc/self/mountinfo.
func Mounts(text []byte) (all []Mount) {
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte(" - cgroup")) { // most lines of a machine with many containers
			continue
		}
		left, right, _ := strings.Cut(string(line), " - ")
		place, kind := strings.Fields(left), strings.Fields(right)
		if len(place) < 5 || len(kind) < 3 {
			continue
		}
		m := Mount{Point: strings.TrimPrefix(unescape(place[4]), "/"), Root: unescape(place[3]), Unified: kind[0] == "cgroup2"}
		if kind[0] == "cgroup" {
			for option := range strings.SplitSeq(kind[2], ",") {
				if slices.Contains([]string{"cpu", "memory", "pids"}, option) {
					m.Controllers = append(m.Controllers, option)
				}
			}
		}
		if m.Unified || len(m.Controllers) > 0 {
			all = append(all, m)
		}
	}
	return all
}

// unescape reads the \040 that the kernel writes for a blank in a path.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// deepest is how many groups within groups are looked at.
const deepest = 64

// Own is the folder of a process's group, as far as it is seen at a mount; false: it is in
// none of that hierarchy.
func (m Mount) Own(groups []Membership) (dir string, is bool) {
	at := slices.IndexFunc(groups, func(g Membership) bool {
		if m.Unified || g.unified {
			return m.Unified && g.unified
		}
		return slices.ContainsFunc(g.controllers, m.has)
	})
	if at < 0 {
		return "", false
	}
	return path.Join(m.Point, below(groups[at].group, m.Root)), true
}

// folders are the group of the process and those above it.
func (m Mount) folders(groups []Membership) (all []string) {
	dir, is := m.Own(groups)
	if !is {
		return nil
	}
	for range deepest {
		all = append(all, dir)
		if dir == m.Point || dir == "." {
			break
		}
		dir = path.Dir(dir)
	}
	return all
}

// below is the path of a group as it is seen where root is the top. A group that isn't
// below it is another container's view, or ours from outside: what is seen is the top.
func below(group, root string) string {
	rest, ok := strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
	if !ok || rest != "" && rest[0] != '/' || slices.Contains(strings.Split(rest, "/"), "..") {
		return "/"
	}
	return rest
}
