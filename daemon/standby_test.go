package daemon

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The instances of these tests are numbers.

func at(who int, inc uint64, is string) seen[int] {
	s := seen[int]{stint: stint[int]{who, inc}, alive: is != "dead"}
	switch is {
	case "active":
		s.active = true
	case "asked":
		s.asked = true
	case "fit":
		s.fit = true
	}
	return s
}

// TestAnotherComesSoon: who would be the next spare waits only where clients wait for another.
func TestAnotherComesSoon(t *testing.T) {
	for name, c := range map[string]struct {
		others []seen[int]
		want   bool
	}{
		"one is fit":                  {[]seen[int]{at(1, 1, "boots"), at(2, 1, "fit")}, true},
		"one is being told":           {[]seen[int]{at(1, 1, "asked")}, true},
		"one is active":               {[]seen[int]{at(1, 1, "fit"), at(2, 1, "active")}, false},
		"none could be":               {[]seen[int]{at(1, 1, "boots"), at(2, 1, "dead")}, false},
		"it is the only one":          {nil, false},
		"the one that was asked died": {[]seen[int]{{stint: stint[int]{1, 1}, asked: true}}, false},
	} {
		if got := comesSoon(c.others); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDutyLooks(t *testing.T) {
	now := time.Now()
	of := func(p phase, who int, inc uint64) duty[int] { return duty[int]{phase: p, stint: stint[int]{who, inc}} }
	after := func(refused int) duty[int] { return duty[int]{failures: 1, refused: refused} }
	promotes := func(refused, who int, inc uint64) duty[int] {
		return duty[int]{phase: promoting, stint: stint[int]{who, inc}, failures: 1, refused: refused}
	}
	do := func(a act, who int, inc uint64) order[int] { return order[int]{a, stint[int]{who, inc}} }
	for name, c := range map[string]struct {
		is   duty[int]
		all  []seen[int]
		then duty[int]
		do   []order[int]
	}{
		"the first that is fit":                {duty[int]{}, []seen[int]{at(0, 1, "boots"), at(1, 1, "fit"), at(2, 1, "fit")}, of(promoting, 1, 1), []order[int]{do(promote, 1, 1)}},
		"nobody is fit":                        {duty[int]{}, []seen[int]{at(0, 1, "boots"), at(1, 1, "dead")}, duty[int]{}, nil},
		"it is being told":                     {of(promoting, 1, 1), []seen[int]{at(0, 1, "fit"), at(1, 1, "fit")}, of(promoting, 1, 1), nil},
		"it has died while it was told":        {of(promoting, 1, 1), []seen[int]{at(0, 1, "fit"), at(1, 2, "boots")}, of(promoting, 0, 1), []order[int]{do(promote, 0, 1)}},
		"all is well":                          {of(active, 0, 1), []seen[int]{at(0, 1, "active"), at(1, 1, "fit")}, of(active, 0, 1), nil},
		"its tree isn't dead yet":              {of(active, 0, 1), []seen[int]{at(0, 1, "ends"), at(1, 1, "fit")}, of(active, 0, 1), nil},
		"it is dead":                           {of(active, 0, 1), []seen[int]{at(0, 1, "dead"), at(1, 1, "fit")}, of(promoting, 1, 1), []order[int]{do(promote, 1, 1)}},
		"it is dead, and nobody is fit":        {of(active, 0, 1), []seen[int]{at(0, 2, "boots"), at(1, 1, "boots")}, duty[int]{}, nil},
		"it could not be told, and isn't dead": {of(failing, 0, 1), []seen[int]{at(0, 1, "fit"), at(1, 1, "fit")}, of(failing, 0, 1), nil},
		"an earlier daemon's":                  {duty[int]{}, []seen[int]{at(0, 1, "fit"), at(1, 4, "active")}, of(active, 1, 4), nil},
		"an earlier daemon has asked":          {duty[int]{}, []seen[int]{at(0, 1, "fit"), at(1, 4, "asked")}, of(promoting, 1, 4), []order[int]{do(promote, 1, 4)}},
		"several, from before they were told":  {duty[int]{}, []seen[int]{at(0, 1, "active"), at(1, 4, "active")}, of(active, 0, 1), []order[int]{do(renew, 1, 4)}},
		"one is active, another may be":        {duty[int]{}, []seen[int]{at(0, 1, "asked"), at(1, 4, "active")}, of(active, 1, 4), []order[int]{do(renew, 0, 1)}},
		"the first has failed":                 {after(0), []seen[int]{at(0, 2, "fit"), at(1, 1, "fit"), at(2, 1, "fit")}, promotes(0, 1, 1), []order[int]{do(promote, 1, 1)}},
		"the next has failed, too":             {after(1), []seen[int]{at(0, 2, "fit"), at(1, 1, "fit"), at(2, 1, "fit")}, promotes(1, 2, 1), []order[int]{do(promote, 2, 1)}},
		"the last has failed":                  {after(2), []seen[int]{at(0, 2, "fit"), at(1, 1, "fit"), at(2, 1, "fit")}, promotes(2, 0, 2), []order[int]{do(promote, 0, 2)}},
		"those after it are not fit":           {after(1), []seen[int]{at(0, 2, "fit"), at(1, 1, "fit"), at(2, 1, "boots")}, promotes(1, 0, 2), []order[int]{do(promote, 0, 2)}},
		"only it is fit":                       {after(1), []seen[int]{at(0, 2, "boots"), at(1, 1, "fit")}, promotes(1, 1, 1), []order[int]{do(promote, 1, 1)}},
		"it has been deleted":                  {after(5), []seen[int]{at(0, 2, "fit"), at(1, 1, "fit")}, promotes(5, 0, 2), []order[int]{do(promote, 0, 2)}},
		"not before the pause is over":         {duty[int]{next: now.Add(time.Second)}, []seen[int]{at(0, 1, "fit")}, duty[int]{next: now.Add(time.Second)}, nil},
	} {
		then, orders := c.is.look(now, c.all)
		if then != c.then || !slices.Equal(orders, c.do) {
			t.Errorf("%s: %+v with %v, want %+v with %v", name, then, orders, c.then, c.do)
		}
	}
}

func TestDutyIsTold(t *testing.T) {
	now := time.Now()
	p := stint[int]{1, 4}
	d := duty[int]{phase: promoting, stint: p, failures: 3}
	for name, other := range map[string]stint[int]{"another incarnation": {1, 3}, "another instance": {0, 4}} {
		if then, orders := d.told(now, other, true); then != d || orders != nil {
			t.Errorf("%s: %+v with %v, want nothing", name, then, orders)
		}
	}
	if then, orders := (duty[int]{phase: active, stint: p}).told(now, p, false); then.phase != active || orders != nil {
		t.Errorf("twice: %+v with %v, want nothing", then, orders)
	}
	if then, orders := d.told(now, p, true); then.phase != active || then.failures != 0 || !slices.Equal(orders, []order[int]{{activate, p}}) {
		t.Errorf("good: %+v with %v", then, orders)
	}
	if then, orders := d.told(now, p, false); then.phase != failing || then.failures != 4 || then.refused != 1 || !then.next.Equal(now.Add(4*time.Second)) || !slices.Equal(orders, []order[int]{{renew, p}}) {
		t.Errorf("bad: %+v with %v", then, orders)
	}
	for failures, want := range map[int]time.Duration{0: 0, 1: 0, 2: time.Second, 5: 8 * time.Second, 100: time.Minute} {
		if got := pauseAfter(failures); got != want {
			t.Errorf("a pause of %v after %d failures, want %v", got, failures, want)
		}
	}
}

// crew is the world of a duty: what its programs have really understood.
type crew struct {
	rand   *rand.Rand
	d      duty[int]
	all    []seen[int]
	inside []bool // it believes that it is active
	asks   []stint[int]
	now    time.Time
}

// TestNeverTwoActive walks at random: programs die, boot, hear, mishear, and answers
// come late; the daemon is replaced. Two never believe that they are active.
func TestNeverTwoActive(t *testing.T) {
	never := 0
	for seed := range uint64(2000) {
		c := &crew{rand: rand.New(rand.NewPCG(seed, 1)), now: time.Now()}
		for i := range 3 {
			c.all = append(c.all, at(i, 1, "boots"))
		}
		c.inside = make([]bool, len(c.all))
		served := 0
		for range 300 {
			if err := c.step(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if c.d.phase == active {
				served++
			}
		}
		if served == 0 {
			never++
		}
	}
	if never > 100 {
		t.Errorf("in %d of 2000 walks nobody was ever active", never)
	}
}

func (c *crew) step() error {
	i := c.rand.IntN(len(c.all))
	s := &c.all[i]
	c.now = c.now.Add(time.Second)
	switch c.rand.IntN(8) {
	case 0: // it dies
		*s, c.inside[i] = at(i, s.inc, "dead"), false
	case 1, 2:
		if !s.alive {
			*s = at(i, s.inc+1, "boots")
		}
	case 3, 4:
		s.fit = s.alive && !s.active
	case 5: // what was asked is answered, late perhaps
		if len(c.asks) > 0 {
			p := c.asks[0]
			c.asks = c.asks[1:]
			heard := c.rand.IntN(3) > 0
			if w := &c.all[p.who]; w.stint == p && w.alive && heard {
				c.inside[p.who] = true
			}
			d, orders := c.d.told(c.now, p, heard && c.rand.IntN(3) > 0)
			c.d = d
			c.carryOut(orders)
		}
	case 6: // another daemon, which knows what was noted
		if c.rand.IntN(10) == 0 {
			c.d, c.asks = duty[int]{}, nil
		}
	}
	d, orders := c.d.look(c.now, c.all)
	c.d = d
	c.carryOut(orders)
	if n := count(c.inside); n > 1 {
		return fmt.Errorf("%d are active: %v", n, c.inside)
	}
	for i, is := range c.inside {
		if is && !c.all[i].alive {
			return errors.New("the dead are active")
		}
	}
	return nil
}

func (c *crew) carryOut(orders []order[int]) {
	for _, o := range orders {
		s := &c.all[o.who.who]
		if s.stint != o.who || !s.alive {
			continue
		}
		switch o.do {
		case promote:
			s.asked = true
			c.asks = append(c.asks, o.who)
		case activate:
			s.active, s.asked, s.fit = true, false, false
		case renew: // in some time: now it is told to end
			s.fit = false
		}
	}
}

func count(all []bool) (n int) {
	for _, is := range all {
		if is {
			n++
		}
	}
	return n
}
