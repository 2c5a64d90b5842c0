package daemon

import (
	"slices"
	"sync/atomic"
	"time"

	"gopm/cluster"
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
	node      bool    // its programs have a channel of node's: see channel.go
	fault     error   // why it can't be started any more; nil: it can
	values    *values // what Consul says to it; nil: it asks for nothing, or that was never heard
	created   time.Time
	instances []*instance // in the order they were made; numbers are unique, and 0…n-1 unless one was deleted
}

// instance is one running copy of an app. All of its fields but the atomic ones
// are set once; what changes lives in the process and the streams.
type instance struct {
	id       int
	index    int
	life     uint64 // tells it from the one that it replaces, or that replaces it: see lifeID
	name     string
	proc     *supervise.Process
	out, err *logs.Stream
	spoken
	speech
	wishes
	around
	wellness
	papers
	slot atomic.Pointer[cluster.Slot] // its place in the cluster; nil: in fork mode, or not started yet. Set by its actor
	versions
}

// papers are who has been told of its process, and who has allowed it.
type papers struct {
	pidFile atomic.Pointer[string] // never nil; "" = none
	trusted *keeper.Link           // the keeper that has its pipes; the actor's own
	listed
	alone
}

// versions are those of an instance's app.
type versions struct {
	app     atomic.Pointer[app] // in the table; nil: not there, or deleted
	version atomic.Pointer[app] // what its next process is of, in the table or not; never nil once it has a process
	proven  atomic.Uint64       // the run that has taken over from one before it, by a reload; 0: none
}

// spoken is where the output of an instance's runs begins.
type spoken struct {
	marks  atomic.Pointer[marks] // of the present run
	before atomic.Pointer[marks] // of the run before it

	hearing atomic.Pointer[hearing] // until a line says that it is ready; nil: nobody listens
}

// wishes are what is wanted of an instance besides what its process knows.
type wishes struct {
	rested  atomic.Pointer[string] // why it is down though it should run; nil: it is not
	ordered atomic.Uint64          // the incarnation that is about to be started; 0, or one that there was: none
	timed
	held
}

// names are those of the apps.
func (t *table) names() (all []string) {
	for _, a := range t.apps {
		all = append(all, a.spec.Name)
	}
	return all
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
		smaller.spec.Scale = scaleFor(a.spec.Scale, len(left), a.spec.Scale.Spares-countSpares(a.instances)+countSpares(left))
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
