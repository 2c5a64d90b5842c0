package ecosystem

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// This file turns the values of the fields of Bounds into Go values, like values.go.

// rlimitNames are the kernel's limits by the names that prlimit has for them; where the
// value is bytes it may be a text like "64M".
var rlimitNames = [...]struct {
	name   string
	number int
	bytes  bool
}{
	{"as", unix.RLIMIT_AS, true}, {"core", unix.RLIMIT_CORE, true}, {"cpu", unix.RLIMIT_CPU, false}, {"data", unix.RLIMIT_DATA, true},
	{"fsize", unix.RLIMIT_FSIZE, true}, {"locks", unix.RLIMIT_LOCKS, false}, {"memlock", unix.RLIMIT_MEMLOCK, true},
	{"msgqueue", unix.RLIMIT_MSGQUEUE, true}, {"nice", unix.RLIMIT_NICE, false}, {"nofile", unix.RLIMIT_NOFILE, false},
	{"nproc", unix.RLIMIT_NPROC, false}, {"rss", unix.RLIMIT_RSS, true}, {"rtprio", unix.RLIMIT_RTPRIO, false},
	{"rttime", unix.RLIMIT_RTTIME, false}, {"sigpending", unix.RLIMIT_SIGPENDING, false}, {"stack", unix.RLIMIT_STACK, true},
}

// assignBounds is assign for the fields of Bounds.
func assignBounds(target any, v *node) (err error) {
	switch t := target.(type) {
	case *[]Rlimit:
		*t, err = parseRlimits(v)
	case *Limits:
		*t, err = parseLimits(v)
	default:
		err = fmt.Errorf("cannot be set (%T)", target)
	}
	return err
}

// parseNice takes a priority as nice(1) has it.
func parseNice(v *node) (int, error) {
	n, err := parseInt(v)
	if err == nil && (n < -20 || n > 19) {
		err = fmt.Errorf("want -20 (most of the processor) to 19 (least), got %d", n)
	}
	return n, err
}

const rlimitsLike = `{"nofile": 65536, "core": 0, "nproc": "500:1000"}`

// parseRlimits takes an object of limits.
func parseRlimits(v *node) (all []Rlimit, err error) {
	if v.kind != kindObject {
		return nil, fmt.Errorf("want an object like %s, got %s", rlimitsLike, v.describe())
	}
	var wrong partErrors
	for _, m := range v.members {
		name, isBytes, err := rlimitName(m.name)
		if m.value.kind == kindNull && err == nil {
			continue
		}
		r := Rlimit{Name: name}
		at := m.place
		if err == nil && slices.ContainsFunc(all, func(o Rlimit) bool { return o.Name == name }) {
			err = fmt.Errorf("%s is there twice", name)
		}
		if err == nil {
			at = m.value.place
			r.Soft, r.Hard, err = parseRlimit(m.value, isBytes)
		}
		wrong.add("."+join("", m.name), at, err)
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Rlimit) int { return cmp.Compare(a.Name, b.Name) })
	return all, wrong.result()
}

// rlimitName takes prlimit's name of a limit, systemd's (LimitNOFILE) and the kernel's
// (RLIMIT_NOFILE).
func rlimitName(written string) (name string, isBytes bool, err error) {
	name = strings.ToLower(written)
	for _, prefix := range []string{"rlimit_", "limit"} {
		name = strings.TrimPrefix(name, prefix)
	}
	var names []string
	for _, r := range rlimitNames {
		if r.name == name {
			return name, r.bytes, nil
		}
		names = append(names, r.name)
	}
	if guess := nearest(name, names); guess != "" {
		return "", false, fmt.Errorf("unknown limit, did you mean %q?", guess)
	}
	return "", false, fmt.Errorf("unknown limit (there are %s)", strings.Join(names, ", "))
}

// parseRlimit takes a number for both limits, or "soft:hard".
func parseRlimit(v *node, isBytes bool) (soft, hard int64, err error) {
	first, second, two := strings.Cut(v.text, ":")
	if v.kind != kindText || !two {
		soft, err = parseRlimitPart(v, isBytes)
		return soft, soft, err
	}
	if soft, err = parseRlimitPart(textNode(first), isBytes); err == nil {
		hard, err = parseRlimitPart(textNode(second), isBytes)
	}
	if err == nil && hard != Unlimited && (soft == Unlimited || soft > hard) {
		err = fmt.Errorf("the first number is what counts (soft) and can't be above the second (hard): %s", v.describe())
	}
	return soft, hard, err
}

