package daemon

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// noKernel starts nothing: what a fuzzer invents must not be run.
type noKernel struct{}

func (noKernel) Spawn(supervise.Command, supervise.Launch, func()) (supervise.Child, error) {
	return nil, errors.New("nothing is started in this test")
}

func (noKernel) Adopt(supervise.Command, supervise.Run, func()) (supervise.Child, error) {
	return nil, supervise.ErrGone
}

func (noKernel) Inherit(supervise.Command, supervise.Remains) supervise.Child { return noChild{} }

func (noKernel) Close() {}

// noChild is one of which nothing is left.
type noChild struct{}

func (noChild) Identity() (pid int, start uint64)   { return 0, 0 }
func (noChild) Signal(syscall.Signal, bool) error   { return syscall.ESRCH }
func (noChild) Clear(_ syscall.Signal, gone func()) { go gone() } // it never waits
func (noChild) Release()                            {}
func (noChild) Reap(_ bool, learned func(supervise.Exit)) supervise.Remains {
	learned(supervise.Exit{Code: supervise.Unknown})
	return supervise.Remains{}
}

// fuzzDaemon is a daemon with a home that starts nothing.
func fuzzDaemon(t testing.TB) *Daemon {
	t.Helper()
	d := emptyDaemon(t)
	if _, err := d.settle(estate{}, nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// emptyDaemon is one that hasn't begun yet.
func emptyDaemon(t testing.TB) *Daemon {
	t.Helper()
	home := api.Home{Dir: filepath.Join(t.TempDir(), "h")}
	if err := home.Prepare(); err != nil {
		t.Fatal(err)
	}
	d, err := assemble(Config{Home: home, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	d.kernel.Close()
	d.kernel = noKernel{}
	t.Cleanup(func() {
		d.end("kill")
		d.stopAll(nil)
		d.shutdown()
		d.journal.close()
	})
	return d
}

// postRoutes are those that read a body: all but kill, which only ends the daemon.
func postRoutes(d *Daemon) []route {
	return slices.DeleteFunc(d.routes(), func(r route) bool { return r.method != "POST" || r.path == api.PathKill })
}

// FuzzRequests posts arbitrary bodies to every route: no crash, an answer within a
// moment, and an error of a kind that is the caller's.
func FuzzRequests(f *testing.F) {
	routes := postRoutes(fuzzDaemon(f))
	app := `{"name":"a","namespace":"n","command":{"script":"/x","cwd":"/"},"env":{"inherit":{"all":true}},"scale":{"instances":2,"exec_mode":"fork","instance_var":"N"},"autostart":true,"restart":{"min_uptime":1,"max_restarts":1},"stop":{"kill_signal":"SIGTERM","kill_timeout":1}}`
	for i := range routes {
		for _, body := range []string{
			"", "null", "{}", "[]", "0", "{", `{"targets":null}`, `{"targets":["all"]}`, `{"targets":["a","nosuch"]}`, `{"targets":["/(/"]}`,
			`{"targets":["a"],"set":{"instances":"many"}}`, `{"targets":["a"],"signal":"SIGUSR2"}`, `{"targets":["a"],"signal":"-1"}`,
			`{"name":"a","count":-99999999999,"relative":true}`, `{"name":"a","count":3}`, `{"targets":["all"],"own":true,"rotated":true}`,
			`{"apps":[` + app + `],"environ":["A=1","B"]}`, `{"apps":[` + app + `,` + app + `]}`, `{"apps":[{}]}`, `{"apps":[` + app + `],"origin":"/f","names":["b"],"prune":true}`,
			`{"unknown":1}`, `{"targets":["` + strings.Repeat("x", 5000) + `"]}`, "\xff\xfe",
		} {
			f.Add(uint8(i), []byte(body))
		}
	}
	d := fuzzDaemon(f)
	server := newServer(d, newDoor(f.Logf)).Handler
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		// An app is there for the others to act upon.
		post(t, server, api.PathApply, []byte(`{"apps":[`+app+`]}`))
		r := routes[int(which)%len(routes)]
		code, text := post(t, server, r.path, harmless(r.path, body))
		var e api.Error
		switch {
		case code == http.StatusOK:
		case json.Unmarshal(text, &e) != nil, e.Message == "", e.Kind.Status() != code:
			t.Errorf("%s answered %d, %q: not an error of ours", r.path, code, text)
		case e.Kind != api.KindInvalid && e.Kind != api.KindNotFound && e.Kind != api.KindConflict:
			t.Errorf("%s: %v (%s): it is the caller's fault", r.path, e.Message, e.Kind)
		}
		post(t, server, api.PathDelete, []byte(`{"targets":["all"]}`))
		if n := len(d.table.Load().apps); n != 0 {
			t.Errorf("%d apps are left", n)
		}
	})
}

// harmless keeps invented paths of log files out of a request: they would be made.
func harmless(path string, body []byte) []byte {
	var apply api.Apply
	var act api.Targets
	var safe any
	switch {
	case path == api.PathApply && json.Unmarshal(body, &apply) == nil:
		for i := range apply.Apps {
			apply.Apps[i].Logs, apply.Apps[i].PidFile = ecosystem.Logs{Disabled: true}, ""
			apply.Apps[i].Scale.Instances = min(apply.Apps[i].Scale.Instances, 20)
		}
		safe = apply
	case path != api.PathApply && json.Unmarshal(body, &act) == nil && len(act.Set) > 0:
		for name := range act.Set {
			if regexp.MustCompile("(?i)log|file|out|err|pid").MatchString(name) {
				delete(act.Set, name)
			}
		}
		safe = act
	default:
		return body
	}
	b, err := json.Marshal(safe)
	if err != nil {
		return body
	}
	return b
}

func post(t *testing.T, h http.Handler, path string, body []byte) (code int, answer []byte) {
	t.Helper()
	return answerTo(t, h, httptest.NewRequest("POST", path, strings.NewReader(string(body))))
}

func get(t *testing.T, h http.Handler, path string) (code int, answer []byte) {
	t.Helper()
	return answerTo(t, h, httptest.NewRequest("GET", path, nil))
}

// answerTo waits for an answer; of a stream without end it is what there is at the request's end.
func answerTo(t *testing.T, h http.Handler, r *http.Request) (code int, answer []byte) {
	t.Helper()
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { // ends with the request; waited for here
		defer close(done)
		h.ServeHTTP(w, r)
	}()
	const limit = 20 * time.Second
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s has not answered for %v", r.URL, limit)
	}
	return w.Code, w.Body.Bytes()
}

// FuzzSelection resolves arbitrary targets: what is found exists, once each, and
// what is refused is refused as a whole.
func FuzzSelection(f *testing.F) {
	for _, s := range []string{"all", "web", "0", "2", "-1", "99999999999999999999", "/^w/", "/(/", "//", "/", "", "default", "jobs", "web\nworker", "\x00", "/\xff/", "/(?i)WEB/", "/a{1000}{1000}/", "0x1", "+1", " web"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tab := sampleTable()
		targets := strings.Split(text, "\n")
		picked, err := tab.selection(targets)
		var known *api.Error
		if err != nil && (!errors.As(err, &known) || known.Kind != api.KindNotFound && known.Kind != api.KindInvalid || picked != nil) {
			t.Fatalf("%q: %v with %d instances", targets, err, len(picked))
		}
		seen := map[int]bool{}
		for _, in := range picked {
			if seen[in.id] || !slices.Contains(tab.all(), in) {
				t.Errorf("%q: instance %d is there twice, or not of the table", targets, in.id)
			}
			seen[in.id] = true
		}
	})
}
