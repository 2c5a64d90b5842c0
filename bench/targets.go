package main

import "fmt"

// kind says what a target compares.
type kind int

const (
	upTo       kind = iota + 1 // gopm's value at most this
	upToFloor                  // gopm's value at most so many times the floor's
	leastFloor                 // gopm's value at least so many times the floor's
)

// target is what is demanded of gopm in one figure.
type target struct {
	kind  kind
	limit float64
}

// targets by the name of the figure; a figure that isn't here is only reported.
var targets = map[string]target{
	"mem 10 apps":              {upTo, 12},
	"mem 100 apps":             {upTo, 17},
	"mem 1000 apps":            {upTo, 38},
	"threads 1000 apps":        {upTo, 10},
	"idle CPU 100 apps":        {upTo, 10}, // less than one tick of the kernel's accounting
	"ls 100 apps":              {upToFloor, 2.5},
	"ls 1000 apps":             {upToFloor, 1.5},
	"crash to successor":       {upToFloor, 1.6},
	"crash of 50 apps at once": {upToFloor, 2},
	"daemon back, 100 apps":    {upToFloor, 3},
	"log 1 app":                {leastFloor, 0.9},
	"log 1 app, CPU":           {upToFloor, 1.2},
	"log 10 apps":              {leastFloor, 0.9},
	"log 10 apps, CPU":         {upToFloor, 1.2},
	"10,000 lines/s, CPU":      {upTo, 3},
	"10,000 lines/s, memory":   {upTo, 0.5}, // as much as Go's allocator may take or give back by chance
	"start 1 app":              {upToFloor, 10},
	"start 100 apps":           {upToFloor, 2},
	"start 1000 apps":          {upToFloor, 1.5},
}

// String is the target as the table shows it.
func (t target) String() string {
	switch t.kind {
	case upTo:
		return fmt.Sprintf("<= %g", t.limit)
	case upToFloor:
		return fmt.Sprintf("<= %g x floor", t.limit)
	case leastFloor:
		return fmt.Sprintf(">= %g x floor", t.limit)
	}
	return "-"
}

// met judges gopm's value; without what is needed to judge, a target is missed.
func (t target) met(gopm, floor float64) bool {
	switch t.kind {
	case upTo:
		return gopm <= t.limit
	case upToFloor:
		return gopm <= t.limit*floor
	case leastFloor:
		return gopm >= t.limit*floor
	}
	return true
}
