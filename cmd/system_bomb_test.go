package cmd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// An app takes every process that its user may have (ulimit -u): gopm, which is that
// user's, too, goes on with those that it has, though a program of Go ends when it can't
// have another thread; and when the app is stopped everything is as it was.
func TestAppAtTheLimitOfProcesses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody who has no other processes")
	}
	g := newGopm(t)
	const uid, most = 61803, 120 // nobody else's
	must(t, os.Mkdir(g.home, 0o700))
	for _, dir := range []string{g.home, g.dir} {
		must(t, os.Chown(dir, uid, uid))
	}
	g.cred = &syscall.Credential{Uid: uid, Gid: uid}
	bomb := g.file("hostile.py", readFile(t, "testdata/hostile.py"))
	file := g.file("e.json", `{"apps": [{"name": "good", "script": "/bin/sleep", "args": "1000", `+quick+`}, {"name": "other", "script": "/bin/sleep", "args": "1000", `+quick+`}]}`)
	if r := g.under(fmt.Sprintf("{ ulimit -u %d 2>/dev/null || ulimit -p %d; }", most, most), "start", file); r.code != 0 {
		t.Fatal(r)
	}
	before := g.pids()
	daemon, keeper := g.daemon()
	for pid, want := range map[int]int{daemon: 32, keeper: 10} { // by chance fewer might do
		if tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)); err != nil || len(tasks) < want {
			t.Errorf("process %d of gopm has %d threads, want %d (%v)", pid, len(tasks), want, err)
		}
	}
	// Its standard interpreter may be another user's.
	if r := g.try("start", g.file("bomb.json", fmt.Sprintf(`{"apps": [{"name": "bomb", "script": %q, "interpreter": "/usr/bin/python3", "args": "bomb", "kill_timeout": "500ms", %s}]}`, bomb, quick)), "--wait", "0"); r.code != 0 {
		t.Fatal(r)
	}
	eventually(t, 2*soon, func() error { _, err := os.Stat(filepath.Join(g.dir, "bomb.done")); return err })
	contains(t, "the bomb", readFile(t, g.app("bomb").Env.Out), "refused 20")
	var all sync.WaitGroup
	for range 3 {
		for _, words := range [][]string{{"ls"}, {"info", "good"}, {"logs", "bomb", "--nostream"}} {
			all.Go(func() {
				if r, err := g.finish(g.command(words...)); err != nil || r.code != 0 {
					t.Errorf("%v: %v, %v", words, err, r)
				}
			})
		}
	}
	all.Wait()
	g.fail(1, []string{"good:0 failed", "a limit on processes is reached"}, "restart", "good")
	g.run("stop", "bomb")
	g.awaitStatus("good", "online")
	for _, p := range belongingTo(g.home) {
		if p.cmdline == "python3 "+bomb+" bomb" {
			t.Errorf("left running: %s", p)
		}
	}
	if d, k := g.daemon(); d != daemon || k != keeper {
		t.Errorf("daemon and keeper are %d and %d, were %d and %d", d, k, daemon, keeper)
	}
	if now := g.pids(); now["other:0"] != before["other:0"] {
		t.Errorf("other:0 is pid %d, was %d", now["other:0"], before["other:0"])
	}
}
