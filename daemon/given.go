package daemon

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"gopm/cluster"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// Sockets that programs find open (`listen`), as from systemd: descriptors 3 and up,
// LISTEN_FDS, LISTEN_FDNAMES, and LISTEN_PID, which is the program's own number: only a
// process itself can say that before the program begins. So these programs are started
// through this binary:
//
//	gopm listen-exec COUNT NAMES PROGRAM ARGS...

// ListenWord is that command.
const ListenWord = "listen-exec"

// RunGiven becomes the program. It returns only if that can't be.
func RunGiven(args []string) error {
	const least = 3
	if len(args) < least {
		return syscall.EINVAL
	}
	env := newEnviron(os.Environ())
	env.set("LISTEN_FDS="+args[0], "LISTEN_FDNAMES="+args[1], "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	argv := args[2:]
	if err := syscall.Exec(argv[0], argv, env.list); err != nil {
		return &os.PathError{Op: "cannot run", Path: argv[0], Err: err}
	}
	return nil
}

// given is what an app's programs find open.
func given(spec ecosystem.App) (all []cluster.Given) {
	for _, l := range spec.Cluster.Listen {
		all = append(all, cluster.Given{Network: l.Network, Address: l.Address})
	}
	return all
}

// givenArgv is what is executed for a command line.
func givenArgv(spec ecosystem.App, argv []string) []string {
	if len(spec.Cluster.Listen) == 0 {
		return argv
	}
	var names []string
	for _, l := range spec.Cluster.Listen {
		names = append(names, firstOf(l.Name, "unknown")) // as systemd's own functions call one without a name
	}
	return append([]string{"/proc/self/exe", ListenWord, strconv.Itoa(len(names)), strings.Join(names, ":")}, argv...)
}

// ownerOf is as whom the paths of an app's sockets are made.
func ownerOf(spec ecosystem.App) cluster.Owner {
	o := cluster.Owner{Umask: -1}
	if len(spec.Cluster.Listen) == 0 {
		return o // it has none
	}
	if spec.Command.Umask != nil {
		o.Umask = *spec.Command.Umask
	}
	acc, err := lookupAccount(spec.Command) // an error: then the app can't be started anyway
	if err == nil && acc.cred != nil && syscall.Geteuid() == 0 {
		o.Set, o.UID, o.GID = true, int(acc.cred.UID), int(acc.cred.GID)
	}
	return o
}

// give is what the program is to find open.
func (in *instance) give(h *cluster.Host) ([]*os.File, error) {
	if s := in.slot.Load(); s != nil {
		return s.Give()
	}
	a := in.app.Load()
	if a == nil || len(a.spec.Cluster.Listen) == 0 {
		return nil, nil
	}
	return h.Give(clusterApp(a.spec))
}

// takeGiven closes what the instances of an app have in common when none of them is up,
// or is going to be. What one of them is about to do is in its machine before it is done.
func (d *Daemon) takeGiven(in *instance, s supervise.Snapshot) {
	a := d.table.Load().app(in.name)
	if a == nil || len(a.spec.Cluster.Listen) == 0 || !isDown(s) {
		return
	}
	d.host.Take(in.name, func() bool {
		return !slices.ContainsFunc(a.instances, func(o *instance) bool { return !isDown(o.proc.Machine().Snapshot()) })
	})
}
