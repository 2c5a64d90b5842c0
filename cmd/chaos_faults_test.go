package cmd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Faults: what the chaos tests do to gopm, when, and how they find its processes.

// seedSwitch repeats a run of the chaos tests; every run prints its seed.
const seedSwitch = "GOPM_CHAOS_SEED"

func chaosSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) % 1_000_000
	if text := os.Getenv(seedSwitch); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	t.Logf("%s=%d", seedSwitch, seed)
	return seed
}

// Tests with a long form take as long as these say (make chaos, make soak).
const (
	chaosSwitch = "GOPM_CHAOS"
	soakSwitch  = "GOPM_SOAK"
)

// spanOf is how long such a test takes; short is its form in make test.
func spanOf(t *testing.T, name string, short time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return short
	}
	span, err := time.ParseDuration(text)
	must(t, err)
	return span
}

type deed int

const (
	killDaemon deed = iota
	killKeeper
	killBoth
	killApp
	killClient

	// To clustered apps.
	killInstance
	stopInstance
	reloadApp
	reloadBad
	scaleApp
	updateBinary
	fillDisk
	deeds // how many there are
)

func (d deed) String() string {
	return [...]string{"kill daemon", "kill keeper", "kill both", "kill app", "kill client",
		"kill instance", "stop instance", "reload", "reload to a bad version", "scale", "update", "fill disk"}[d]
}

// fault is one deed, a while after the one before it.
type fault struct {
	after  time.Duration
	deed   deed
	victim int           // which app or command, modulo how many there are
	delay  time.Duration // how long a client lives
}

// lifeEnough is when the life of a daemon is no short one, with time for a busy machine.
const lifeEnough = 1500 * time.Millisecond

// planFaults is what happens within a span: a function of the seed and the weights
// of the deeds. A keeper gives a daemon up that dies five times in a row within its
// first second; so every fourth life of a daemon at the latest is a longer one.
func planFaults(seed uint64, span time.Duration, weights [deeds]int) []fault {
	random := rand.New(rand.NewPCG(seed, 4))
	var plan []fault
	var at, life time.Duration
	short := 0
	for {
		f := fault{
			after:  min(time.Second, time.Duration(random.ExpFloat64()*float64(250*time.Millisecond))),
			deed:   draw(random, weights),
			victim: random.IntN(1 << 20),
			delay:  time.Duration(random.IntN(60_000)) * time.Microsecond,
		}
		life += f.after
		if f.deed == killDaemon || f.deed == killBoth {
			if short++; short > 3 && life < lifeEnough {
				f.after += lifeEnough - life
				life = lifeEnough
			}
			if life >= lifeEnough {
				short = 0
			}
			life = 0
		}
		if at += f.after; at > span {
			return plan
		}
		plan = append(plan, f)
	}
}

func draw(random *rand.Rand, weights [deeds]int) (d deed) {
	total := 0
	for _, w := range weights {
		total += w
	}
	for n := random.IntN(total); n >= weights[d]; d++ {
		n -= weights[d]
	}
	return d
}

func TestFaultsDependOnTheSeed(t *testing.T) {
	t.Parallel()
	even := [deeds]int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	one, same, other := planFaults(7, time.Minute, even), planFaults(7, time.Minute, even), planFaults(8, time.Minute, even)
	if fmt.Sprint(one) != fmt.Sprint(same) || fmt.Sprint(one) == fmt.Sprint(other) || len(one) < 60 {
		t.Errorf("%v\n%v\n%v", one, same, other)
	}
	short := 0
	for _, f := range planFaults(9, time.Hour, [deeds]int{1}) {
		if short++; f.after >= lifeEnough {
			short = 0
		}
		if short > 3 {
			t.Fatal("four short lives in a row")
		}
	}
}

// holder is the process that a lock file of the home names, 0 if that is gone.
func (g *gopm) holder(lock, comm string) int {
	text, err := os.ReadFile(g.home + "/" + lock)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // it may be gone
	if strings.TrimSpace(string(name)) != comm || !alive(pid) {
		return 0
	}
	return pid
}

func (g *gopm) daemonNow() int { return g.holder("gopm.lock", "gopm-daemon") }
func (g *gopm) keeperNow() int { return g.holder("keeper.lock", "gopm-keeper") }

// strike sends SIGKILL to processes in the same instant; 0 is nobody.
func strike(pids ...int) (hit bool) {
	for _, pid := range pids {
		if pid > 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			hit = true
		}
	}
	return hit
}

// strikeTwo kills keeper and daemon so that neither sees the other's death, and
// waits until they are gone.
func (g *gopm) strikeTwo(keeper, daemon int) {
	g.Helper()
	_ = syscall.Kill(keeper, syscall.SIGSTOP) // it may be gone
	eventually(g.T, soon, func() error {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", keeper))
		if alive(keeper) && !strings.Contains(string(stat), ") T ") {
			return fmt.Errorf("keeper %d is not stopped", keeper)
		}
		return nil
	})
	strike(daemon, keeper)
	for _, pid := range []int{daemon, keeper} {
		eventually(g.T, soon, ended(pid))
	}
}

// birth is a process that no later one with its pid is taken for. In a long run pids come
// back.
type birth struct {
	pid   int
	start string
}

func birthOf(pid int) birth {
	const started = 19                                        // of what follows the name
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // it may be gone
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= started {
		return birth{pid: pid}
	}
	return birth{pid, fields[started]}
}

// ended is gone, and no thread is left: until then its sockets take connections.
func ended(pid int) func() error {
	return func() error {
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid)) // none: it is reaped
		if alive(pid) || len(threads) > 1 {
			return fmt.Errorf("pid %d has %d threads", pid, len(threads))
		}
		return nil
	}
}

// another waits until now gives another process than the old one.
func (g *gopm) another(what string, now func() int, old int) int {
	g.Helper()
	var pid int
	eventually(g.T, soon, func() error {
		if pid = now(); pid == 0 || pid == old {
			return fmt.Errorf("no %s after %d", what, old)
		}
		return nil
	})
	return pid
}
