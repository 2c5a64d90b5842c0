package main

import (
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestField(t *testing.T) {
	t.Parallel()
	text := "Rss:    900 kB\nPss:    812 kB\nPss_Anon:   40 kB\nName:\tx\n"
	if n, ok := field(text, "Pss"); !ok || n != 812 {
		t.Errorf("%v %v", n, ok)
	}
	for _, name := range []string{"Swap", "Name"} {
		if _, ok := field(text, name); ok {
			t.Errorf("%s is a number", name)
		}
	}
}

func TestOwnProcess(t *testing.T) {
	t.Parallel()
	me := os.Getpid()
	if !alive(me) || cpuTime([]int{me}) <= 0 {
		t.Error("this process is not seen")
	}
	if pss, ok := sum([]int{me}, "smaps_rollup", "Pss"); !ok || pss <= 0 {
		t.Errorf("memory %v %v", pss, ok)
	}
	if _, ok := sum(nil, "smaps_rollup", "Pss"); ok {
		t.Error("no process has memory")
	}
	if exe, _ := os.Executable(); executable(me) != exe {
		t.Errorf("executable %q, want %q", executable(me), exe)
	}
}

func TestCarrying(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	cmd.Env = []string{"BENCH_ID=benchtestcarrying"}
	started(t, cmd)
	// Start returns when exec has closed the parent's pipe; the kernel fills in the new environ a moment later.
	eventually(t, "the child carries the mark, and nobody else", func() bool {
		return slices.Equal(carrying("BENCH_ID=benchtestcarrying"), []int{cmd.Process.Pid})
	})
	cmd.Process.Kill()
	eventually(t, "it is dead", func() bool { return !alive(cmd.Process.Pid) })
	if got := carrying("BENCH_ID=benchtestcarrying"); len(got) != 0 {
		t.Errorf("a zombie counts: %v", got)
	}
}
