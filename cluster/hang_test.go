package cluster

import (
	"math/rand/v2"
	"testing"
	"time"
)

const hangAfter = time.Second

var dawn = time.Unix(1e9, 0)

// watched plays a queue to the state machine, a look every 50 ms, and says after how
// long the tenant is called stuck: never is 0. tenant gives, for a look, who should
// accept, how many wait, and which of its connections is the youngest.
func watched(looks int, tenant func(look int) (inc uint64, waiting, youngest int)) time.Duration {
	var s standing
	noted := 0
	for look := range looks {
		at := dawn.Add(time.Duration(look) * hangAfter / 20)
		inc, waiting, youngest := tenant(look)
		next, v := s.look(at, inc, waiting, hangAfter)
		switch {
		case v != moving && (!next.noted || youngest != noted):
			next, noted = next.note(at), youngest
		case v == overdue:
			return at.Sub(dawn)
		}
		s = next
	}
	return 0
}

func TestWhoIsStuck(t *testing.T) {
	type tenant func(look int) (inc uint64, waiting, youngest int)
	rng := rand.New(rand.NewPCG(4, 4))
	for _, test := range []struct {
		name   string
		looks  int
		tenant tenant
		want   time.Duration // the latest moment, one look at least before it; 0: never
	}{
		{"idle", 500, func(int) (uint64, int, int) { return 1, 0, 0 }, 0},
		{"idle with one in the queue at times", 500, func(k int) (uint64, int, int) { return 1, k % 2, k }, 0},
		{"stuck with one", 500, func(int) (uint64, int, int) { return 1, 1, 7 }, 1050 * time.Millisecond},
		{"stuck while more and more come", 500, func(k int) (uint64, int, int) { return 1, 1 + 3*k, 7 }, 1050 * time.Millisecond},
		{"stuck with a full queue", 500, func(int) (uint64, int, int) { return 1, 1025, 7 }, 1050 * time.Millisecond},
		{"slow, the queue goes up and down", 500, func(k int) (uint64, int, int) { return 1, 50 + k%7, 7 }, 0},
		{"slow, the queue only grows", 500, func(k int) (uint64, int, int) { return 1, 10 + k, k }, 0},
		{"slow, the queue is full at every look", 500, func(k int) (uint64, int, int) { return 1, 1025, k / 18 }, 0},
		{"one at a time, each nearly as long as the timeout", 500, func(k int) (uint64, int, int) { return 1, 20, k / 19 }, 0},
		{"one at a time, each longer than the timeout", 500, func(k int) (uint64, int, int) { return 1, 20, k / 45 }, 1050 * time.Millisecond},
		{"nobody is there", 500, func(k int) (uint64, int, int) { return 0, k, 0 }, 0},
		{"killed again and again, before the time is over", 500, func(k int) (uint64, int, int) { return uint64(1 + k/15), 5 + k, 0 }, 0},
		{"stuck from the 100th look on", 500, func(k int) (uint64, int, int) {
			if k < 100 {
				return 1, rng.IntN(9), k
			}
			return 1, 9 + k, 100
		}, 100*hangAfter/20 + 1150*time.Millisecond},
	} {
		got := watched(test.looks, test.tenant)
		if got > test.want || test.want > 0 && got < test.want-150*time.Millisecond {
			t.Errorf("%s: stuck after %v, not after %v", test.name, got, test.want)
		}
	}
}

func TestAQueueThatHangsEverybodyIsGivenUp(t *testing.T) {
	var p poison
	for tenant := uint64(1); tenant <= 9; tenant++ {
		for range 3 { // its other sockets stand as well, and it takes a while to die
			var giveUp bool
			first := tenant != p.tenant
			p, giveUp = p.hung(tenant)
			if want := first && tenant%3 == 0; giveUp != want {
				t.Fatalf("tenant %d hangs: give up is %v", tenant, giveUp)
			}
		}
	}
}

func TestHangsAreForgottenAfterGoodService(t *testing.T) {
	hang := func(p poison, tenant uint64) poison {
		p, _ = p.hung(tenant)
		return p
	}
	for _, test := range []struct {
		name string
		well time.Duration // how long the third tenant serves before the fourth hangs
		want bool          // the queue is given up then
	}{
		{"long enough", 10 * hangAfter, false},
		{"not long enough", 9 * hangAfter, true},
	} {
		p := hang(hang(poison{}, 1), 2)
		p = p.served(dawn.Add(-time.Hour), 2, hangAfter) // the one that hangs is no witness
		p = p.served(dawn.Add(-time.Hour), 0, hangAfter) // nor is nobody
		for at := time.Duration(0); at <= test.well; at += hangAfter / 20 {
			p = p.served(dawn.Add(at), 3, hangAfter)
		}
		if _, giveUp := p.hung(4); giveUp != test.want {
			t.Errorf("%s: given up is %v", test.name, giveUp)
		}
	}
}
