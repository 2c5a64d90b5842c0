package daemon

import (
	"os"
	"testing"
	"time"

	"gopm/daemon/supervise"
)

func TestParseStatm(t *testing.T) {
	t.Parallel()
	if memory, ok := parseStatm([]byte("1000 300 200 5 0 80 0\n")); !ok || memory != 300*int64(os.Getpagesize()) {
		t.Errorf("parseStatm = %d, %v", memory, ok)
	}
	for _, bad := range []string{"", "1000", "1000 many"} {
		if _, ok := parseStatm([]byte(bad)); ok {
			t.Errorf("parseStatm accepts %q", bad)
		}
	}
}

func TestGaugeReads(t *testing.T) {
	t.Parallel()
	before := time.Duration(0)
	for spun := time.Duration(0); spun < 20*time.Millisecond; { // our own processor time, as the kernel counts it
		cpu, memory, ok := (&gauge{pid: os.Getpid(), statm: -1}).read(make([]byte, 256))
		if !ok || cpu < before || memory < 1<<20 {
			t.Fatalf("read = %v, %d, %v", cpu, memory, ok)
		}
		if before > 0 {
			spun += cpu - before
		}
		before = cpu
	}
	if _, _, ok := (&gauge{pid: 1 << 30, statm: -1}).read(make([]byte, 256)); ok {
		t.Error("a process that cannot be has a usage")
	}
}

func TestGaugeAverages(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	steps := []struct {
		name       string
		after, cpu time.Duration
		fresh      bool
		percent    float64
		sinceStart bool
	}{
		{"first: since the start", 10 * time.Second, time.Second, true, 10, true},
		{"too soon: since the start", 10*time.Second + 100*time.Millisecond, time.Second, false, 100 * 1 / 10.1, true},
		{"since the first look", 12 * time.Second, 2 * time.Second, false, 50, false},
		{"too long ago", 100 * time.Second, 10 * time.Second, false, 10, true},
	}
	g := &gauge{}
	for _, step := range steps {
		u := g.since(began.Add(step.after), step.cpu, began, step.fresh)
		if diff := u.CPU - step.percent; diff > 0.01 || diff < -0.01 || u.SinceStart != step.sinceStart {
			t.Errorf("%s: %.2f %% since start %v, want %.2f %v", step.name, u.CPU, u.SinceStart, step.percent, step.sinceStart)
		}
	}
}

// TestSamplerKeepsFewFiles: a gauge keeps its file, another run gets another one,
// and what is beyond the limit or deleted keeps none.
func TestSamplerKeepsFewFiles(t *testing.T) {
	t.Parallel()
	s := newSampler()
	s.most = 1
	one, two := &instance{id: 1}, &instance{id: 2}
	look := func(in *instance, incarnation uint64) (file int) {
		t.Helper()
		u, ok := s.measure(in, supervise.Snapshot{Run: supervise.Run{Pid: os.Getpid()}, Incarnation: incarnation}, make([]byte, 256))
		if !ok || u.Memory < 1<<20 {
			t.Fatalf("instance %d: %+v %v", in.id, u, ok)
		}
		return s.gauges[in].statm
	}
	first := look(one, 1)
	if again := look(one, 1); first < 0 || again != first || s.open != 1 {
		t.Errorf("files %d, then %d; %d open", first, again, s.open)
	}
	if file := look(two, 1); file != -1 || s.open != 1 {
		t.Errorf("beyond the limit: file %d, %d open", file, s.open)
	}
	look(one, 2)
	if s.open != 1 {
		t.Errorf("after another run %d are open", s.open)
	}
	if _, ok := s.measure(one, supervise.Snapshot{Run: supervise.Run{Pid: 1 << 30}, Incarnation: 3}, make([]byte, 256)); ok || s.open != 0 || len(s.gauges) != 1 {
		t.Errorf("a process that is gone: %v, %d open, %d gauges", ok, s.open, len(s.gauges))
	}
	look(one, 4)
	s.forget(one)
	if s.open != 0 {
		t.Errorf("%d are open for what was deleted", s.open)
	}
}
