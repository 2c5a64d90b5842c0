package daemon

import (
	"slices"
	"sync/atomic"
	"time"

	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
	"gopm/logs"
)

// table is an immutable list of apps in the order they were first started. A
// change makes a new table; readers never wait for a change.
type table struct {
	apps []*app
}

// app is an immutable version of one app. Its instances are shared between
// versions: they live on when the app around them changes.
type app struct {
	spec      ecosystem.App
	origin    string   // absolute path of its file; "" = command line
	inherited []string // what its first start took from the user's shell
	user      string   // the name it runs as, for display
	policy    supervise.Policy
	fault     error // why it can't be started any more; nil: it can
	created   time.Time
	instances []*instance // in the order they were made; numbers are unique, and 0…n-1 unless one was deleted
}

// instance is one running copy of an app. All of its fields but the atomic ones
// are set once; what changes lives in the process and the streams.
type instance struct {
	id       int
	index    int
	name     string
	proc     *supervise.Process
	out, err *logs.Stream
	marks    atomic.Pointer[marks]  // where the output of the present run begins
	before   atomic.Pointer[marks]  // and that of the run before it
	pidFile  atomic.Pointer[string] // never nil; "" = none
	rested   atomic.Pointer[string] // why it is down though it should run; nil: it is not
	ordered  atomic.Uint64          // the incarnation that is about to be started; 0, or one that there was: none
	trusted  *keeper.Link           // the keeper that has its pipes; the actor's own
	app      atomic.Pointer[app]    // the version in the table; nil: not there, or deleted
}

func (t *table) app(name string) *app {
	for _, a := range t.apps {
		if a.spec.Name == name {
			return a
		}
	}
	return nil
}

func (t *table) all() []*instance {
	return t.where(func(*app, *instance) bool { return true })
}

func (t *table) where(keep func(*app, *instance) bool) []*instance {
	var found []*instance
	for _, a := range t.apps {
		for _, in := range a.instances {
			if keep(a, in) {
				found = append(found, in)
			}
		}
	}
	return found
}

// with is the table with a in the place of the app of that name, or at the end.
func (t *table) with(a *app) *table {
	next := &table{apps: slices.Clone(t.apps)}
	for i, old := range next.apps {
		if old.spec.Name == a.spec.Name {
			next.apps[i] = a
			return next
		}
	}
	next.apps = append(next.apps, a)
	return next
}

// without is the table less some instances; an app with none left goes too.
func (t *table) without(gone []*instance) *table {
	next := &table{}
	for _, a := range t.apps {
		left := slices.DeleteFunc(slices.Clone(a.instances), func(in *instance) bool { return slices.Contains(gone, in) })
		if len(left) == 0 {
			continue
		}
		if len(left) == len(a.instances) {
			next.apps = append(next.apps, a)
			continue
		}
		smaller := *a
		smaller.instances = left
		smaller.spec.Scale.Instances = len(left)
		next.apps = append(next.apps, &smaller)
	}
	return next
}

// nextID is one above the highest id; ids begin at 0 again with an empty table,
// as pm2's do.
func (t *table) nextID() int {
	next := 0
	for _, in := range t.all() {
		next = max(next, in.id+1)
	}
	return next
}
