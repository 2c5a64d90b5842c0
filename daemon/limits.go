package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"gopm/daemon/api"
	"gopm/daemon/cgroup"
	"gopm/ecosystem"
)

// What an instance may use with all that it starts (`limits`) is the kernel's to enforce, by a
// cgroup that is made for each life of an instance. It is there from the launch to the end of
// what the instance has started. A daemon that takes over finds it by its name.

// confiner makes these groups.
type confiner struct {
	house *cgroup.House

	mu   sync.Mutex
	told map[string]string // by the name of a group: why its instance isn't limited, as it was told
}

func newConfiner(home string) *confiner {
	sum := sha256.Sum256([]byte(home)) // two homes may be in one cgroup
	return &confiner{house: cgroup.Open("gopm-" + hex.EncodeToString(sum[:4]) + "-"), told: map[string]string{}}
}

// groupName is the group of an instance's life. An app's name is free text, and what isn't
// a letter or a digit of it doesn't go into the name of a folder.
func (in *instance) groupName() string {
	const longest = 40
	name := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, in.name)
	return strconv.Itoa(in.id) + "." + strconv.FormatUint(in.life, 10) + "-" + name[:min(len(name), longest)]
}

func groupLimits(l ecosystem.Limits) cgroup.Limits {
	return cgroup.Limits{CPU: l.CPU, Memory: l.Memory, Pids: l.Pids}
}

// unlimited is why limits have no effect here, or not all of them; "": they have.
func (c *confiner) unlimited(l ecosystem.Limits) string {
	if !l.IsSet() {
		return ""
	}
	return withoutEffect(c.house.Lacks(groupLimits(l)))
}

func withoutEffect(lacks []string, why string) string {
	if len(lacks) == 0 {
		return ""
	}
	return "limits." + strings.Join(lacks, ", limits.") + " without effect: " + why
}

// checkLimits refuses an app whose limits are required and can't be had.
func (d *Daemon) checkLimits(spec ecosystem.App) error {
	if why := d.confiner.unlimited(spec.Limits); why != "" && spec.Limits.Required {
		return fmt.Errorf("%s: %s; without \"required\" it would be started without them", spec.Name, why)
	}
	return nil
}

// limitWarnings are for the apps that are about to be started.
func (d *Daemon) limitWarnings(stages []stage) (warnings []string) {
	for _, st := range stages {
		if st.did == api.DidNothing || st.did == api.IsNotStarted {
			continue
		}
		if why := d.confiner.unlimited(st.want.Limits); why != "" {
			warnings = append(warnings, st.want.Name+": "+why)
		}
	}
	return warnings
}

// confine gives a new run its group. What is left in that of the run before is ended.
func (d *Daemon) confine(in *instance) (groups []string, err error) {
	a := in.version.Load()
	if a == nil || !a.spec.Limits.IsSet() {
		return nil, nil
	}
	name := in.groupName()
	d.confiner.house.Leave(name, a.spec.Stop.TreeKill)
	g, err := d.confiner.house.Make(name, groupLimits(a.spec.Limits))
	if err != nil {
		return nil, err
	}
	why := withoutEffect(g.Lacks, g.Why)
	if why != "" && a.spec.Limits.Required {
		return nil, errors.New(why)
	}
	d.confiner.mu.Lock()
	known := d.confiner.told[name]
	d.confiner.told[name] = why
	d.confiner.mu.Unlock()
	if why != "" && why != known {
		d.tell(in.event(api.EventDaemon, "%s", why))
	}
	return g.Joined, nil
}

// unconfine removes the group of an instance that is down.
func (d *Daemon) unconfine(in *instance) {
	a := in.version.Load()
	if a == nil || !a.spec.Limits.IsSet() {
		return
	}
	d.confiner.house.Leave(in.groupName(), a.spec.Stop.TreeKill)
}

// forget is for an instance that there is no more.
func (c *confiner) forget(in *instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.told, in.groupName())
}

// limitedBy is what info shows of an instance's limits: whether its process is in its group.
func (d *Daemon) limitedBy(a *app, in *instance) string {
	if !a.spec.Limits.IsSet() {
		return ""
	}
	s := in.proc.Snapshot()
	why := d.confiner.unlimited(a.spec.Limits)
	switch {
	case s.Pid == 0 || why != "":
		return why
	case !d.confiner.house.Has(in.groupName(), s.Pid):
		return "without effect: its process was started without them; gopm restart " + in.name
	}
	return "in force"
}
