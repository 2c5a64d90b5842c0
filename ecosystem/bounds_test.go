package ecosystem

import (
	"reflect"
	"strings"
	"testing"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("server.js", "1\n")
	a := p.app(`"no_new_privs": true, "nice": -5, "secrets": ["STRIPE"],
		"rlimits": {"LimitNOFILE": "1024:65536", "core": 0, "RLIMIT_NPROC": "500", "as": "1G", "memlock": "infinity", "stack": null, "fsize": "64K:unlimited"},
		"limits": {"cpu": "50%", "memory": "512M", "pids": 100, "required": true}`, "")
	nice := -5
	want := Bounds{NoNewPrivs: true, Nice: &nice,
		Rlimits: []Rlimit{{"as", 1 << 30, 1 << 30}, {"core", 0, 0}, {"fsize", 64 << 10, Unlimited}, {"memlock", Unlimited, Unlimited}, {"nofile", 1024, 65536}, {"nproc", 500, 500}},
		Limits:  Limits{CPU: 0.5, Memory: 512 << 20, Pids: 100, Required: true}}
	if got := a.Bounds; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := a.Env.Secrets; !reflect.DeepEqual(got, []string{"STRIPE"}) {
		t.Errorf("secrets: %q", got)
	}
	for field, want := range map[string]string{
		"rlimits": "as 1073741824, core 0, fsize 65536:unlimited, memlock unlimited, nofile 1024:65536, nproc 500",
		"limits":  "cpu 0.5, memory 512M, pids 100, required", "nice": "-5", "no_new_privs": "true", "secrets": "STRIPE",
	} {
		if got := byName()[field].show(&a); got != want {
			t.Errorf("%s is shown as %q, want %q", field, got, want)
		}
	}
	for _, r := range a.Bounds.Rlimits {
		if r.Number() < 0 {
			t.Errorf("%s has no number", r.Name)
		}
	}
}

func TestBoundsWrong(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.file("server.js", "1\n")
	for value, want := range map[string]string{
		`"nice": 20`:                            "nice: want -20 (most of the processor) to 19 (least), got 20",
		`"nice": "x"`:                           `nice: want a whole number, got "x"`,
		`"rlimits": [1]`:                        "rlimits: want an object like",
		`"rlimits": {"nofiles": 1}`:             `rlimits.nofiles: unknown limit, did you mean "nofile"?`,
		`"rlimits": {"zzzz": 1}`:                "rlimits.zzzz: unknown limit (there are as, core,",
		`"rlimits": {"nofile": "2:1"}`:          "the first number is what counts (soft) and can't be above the second (hard)",
		`"rlimits": {"nofile": "unlimited:1"}`:  "can't be above the second",
		`"rlimits": {"nofile": 1, "NOFILE": 2}`: "rlimits.NOFILE: nofile is there twice",
		`"rlimits": {"nofile": "64M"}`:          `want a number, "unlimited", or two`,
		`"rlimits": {"core": -2}`:               `want a number, "unlimited", or two`,
		`"limits": 1`:                           `limits: want an object like {"cpu": 0.5`,
		`"limits": {"cpu": 0.001}`:              "limits.cpu: want processors like 0.5",
		`"limits": {"cpu": "x%"}`:               "limits.cpu: want processors like 0.5",
		`"limits": {"memory": "1K"}`:            "limits.memory: want 1M or more",
		`"limits": {"pids": -1}`:                "limits.pids: want 0 or more",
		`"limits": {"required": true}`:          "limits: nothing is limited: say cpu, memory or pids",
		`"memory": "1G"`:                        `memory: unknown field; it is a part of limits: {"memory": …}`,
		`"nofile": 1`:                           `nofile: unknown field; it is a part of rlimits: {"nofile": …}`,
		`"secrets": ["A", {}]`:                  "secrets: entry 1: want a text",
	} {
		_, err := p.read("e.json", `[{"script": "server.js", `+value+`}]`)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", value, err, want)
		}
	}
}

// TestBoundsEffort: the kernel's bounds need a restart, and what is hidden needs none.
func TestBoundsEffort(t *testing.T) {
	t.Parallel()
	was, will := defaults(), defaults()
	will.Bounds.Limits.Pids = 5
	if got := Diff(was, will).Effort(); got != EffortRestart {
		t.Errorf("limits: effort %d", got)
	}
	will = defaults()
	will.Env.Secrets = []string{"A"}
	if got := Diff(was, will).Effort(); got != EffortApply {
		t.Errorf("secrets: effort %d", got)
	}
}
