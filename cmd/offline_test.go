package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// deserted is a home without a daemon. Of its apps "web" lives (it is this test), "job"
// has died, "old" was stopped by its user, "idle" rests since a kill.
func deserted(t *testing.T, change func(*api.State)) (*cli, *bytes.Buffer) {
	t.Helper()
	home := api.Home{Dir: t.TempDir()}
	app := func(name string, id int, in api.SavedInstance) api.SavedApp {
		in.ID = id
		return api.SavedApp{Spec: ecosystem.App{Name: name, Namespace: "default"}, Instances: []api.SavedInstance{in}}
	}
	state := api.State{Format: api.StateFormat, Boot: api.BootID(), Complete: true, Apps: []api.SavedApp{
		app("web", 0, api.SavedInstance{Want: true, Start: ownStart(t), Process: api.Process{Status: "online", Pid: os.Getpid(), Started: time.Now(), Restarts: 3}}),
		app("job", 1, api.SavedInstance{Want: true, Start: 1, Process: api.Process{Status: "online", Pid: os.Getpid()}}),
		app("old", 2, api.SavedInstance{Process: api.Process{Status: "stopped"}}),
		app("idle", 7, api.SavedInstance{Want: true, Rested: "kill", Process: api.Process{Status: "stopped"}}),
	}}
	if change != nil {
		change(&state)
	}
	text, err := json.Marshal(state)
	if err == nil {
		err = os.WriteFile(home.State(), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := &cli{out: &out, err: &out}
	c.client = api.NewClient(home, version, nil)
	return c, &out
}

// ownStart is when this process was started, as /proc has it.
func ownStart(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	n, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestListOfADeadDaemon(t *testing.T) {
	t.Parallel()
	c, out := deserted(t, nil)
	err := c.printList(context.Background(), listOptions{})
	if err == nil || err.Error() != "daemon not running, 1 app still alive: run gopm resurrect" {
		t.Error(err)
	}
	if code := c.exitCode(err); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		"│ 0  │ web  │ default   │ N/A     │ fork │ " + strconv.Itoa(os.Getpid()),
		"│ stopped (exit unknown) ", "│ stopped                ", "stopped (before kill: online)",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in:\n%s", want, out)
		}
	}
}

// Nothing lives: the list is an answer.
func TestListAfterAnEnd(t *testing.T) {
	t.Parallel()
	for why, change := range map[string]func(*api.State){
		"shutdown": func(s *api.State) { s.Apps, s.Ended = s.Apps[1:], "shutdown" },
		"reboot":   func(s *api.State) { s.Boot = "another" },
	} {
		c, out := deserted(t, change)
		if err := c.printList(context.Background(), listOptions{}); err != nil {
			t.Errorf("%s: %v", why, err)
		}
		for _, want := range []string{"stopped (before " + why + ": online)", "daemon not running (home ", "gopm resurrect starts"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: want %q in:\n%s", why, want, out)
			}
		}
	}
}

func TestTargetsOfADeadDaemon(t *testing.T) {
	t.Parallel()
	c, _ := deserted(t, nil)
	ctx := context.Background()
	for _, tt := range []struct {
		targets []string
		ids     []int
	}{{nil, []int{0, 1, 2, 7}}, {[]string{"all"}, []int{0, 1, 2, 7}}, {[]string{"job"}, []int{1}}, {[]string{"7", "/e/"}, []int{7, 0}}} {
		rows, err := c.instances(ctx, tt.targets...)
		if !noDaemon(err) || len(rows) != len(tt.ids) {
			t.Errorf("%v: %v, %v", tt.targets, rows, err)
			continue
		}
		for i, id := range tt.ids {
			if rows[i].ID != id {
				t.Errorf("%v: %v, want the ids %v", tt.targets, rows, tt.ids)
			}
		}
	}
	if known, err := c.isKnown(ctx, "idle"); !known || err != nil {
		t.Error(known, err)
	}
	if known, err := c.isKnown(ctx, "nosuch"); known || err != nil {
		t.Error(known, err)
	}
	_, err := c.instances(ctx, "nosuch")
	if e, is := asAPIError(err); !is || e.Kind != api.KindNotFound {
		t.Error(err)
	}
	details, err := c.details(ctx, api.Targeted("web"))
	if len(details) != 1 || details[0].Process.Restarts != 3 || details[0].Usage.Memory == 0 || !noDaemon(err) {
		t.Errorf("%+v, %v", details, err)
	}
}

func TestDamagedStateIsTold(t *testing.T) {
	t.Parallel()
	c, out := deserted(t, nil)
	if err := os.WriteFile(c.client.Home().State(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	words := []string{"daemon not running", filepath.Base(c.client.Home().State()), "damaged", "gopm start puts it aside"}
	for _, err := range []error{c.printList(context.Background(), listOptions{}), c.kill(context.Background())} {
		for _, want := range words {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q in %v", want, err)
			}
		}
	}
	if out.String() != "" {
		t.Errorf("said %q", out)
	}
}

// Without apps that live no command but those that start something starts a daemon.
func TestNothingAliveStartsNoDaemon(t *testing.T) {
	t.Parallel()
	c, _ := deserted(t, func(s *api.State) { s.Apps = s.Apps[1:] })
	cmd := c.stopCmd()
	cmd.SetContext(context.Background())
	if err := c.revive(cmd, nil); err != nil || c.alive() {
		t.Errorf("a daemon was started: %v", err)
	}
	var none *leftError
	if err := c.remains().explain(errors.New("no daemon")); errors.As(err, &none) {
		t.Error(err)
	}
}
