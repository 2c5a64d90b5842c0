package main

import (
	"fmt"
	"strings"
)

// target is what is demanded of gopm in one figure: a limit of its value, or of its ratio to another's.
type target struct {
	least bool // at least, else at most
	limit float64
	than  string // whose value is meant; empty: the limit is a value itself
}

func upTo(limit float64) target                   { return target{limit: limit} }
func upToTimes(limit float64, than string) target { return target{limit: limit, than: than} }
func leastTimes(limit float64, than string) target {
	return target{least: true, limit: limit, than: than}
}

// targets by the name of the figure; a figure that isn't here is only reported.
var targets = map[string][]target{
	"mem 10 apps":                    {upTo(12)},
	"mem 100 apps":                   {upTo(17)},
	"mem 1000 apps":                  {upTo(38)},
	"threads 1000 apps":              {upTo(10)},
	"idle CPU 100 apps":              {upTo(10)}, // less than one tick of the kernel's accounting
	"ls 100 apps":                    {upToTimes(2.5, floorName)},
	"ls 1000 apps":                   {upToTimes(1.5, floorName)},
	"crash to successor":             {upToTimes(1.6, floorName)},
	"crash of 50 apps at once":       {upToTimes(2, floorName)},
	"daemon back, 100 apps":          {upToTimes(3, floorName)},
	"manager killed: apps died":      {upTo(0)},
	"manager killed: apps twice":     {upTo(0)},
	"manager killed: not in the log": {upTo(0)},
	"parents killed: apps died":      {upTo(0)},
	"parents killed: apps twice":     {upTo(0)},
	"parents killed: not in the log": {upTo(0)},
	"health of 100 apps, CPU":        {upTo(1)},
	"health of 100 apps, memory":     {upTo(20)},
	"consul: 500 apps registered":    {upTo(5)},
	"consul: 500 apps, CPU":          {upTo(1)},
	"log 1 app":                      {leastTimes(0.9, floorName)},
	"log 1 app, CPU":                 {upToTimes(1.2, floorName)},
	"log 10 apps":                    {leastTimes(0.9, floorName)},
	"log 10 apps, CPU":               {upToTimes(1.2, floorName)},
	"10,000 lines/s, CPU":            {upTo(3)},
	"10,000 lines/s, memory":         {upTo(0.5)}, // as much as Go's allocator may take or give back by chance
	"start 1 app":                    {upToTimes(10, floorName)},
	"start 100 apps":                 {upToTimes(2, floorName)},
	"start 1000 apps":                {upToTimes(1.5, floorName)},

	"crash to successor, clustered":    {upToTimes(1.6, floorName)},
	"serve, kept":                      {leastTimes(0.9, floorName), leastTimes(0.9, clusterName)}, // 0.1 is this figure's noise
	"serve, kept, p99":                 {upToTimes(1.25, floorName), upToTimes(1.25, clusterName)},
	"serve, new":                       {leastTimes(0.9, floorName), leastTimes(2, pm2Name)},
	"serve, new, p99":                  {upToTimes(1.25, floorName)},
	"crash to answer, 1 instance":      {upToTimes(1.2, floorName)},
	"reloads, new connections: lost":   {upTo(0)},
	"reloads, kept: lost":              {upTo(1)}, // the race of every connection that is closed while it is idle
	"kill storm: lost":                 {upToTimes(0.5, pm2Name)},
	"kill storm, p99":                  {upToTimes(1.25, pm2Name)},
	"32 connections in 2 s: uneven by": {upTo(3)},
	"spare to answer":                  {upTo(25)},
}

// String is the target as the table shows it.
func (t target) String() string {
	sign, than := "<=", ""
	if t.least {
		sign = ">="
	}
	if t.than != "" {
		than = " x " + t.than
	}
	return fmt.Sprintf("%s %g%s", sign, t.limit, than)
}

// met judges gopm's value; without what is needed to judge, a target is missed.
func (t target) met(f *figure) bool {
	limit := t.limit
	if t.than != "" {
		limit *= f.of(t.than)
	}
	if t.least {
		return f.of(gopmName) >= limit
	}
	return f.of(gopmName) <= limit
}

// met says whether a figure meets all that is demanded of it. Who is compared with must be measured, but for those
// that are no part of every machine: without node there is no comparison with it.
func met(f *figure) bool {
	for _, t := range targets[f.Name] {
		if optional := t.than == pm2Name || t.than == clusterName; optional && len(f.Values[t.than]) == 0 {
			continue
		}
		if !t.met(f) {
			return false
		}
	}
	return true
}

// demanded is all that is demanded of a figure, as the table shows it.
func demanded(name string) string {
	var all []string
	for _, t := range targets[name] {
		all = append(all, t.String())
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}
