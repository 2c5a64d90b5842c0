package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRollOrder(t *testing.T) {
	t.Parallel()
	const (
		old, vacating, vacant, booting, refilling, draining, new, failed = SeatOld, SeatVacating, SeatVacant, SeatBooting, SeatRefilling, SeatDraining, SeatNew, SeatFailed
	)
	boot := func(seats ...int) (m []Move) {
		for _, i := range seats {
			m = append(m, Move{Seat: i})
		}
		return m
	}
	vacate := func(seats ...int) (m []Move) {
		for _, i := range seats {
			m = append(m, Move{Seat: i, Vacate: true})
		}
		return m
	}
	for _, c := range []struct {
		name  string
		order Order
		seats []Seat
		want  []Move
	}{
		{"the first alone", Order{Surge: 3}, []Seat{old, old, old}, boot(0)},
		{"nothing beside the first", Order{Surge: 3}, []Seat{booting, old, old}, nil},
		{"the others at once", Order{Surge: 3}, []Seat{draining, old, old, old, old}, boot(1, 2, 3)},
		{"one boots while one drains", Order{Surge: 1}, []Seat{draining, old, old}, boot(1)},
		{"but not while two drain", Order{Surge: 1}, []Seat{draining, draining, old}, nil},
		{"one after the other", Order{Surge: 1}, []Seat{new, booting, old}, nil},
		{"no limit is a surge of one", Order{}, []Seat{new, old, old}, boot(1)},
		{"one is enough", Order{Surge: 1}, []Seat{old}, boot(0)},
		{"the old one goes first", Order{Unavailable: 1}, []Seat{old, old}, vacate(0)},
		{"and then the new one comes", Order{Unavailable: 1}, []Seat{vacant, old}, boot(0)},
		{"one is away", Order{Unavailable: 1}, []Seat{new, vacating, old}, nil},
		{"one is away and refilled", Order{Unavailable: 1}, []Seat{new, refilling, old}, nil},
		{"two are away at most", Order{Unavailable: 2}, []Seat{new, old, vacating, old}, vacate(1)},
		{"both limits", Order{Surge: 1, Unavailable: 1}, []Seat{new, old, old, old}, append(boot(1), vacate(2)...)},
		{"after a failure nothing", Order{Surge: 2, Unavailable: 2}, []Seat{new, failed, vacant, old}, nil},
		{"done", Order{Surge: 1}, []Seat{new, new}, nil},
	} {
		if got := c.order.Next(c.seats); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestRollKeepsItsLimits: whatever comes in which order, there are never more processes
// and never fewer places served than the limits say, and it comes to its end.
func TestRollKeepsItsLimits(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		o := Order{Surge: random.IntN(4), Unavailable: random.IntN(3)}
		surge := o.Surge
		if o == (Order{}) {
			surge = 1
		}
		seats := make([]Seat, 1+random.IntN(8))
		for steps := 0; slices.ContainsFunc(seats, func(s Seat) bool { return s != SeatNew }); steps++ {
			proven := slices.Contains(seats, SeatNew) || slices.Contains(seats, SeatDraining)
			for _, m := range o.Next(seats) {
				switch {
				case m.Vacate:
					seats[m.Seat] = SeatVacating
				case seats[m.Seat] == SeatVacant:
					seats[m.Seat] = SeatRefilling
				default:
					seats[m.Seat] = SeatBooting
				}
			}
			count := map[Seat]int{}
			for _, s := range seats {
				count[s]++
			}
			begun := count[SeatVacating] + count[SeatVacant] + count[SeatRefilling] + count[SeatBooting]
			if count[SeatBooting] > surge || count[SeatDraining] > 2*surge || begun-count[SeatBooting] > o.Unavailable || !proven && begun > 1 {
				t.Fatalf("%+v: %v", o, seats)
			}
			moving := slices.DeleteFunc(slices.Clone(seats), func(s Seat) bool { return s == SeatOld || s == SeatNew })
			if len(moving) == 0 || steps > 1000 {
				t.Fatalf("%+v comes to a stand: %v", o, seats)
			}
			i := random.IntN(len(seats)) // the one that gets on
			switch seats[i] {
			case SeatVacating:
				seats[i] = SeatVacant
			case SeatBooting:
				seats[i] = SeatDraining
			case SeatDraining, SeatRefilling:
				seats[i] = SeatNew
			}
		}
	}
}
