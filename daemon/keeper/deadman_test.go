package keeper

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The dead man acts while no daemon is there, and only then.
func TestDeadMan(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.daemon()
	group := d.spawn("sleep 100 & exec sleep 100")
	extended, takenBack, another := d.spawn("exec sleep 100"), d.spawn("exec sleep 100"), d.spawn("exec sleep 100")
	d.ask(request{Do: "put", Key: "i/1", Main: group})
	d.ask(request{Do: "deadline", Key: "extended", Main: extended, N: 50})
	d.ask(request{Do: "deadline", Key: "extended", Main: extended, N: 600_000})
	d.ask(request{Do: "deadline", Key: "taken back", Main: takenBack, N: 50}) // no key: nothing comes of it
	d.ask(request{Do: "deadline", Key: "back", Main: takenBack, N: 50})
	d.ask(request{Do: "deadline", Key: "back"})
	d.ask(request{Do: "deadline", Key: "reused", Main: Main{another.Pid, another.Start + 1}, N: 50})
	d.ask(request{Do: "deadline", Key: "i/1", Main: group, N: 300})
	d.do("ready")
	d = d.kill()
	eventually(t, "the end of the group", func() bool {
		return state(group.Pid) == 'Z' && unix.Kill(-group.Pid, 0) == nil && strings.Contains(h.log(), "i/1: the deadline of pid")
	})
	if r := d.ask(request{Do: "collect", Main: group}); !r.OK || unix.WaitStatus(r.N).Signal() != unix.SIGKILL {
		t.Errorf("%+v", r)
	}
	d.do("ready")
	eventually(t, "nobody in the group", func() bool { return unix.Kill(-group.Pid, 0) != nil })
	for name, main := range map[string]Main{"extended": extended, "taken back": takenBack, "another process with the number": another} {
		if state(main.Pid) != 'S' {
			t.Errorf("%s was killed: %q", name, state(main.Pid))
		}
	}
}

func TestEarliest(t *testing.T) {
	t.Parallel()
	if due := earliest(nil); !due.IsZero() {
		t.Error(due)
	}
	at := func(n int64) deadline { return deadline{due: time.Unix(n, 0)} }
	if due := earliest(map[string]deadline{"a": at(5), "b": at(3), "c": at(4)}); due != time.Unix(3, 0) {
		t.Error(due)
	}
}
