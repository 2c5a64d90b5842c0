package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/daemon/keeper"
	"gopm/daemon/supervise"
	"gopm/ecosystem"
)

// bare is an app that neither opens a file nor a socket, nor asks anybody.
func bare(a ecosystem.App) ecosystem.App {
	b := ecosystem.App{Name: a.Name, Namespace: a.Namespace, Version: a.Version, Command: a.Command, Env: a.Env, Scale: a.Scale, Autostart: a.Autostart, Restart: a.Restart, Stop: a.Stop}
	b.Logs.Disabled = true
	b.Life.Ready, b.Life.Times, b.Life.DependsOn = a.Life.Ready, a.Life.Times, a.Life.DependsOn
	return b
}

// harmlessState has neither the paths that a fuzzer invents, nor more than some processes.
func harmlessState(s api.State) api.State {
	s.Apps = s.Apps[:min(len(s.Apps), 5)]
	for i := range s.Apps {
		s.Apps[i].Spec = bare(s.Apps[i].Spec)
		s.Apps[i].Env = "" // the file of an environment is read by its name
		s.Apps[i].Instances = s.Apps[i].Instances[:min(len(s.Apps[i].Instances), 5)]
	}
	return s
}

// theState is a state of one app, with what its instances are.
func theState(instances string) string {
	return fmt.Sprintf(`{"format":1,"gopm":"1","boot_id":%q,"sequence":3,"apps":[{"spec":{"name":"web","namespace":"default","command":{"script":"/x","cwd":"/"},"scale":{"instances":1,"exec_mode":"fork","instance_var":"N"},"restart":{"min_uptime":1,"max_restarts":1},"stop":{"kill_signal":"SIGTERM"}},"user":"root","inherited_env":"","instances":[%s]}],"complete":true}`, api.BootID(), instances)
}

// instanceSeeds are instances as a state has them, or a disk has made them.
var instanceSeeds = []string{
	"", `{"id":0,"want":true,"machine":{"state":"online","inc":3,"run":{"pid":70000,"start_time":5}},"out":{"pipe":7}}`, `{"id":0,"machine":null}`, `{"id":0,"machine":{"state":"clearing"}}`,
	`{"id":0,"want":true,"rested":"kill","machine":{"state":"nowhere"}}`, `{"id":0,"machine":{"state":"waiting restart","timer":{"armed":true,"delay_ns":-1}}}`, `{"id":-1},{"id":-1},{"id":-1,"life":2}`,
	`{"id":0,"index":-7,"marks":[1,2,3,4,5,6,7]}`, `{"id":0,"permit":{"lock":"\u0000","Until":-1}}`, `{"id":0,"want":true,"wait":{"from":0,"again":true},"machine":{}}`, `{"id":9223372036854775807}`,
	`{"id":0,"health":{"status":"\u001b","incarnation":3,"since":"9999-12-31T23:59:59Z"}}`, `{"id":0,"due":"0001-01-02T00:00:00Z","scheduled":true}`, `{"id":0,"machine":{"state":"stopping","run":{"pid":1,"start_time":1}}}`,
}

// FuzzInherit has a daemon begin with any state, and with anything that its keeper says of
// a run: it comes up and shows what it has, or says why it doesn't.
func FuzzInherit(f *testing.F) {
	keys := []string{"", "i/0", "i/0.2", "i/-1", "n/0", "h/7", "i/x"}
	for i, instances := range instanceSeeds {
		f.Add([]byte(theState(instances)), keys[i%len(keys)], []byte(`{"state":"online","inc":4,"run":{"pid":70001,"start_time":6},"marks":[1,2,3,4,5,6],"slot":9,"name":"web"}`))
		f.Add([]byte(theState(instances)), "i/0", []byte(instances))
	}
	f.Add([]byte("{"), "", []byte(nil))
	f.Fuzz(func(t *testing.T, text []byte, key string, note []byte) {
		if s, err := api.ParseState(text); err == nil {
			text = encode(harmlessState(s))
		}
		kind, _, _ := strings.Cut(key, "/")
		e := []keeper.Entry{}
		if key != "" && kind+"/" != keyCluster { // that is the cluster's own fuzzing
			e = append(e, keeper.Entry{Key: key, Note: note})
		}
		left, err := sortEstate(e)
		if err != nil {
			return
		}
		left.state = text
		if _, bad := api.ParseState(text); bad != nil {
			if s, _, err := (&Daemon{}).recall(left); err == nil || len(s.Apps) > 0 {
				t.Errorf("%s: %d apps, %v", text, len(s.Apps), err)
			}
			return
		}
		d := emptyDaemon(t)
		if _, err := d.settle(left, nil); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		server := newServer(d, newDoor(t.Logf)).Handler
		for _, path := range []string{api.PathInstances, api.PathDetails, api.PathEnv, api.PathConfig} {
			if code, answer := get(t, server, path); code != 200 || strings.ContainsRune(string(answer), 0x1b) {
				t.Errorf("%s answers %d, %q", path, code, answer)
			}
		}
		again, err := api.ParseState(d.store.present().text)
		if err != nil || len(again.Apps) != len(d.table.Load().apps) {
			t.Errorf("it is kept as %d apps of %d, %v", len(again.Apps), len(d.table.Load().apps), err)
		}
	})
}

