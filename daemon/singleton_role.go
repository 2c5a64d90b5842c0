package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// Of some singletons all instances run, and one leads. It is told so: by a file that says
// what it is, then by its hook, then by a signal.

// rolePath is the file that says what an instance is: "leader 17", with the fence, or
// "standby".
func (d *Daemon) rolePath(in *instance) string {
	return filepath.Join(d.cfg.Home.Dir, "roles", strconv.Itoa(in.id))
}

func (d *Daemon) writeRole(in *instance, role string) error {
	path := d.rolePath(in)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return replace(path, []byte(role+"\n"))
}

// lead tells one that it leads. If it doesn't understand that it is ended: another may.
func (s *singletons) lead(h *holding, who stint[*instance], fence uint64) {
	s.d.hooks.begin(func(ctx context.Context) {
		began := time.Now()
		err := s.d.tellRole(ctx, who.who, "leader", fence)
		if err != nil {
			s.d.tell(who.who.event(api.EventHook, "promote: %v; it is ended", err))
			who.who.proc.Kill(who.inc, fmt.Sprintf("promote: %v", err))
			return
		}
		s.d.tell(who.who.event(api.EventActive, "leads: it was told within %v", time.Since(began).Round(time.Millisecond)))
	})
}

// demote tells one that runs on without the lock that it doesn't lead any more.
func (s *singletons) demote(h *holding, who stint[*instance]) {
	if err := s.d.writeRole(who.who, "standby"); err != nil {
		s.d.tell(who.who.event(api.EventHook, "cannot write its role: %v", err))
	}
	if p := who.who.proc.Snapshot(); p.Pid == 0 || p.Incarnation != who.inc {
		return
	}
	s.d.hooks.begin(func(ctx context.Context) {
		if err := s.d.tellRole(ctx, who.who, "standby", 0); err != nil {
			s.d.tell(who.who.event(api.EventHook, "demote: %v", err))
		}
	})
}

// tellRole tells a program what it is now.
func (d *Daemon) tellRole(ctx context.Context, in *instance, role string, fence uint64) error {
	a := in.version.Load()
	text, hook := role, a.spec.Standby.Demote
	if role == "leader" {
		text, hook = role+" "+strconv.FormatUint(fence, 10), a.spec.Standby.Promote
	}
	if err := d.writeRole(in, text); err != nil {
		return err
	}
	if hook.IsSet() {
		if err := d.runHook(ctx, withRole(a, role, fence), in, hook); err != nil {
			return err
		}
	}
	sig, is := parseSignal(a.spec.Singleton.Signal)
	if !is {
		return nil
	}
	if err := in.proc.Signal(sig); err != nil {
		return fmt.Errorf("%s: %v", a.spec.Singleton.Signal, err)
	}
	return nil
}

// withRole is an app whose hook knows what it is about.
func withRole(a *app, role string, fence uint64) *app {
	own := *a
	own.spec.Env.Vars = map[string]string{}
	for name, value := range a.spec.Env.Vars {
		own.spec.Env.Vars[name] = value
	}
	own.spec.Env.Vars["GOPM_ROLE"], own.spec.Env.Vars["GOPM_LOCK"] = role, a.spec.Singleton.Lock
	if fence != 0 {
		own.spec.Env.Vars["GOPM_FENCE"] = strconv.FormatUint(fence, 10)
	}
	return &own
}

// roleVariables are what a program is given that is told its role later.
func (d *Daemon) roleVariables(a *app, in *instance) []string {
	vars := []string{"GOPM_LOCK=" + a.spec.Singleton.Lock, "GOPM_ROLE=" + "standby"}
	if mannerOf(a.spec) == mannerRole {
		vars = append(vars, "GOPM_ROLE_FILE="+d.rolePath(in))
	}
	return vars
}

// rollsGently says that an app's processes may be exchanged while their predecessors run:
// not where that makes two of one.
func rollsGently(spec ecosystem.App) bool {
	return !spec.Singleton.IsSet() || mannerOf(spec) == mannerRole
}
