package cgroup

import (
	"math"
	"strconv"
)

// Limits are what a group may use; what is 0 isn't limited.
type Limits struct {
	CPU    float64 // processors
	Memory int64   // bytes
	Pids   int
}

// setting is one file of a cgroup.
type setting struct{ controller, file, text string }

// period is the time in microseconds of which a share of the processor is counted; the
// kernel's own default.
const period = 100_000

// settings are what is written for limits.
func settings(version int, l Limits) (all []setting) {
	if l.CPU > 0 {
		quota := strconv.FormatInt(max(1000, int64(math.Round(l.CPU*period))), 10)
		if version == 2 {
			all = append(all, setting{"cpu", "cpu.max", quota + " " + strconv.Itoa(period)})
		} else {
			all = append(all, setting{"cpu", "cpu.cfs_period_us", strconv.Itoa(period)}, setting{"cpu", "cpu.cfs_quota_us", quota})
		}
	}
	if l.Memory > 0 {
		file := "memory.limit_in_bytes"
		if version == 2 {
			file = "memory.max"
		}
		all = append(all, setting{"memory", file, strconv.FormatInt(l.Memory, 10)})
	}
	if l.Pids > 0 {
		all = append(all, setting{"pids", "pids.max", strconv.Itoa(l.Pids)})
	}
	return all
}

// wanted are the controllers that limits need.
func wanted(l Limits) (all []string) {
	for _, s := range settings(2, l) {
		all = append(all, s.controller)
	}
	return all
}

// released are the settings that limit nothing, for what a group was limited to before.
func released(version int) []setting {
	if version == 2 {
		return []setting{{"cpu", "cpu.max", "max"}, {"memory", "memory.max", "max"}, {"pids", "pids.max", "max"}}
	}
	return []setting{{"cpu", "cpu.cfs_quota_us", "-1"}, {"memory", "memory.limit_in_bytes", "-1"}, {"pids", "pids.max", "max"}}
}
