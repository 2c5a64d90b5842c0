package daemon

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

func dependsOn(needs ...string) func(*ecosystem.App) {
	return func(a *ecosystem.App) {
		for _, need := range needs {
			name, until, _ := strings.Cut(need, ":")
			if until == "" {
				until = ecosystem.UntilReady
			}
			a.DependsOn.Apps = append(a.DependsOn.Apps, ecosystem.Dependency{App: name, Until: until})
		}
	}
}

func TestLacking(t *testing.T) {
	t.Parallel()
	is := func(s supervise.Status) fact {
		running := s == supervise.StatusOnline || s == supervise.StatusLaunching || s == supervise.StatusStopping
		return fact{status: s, runs: running, wanted: true, healthy: true}
	}
	online, launching, stopped := is(supervise.StatusOnline), is(supervise.StatusLaunching), is(supervise.StatusStopped)
	crashed, errored, stopping := is(supervise.StatusWaiting), is(supervise.StatusErrored), is(supervise.StatusStopping)
	ended, byHand, sick, restarts := stopped, stopped, online, online
	ended.ended, ended.exit = true, "exit 0"
	errored.exit = "exit 1"
	byHand.wanted, sick.healthy = false, false
	restarts.waits, restarts.needs = true, "disk"
	spawning := launching
	spawning.runs = false
	leaving := stopping
	leaving.wanted = false
	blocked := stopped
	blocked.waits, blocked.stuck, blocked.needs = true, true, "disk"
	for _, c := range []struct {
		name  string
		until string
		have  []fact
		want  string // "" = nothing lacks
		stuck bool
	}{
		{"no such app", "ready", nil, "db (not in the list)", true},
		{"online", "ready", []fact{online}, "", false},
		{"one of two launches", "ready", []fact{online, launching}, "db (launching)", false},
		{"one of two is errored", "ready", []fact{launching, errored}, "db (errored, exit 1)", true},
		{"one of two was stopped", "ready", []fact{online, byHand}, "", false},
		{"all were stopped", "ready", []fact{byHand, byHand}, "db (stopped)", true},
		{"crashed, and is tried again", "ready", []fact{crashed}, "db (waiting restart)", false},
		{"is being restarted", "ready", []fact{stopping}, "db (stopping)", false},
		{"is being stopped", "ready", []fact{leaving}, "db (stopping)", true},
		{"waits itself", "ready", []fact{restarts}, "db (waits for disk)", false},
		{"waits itself in vain", "ready", []fact{blocked}, "db (waits for disk)", true},
		{"a job that is done", "ready", []fact{ended}, "db (has ended; if it is meant to, depends_on has to say completed)", true},
		{"runs", "started", []fact{launching}, "", false},
		{"is being spawned", "started", []fact{spawning}, "db (launching)", false},
		{"had run", "started", []fact{ended}, "", false},
		{"not healthy", "healthy", []fact{sick}, "db (not healthy)", false},
		{"healthy", "healthy", []fact{online}, "", false},
		{"still runs", "completed", []fact{online}, "db (still runs)", false},
		{"done", "completed", []fact{ended}, "", false},
		{"one of two is done", "completed", []fact{ended, launching}, "db (launching)", false},
		{"has failed", "completed", []fact{errored}, "db (errored, exit 1)", true},
		{"was stopped before it was done", "completed", []fact{byHand}, "db (stopped)", true},
	} {
		got := lacking([]ecosystem.Dependency{{App: "db", Until: c.until}}, func(string) []fact { return c.have })
		if lackText(got) != c.want || isStuck(got) != c.stuck {
			t.Errorf("%s (%s): %q, stuck %t; want %q, stuck %t", c.name, c.until, lackText(got), isStuck(got), c.want, c.stuck)
		}
	}
}

func TestIsGone(t *testing.T) {
	t.Parallel()
	down := fact{status: supervise.StatusStopped}
	waits, stuck := down, down
	waits.waits = true
	stuck.waits, stuck.stuck = true, true
	restarts := fact{status: supervise.StatusOnline, runs: true, waits: true, stuck: true}
	for name, c := range map[string]struct {
		have []fact
		want bool
	}{
		"no such app":                     {nil, true},
		"stopped":                         {[]fact{down}, true},
		"errored":                         {[]fact{down, {status: supervise.StatusErrored}}, true},
		"one of two is left":              {[]fact{down, {status: supervise.StatusOnline}}, false},
		"crashed":                         {[]fact{{status: supervise.StatusWaiting}}, false},
		"still stopping":                  {[]fact{{status: supervise.StatusStopping}}, false},
		"waits for others":                {[]fact{waits}, false},
		"waits in vain":                   {[]fact{stuck}, true},
		"runs, and would be restarted if": {[]fact{restarts}, false},
	} {
		if got := isGone(c.have); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func TestCheckOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		table *table
		apps  []ecosystem.App
		want  []string // nil: no error
	}{
		{"none", have("/f"), []ecosystem.App{spec("a"), spec("b")}, nil},
		{"in the same file", have("/f"), []ecosystem.App{spec("a", dependsOn("b")), spec("b")}, nil},
		{"in the list", have("/f", spec("b")), []ecosystem.App{spec("a", dependsOn("b"))}, nil},
		{"nowhere", have("/f", spec("c")), []ecosystem.App{spec("a", dependsOn("b"))}, []string{"a: depends_on", `"b"`}},
		{"over two files", have("/one.json", spec("a", dependsOn("b")), spec("b")), []ecosystem.App{spec("b", dependsOn("a"))}, []string{"b → a → b", "a is of /one.json", "b is of /two.json"}},
		{"no cycle any more", have("/one.json", spec("a", dependsOn("b")), spec("b", dependsOn("c")), spec("c")), []ecosystem.App{spec("b"), spec("c", dependsOn("a"))}, nil},
		{"a long way", have("/f"), []ecosystem.App{spec("a", dependsOn("b", "d")), spec("b", dependsOn("d")), spec("c", dependsOn("a")), spec("d", dependsOn("c"))}, []string{"a → b → d → c → a"}},
	} {
		err := checkOrder(c.table, c.apps, "/two.json")
		if (err != nil) != (c.want != nil) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
			continue
		}
		for _, word := range c.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v, want %q", c.name, err, word)
			}
		}
	}
}

