package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
)

// Hooks at the daemon's death. The keeper ends a hook when its time is over. Before that
// the next daemon comes: pre_start is going to be run again, and after pre_stop it goes on
// with the signal, so it ends these two at once; the others may end by themselves.

// leftHook is a hook of the daemon before.
type leftHook struct {
	main keeper.Main
	key  string
	hookNote
}

// hookNote is what the keeper has of a hook.
type hookNote struct {
	Hook string `json:"hook"`
	App  string `json:"app"`
	ID   int    `json:"id"`
}

// bindHook tells the keeper of a hook; the returned function takes that back.
func (t *trust) bindHook(ctx context.Context, child supervise.Child, r hookRun) (forget func()) {
	l := t.link.Load()
	due, bounded := ctx.Deadline()
	if l == nil || !bounded {
		return func() {}
	}
	pid, start := child.Identity()
	main, key := keeper.Main{Pid: pid, Start: start}, keyHook+strconv.Itoa(pid)
	note, _ := json.Marshal(hookNote{r.name, r.in.name, r.in.id}) // it can't fail
	l.Put(key, main, note)
	l.Deadline(key, main, time.Until(due)+time.Second)
	return func() {
		l.Deadline(key, main, 0)
		l.Drop(key)
	}
}

// endLeftHooks deals with the hooks that the daemon before has left.
func (d *Daemon) endLeftHooks(left []leftHook) {
	for _, h := range left {
		if !(hookRun{name: h.Hook}).outlives() {
			d.endLeftHook(h)
			d.trust.unbind(h.key)
		} else {
			d.tell(appEvent(h.App, api.EventHook, "%s of id %d was begun by the daemon before: what it comes to is not known", h.Hook, h.ID))
		}
		d.trust.put(h.key, nil) // now it may be reaped
	}
}

func (d *Daemon) endLeftHook(h leftHook) {
	if now, is := keeper.MainOf(h.main.Pid); !is || now != h.main {
		return
	}
	endGroup(h.main.Pid)
	d.tell(appEvent(h.App, api.EventHook, "%s of id %d was broken off: the daemon has died", h.Hook, h.ID))
}

// endStrayHooks ends the hooks of this home that still run though daemon and keeper have
// died: nobody is left who would end them. If the keeper lives, it may not have been told
// of one that had just begun: that ends if it is going to be run again.
func (d *Daemon) endStrayHooks(isKept bool) {
	for _, h := range strayHooks(d.cfg.Home.Dir) {
		if !isKept || !(hookRun{name: h.Hook}).outlives() {
			d.endLeftHook(h)
		}
	}
}

// leavesHooks says whether the daemon before may have left hooks that nobody knows of: an
// orderly end ends them, and so does a hand-over.
func (d *Daemon) leavesHooks(s api.State, isKept bool) bool {
	if s.Boot != api.BootID() || s.Ended != "" {
		return false
	}
	return !isKept || d.cfg.Estate.Before != keeper.HandedOver && slices.ContainsFunc(s.Apps, func(a api.SavedApp) bool {
		return a.Spec.Hooks.PreStart.IsSet() || a.Spec.Hooks.PreStop.IsSet()
	})
}

// hookEndWait is how long a killed hook is waited for.
const hookEndWait = time.Second

// endGroup kills a process group, and returns when all of it are dead: what they did may be
// begun anew at once.
func endGroup(leader int) {
	var members []int
	dirs, _ := filepath.Glob("/proc/[0-9]*") // its only error is a bad pattern
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if group, err := unix.Getpgid(pid); err == nil && group == leader {
			members = append(members, pid)
		}
	}
	_ = unix.Kill(-leader, syscall.SIGKILL) // an error: nothing is left of it
	until := time.Now().Add(hookEndWait)
	for _, pid := range members {
		awaitEnd(pid, until)
	}
}

// awaitEnd waits for the end of a process that was killed.
func awaitEnd(pid int, until time.Time) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(time.Until(until).Milliseconds(), 0)))
		if err != unix.EINTR {
			return
		}
	}
}

// unbind takes back the deadline that the keeper was told of.
func (t *trust) unbind(key string) {
	if l := t.link.Load(); l != nil {
		l.Deadline(key, keeper.Main{}, 0)
	}
}

// strayHooks are the leaders of sessions that say in their environment that they are hooks
// of this home. An instance may have inherited such words, but has its own besides.
func strayHooks(home string) (all []leftHook) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // its only error is a bad pattern
	for _, dir := range dirs {
		env, err := os.ReadFile(dir + "/environ")
		if err != nil || !bytes.Contains(env, []byte("GOPM_HOOK=")) {
			continue
		}
		vars := map[string]string{}
		for entry := range bytes.SplitSeq(env, []byte{0}) {
			if name, value, is := bytes.Cut(entry, []byte("=")); is {
				vars[string(name)] = string(value)
			}
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		session, err := unix.Getsid(pid)
		main, there := keeper.MainOf(pid)
		if err == nil && session == pid && there && vars["GOPM_HOME"] == home && vars["pm_id"] == "" {
			id, _ := strconv.Atoi(vars["GOPM_ID"])
			all = append(all, leftHook{main: main, hookNote: hookNote{vars["GOPM_HOOK"], vars["GOPM_APP"], id}})
		}
	}
	return all
}