// FuzzSaved brings back what a file that was saved says, whatever a disk or a person has
// made of it: all of it, or an error, and what is there already stays.
func FuzzSaved(f *testing.F) {
	for _, instances := range instanceSeeds {
		f.Add([]byte(`{"state":` + theState(instances) + `,"inherited_envs":{"":["A=1","B","=","\u0000"]}}`))
	}
	for _, s := range []string{"", "null", "{}", `{"state":{}}`, `{"state":{"format":99,"apps":[{}],"complete":true}}`, `{"state":{"apps":[{"spec":{"name":""}}]}}`, `{"state":{"format":1,"complete":true,"apps":[{"spec":{"name":"a"}},{"spec":{"name":"a"}}]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s snapshot
		if json.Unmarshal(text, &s) == nil {
			s.State = harmlessState(s.State)
			text = encode(s)
		}
		d := emptyDaemon(t)
		if _, err := d.settle(estate{}, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(d.cfg.Home.Saved(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := d.resurrect(t.Context(), api.Resurrect{Saved: true})
		have := d.table.Load().apps
		wanted := map[string]bool{}
		for _, a := range s.State.Apps {
			wanted[a.Spec.Name] = true
		}
		if err == nil && len(have) != len(wanted) {
			t.Errorf("%s: %d apps of %d, and no error", text, len(have), len(wanted))
		}
		if err == nil && (s.State.Format != api.StateFormat || !s.State.Complete) {
			t.Errorf("%s was taken for whole", text)
		}
		if code, answer := get(t, newServer(d, newDoor(t.Logf)).Handler, api.PathDetails); code != 200 {
			t.Errorf("%d, %s", code, answer)
		}
	})
}

// FuzzNotes reads the small notes of a keeper and of files.
func FuzzNotes(f *testing.F) {
	for _, s := range []string{"0", "7.2", "7.", ".2", "-1.0", "+1", "7.02", "7.18446744073709551616", `["A=1"]`, `{"lock":"k"}`, "null", `[null,7]`, `{"state":"online","name":"x","index":-1}`, `{"inc":1,"channel":true}`, ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if id, err := parseLifeID(string(text)); err == nil && id.under("") != string(text) && !strings.HasPrefix(string(text), "+") {
			if again, err := parseLifeID(id.under("")); err != nil || again != id {
				t.Errorf("%q is %+v, and that is %+v, %v", text, id, again, err)
			}
		}
		env, err := readEnv("/nowhere", "x", map[string][]byte{"x": text})
		if err != nil && (env != nil || !strings.Contains(err.Error(), "/nowhere/x")) {
			t.Errorf("%q: %q, %v", text, env, err)
		}
		n := noteOf(api.SavedInstance{Machine: text, SavedPast: api.SavedPast{Marks: []int64{1}}, SavedOrder: api.SavedOrder{Permit: text}}, legacy{rested: "reboot"})
		if n.Machine.State != supervise.Stopped || n.Slot != 0 || n.Run.Pid != 0 || n.Permit != nil && (n.Permit.Fence != 0 || n.Permit.Until != 0) {
			t.Errorf("%s: after a reboot it is %+v", text, n)
		}
		_ = noteOf(api.SavedInstance{Machine: text}, legacy{})
		if memory, ok := parseStatm(text); !ok && memory != 0 {
			t.Errorf("%q: %d bytes", text, memory)
		}
	})
}

// FuzzLetters has anybody's datagram be an instance's: what it says of itself is one short
// line, and nothing else is done.
func FuzzLetters(f *testing.F) {
	for _, s := range []string{"READY=1\nSTATUS=ok", "STATUS=\x1b[2J\r\x00", "STOPPING=1", "WATCHDOG=trigger", "WATCHDOG=1\nWATCHDOG_USEC=0", "READY=1\x00", "STATUS=" + strings.Repeat("é", 5000), "MAINPID=1", "=", "FDSTORE=1\nFDNAME=x", "STATUS=a\nSTATUS=b\nSTATUS=c"} {
		f.Add([]byte(s), []byte{})
		f.Add([]byte(s), []byte("\x1c\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	}
	d := fuzzDaemon(f)
	in := emptyInstance(f, d)
	f.Fuzz(func(t *testing.T, text, control []byte) {
		if pid := senderOf(control); pid != 0 && len(control) < 12 {
			t.Errorf("%x is from %d", control, pid)
		}
		in.words.Store(nil)
		told := 0
		box := &postbox{tell: func(event) { told++ }, all: d.everyone, fd: -1, refused: map[string]bool{}, dogs: map[*instance]*watchdog{}}
		ready := box.read(in, 1, letter{text: string(text), at: time.Now()})
		if ready {
			t.Error("the app isn't one that says when it is ready")
		}
		if told > 2+strings.Count(string(text), "\n") {
			t.Errorf("%q is told %d times", text, told)
		}
		if w := in.words.Load(); w != nil && (w.status != tame(w.status) || len(w.status) > 1000) {
			t.Errorf("%q says %q", text, w.status)
		}
		for range maxRefused + 10 {
			box.refuse(letter{who: string(text), text: string(text)})
			box.tooLong(string(control), 7)
		}
		if len(box.refused) > 2 {
			t.Errorf("%d notes about two programs", len(box.refused))
		}
	})
}

// emptyInstance is one that never runs.
func emptyInstance(t testing.TB, d *Daemon) *instance {
	t.Helper()
	_, err := d.apply(t.Context(), api.Apply{Apps: []ecosystem.App{bare(ecosystem.App{Name: "web", Command: ecosystem.Command{Script: "/x", Cwd: "/"}, Scale: ecosystem.Scale{Instances: 1, ExecMode: "fork", InstanceVar: "N"}, Stop: ecosystem.Stop{Signal: "SIGTERM"}, Restart: ecosystem.Restart{MaxRestarts: 1, MaxExplicit: true}})}})
	var known *api.Error
	if all := d.everyone(); err == nil && len(all) == 1 {
		return all[0]
	}
	t.Fatal(errors.As(err, &known), err)
	return nil
}

// FuzzOrder has a daemon in the foreground begin with any settings and any order: it runs
// what was ordered and nothing else, or says what is wrong.
func FuzzOrder(f *testing.F) {
	order := func(apps string) []byte { return []byte(`{"applies":[{"apps":[` + apps + `],"environ":["A=1"]}]}`) }
	const app = `{"name":"a","namespace":"n","command":{"script":"/x","cwd":"/"},"scale":{"instances":2,"exec_mode":"fork","instance_var":"N"},"restart":{"max_restarts":1,"max_restarts_explicit":true},"stop":{"kill_signal":"SIGTERM"}}`
	for _, settings := range []string{`{"exit_on":"first"}`, `{"exit_on":"\u001b","form":"json"}`, `{"exit_on":7}`, "{", "null"} {
		for _, text := range [][]byte{order(app), order(app + "," + app), order("{}"), []byte(`{"applies":[null]}`), []byte("null"), []byte("{"), {}} {
			f.Add(settings, text)
		}
	}
	f.Fuzz(func(t *testing.T, settings string, text []byte) {
		var runtime api.Runtime
		if json.Unmarshal([]byte(settings), &runtime) != nil {
			return
		}
		var wanted api.RuntimeOrder
		readable := json.Unmarshal(text, &wanted) == nil
		wanted.Delay = 0
		for i := range wanted.Applies {
			wanted.Applies[i].Apps = wanted.Applies[i].Apps[:min(len(wanted.Applies[i].Apps), 3)]
			for j := range wanted.Applies[i].Apps {
				a := bare(wanted.Applies[i].Apps[j])
				a.Scale.Instances = min(a.Scale.Instances, 5)
				wanted.Applies[i].Apps[j] = a
			}
		}
		if readable {
			text = encode(wanted)
		}
		d := fuzzDaemon(t)
		fg := &foreground{d: d, settings: runtime, order: text}
		err := fg.carryOut(t.Context())
		names := map[string]bool{}
		for _, req := range wanted.Applies {
			for _, a := range req.Apps {
				names[a.Name] = true
			}
		}
		for _, name := range d.table.Load().names() {
			if !names[name] {
				t.Errorf("%s: %q runs, and nobody has ordered that", text, name)
			}
		}
		if err == nil && (!readable || len(d.table.Load().apps) != len(names)) {
			t.Errorf("%s: %d apps of %d, and no error", text, len(d.table.Load().apps), len(names))
		}
		v, code := judgeRun(runtime.ExitOn, d.fates())
		if code < 0 || code > 255 || runtime.ExitOn == api.ExitOnNever && v != runs {
			t.Errorf("%s: %v with code %d", settings, v, code)
		}
	})
}