func parseRlimitPart(v *node, isBytes bool) (int64, error) {
	bad := fmt.Errorf(`want a number, "unlimited", or two like "1024:65536" (soft:hard), got %s`, v.describe())
	if v.kind != kindNumber && v.kind != kindText {
		return 0, bad
	}
	switch text := strings.TrimSpace(v.text); text {
	case "unlimited", "infinity", "-1":
		return Unlimited, nil
	default:
		if isBytes {
			if n, err := parseSize(v); err == nil {
				return n, nil
			}
			return 0, bad
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return 0, bad
		}
		return n, nil
	}
}

// leastMemory is less than any program needs to start.
const leastMemory = 1 << 20

// parseLimits takes what an instance may use.
func parseLimits(v *node) (l Limits, err error) {
	err = takeParts(v, `{"cpu": 0.5, "memory": "512M", "pids": 100}`,
		part{"cpu", takes(&l.CPU, parseCPU)},
		part{"memory", takes(&l.Memory, parseMemoryLimit)},
		part{"pids", takes(&l.Pids, parsePids)},
		part{"required", takes(&l.Required, parseBool)})
	if err == nil && !l.IsSet() && l.Required {
		err = fmt.Errorf(`nothing is limited: say cpu, memory or pids, like {"memory": "512M", "required": true}`)
	}
	return l, err
}

// parseCPU takes processors (0.5), or percents of one ("50%").
func parseCPU(v *node) (float64, error) {
	bad := fmt.Errorf(`want processors like 0.5 or 2, or percents of one like "50%%", got %s`, v.describe())
	if v.kind != kindNumber && v.kind != kindText {
		return 0, bad
	}
	text, percent := strings.CutSuffix(strings.TrimSpace(v.text), "%")
	n, err := strconv.ParseFloat(text, 64)
	if percent {
		n /= 100
	}
	const least, most = 0.01, 1 << 16 // the kernel takes no less than 1 ms of 100 ms
	if err != nil || math.IsNaN(n) || n != 0 && n < least || n > most {
		return 0, bad
	}
	return n, nil
}

func parseMemoryLimit(v *node) (int64, error) {
	n, err := parseSize(v)
	if err == nil && n != 0 && n < leastMemory {
		err = fmt.Errorf("want 1M or more, got %s", v.describe())
	}
	return n, err
}

func parsePids(v *node) (int, error) {
	n, err := parseCount(v)
	if err == nil && n > math.MaxInt32 {
		err = fmt.Errorf("want a number of processes, got %d", n)
	}
	return n, err
}

// showBounds is show for the fields of Bounds that hold more than one value.
func showBounds(at any) string {
	switch t := at.(type) {
	case *[]Rlimit:
		var all []string
		for _, r := range *t {
			all = append(all, r.String())
		}
		return strings.Join(all, ", ")
	case *Limits:
		return t.String()
	}
	return ""
}

// String is "nofile 1024:65536", or "core 0" where both are the same.
func (r Rlimit) String() string {
	soft, hard := showRlimit(r.Soft), showRlimit(r.Hard)
	if soft == hard {
		return r.Name + " " + soft
	}
	return r.Name + " " + soft + ":" + hard
}

func showRlimit(n int64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatInt(n, 10)
}

// String is "cpu 0.5, memory 512M, pids 100".
func (l Limits) String() string {
	var all []string
	if l.CPU > 0 {
		all = append(all, "cpu "+strconv.FormatFloat(l.CPU, 'g', -1, 64))
	}
	if l.Memory > 0 {
		all = append(all, "memory "+showSize(l.Memory))
	}
	if l.Pids > 0 {
		all = append(all, "pids "+strconv.Itoa(l.Pids))
	}
	if l.Required && l.IsSet() {
		all = append(all, "required")
	}
	return strings.Join(all, ", ")
}

// Number is the limit's for the kernel; -1: it has none of that name.
func (r Rlimit) Number() int {
	for _, known := range rlimitNames {
		if known.name == r.Name {
			return known.number
		}
	}
	return -1
}
