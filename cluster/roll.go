package cluster

// This file says in which order the instances of an app are exchanged by a reload. It
// decides and does nothing.

// Seat is where the exchange of one instance is.
type Seat int

const (
	SeatOld       Seat = iota // its old process has the place, and nothing has begun
	SeatVacating              // its old process is being ended before there is a new one
	SeatVacant                // that has ended
	SeatBooting               // a new one is on its way, and the old one has the place
	SeatRefilling             // a new one is on its way, and the old one has ended
	SeatDraining              // the new one has the place, and the old one is being ended
	SeatNew                   // only the new one is there
	SeatFailed                // the new one didn't come
)

// Order bounds a reload; both 0 is a Surge of 1.
type Order struct {
	Surge       int // new processes that may be on their way beside all the old ones
	Unavailable int // old ones that may end before their successors are there
}

// Move is what is to be done with one instance.
type Move struct {
	Seat   int
	Vacate bool // its old process is to be ended first; else a new one is to be started
}

// Next is what may be begun now. The first exchange is made alone: what is wrong with
// a new version is to be seen by one process. After a failure nothing is begun.
// Old processes drain while the next ones boot, but never more than one round of them:
// else an app with long requests would be there twice.
func (o Order) Next(seats []Seat) (moves []Move) {
	count := [SeatFailed + 1]int{}
	for _, s := range seats {
		count[s]++
	}
	surge := o.Surge
	if surge == 0 && o.Unavailable == 0 {
		surge = 1
	}
	booting, draining := count[SeatBooting], count[SeatDraining]
	away := count[SeatVacating] + count[SeatVacant] + count[SeatRefilling]
	proven := draining+count[SeatNew] > 0
	if count[SeatFailed] > 0 {
		return nil
	}
	for i, s := range seats {
		alone := proven || booting+away == 0
		switch {
		case s == SeatVacant:
			moves = append(moves, Move{Seat: i})
		case s != SeatOld || !alone:
		case booting < surge && draining <= surge:
			moves = append(moves, Move{Seat: i})
			booting++
		case away < o.Unavailable && draining <= surge:
			moves = append(moves, Move{Seat: i, Vacate: true})
			away++
		}
	}
	return moves
}
