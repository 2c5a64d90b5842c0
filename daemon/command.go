package daemon

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// account is the user an app runs as.
type account struct {
	name string // for display
	home string
	cred *supervise.Credential // nil: the daemon's own user
}

// lookupAccount resolves uid and gid of a command, names or numbers.
func lookupAccount(c ecosystem.Command) (account, error) {
	self, err := user.Current()
	if err != nil {
		self = &user.User{Username: strconv.Itoa(syscall.Geteuid()), Uid: strconv.Itoa(syscall.Geteuid()), Gid: strconv.Itoa(syscall.Getegid())}
	}
	if c.User == "" && c.Group == "" {
		return account{name: self.Username}, nil
	}
	u := self
	if c.User != "" {
		if u, err = findUser(c.User); err != nil {
			return account{}, err
		}
	}
	cred := &supervise.Credential{UID: number(u.Uid), GID: number(u.Gid)}
	if c.Group != "" {
		if cred.GID, err = findGroup(c.Group); err != nil {
			return account{}, err
		}
	}
	if int(cred.UID) == syscall.Geteuid() && int(cred.GID) == syscall.Getegid() {
		return account{name: u.Username}, nil
	}
	if syscall.Geteuid() != 0 {
		return account{}, fmt.Errorf("cannot run as %s: only a gopm of root can change users", u.Username)
	}
	if ids, err := u.GroupIds(); err == nil {
		for _, id := range ids {
			cred.Groups = append(cred.Groups, number(id))
		}
	}
	return account{name: u.Username, home: u.HomeDir, cred: cred}, nil
}

func findUser(s string) (*user.User, error) {
	u, err := user.Lookup(s)
	if err == nil {
		return u, nil
	}
	if _, bad := strconv.ParseUint(s, 10, 32); bad != nil {
		return nil, fmt.Errorf("no user %q on this machine", s)
	}
	if u, err = user.LookupId(s); err == nil {
		return u, nil
	}
	return &user.User{Uid: s, Gid: s, Username: s}, nil // a number needs no name, as in containers
}

func findGroup(s string) (uint32, error) {
	if g, err := user.LookupGroup(s); err == nil {
		return number(g.Gid), nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("no group %q on this machine", s)
	}
	return uint32(n), nil
}

// number reads an id that the system's own tables gave.
func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// buildCommand is what instance index of an app executes. Its environment is the
// inherited one, then the app's own variables, then what tells it who it is.
func buildCommand(a *app, in *instance, acc account, home string) supervise.Command {
	c := a.spec.Command
	identity := identity(a, in, home)
	env := newEnviron(ecosystem.Inherited(a.inherited, a.spec.Env)) // again: the file may have become stricter since
	if acc.home != "" {
		env.set("HOME="+acc.home, "USER="+acc.name, "LOGNAME="+acc.name)
	}
	for k, v := range a.spec.Env.Vars {
		env.set(k + "=" + v)
	}
	a.values.over(env)
	env.raise(a.spec.Scale.IncrementVar, in.index)
	if step := a.spec.Scale.PortStep; step != 0 {
		env.raise("PORT", in.index*step)
	}
	env.set(identity...)
	return supervise.Command{
		Argv:    givenArgv(a.spec, c.Argv()),
		Env:     env.list,
		Dir:     c.Cwd,
		Umask:   c.Umask,
		User:    acc.cred,
		Bounds:  bounds(a.spec.Bounds),
		Edition: a.edition(),
		Marker:  in.marker(a.spec.Name, home),
	}
}

// identity is what tells a program who it is.
func identity(a *app, in *instance, home string) []string {
	return []string{
		a.spec.Scale.InstanceVar + "=" + strconv.Itoa(in.index),
		"name=" + a.spec.Name,
		"pm_id=" + strconv.Itoa(in.id),
		"namespace=" + a.spec.Namespace,
		"GOPM_HOME=" + home,
		in.lifeEntry(),
	}
}

// environ is a list of NAME=value in which a later setting replaces an earlier one.
type environ struct {
	list []string
	at   map[string]int
}

func newEnviron(base []string) *environ {
	e := &environ{at: make(map[string]int, len(base)+8)}
	e.set(base...)
	return e
}

func (e *environ) set(entries ...string) {
	for _, entry := range entries {
		name, _, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		if i, known := e.at[name]; known {
			e.list[i] = entry
			continue
		}
		e.at[name] = len(e.list)
		e.list = append(e.list, entry)
	}
}

// raise adds n to the number that a variable holds; one that holds none counts from 0.
// Without a name there is nothing to do.
func (e *environ) raise(name string, n int) {
	if name == "" {
		return
	}
	was := 0
	if i, known := e.at[name]; known {
		_, value, _ := strings.Cut(e.list[i], "=")
		was, _ = strconv.Atoi(value) // what an app says itself was checked; a shell's may be anything
	}
	e.set(name + "=" + strconv.Itoa(was+n))
}

func buildPolicy(spec ecosystem.App) (supervise.Policy, error) {
	r, s := spec.Restart, spec.Stop
	sig := unix.SignalNum(s.Signal)
	if sig == 0 {
		return supervise.Policy{}, fmt.Errorf("%s: unknown kill_signal %q", spec.Name, s.Signal)
	}
	if r.Delay > 0 {
		r.BackoffInitial = 0 // a fixed delay takes the place of the growing one
	}
	pol := supervise.Policy{
		Autorestart: r.Auto && !spec.Times.IsJob(), StopExitCodes: r.StopExitCodes, MinUptime: r.MinUptime,
		MaxRestarts: r.MaxRestarts, MaxExplicit: r.MaxExplicit,
		RestartDelay: r.Delay, BackoffStart: r.BackoffInitial,
		KillSignal: sig, KillTimeout: s.Timeout, TreeKill: s.TreeKill,
	}
	if spec.Ready.By != ecosystem.ReadyUptime {
		pol.Ready = spec.Ready.Timeout
	}
	if h := spec.Hooks.PreStop; h.IsSet() {
		pol.PreStop = h.Timeout
	}
	pol.PreStop += deregisterDelay(spec)
	return pol, nil
}