func TestSorted(t *testing.T) {
	t.Parallel()
	g := graph{"a": {"b"}, "b": {"c", "x"}, "d": {"a"}, "p": {"q"}, "q": {"p"}}
	if got := strings.Join(g.sorted([]string{"d", "a", "c", "z", "p", "q"}), " "); got != "c a d z q p" {
		t.Error(got)
	}
}

// world is a set of apps for the random tests: what each depends on, and where it is.
type world struct {
	needs map[string][]ecosystem.Dependency
	is    map[string]fact
	names []string
}

// newWorld has some apps, each of which depends on some of those before it.
func newWorld(r *rand.Rand) *world {
	w := &world{needs: map[string][]ecosystem.Dependency{}, is: map[string]fact{}}
	job := map[string]bool{}
	for i := range 1 + r.IntN(12) {
		name := fmt.Sprint("app", i)
		for _, other := range w.names {
			if r.IntN(3) == 0 {
				until := []string{ecosystem.UntilStarted, ecosystem.UntilReady, ecosystem.UntilHealthy}[r.IntN(3)]
				if job[other] {
					until = ecosystem.UntilCompleted
				}
				w.needs[name] = append(w.needs[name], ecosystem.Dependency{App: other, Until: until})
			}
		}
		job[name] = r.IntN(4) == 0
		w.names = append(w.names, name)
		w.is[name] = fact{status: supervise.StatusStopped, wanted: true, waits: true, ended: false, needs: fmt.Sprint(job[name])}
	}
	r.Shuffle(len(w.names), func(i, j int) { w.names[i], w.names[j] = w.names[j], w.names[i] })
	return w
}

func (w *world) of(name string) []fact { return []fact{w.is[name]} }

// grow takes an app one step further in its life.
func (w *world) grow(name string) {
	f := w.is[name]
	isJob := f.needs == "true"
	switch {
	case f.waits || f.ended:
	case f.status == supervise.StatusLaunching && !f.runs:
		f.runs = true
	case f.status == supervise.StatusLaunching:
		f.status = supervise.StatusOnline
	case isJob:
		f.status, f.runs, f.ended = supervise.StatusStopped, false, true
	default:
		f.healthy = true
	}
	w.is[name] = f
}

// Everything starts in the end, nothing too early, and nothing waits that needn't.
func TestEverythingIsStartedAsEarlyAsPossible(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(r)
		waiting := len(w.names)
		for step := 0; waiting > 0; step++ {
			if step > 2000 {
				t.Fatalf("seed %d: %d of %d wait for ever", seed, waiting, len(w.names))
			}
			for _, name := range w.names {
				f := w.is[name]
				lacks := lacking(w.needs[name], w.of)
				mayStart := true
				for _, need := range w.needs[name] {
					mayStart = mayStart && w.is[need.App].meets(need.Until)
				}
				if mayStart != (len(lacks) == 0) {
					t.Fatalf("seed %d: %s lacks %s", seed, name, lackText(lacks))
				}
				if isStuck(lacks) {
					t.Fatalf("seed %d: %s is stuck: %s", seed, name, lackText(lacks))
				}
				if f.waits && mayStart {
					f.waits, f.status = false, supervise.StatusLaunching
					w.is[name] = f
					waiting--
				}
			}
			w.grow(w.names[r.IntN(len(w.names))])
		}
	}
}

// Whatever depends on an app is down before it is told to end, and all end.
func TestEverythingIsEndedAndDependentsFirst(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(r)
		g := graph{}
		for _, name := range w.names {
			g.add(spec(name, func(a *ecosystem.App) { a.DependsOn.Apps = w.needs[name] }))
		}
		if r.IntN(4) == 0 { // there shouldn't be a cycle; if there is one, nobody may wait for ever
			g[w.names[0]] = append(g[w.names[0]], w.names[len(w.names)-1])
		}
		todo, up := slices.Clone(w.names), slices.Clone(w.names)
		var told []string
		for len(up) > 0 {
			for _, name := range g.free(todo, up) {
				for _, other := range up {
					if other != name && g.reaches(other, name) && !g.reaches(name, other) {
						t.Fatalf("seed %d: %s is ended while %s is up", seed, name, other)
					}
				}
				told = append(told, name)
				todo = slices.DeleteFunc(todo, func(o string) bool { return o == name })
			}
			if len(told) == 0 {
				t.Fatalf("seed %d: nobody may end of %v (%v)", seed, up, g)
			}
			i := r.IntN(len(told))
			up = slices.DeleteFunc(up, func(o string) bool { return o == told[i] })
			told = slices.Delete(told, i, i+1)
		}
	}
}
